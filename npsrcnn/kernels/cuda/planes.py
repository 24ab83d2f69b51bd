"""Store maps on the device: (N, C, H, W), rows padded so that any four floats load at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from npsrcnn.kernels.cuda.device import DeviceArray, floats, inline, round_up, to_device

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
    """Return the extent that ``numbers`` holds from ``i`` on."""
    return Extent(numbers[i], numbers[i + 1], numbers[i + 2], numbers[i + 3])


@inline
def index_of(extent, plane, row, column):
    """Return where a pixel of map number ``plane`` lies."""
    return (plane * extent.height + row) * extent.pitch + column


@dataclass(frozen=True)
class Planes:
    """``n`` x ``channels`` maps in ``data``, one after the other.

    ``pitch`` is a multiple of four, so that any four neighbours can be loaded at once; what lies
    beyond the pixels of a map is undefined.
    """

    data: DeviceArray
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
        """Return a NumPy array (N, C, H, W) of their pixels."""
        shape = (self.n, self.channels, self.extent.height, self.extent.pitch)
        array = self.data[: int(np.prod(shape))].copy_to_host().reshape(shape)
        return np.ascontiguousarray(array[:, :, : self.rows, : self.columns])


def upload(array: np.ndarray) -> Planes:
    """Copy (N, C, H, W) to the device as float32."""
    n, channels, rows, columns = array.shape
    extent = Extent(rows, columns, rows, round_up(4, columns))
    return Planes(to_device(padded(array, extent)), n, channels, extent)


def padded(array: np.ndarray, extent: Extent) -> np.ndarray:
    """Return (N, C, H, W) as it lies in maps of this extent: flat, float32, zeros between."""
    result = np.zeros((*array.shape[:2], extent.height, extent.pitch), np.float32)
    result[:, :, : extent.rows, : extent.columns] = array
    return result.reshape(-1)


def floats_of(n: int, channels: int, rows: int, columns: int) -> int:
    """Return how many floats such maps take, with room for whole tiles."""
    return n * channels * round_up(ALIGNED, rows) * round_up(ALIGNED, columns)


def planes_in(data: DeviceArray, n: int, channels: int, rows: int, columns: int) -> Planes:
    """Return such maps, with room for whole tiles, at the beginning of ``data``."""
    extent = Extent(rows, columns, round_up(ALIGNED, rows), round_up(ALIGNED, columns))
    return Planes(data, n, channels, extent)


def allocate(n: int, channels: int, rows: int, columns: int) -> Planes:
    """Allocate maps, their values undefined, with room for whole tiles."""
    count = floats_of(n, channels, rows, columns)
    return planes_in(floats(count), n, channels, rows, columns)
