"""One convolution: the output of a layer, or the gradient to its input.

A block computes a rectangle of some output maps. It copies to shared memory, a few channels at a
time, the pixels and the weights that all its threads read; each thread then adds them up over a
small tile of maps and pixels in registers (see :mod:`npsrcnn.kernels.cuda.tiles`). The threads of
a warp have neighbouring pixels and the same maps: the weights they load are broadcast.

N batch, C channels in, O channels out, H W height and width, K kernel size. Weights lie on the
device as (C, K, K, O), so that those of one tap are neighbours.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

from numba.core import types

from npsrcnn.kernels.cuda import device, tiles
from npsrcnn.kernels.cuda.device import cuda, up
from npsrcnn.kernels.cuda.launches import launch
from npsrcnn.kernels.cuda.planes import Extent, Planes, allocate, extent_at
from npsrcnn.kernels.cuda.shared import copy_pixels, copy_weights, spread
from npsrcnn.kernels.cuda.tiles import aligned, bias_tile, convolution_tile, store_tile

WARP = 32
MAPS = 8
"""Most maps a thread adds up at once."""
LANES, THREADS = 96, 384
"""Most threads side by side over pixels, and in a block."""
STAGE = 40 << 10
"""Bytes of shared memory to fill with channels at a time."""
LARGEST = 31
"""The largest filter whose pixels and weights fit in shared memory, and network.py's limit."""


class Shape(NamedTuple):
    """What a kernel is compiled for."""

    channels: int
    maps: int
    size: int
    act: int = tiles.LINEAR
    transposed: bool = False  # the gradient to the input: filters flipped, C and O swapped
    zeros: bool = True  # what is read outside the input: 0, or the nearest pixel


