"""Convolve: the output of a layer, or the gradient to its input.

A block computes a rectangle of some output maps. It copies to shared memory, a few channels at a
time, the pixels and the weights that all its threads read; each thread then adds them up over a
small tile of maps and pixels in registers (see :mod:`npsrcnn.kernels.cuda.tiles`). The threads of
a warp have the same maps: the weights they load are broadcast.

N batch, C channels in, O channels out, H W height and width, K kernel size. Weights lie on the
device as (C, K, K, O), so that those of one tap are neighbours.
"""

from __future__ import annotations

import dataclasses
import functools
from dataclasses import dataclass
from typing import NamedTuple

from numba import types

from npsrcnn.kernels.cuda import blocks, device, tiles
from npsrcnn.kernels.cuda.blocks import geometry_at, rectangle_of, tile_of
from npsrcnn.kernels.cuda.device import DeviceArray, Kernel, cuda, divide_up, even, round_up
from npsrcnn.kernels.cuda.launches import launch
from npsrcnn.kernels.cuda.planes import Planes, allocate, index_of
from npsrcnn.kernels.cuda.shared import copy_pixels, copy_weights, spread
from npsrcnn.kernels.cuda.tiles import aligned, bias_tile, convolution_tile, store_tile

MAPS = 8
"""Most maps a thread adds up at once."""
LANES, THREADS = 96, 384
"""Most threads side by side over pixels, and in a block."""
STAGE_BYTES = 40 << 10
"""Shared memory to fill with channels at a time."""
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

    @property
    def weights(self) -> int:
        """Count the weights, biases left out."""
        return self.maps * self.channels * self.size**2


@dataclass(frozen=True)
class Blocking(blocks.Blocking):
    """How the work is cut up."""

    stage: int  # channels in shared memory at a time
    high: int  # filter rows that a thread takes in at once: all, or one
    skew: int  # floats of a row in shared memory before the first pixel's first tap

    def pitch(self, size: int) -> int:
        """Return the floats of a row of pixels in shared memory."""
        return tiles.row_floats(self.block_columns, self.columns, size, self.skew)

    def pixel_floats(self, size: int) -> int:
        """Return the floats of one channel's pixels in shared memory."""
        return (self.block_rows + size - 1) * self.pitch(size)


