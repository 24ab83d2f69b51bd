"""Maps on the device: (N, C, H, W), rows padded so that any four floats load at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from npsrcnn.kernels.cuda.device import cuda, floats, inline, up

ALIGNED = 8
"""Kernels' own maps have a multiple of 8 rows, and of 8 floats a row: tiles are stored whole."""


class Extent(NamedTuple):
    """A map: ``rows`` x ``columns`` pixels, in ``height`` rows of ``pitch`` floats."""

    rows: int
    columns: int
    height: int
    pitch: int


@inline
def extent_at(numbers, i):
    """The extent that ``numbers`` holds from ``i`` on."""
    return Extent(numbers[i], numbers[i + 1], numbers[i + 2], numbers[i + 3])


@dataclass(frozen=True)
class Planes:
    """``n`` x ``channels`` maps in ``data``, one after the other.

    ``pitch`` is a multiple of four, so that any four neighbours can be loaded at once; what lies
    beyond the pixels of a map is undefined.
    """

    data: object
    n: int
    channels: int
    extent: Extent

    @property
    def rows(self) -> int:
        """Height of a map in pixels."""
        return self.extent.rows

    @property
    def columns(self) -> int:
        """Width of a map in pixels."""
        return self.extent.columns

    def download(self) -> np.ndarray:
        """A NumPy array (N, C, H, W) of their pixels."""
        shape = (self.n, self.channels, self.extent.height, self.extent.pitch)
        array = self.data[: int(np.prod(shape))].copy_to_host().reshape(shape)
        return np.ascontiguousarray(array[:, :, : self.rows, : self.columns])


def upload(array: np.ndarray) -> Planes:
    """A float32 copy of (N, C, H, W)."""
    n, channels, rows, columns = array.shape
    pitch = up(4, columns)
    padded = np.zeros((n, channels, rows, pitch), np.float32)
    padded[..., :columns] = array
    extent = Extent(rows, columns, rows, pitch)
    return Planes(cuda.to_device(padded.reshape(-1)), n, channels, extent)


def floats_of(n: int, channels: int, rows: int, columns: int) -> int:
    """How many floats such maps take, with room for whole tiles."""
    return n * channels * up(ALIGNED, rows) * up(ALIGNED, columns)


def within(data: object, n: int, channels: int, rows: int, columns: int) -> Planes:
    """Such maps, with room for whole tiles, at the beginning of ``data``."""
    extent = Extent(rows, columns, up(ALIGNED, rows), up(ALIGNED, columns))
    return Planes(data, n, channels, extent)


def allocate(n: int, channels: int, rows: int, columns: int) -> Planes:
    """Undefined maps with room for whole tiles."""
    count = floats_of(n, channels, rows, columns)
    return within(floats(count), n, channels, rows, columns)
