"""Run the first two layers of a network on whole images in one pass.

Their 64 maps between (531 MB for a frame of 1080 x 1920) never leave the chip. A block computes
a rectangle of the second layer's maps: it makes a few of the first layer's maps at a time in
shared memory, over the rectangle and what the second layer's filters reach around it, and adds
what they contribute to its sums, which stay in registers all along. Each pixel results from the
same operations in the same order wherever it lies in a rectangle.

Both layers keep the size of the image: before each, edges are replicated, or padded with zeros.
A first-layer map outside the image is therefore not computed, but copied from its edge, or 0.

c image channels, n1 n2 filters, f1 f2 their sizes, as in the paper.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import NamedTuple

from numba import types

from npsrcnn.kernels.cuda import blocks, device, tiles
from npsrcnn.kernels.cuda.blocks import geometry_at, rectangle_of, tile_of
from npsrcnn.kernels.cuda.device import DeviceLayer, Kernel, cuda, divide_up, even, round_up
from npsrcnn.kernels.cuda.launches import launch
from npsrcnn.kernels.cuda.planes import Planes, index_of
from npsrcnn.kernels.cuda.shared import copy_pixels, copy_weights, pad_maps, spread
from npsrcnn.kernels.cuda.tiles import RELU, aligned, bias_tile, convolution_tile, store_tile

ROWS, COLUMNS = 2, 4
"""Pixels of a thread, in both layers."""
MAPS, HIDDEN_MAPS = 8, 4
"""Most maps of a thread in the second layer, and its maps in the first: four, loaded at once."""
BLOCK_ROWS, BLOCK_COLUMNS = 8, 32
"""A block's rectangle: the 2 x 4 pixels of the 32 threads of a warp. Eight threads in a row read
32 floats that are neighbours, one from each of shared memory's banks."""
MAP_TILES = 8
"""Most warps of a block, each with its maps; so the second layer has 64 maps or fewer."""


class Pair(NamedTuple):
    """The two layers: n1 filters of f1 x f1 on c channels, n2 of f2 x f2."""

    c: int
    n1: int
    f1: int
    n2: int
    f2: int
    zeros: bool = False  # what lies outside image and maps: 0, or the nearest pixel


@dataclass(frozen=True)
class Blocking(blocks.Blocking):
    """How the work is cut up; ``maps`` and ``map_tiles`` are those of the second layer."""

    hidden_maps: int  # of the first layer, of a thread
    hidden: int  # of the first layer, in shared memory
    stage: int  # first-layer maps whose second-layer weights are in shared memory

    def region(self, pair: Pair) -> tuple[int, int]:
        """Return rows and columns of first-layer maps for the rectangle, in whole tiles."""
        more = pair.f2 - 1
        return round_up(ROWS, self.block_rows + more), round_up(COLUMNS, self.block_columns + more)

    def pixels(self, pair: Pair) -> tuple[int, int]:
        """Return rows and columns of the image in shared memory."""
        rows, columns = self.region(pair)
        return rows + pair.f1 - 1, tiles.row_floats(columns, COLUMNS, pair.f1, skew(pair))

    def floats(self, pair: Pair) -> tuple[int, int, int, int]:
        """Return floats of the image, first weights, first-layer maps, second weights."""
        (rows, columns), (lines, width) = self.region(pair), self.pixels(pair)
        return (
            pair.c * lines * width,
            pair.c * pair.f1**2 * round_up(4, self.hidden),
            self.hidden * rows * columns,
            self.stage * pair.f2**2 * self.weight_row,
        )


def reach_before(size: int) -> int:
    """Return how far a filter reaches up and left; down and right it reaches size // 2."""
    return (size - 1) // 2


def skew(pair: Pair) -> int:
    """Count the pixels from a multiple of four to the first that a rectangle's filters read."""
    return -(reach_before(pair.f1) + reach_before(pair.f2)) % 4