@functools.lru_cache(maxsize=256)
def blocking(shape: Shape, rows: int, columns: int, skew: int = 0) -> Blocking:
    """Choose how to cut up the work on an output of ``rows`` x ``columns``."""
    maps = even(shape.maps, MAPS if shape.size <= 15 else MAPS // 2)
    few = maps <= 3 and shape.size <= 5  # last layers: with few sums, pixels are the bottleneck
    if few and columns >= 64:
        tall = 8 if maps == 1 else 4
        tile, rectangle, room, resident = (tall, 4), (8 * tall, 32), STAGE_BYTES // 2, 9 - maps
    else:
        quads = min(-(-columns // 4), 8)
        pairs = even(-(-rows // 2), LANES // quads)
        tile, rectangle, room, resident = (2, 4), (2 * pairs, 4 * quads), STAGE_BYTES, 1
    high = shape.size if few else 1
    parts = Blocking(
        maps, *tile, 1, *rectangle, resident, blocks.WARP, stage=1, high=high, skew=skew
    )
    map_tiles = max(1, min(divide_up(shape.maps, maps), THREADS // parts.lanes))
    parts = dataclasses.replace(parts, map_tiles=map_tiles)
    bytes_each = 4 * (parts.pixel_floats(shape.size) + shape.size**2 * parts.weight_row)
    return dataclasses.replace(parts, stage=max(1, min(shape.channels, room // bytes_each)))


@functools.lru_cache(maxsize=256)
def kernel(shape: Shape, parts: Blocking) -> Kernel:
    """Compile ``convolve(x, w, b, y, gate, geometry)``.

    Grid: (N times the rectangles of an output, blocks of maps). ``gate`` is read only with
    ``tiles.GATE``: maps as ``y``.
    """
    channels, outputs, size, act, transposed, zeros = shape
    maps, rows, columns, map_tiles = parts.maps, parts.rows, parts.columns, parts.map_tiles
    block_rows, block_columns = parts.block_rows, parts.block_columns
    stage, high, skew, pitch = parts.stage, parts.high, parts.skew, parts.pitch(size)
    places, lanes, threads, across = parts.places, parts.lanes, parts.threads, parts.across
    lines = block_rows + size - 1  # rows of a channel's pixels in shared memory
    fours = pitch // 4
    across_x = spread(threads, fours, lines)
    padded, weight_row = round_up(4, maps), parts.weight_row
    taps = size * size
    across_w = spread(threads, weight_row, taps)
    weights = channels, outputs, taps, transposed
    x_floats, w_floats = stage * parts.pixel_floats(size), stage * taps * weight_row
    if 4 * (x_floats + w_floats) > device.SHARED_BYTES:
        raise ValueError(f"no room for filters of {size} x {size} in shared memory")

    @device.jit(threads, parts.resident)
    def convolve(x, w, b, y, gate, geometry):
        xs = aligned(cuda.shared.array(x_floats, types.float32))
        ws = aligned(cuda.shared.array(w_floats, types.float32))
        g, t = geometry_at(geometry), cuda.threadIdx.x
        i, j, map_tile = tile_of(t, lanes, places, across, rows, columns)
        n, top, left = rectangle_of(cuda.blockIdx.x, g.y, block_rows, block_columns)
        first_map = cuda.blockIdx.y * (map_tiles * maps)
        my_map = first_map + map_tile * maps

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
                        ws, (c * size + u) * size * weight_row + map_tile * padded, weight_row,
                    )  # fmt: skip

        if t % lanes < places and top + i < g.y.rows and left + j < g.y.columns:
            plane = g.y.height * g.y.pitch
            at = index_of(g.y, n * outputs + my_map, top + i, left + j)
            left_over = outputs - my_map
            store_tile(acc, maps, rows, columns, act, y, at, plane, g.y.pitch, left_over, gate)

    return convolve


def convolve(
    x: Planes,
    w: DeviceArray,
    b: DeviceArray,
    shape: Shape,
    y: Planes,
    *,
    row: int = 0,
    column: int = 0,
    gate: Planes | None = None,
) -> Planes:
    """Compute y = act(convolution of x); ``row`` and ``column`` as in :class:`blocks.Geometry`."""
    parts = blocking(shape, y.rows, y.columns, column % 4)
    grid = parts.rectangles(y), divide_up(shape.maps, parts.maps * parts.map_tiles)
    arrays = x.data, w, b, y.data, (gate or y).data, blocks.geometry(x, y, row, column)
    launch(kernel(shape, parts), grid, parts.threads, *arrays)
    return y


def layer(x: Planes, w: DeviceArray, b: DeviceArray, shape: Shape) -> Planes:
    """Compute the valid convolution: (N, C, H, W) -> (N, O, H-K+1, W-K+1)."""
    less = shape.size - 1
    return convolve(x, w, b, shape, allocate(x.n, shape.maps, x.rows - less, x.columns - less))


def input_gradient(
    dy: Planes,
    w: DeviceArray,
    b: DeviceArray,
    shape: Shape,
    dx: Planes,
    gate: Planes | None = None,
) -> Planes:
    """Compute dx of the layer of this ``shape``: the full correlation of dy with flipped filters.

    With ``gate`` (the layer's input, itself the output of a ReLU) it is 0 where that is not
    above 0: the gradient to what went into the ReLU.
    """
    act = tiles.LINEAR if gate is None else tiles.GATE
    back = Shape(shape.maps, shape.channels, shape.size, act, transposed=True)
    more = shape.size - 1
    return convolve(dy, w, b, back, dx, row=-more, column=-more, gate=gate)
