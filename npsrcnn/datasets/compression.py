"""Compress training images as JPEG, so that networks learn to restore what that takes away."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from npsrcnn.datasets.drawing import Drawn, in_words
from npsrcnn.errors import UserError
from npsrcnn.pixels.jpeg import SUBSAMPLINGS, compress, quality_of_strength, strength_of_quality

LEAST_STRENGTH = 1.0  # percent: at quality 100 the formula gives 0, but no step is below 1

Qualities = int | tuple[int, int]
"""A libjpeg quality, 1 to 100, or the lowest and the highest of a range."""


@dataclass(frozen=True)
class Compression(Drawn):
    """JPEG compression that draws quality, 1 to 100, and subsampling of each image and copy.

    Raises
    ------
    UserError
        Other qualities, or a range whose ends are in the wrong order.
    """

    def __post_init__(self) -> None:
        if not 1 <= self.lowest <= self.highest <= 100:
            raise UserError(
                "a JPEG quality is a number from 1 to 100, a range begins with the lower one: "
                f"not {in_words(self.ends)}"
            )

    def draw(self, number: int, copy: int) -> tuple[int, str]:
        """Draw quality and subsampling of a copy of an image, both by their numbers."""
        rng = self.rng(number, copy)
        return self.integer(rng), SUBSAMPLINGS[rng.integers(len(SUBSAMPLINGS))]

    def compressed(self, image: np.ndarray, number: int, copy: int) -> np.ndarray:
        """Return an image, uint8 (H, W) or (H, W, 3), as JPEG with what is drawn leaves it."""
        return compress(image, *self.draw(number, copy))


def middle_quality(qualities: tuple[int, int]) -> int:
    """Return the quality whose strength is the geometric mean of those of a range's ends."""
    lowest, highest = qualities
    if lowest == highest:
        return lowest
    strengths = [max(strength_of_quality(quality), LEAST_STRENGTH) for quality in qualities]
    return round(quality_of_strength(math.sqrt(math.prod(strengths))))