class Blocking(NamedTuple):
    """How the work is cut up. A thread has ``maps`` x ``rows`` x ``columns`` numbers."""

    maps: int
    rows: int
    columns: int
    tile_rows: int  # pixels of a block
    tile_columns: int
    groups: int  # times ``maps``: the maps of a block
    stage: int  # channels in shared memory at a time
    high: int  # filter rows that a thread takes in at once: all, or one
    skew: int  # floats of a row in shared memory before the first pixel's first tap
    resident: int  # blocks for which the registers of a multiprocessor suffice
    warp: int

    @property
    def places(self) -> int:
        """Threads' pixel tiles in the rectangle of a block."""
        return (self.tile_rows // self.rows) * (self.tile_columns // self.columns)

    @property
    def lanes(self) -> int:
        """Threads over pixels: whole warps, so that a warp has the same maps."""
        return up(self.warp, self.places)

    @property
    def threads(self) -> int:
        """Threads of a block."""
        return self.lanes * self.groups

    def pitch(self, size: int) -> int:
        """Floats of a row of pixels in shared memory."""
        return self.tile_columns - self.columns + tiles.window(self.columns, size, self.skew)

    def pixel_floats(self, size: int) -> int:
        """Floats of one channel's pixels in shared memory."""
        return (self.tile_rows + size - 1) * self.pitch(size)

    def weight_row(self) -> int:
        """Floats of the weights of one tap in shared memory."""
        return self.groups * up(4, self.maps)


class Geometry(NamedTuple):
    """Where the pixels are; known only when a kernel runs, and in an array of these numbers."""

    x: Extent
    y: Extent
    row: int  # of x where the first tap of output pixel (0, 0) lies; may be outside
    column: int


def even(total: int, most: int) -> int:
    """``total`` cut into equal parts of at most ``most``."""
    return -(-total // -(-total // most))


@functools.lru_cache(maxsize=256)
def blocking(shape: Shape, rows: int, columns: int, skew: int = 0) -> Blocking:
    """How to cut up the work on an output of this size."""
    maps = even(shape.maps, MAPS if shape.size <= 15 else MAPS // 2)
    few = maps <= 3 and shape.size <= 5  # last layers: with few sums, pixels are the bottleneck
    if few and columns >= 64:
        tall = 8 if maps == 1 else 4
        tile, room, resident = (maps, tall, 4, 8 * tall, 32), STAGE // 2, 9 - maps
    else:
        quads = min(-(-columns // 4), 8)
        pairs = even(-(-rows // 2), LANES // quads)
        tile, room, resident = (maps, 2, 4, 2 * pairs, 4 * quads), STAGE, 1
    high = shape.size if few else 1
    parts = Blocking(*tile, groups=1, stage=1, high=high, skew=skew, resident=resident, warp=WARP)
    groups = max(1, min(-(-shape.maps // maps), THREADS // parts.lanes))
    parts = parts._replace(groups=groups)
    bytes_each = 4 * (parts.pixel_floats(shape.size) + shape.size**2 * parts.weight_row())
    return parts._replace(stage=max(1, min(shape.channels, room // bytes_each)))


@functools.lru_cache(maxsize=256)
def kernel(shape: Shape, parts: Blocking):
    """The compiled kernel ``convolve(x, w, b, y, gate, geometry)``.

    Grid: (N times the rectangles of an output, blocks of maps). ``gate`` is read only with
    ``tiles.GATE``: maps as ``y``.
    """
    channels, outputs, size, act, transposed, zeros = shape
    maps, rows, columns, tile_rows, tile_columns, groups, stage, high, skew, *_ = parts
    places, lanes, threads, pitch = parts.places, parts.lanes, parts.threads, parts.pitch(size)
    across = tile_columns // columns
    lines = tile_rows + size - 1  # rows of a channel's pixels in shared memory
    fours = pitch // 4
    across_x = spread(threads, fours, lines)
    padded, weight_row = up(4, maps), parts.weight_row()
    taps = size * size
    across_w = spread(threads, weight_row, taps)
    weights = channels, outputs, taps, transposed
    x_floats, w_floats = stage * parts.pixel_floats(size), stage * taps * weight_row
    if 4 * (x_floats + w_floats) > device.SHARED:
        raise ValueError(f"no room for filters of {size} x {size} in shared memory")

    @device.jit(threads, parts.resident)
    def convolve(x, w, b, y, gate, geometry):
        xs = aligned(cuda.shared.array(x_floats, types.float32))
        ws = aligned(cuda.shared.array(w_floats, types.float32))
        x_at, y_at = extent_at(geometry, 0), extent_at(geometry, 4)
        g = Geometry(x_at, y_at, geometry[8], geometry[9])
        t = cuda.threadIdx.x
        place, group = t % lanes, t // lanes
        if place >= places:  # threads to fill the warp: they help to copy, and store nothing
            place = 0
        i, j = place // across * rows, place % across * columns

        tiles_across = (g.y.columns + tile_columns - 1) // tile_columns
        rectangles = (g.y.rows + tile_rows - 1) // tile_rows * tiles_across
        n, rectangle = cuda.blockIdx.x // rectangles, cuda.blockIdx.x % rectangles
        top = rectangle // tiles_across * tile_rows
        left = rectangle % tiles_across * tile_columns
        first_map = cuda.blockIdx.y * (groups * maps)
        my_map = first_map + group * maps

        acc = bias_tile(maps, rows, columns, b, my_map, 0 if transposed else outputs - my_map)
        for first in range(0, channels, stage):
            count = stage if first + stage <= channels else channels - first
            cuda.syncthreads()
            copy_pixels(
                xs, (0, lines, fours, lines * pitch), (t, *across_x),
                x, g.x, n * channels + first, count,
                g.row + top, g.column - skew + left, zeros,
            )  # fmt: skip
            copy_weights(ws, weight_row, maps, (t, *across_w), w, weights, first, count, first_map)
            cuda.syncthreads()
            for c in range(count):
                for u in range(0, size, high):
                    acc = convolution_tile(
                        acc, maps, rows, columns, high, size, skew,
                        xs, (c * lines + i + u) * pitch + j, pitch,
                        ws, (c * size + u) * size * weight_row + group * padded, weight_row,
                    )  # fmt: skip

        if t % lanes < places and top + i < g.y.rows and left + j < g.y.columns:
            plane = g.y.height * g.y.pitch
            at = (n * outputs + my_map) * plane + (top + i) * g.y.pitch + left + j
            left_over = outputs - my_map
            store_tile(acc, maps, rows, columns, act, y, at, plane, g.y.pitch, left_over, gate)

    return convolve


def convolve(
    x: Planes,
    w: object,
    b: object,
    shape: Shape,
    y: Planes,
    *,
    row: int = 0,
    column: int = 0,
    gate: Planes | None = None,
) -> Planes:
    """y = act(convolution of x); see :class:`Geometry` for ``row`` and ``column``."""
    parts = blocking(shape, y.rows, y.columns, column % 4)
    geometry = device.numbers(*x.extent, *y.extent, row, column)
    rectangles = -(-y.rows // parts.tile_rows) * -(-y.columns // parts.tile_columns)
    grid = x.n * rectangles, -(-shape.maps // (parts.maps * parts.groups))
    open_where = y if gate is None else gate
    launch(
        kernel(shape, parts), grid, parts.threads,
        x.data, w, b, y.data, open_where.data, geometry,
    )  # fmt: skip
    return y


def layer(x: Planes, w: object, b: object, shape: Shape) -> Planes:
    """The valid convolution: (N, C, H, W) -> (N, O, H-K+1, W-K+1)."""
    less = shape.size - 1
    return convolve(x, w, b, shape, allocate(x.n, shape.maps, x.rows - less, x.columns - less))


def input_gradient(
    dy: Planes, w: object, b: object, shape: Shape, dx: Planes, gate: Planes | None = None
) -> Planes:
    """dx of the layer of this ``shape``: the full correlation of dy with the flipped filters.

    With ``gate`` (the layer's input, itself the output of a ReLU) it is 0 where that is not
    above 0: the gradient to what went into the ReLU.
    """
    act = tiles.LINEAR if gate is None else tiles.GATE
    back = Shape(shape.maps, shape.channels, shape.size, act, transposed=True)
    more = shape.size - 1
    return convolve(dy, w, b, back, dx, row=-more, column=-more, gate=gate)
