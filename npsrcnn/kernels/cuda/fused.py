"""The first two layers of a network on whole images, in one pass.

Their 64 maps between (531 MB for a frame of 1080 x 1920) never leave the chip. A block computes
a rectangle of the second layer's maps: it makes a few of the first layer's maps at a time in
shared memory, over the rectangle and what the second layer's filters reach around it, and adds
what they contribute to its sums, which stay in registers all along. Each pixel results from the
same operations in the same order wherever it lies in a rectangle.

Both layers keep the size of the image: before each, edges are replicated, or padded with zeros.
A first-layer map outside the image is therefore not computed, but copied from its edge, or 0.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

from numba.core import types

from npsrcnn.kernels.cuda import device, tiles
from npsrcnn.kernels.cuda.convolution import WARP, even
from npsrcnn.kernels.cuda.device import cuda, up
from npsrcnn.kernels.cuda.launches import launch
from npsrcnn.kernels.cuda.planes import Extent, Planes, extent_at
from npsrcnn.kernels.cuda.shared import copy_pixels, copy_weights, pad_maps, spread
from npsrcnn.kernels.cuda.tiles import RELU, aligned, bias_tile, convolution_tile, store_tile

ROWS, COLUMNS = 2, 4
"""Pixels of a thread, in both layers."""
MAPS, HIDDEN_MAPS = 8, 4
"""Most maps of a thread in the second layer, and its maps in the first: four, loaded at once."""
TILE_ROWS, TILE_COLUMNS = 8, 32
"""A block's rectangle: the 2 x 4 pixels of the 32 threads of a warp. Eight threads in a row read
32 floats that are neighbours, one from each of shared memory's banks."""
GROUPS = 8
"""Most warps of a block, each with its maps; so the second layer has 64 maps or fewer."""


class Pair(NamedTuple):
    """The two layers: n1 filters of f1 x f1 on c channels, n2 of f2 x f2."""

    c: int
    n1: int
    f1: int
    n2: int
    f2: int
    zeros: bool = False  # what lies outside image and maps: 0, or the nearest pixel


