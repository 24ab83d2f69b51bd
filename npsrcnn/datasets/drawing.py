"""Draw from a range of settings what each training image goes through."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import numpy as np

D = TypeVar("D", bound="Drawn")


@dataclass(frozen=True)
class Drawn:
    """A range of settings, and a seed.

    Parameters
    ----------
    lowest, highest : int
        Of which all between are drawn equally often.
    seed : int
        What is drawn depends on it and on the numbers of image and copy, and on nothing else.
    """

    lowest: int
    highest: int
    seed: int = 0

    @classmethod
    def of(cls: type[D], setting: int | tuple[int, int] | None, seed: int) -> D | None:
        """Return what draws from one setting or a range; None for None."""
        if setting is None:
            return None
        lowest, highest = setting if isinstance(setting, tuple) else (setting, setting)
        return cls(lowest, highest, seed)

    @property
    def ends(self) -> tuple[int, int]:
        """The lowest and the highest setting."""
        return self.lowest, self.highest

    def rng(self, number: int, copy: int) -> np.random.Generator:
        """Return the generator of a copy of an image, by their numbers."""
        return np.random.default_rng(np.random.SeedSequence(self.seed, spawn_key=(number, copy)))

    def integer(self, rng: np.random.Generator) -> int:
        """Draw a setting."""
        return int(rng.integers(self.lowest, self.highest, endpoint=True))


def in_words(ends: tuple[int, int]) -> str:
    """Write a range as options take it: "75" or "60-80"."""
    lowest, highest = ends
    return f"{lowest}" if lowest == highest else f"{lowest}-{highest}"
