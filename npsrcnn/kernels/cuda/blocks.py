"""Share the pixels of an output out among blocks and threads.

A block computes a rectangle of some output maps, each of its threads a tile of it: some maps of a
few neighbouring pixels, in registers. The threads of a warp have neighbouring pixels and the same
maps. :mod:`npsrcnn.kernels.cuda.convolution` and :mod:`npsrcnn.kernels.cuda.fused` work so.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from npsrcnn.kernels.cuda.device import DeviceArray, divide_up, inline, integers, round_up
from npsrcnn.kernels.cuda.planes import Extent, Planes, extent_at

WARP = 32


class Geometry(NamedTuple):
    """Where the pixels are; known only when a kernel runs, and in an array of these numbers.

    Of an image cut into strips, ``x`` and ``y`` are parts: row 0 of ``y`` is row ``top`` of the
    image.
    """

    x: Extent
    y: Extent
    row: int  # of x where the first tap of pixel (0, 0) of y lies; may be outside
    column: int
    top: int
    rows: int  # of the image


@inline
def geometry_at(numbers):
    """Return the geometry that ``numbers`` holds."""
    x, y = extent_at(numbers, 0), extent_at(numbers, 4)
    return Geometry(x, y, numbers[8], numbers[9], numbers[10], numbers[11])


def geometry(
    x: Planes, y: Planes, row: int, column: int, top: int = 0, rows: int = 0
) -> DeviceArray:
    """Return the numbers of a :class:`Geometry` on the device."""
    return integers(*x.extent, *y.extent, row, column, top, rows)


@dataclass(frozen=True)
class Blocking:
    """How the work is cut up."""

    maps: int  # of a thread's tile
    rows: int
    columns: int
    map_tiles: int  # tiles of maps of a block: each pixel has so many threads
    block_rows: int  # of a block's rectangle
    block_columns: int
    resident: int  # blocks for which the registers of a multiprocessor suffice
    warp: int

    @property
    def across(self) -> int:
        """Tiles side by side in a rectangle."""
        return self.block_columns // self.columns

    @property
    def places(self) -> int:
        """Tiles of a rectangle."""
        return self.block_rows // self.rows * self.across

    @property
    def lanes(self) -> int:
        """Threads over the tiles of a rectangle: whole warps, so that a warp has the same maps."""
        return round_up(self.warp, self.places)

    @property
    def threads(self) -> int:
        """Threads of a block."""
        return self.lanes * self.map_tiles

    @property
    def weight_row(self) -> int:
        """Floats of the weights of one tap in shared memory."""
        return self.map_tiles * round_up(4, self.maps)

    def rectangles(self, y: Planes) -> int:
        """Count the rectangles of all samples of ``y``."""
        down, across = divide_up(y.rows, self.block_rows), divide_up(y.columns, self.block_columns)
        return y.n * down * across


@inline
def rectangle_of(block, y, block_rows, block_columns):
    """Return the sample of a block, and the first row and column of its rectangle of ``y``."""
    across = (y.columns + block_columns - 1) // block_columns
    rectangles = (y.rows + block_rows - 1) // block_rows * across
    n, rectangle = block // rectangles, block % rectangles
    return n, rectangle // across * block_rows, rectangle % across * block_columns


@inline
def tile_of(thread, lanes, places, across, rows, columns):
    """Return the first row and column of a thread's tile in the rectangle, and its tile of maps.

    Threads that only fill a warp, from ``places`` on, get the first tile: they help to copy, and
    store nothing.
    """
    place = thread % lanes
    if place >= places:
        place = 0
    return place // across * rows, place % across * columns, thread // lanes