@functools.lru_cache(maxsize=64)
def blocking(pair: Pair) -> Blocking | None:
    """Choose how to cut up the work; None where it does not fit a block."""
    maps = even(pair.n2, MAPS)
    map_tiles = divide_up(pair.n2, maps)
    if map_tiles > MAP_TILES:
        return None
    tile, rectangle = (maps, ROWS, COLUMNS, map_tiles), (BLOCK_ROWS, BLOCK_COLUMNS)
    for hidden, stage in ((16, 16), (8, 8), (8, 4), (8, 2), (4, 2), (4, 1)):
        hidden, stage = min(hidden, round_up(4, pair.n1)), min(stage, round_up(4, pair.n1))
        resident = MAP_TILES // map_tiles
        parts = Blocking(*tile, *rectangle, resident, blocks.WARP, HIDDEN_MAPS, hidden, stage)
        if 4 * sum(parts.floats(pair)) <= device.SHARED_BYTES - 64:
            return parts
    return None


@functools.lru_cache(maxsize=64)
def kernel(pair: Pair, parts: Blocking) -> Kernel:
    """Compile ``two_layers(x, w1, b1, w2, b2, y, geometry)``; grid: N x rectangles."""
    c_all, n1, f1, n2, f2, zeros = pair
    block_rows, block_columns, maps = parts.block_rows, parts.block_columns, parts.maps
    hidden_maps, hidden, stage = parts.hidden_maps, parts.hidden, parts.stage
    places, lanes, threads, across = parts.places, parts.lanes, parts.threads, parts.across
    rows, columns = parts.region(pair)
    lines, width = parts.pixels(pair)
    shift, reach = skew(pair), reach_before(f2)
    hidden_across, hidden_places = columns // COLUMNS, (rows // ROWS) * (columns // COLUMNS)
    items = hidden_places * (hidden // hidden_maps)
    padded, w2_row, plane = round_up(4, maps), parts.weight_row, rows * columns
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
        g, t = geometry_at(geometry), cuda.threadIdx.x
        i, j, map_tile = tile_of(t, lanes, places, across, ROWS, COLUMNS)
        n, top, left = rectangle_of(cuda.blockIdx.x, g.y, block_rows, block_columns)
        my_map = map_tile * maps

        for c in range(c_all):
            copy_pixels(
                xs, (c * lines * width, lines, width // 4, 0), (t, *across_x), x, g.x,
                n * c_all + c, 1, g.row + top, g.column - shift + left, zeros,
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
                            w2s, (m * f2 + u) * f2 * w2_row + map_tile * padded, w2_row,
                        )  # fmt: skip

        if t % lanes < places and top + i < g.y.rows and left + j < g.y.columns:
            size, at = g.y.height * g.y.pitch, index_of(g.y, n * n2 + my_map, top + i, left + j)
            store_tile(acc, maps, ROWS, COLUMNS, RELU, y, at, size, g.y.pitch, n2 - my_map, y)

    return two_layers


def two_layers(
    x: Planes,
    first: DeviceLayer,
    second: DeviceLayer,
    pair: Pair,
    y: Planes,
    *,
    shift: int,
    top: int,
    rows: int,
) -> Planes:
    """Compute y = F2(F1(x)) for the rows of ``y``.

    Of an image of ``rows``, row 0 of ``y`` is row ``top``, which is row ``shift`` of ``x``.

    Raises
    ------
    ValueError
        :func:`blocking` finds no room for the layers.
    """
    parts = blocking(pair)
    if parts is None:
        raise ValueError(f"no room for {pair} in shared memory")
    reach = reach_before(pair.f1) + reach_before(pair.f2)
    geometry = blocks.geometry(x, y, shift - reach, -reach, top, rows)
    arrays = x.data, *first, *second, y.data, geometry
    launch(kernel(pair, parts), parts.rectangles(y), parts.threads, *arrays)
    return y
