"""Film training images, so that networks learn to restore what encoders of video take away."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from npsrcnn.errors import UserError
from npsrcnn.pixels.filming import ENCODERS, FRAMES, MOST_CRF, Shot, film

MOST_SPEED = 5  # pixels a frame, in each direction, before the image is reduced

Crfs = int | tuple[int, int]
"""A constant rate factor of x264 and x265, 0 to 51, or the lowest and the highest of a range."""


def middle_crf(crfs: tuple[int, int]) -> int:
    """Return the CRF in the middle of a range: quantizers are a logarithm of steps."""
    return (sum(crfs) + 1) // 2


@dataclass(frozen=True)
class Filming:
    """Films images: draws encoder, CRF and motion for each image and copy.

    Parameters
    ----------
    lowest, highest : int
        CRFs, 0 to 51, of which all between are drawn equally often.
    seed : int
        What is drawn depends on it and on the numbers of image and copy, and on nothing else.

    Raises
    ------
    UserError
        Other CRFs, or a range whose ends are in the wrong order.
    """

    lowest: int
    highest: int
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.lowest <= self.highest <= MOST_CRF:
            raise UserError(
                f"a CRF is a number from 0 to {MOST_CRF}, a range begins with the lower one: "
                f"not {self.lowest}-{self.highest}"
            )

    @classmethod
    def of(cls, crf: Crfs | None, seed: int) -> Filming | None:
        """Return the filming for one CRF or a range; None for None."""
        if crf is None:
            return None
        lowest, highest = crf if isinstance(crf, tuple) else (crf, crf)
        return cls(lowest, highest, seed)

    @property
    def crfs(self) -> tuple[int, int]:
        """The lowest and the highest CRF."""
        return self.lowest, self.highest

    def draw(self, number: int, copy: int) -> Shot:
        """Draw how a copy of an image is filmed, both by their numbers."""
        rng = np.random.default_rng(np.random.SeedSequence(self.seed, spawn_key=(number, copy)))
        down, right = (int(v) for v in rng.integers(-MOST_SPEED, MOST_SPEED, 2, endpoint=True))
        return Shot(
            encoder=tuple(ENCODERS)[rng.integers(len(ENCODERS))],
            crf=int(rng.integers(self.lowest, self.highest, endpoint=True)),
            velocity=(down, right),
            kept=int(rng.integers(1, FRAMES)),
        )

    def filmed(self, y: np.ndarray, scale: int, number: int, copy: int) -> np.ndarray:
        """Return Y, (H, W) in 0..1, reduced and filmed as is drawn: uint8."""
        return film(y, scale, self.draw(number, copy))