class Blocking(NamedTuple):
    """How the work is cut up."""

    maps: int  # of the second layer, of a thread
    groups: int  # times ``maps``: all of them
    hidden_maps: int  # of the first layer, of a thread
    hidden: int  # of the first layer, in shared memory
    stage: int  # first-layer maps whose second-layer weights are in shared memory
    tile_rows: int  # of the rectangle
    tile_columns: int
    resident: int  # blocks for which the registers of a multiprocessor suffice
    warp: int

    @property
    def lanes(self) -> int:
        """Threads over pixels."""
        return up(self.warp, (self.tile_rows // ROWS) * (self.tile_columns // COLUMNS))

    @property
    def threads(self) -> int:
        """Threads of a block."""
        return self.lanes * self.groups

    def region(self, pair: Pair) -> tuple[int, int]:
        """Rows and columns of the first layer's maps that the rectangle needs, in whole tiles."""
        more = pair.f2 - 1
        return up(ROWS, self.tile_rows + more), up(COLUMNS, self.tile_columns + more)

    def pixels(self, pair: Pair) -> tuple[int, int]:
        """Rows and columns of the image in shared memory."""
        rows, columns = self.region(pair)
        width = columns - COLUMNS + tiles.window(COLUMNS, pair.f1, skew(pair))
        return rows + pair.f1 - 1, width

    def floats(self, pair: Pair) -> tuple[int, int, int, int]:
        """Of shared memory: the image, first weights, first-layer maps, second weights."""
        (rows, columns), (lines, width) = self.region(pair), self.pixels(pair)
        return (
            pair.c * lines * width,
            pair.c * pair.f1**2 * up(4, self.hidden),
            self.hidden * rows * columns,
            self.stage * pair.f2**2 * self.groups * up(4, self.maps),
        )


class Geometry(NamedTuple):
    """Where the pixels are; known only when a kernel runs, and in an array of these numbers.

    Of an image cut into strips, ``x`` and ``y`` are parts: row 0 of ``y`` is row ``top`` of the
    image, and row ``shift`` of ``x`` (less, by what the filters reach, or more).
    """

    x: Extent
    y: Extent
    shift: int
    top: int
    rows: int  # of the image


def before(size: int) -> int:
    """Pixels that a filter reaches up and left; down and right it reaches size // 2."""
    return (size - 1) // 2


def skew(pair: Pair) -> int:
    """Pixels from a multiple of four to the first that a rectangle's first filter reads."""
    return -(before(pair.f1) + before(pair.f2)) % 4


@functools.lru_cache(maxsize=64)
def blocking(pair: Pair) -> Blocking | None:
    """How to cut up the work; None where it does not fit a block."""
    maps = even(pair.n2, MAPS)
    groups = -(-pair.n2 // maps)
    if groups > GROUPS:
        return None
    for hidden, stage in ((16, 16), (8, 8), (8, 4), (8, 2), (4, 2), (4, 1)):
        hidden, stage = min(hidden, up(4, pair.n1)), min(stage, up(4, pair.n1))
        resident = GROUPS // groups
        parts = Blocking(
            maps, groups, HIDDEN_MAPS, hidden, stage, TILE_ROWS, TILE_COLUMNS, resident, WARP
        )
        if 4 * sum(parts.floats(pair)) <= device.SHARED - 64:
            return parts
    return None


@functools.lru_cache(maxsize=64)
def kernel(pair: Pair, parts: Blocking):
    """The compiled kernel ``two_layers(x, w1, b1, w2, b2, y, geometry)``; grid: N x rectangles."""
    c_all, n1, f1, n2, f2, zeros = pair
    maps, groups, hidden_maps, hidden, stage, tile_rows, tile_columns, *_ = parts
    lanes, threads, across = parts.lanes, parts.threads, tile_columns // COLUMNS
    places = tile_rows // ROWS * across
    rows, columns = parts.region(pair)
    lines, width = parts.pixels(pair)
    shift, reach, reach1 = skew(pair), before(f2), before(f1) + before(f2)
    hidden_across, hidden_places = columns // COLUMNS, (rows // ROWS) * (columns // COLUMNS)
    items = hidden_places * (hidden // hidden_maps)
    padded, w2_row, plane = up(4, maps), groups * up(4, maps), rows * columns
    weights_1, weights_2 = (c_all, n1, f1 * f1, False), (n1, n2, f2 * f2, False)
    across_x = spread(threads, width // 4, lines)
    across_1, across_2 = spread(threads, hidden, f1 * f1), spread(threads, w2_row, f2 * f2)
    x_floats, w1_floats, h_floats, w2_floats = parts.floats(pair)

    @device.jit(threads, parts.resident)
    def two_layers(x, w1, b1, w2, b2, y, geometry):
        xs = aligned(cuda.shared.array(x_floats, types.float32))
        w1s = aligned(cuda.shared.array(w1_floats, types.float32))
        hs = aligned(cuda.shared.array(h_floats, types.float32))
        w2s = aligned(cuda.shared.array(w2_floats, types.float32))
        x_at, y_at = extent_at(geometry, 0), extent_at(geometry, 4)
        g = Geometry(x_at, y_at, geometry[8], geometry[9], geometry[10])
        t = cuda.threadIdx.x
        place, group = t % lanes, t // lanes
        if place >= places:  # threads to fill the warp: they help, and store nothing
            place = 0
        i, j = place // across * ROWS, place % across * COLUMNS
        tiles_across = (g.y.columns + tile_columns - 1) // tile_columns
        rectangles = (g.y.rows + tile_rows - 1) // tile_rows * tiles_across
        n, rectangle = cuda.blockIdx.x // rectangles, cuda.blockIdx.x % rectangles
        top = rectangle // tiles_across * tile_rows
        left = rectangle % tiles_across * tile_columns
        my_map = group * maps

        for c in range(c_all):
            copy_pixels(
                xs, (c * lines * width, lines, width // 4, 0), (t, *across_x), x, g.x,
                n * c_all + c, 1, g.shift + top - reach1, left - reach1 - shift, zeros,
            )  # fmt: skip
        acc = bias_tile(maps, ROWS, COLUMNS, b2, my_map, n2 - my_map)
        for first in range(0, n1, hidden):
            cuda.syncthreads()
            copy_weights(w1s, hidden, hidden, (t, *across_1), w1, weights_1, 0, c_all, first)
            cuda.syncthreads()
            for item in range(t, items, threads):
                spot, o = item % hidden_places, item // hidden_places * hidden_maps
                r, q = spot // hidden_across * ROWS, spot % hidden_across * COLUMNS
                sums = bias_tile(hidden_maps, ROWS, COLUMNS, b1, first + o, n1 - first - o)
                for c in range(c_all):
                    for u in range(f1):
                        sums = convolution_tile(
                            sums, hidden_maps, ROWS, COLUMNS, 1, f1, shift,
                            xs, (c * lines + r + u) * width + q, width,
                            w1s, (c * f1 + u) * f1 * hidden + o, hidden,
                        )  # fmt: skip
                at = o * plane + r * columns + q
                store_tile(
                    sums, hidden_maps, ROWS, COLUMNS, RELU, hs, at, plane, columns,
                    hidden_maps, hs,
                )  # fmt: skip
            row, column = g.top + top - reach, left - reach  # of the region, in the image
            if f2 > 1 and (
                row < 0 or column < 0 or row + rows > g.rows or column + columns > g.y.columns
            ):
                cuda.syncthreads()
                pad_maps(
                    hs, threads, t, hidden, plane, columns, (row, column), (g.rows, g.y.columns),
                    zeros,
                )  # fmt: skip
            for staged in range(0, hidden, stage):
                cuda.syncthreads()
                m, more = first + staged, n1 - first - staged
                more = more if more < stage else stage
                copy_weights(w2s, w2_row, maps, (t, *across_2), w2, weights_2, m, more, 0)
                cuda.syncthreads()
                for m in range(more):
                    for u in range(f2):
                        acc = convolution_tile(
                            acc, maps, ROWS, COLUMNS, 1, f2, 0,
                            hs, (staged + m) * plane + (i + u) * columns + j, columns,
                            w2s, (m * f2 + u) * f2 * w2_row + group * padded, w2_row,
                        )  # fmt: skip

        if t % lanes < places and top + i < g.y.rows and left + j < g.y.columns:
            size = g.y.height * g.y.pitch
            at = (n * n2 + my_map) * size + (top + i) * g.y.pitch + left + j
            store_tile(acc, maps, ROWS, COLUMNS, RELU, y, at, size, g.y.pitch, n2 - my_map, y)

    return two_layers


def two_layers(
    x: Planes,
    first: tuple[object, object],
    second: tuple[object, object],
    pair: Pair,
    y: Planes,
    *,
    shift: int,
    top: int,
    rows: int,
) -> Planes:
    """y = F2(F1(x)) for the rows of ``y``; see :class:`Geometry`."""
    parts = blocking(pair)
    rectangles = -(-y.rows // parts.tile_rows) * -(-y.columns // parts.tile_columns)
    geometry = device.numbers(*x.extent, *y.extent, shift, top, rows)
    launch(
        kernel(pair, parts), x.n * rectangles, parts.threads,
        x.data, *first, *second, y.data, geometry,
    )  # fmt: skip
    return y
