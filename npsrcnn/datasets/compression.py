"""Compress training images as JPEG, so that networks learn to restore what that takes away."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from npsrcnn.errors import UserError
from npsrcnn.pixels.jpeg import SUBSAMPLINGS, compress, quality_of_strength, strength_of_quality

LEAST_STRENGTH = 1.0  # percent: at quality 100 the formula gives 0, but no step is below 1

Qualities = int | tuple[int, int]
"""A libjpeg quality, 1 to 100, or the lowest and the highest of a range."""


@dataclass(frozen=True)
class Compression:
    """JPEG compression that draws quality and subsampling of each image and copy.

    Parameters
    ----------
    lowest, highest : int
        Qualities, 1 to 100, of which all between are drawn equally often.
    seed : int
        What is drawn depends on it and on the numbers of image and copy, and on nothing else.

    Raises
    ------
    UserError
        Other qualities, or a range whose ends are in the wrong order.
    """

    lowest: int
    highest: int
    seed: int = 0

    def __post_init__(self) -> None:
        if not 1 <= self.lowest <= self.highest <= 100:
            raise UserError(
                "a JPEG quality is a number from 1 to 100, a range begins with the lower one: "
                f"not {in_words(self.qualities)}"
            )

    @classmethod
    def of(cls, jpeg: Qualities | None, seed: int) -> Compression | None:
        """Return the compression for one quality or a range; None for None."""
        if jpeg is None:
            return None
        lowest, highest = jpeg if isinstance(jpeg, tuple) else (jpeg, jpeg)
        return cls(lowest, highest, seed)

    @property
    def qualities(self) -> tuple[int, int]:
        """The lowest and the highest quality."""
        return self.lowest, self.highest

    def draw(self, number: int, copy: int) -> tuple[int, str]:
        """Draw quality and subsampling of a copy of an image, both by their numbers."""
        rng = np.random.default_rng(np.random.SeedSequence(self.seed, spawn_key=(number, copy)))
        quality = int(rng.integers(self.lowest, self.highest, endpoint=True))
        return quality, SUBSAMPLINGS[rng.integers(len(SUBSAMPLINGS))]

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


def in_words(qualities: tuple[int, int]) -> str:
    """Write a range of qualities as the option --jpeg takes it: "75" or "60-80"."""
    lowest, highest = qualities
    return f"{lowest}" if lowest == highest else f"{lowest}-{highest}"
