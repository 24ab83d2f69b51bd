"""Describe memory to kernels: records of int64, and tables one after the other in one array."""

from __future__ import annotations

import numpy as np

from npsrcnn.kernels.cpu.tiles import round_up


def record(*names: str) -> np.dtype[np.void]:
    """Return the type of a record whose fields are int64."""
    return np.dtype([(name, np.int64) for name in names])


class Places:
    """Parts of some memory, one after the other, each from a multiple of ``step`` on."""

    def __init__(self, step: int = 1) -> None:
        self.step, self.size = step, 0

    def reserve(self, count: int) -> int:
        """Reserve room for ``count`` more; return where it begins."""
        start = self.size
        self.size += round_up(int(count), self.step)
        return start


class Tables(Places):
    """Tables of int64 in one array."""

    def __init__(self) -> None:
        super().__init__()
        self.parts: list[np.ndarray] = []

    def add(self, table: np.ndarray, step: int = 1) -> int:
        """Append a table, its first entry repeated up to a multiple of ``step``; return its start.

        Repeated offsets of taps fill up a tile, which then reads nothing out of bounds.
        """
        table = table.ravel()
        count = round_up(table.size, step)
        self.parts.append(np.concatenate([table, np.repeat(table[:1], count - table.size)]))
        return self.reserve(count)

    def joined(self) -> np.ndarray:
        """Return all tables as one array."""
        return np.concatenate(self.parts)
