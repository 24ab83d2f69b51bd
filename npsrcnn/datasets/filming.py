"""Film training images, so that networks learn to restore what encoders of video take away."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from npsrcnn.datasets.drawing import Drawn, in_words
from npsrcnn.errors import UserError
from npsrcnn.pixels.filming import ENCODERS, FRAMES, MOST_CRF, Shot, film

MOST_SPEED = 5  # pixels a frame, in each direction, before the image is reduced

Crfs = int | tuple[int, int]
"""A constant rate factor of x264 and x265, 0 to 51, or the lowest and the highest of a range."""


def middle_crf(crfs: tuple[int, int]) -> int:
    """Return the CRF in the middle of a range: quantizers are a logarithm of steps."""
    return (sum(crfs) + 1) // 2


@dataclass(frozen=True)
class Filming(Drawn):
    """Films images: draws encoder, CRF, 0 to 51, and motion for each image and copy.

    Raises
    ------
    UserError
        Other CRFs, or a range whose ends are in the wrong order.
    """

    def __post_init__(self) -> None:
        if not 0 <= self.lowest <= self.highest <= MOST_CRF:
            raise UserError(
                f"a CRF is a number from 0 to {MOST_CRF}, a range begins with the lower one: "
                f"not {in_words(self.ends)}"
            )

    def draw(self, number: int, copy: int) -> Shot:
        """Draw how a copy of an image is filmed, both by their numbers."""
        rng = self.rng(number, copy)
        down, right = (int(v) for v in rng.integers(-MOST_SPEED, MOST_SPEED, 2, endpoint=True))
        return Shot(
            encoder=tuple(ENCODERS)[rng.integers(len(ENCODERS))],
            crf=self.integer(rng),
            velocity=(down, right),
            kept=int(rng.integers(1, FRAMES)),
        )

    def filmed(self, y: np.ndarray, scale: int, number: int, copy: int) -> np.ndarray:
        """Return Y, (H, W) in 0..1, reduced and filmed as is drawn: uint8."""
        return film(y, scale, self.draw(number, copy))
