"""The first two layers of a network in one pass, as :mod:`npsrcnn.kernels.cuda.fused` has them,
but on tensor cores, in TF32.

Both layers are one product of matrices: weights (maps, taps) times pixels (taps, pixels), where a
tap's pixels are read from where they lie in shared memory. A block computes a rectangle, each of
its warps 8 x 8 pixels of all maps of the second layer; its sums stay in registers. It makes some
of the first layer's maps at a time in shared memory, rounded to TF32, and adds what they give to
the second. Weights come as fragments, from the cache that all blocks of a multiprocessor share:
every lane loads four at once, each of which it multiplies by 8 x 8 pixels.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np
from numba.core import types

from npsrcnn.kernels.cuda import device
from npsrcnn.kernels.cuda.device import cuda, up
from npsrcnn.kernels.cuda.fused import GROUPS, MAPS, Geometry, Pair, before, skew
from npsrcnn.kernels.cuda.launches import launch
from npsrcnn.kernels.cuda.planes import Planes, extent_at
from npsrcnn.kernels.cuda.shared import copy_pixels, pad_maps, spread
from npsrcnn.kernels.cuda.tensor_tiles import (
    FRAGMENT,
    LANES,
    ROUNDED,
    fragments,
    mma_tile,
    round_tile,
    store_mma_tile,
)
from npsrcnn.kernels.cuda.tiles import RELU, aligned, zero_tile

SIDE = 8
"""Pixels of a side of a warp's tile: the columns of a product of matrices, and how many."""
WARPS = 4
"""Of a block, side by side."""
HIDDEN = ((32, SIDE), (16, SIDE // 2))
"""First-layer maps in shared memory, and rows of 8 pixels that a warp makes of them at once."""

Arrays = tuple[object, object]  # a layer's weights and biases on the device


class Blocking(NamedTuple):
    """How the work is cut up."""

    hidden: int  # of the first layer, in shared memory
    deep: int  # rows of 8 pixels of a warp, in the first layer
    warps: int

    @property
    def threads(self) -> int:
        """Threads of a block."""
        return self.warps * LANES

    def resident(self, pair: Pair) -> int:
        """Blocks for which the registers of a multiprocessor suffice, by a thread's sums."""
        sums = self.hidden // 16 * self.deep * 4 + up(16, pair.n2) // 16 * SIDE * 4
        return 3 if sums <= 96 else 2

    def region(self, pair: Pair) -> tuple[int, int]:
        """Rows and columns of the first layer's maps that the rectangle needs, in whole tiles."""
        more = pair.f2 - 1
        return up(self.deep, SIDE + more), up(SIDE, SIDE * self.warps + more)

    def plane(self, pair: Pair) -> int:
        """Floats of a map in shared memory: 8 more than a multiple of 32, so that four maps lie
        in different banks."""
        rows, columns = self.region(pair)
        return up(32, rows * columns) + 8

    def pixels(self, pair: Pair) -> tuple[int, int]:
        """Rows and columns of the image in shared memory."""
        rows, columns = self.region(pair)
        return rows + pair.f1 - 1, up(4, skew(pair) + columns + pair.f1 - 1)

    def floats(self, pair: Pair) -> tuple[int, int, int]:
        """Of shared memory: the image, where its taps lie, first-layer maps."""
        lines, width = self.pixels(pair)
        return (
            pair.c * lines * width,
            up(8, pair.c * pair.f1**2),
            self.hidden * self.plane(pair),
        )


@functools.lru_cache(maxsize=64)
def blocking(pair: Pair) -> Blocking | None:
    """How to cut up the work; None where it does not fit a block."""
    if pair.n2 > GROUPS * MAPS:
        return None
    for hidden, deep in HIDDEN:
        parts = Blocking(min(hidden, up(16, pair.n1)), deep, WARPS)
        if 4 * sum(parts.floats(pair)) <= device.SHARED - 64:
            return parts
    return None


def pack(layers: list[tuple[np.ndarray, np.ndarray]], pair: Pair) -> list[Arrays]:
    """The two layers on the device, rounded to TF32, as the kernel takes them.

    Of the second, 8 first-layer maps come after 8 others, and of these one tap after the other.
    """
    (w1, b1), (w2, b2) = layers
    n1, n2 = up(blocking(pair).hidden, pair.n1), up(16, pair.n2)
    first, biases, second = np.zeros((pair.c * pair.f1**2, n1)), np.zeros(n1), np.zeros(n2)
    first[:, : pair.n1], biases[: pair.n1], second[: pair.n2] = w1.reshape(pair.n1, -1).T, b1, b2
    taps = np.zeros((n1 // 8, 8, pair.f2**2, pair.n2))
    taps.reshape(n1, -1)[: pair.n1] = w2.transpose(1, 2, 3, 0).reshape(pair.n1, -1)
    taps = taps.transpose(0, 2, 1, 3).reshape(-1, pair.n2)
    return [
        (cuda.to_device(fragments(w)), cuda.to_device(b.astype(np.float32)))
        for w, b in ((first, biases), (taps, second))
    ]


@functools.lru_cache(maxsize=64)
def kernel(pair: Pair, parts: Blocking):
    """The compiled kernel ``two_layers(x, w1, b1, w2, b2, y, geometry)``; grid: N x rectangles."""
    c_all, n1, f1, n2, f2, zeros = pair
    hidden, deep, warps = parts
    threads, tile_columns, plane = parts.threads, SIDE * warps, parts.plane(pair)
    rows, columns = parts.region(pair)
    lines, width = parts.pixels(pair)
    shift, reach, reach1 = skew(pair), before(f2), before(f1) + before(f2)
    all_hidden, tall_1, tall_2 = up(hidden, n1), hidden // 16, up(16, n2) // 16
    step_1, step_2 = all_hidden // 16 * FRAGMENT, tall_2 * FRAGMENT  # weights of 8 taps
    across = columns // SIDE
    items = rows // deep * across
    across_x = spread(threads, width // 4, lines)
    x_floats, taps, h_floats = parts.floats(pair)

    @device.jit(threads, parts.resident(pair))
    def two_layers(x, w1, b1, w2, b2, y, geometry):
        tap_at = cuda.shared.array(taps, types.int32)
        xs = aligned(cuda.shared.array(x_floats, types.float32))
        hs = aligned(cuda.shared.array(h_floats, types.float32))
        x_at, y_at = extent_at(geometry, 0), extent_at(geometry, 4)
        g = Geometry(x_at, y_at, geometry[8], geometry[9], geometry[10])
        t = cuda.threadIdx.x
        warp, lane = t // LANES, t % LANES
        group, member = lane // 4, lane % 4
        tiles_across = (g.y.columns + tile_columns - 1) // tile_columns
        rectangles = (g.y.rows + SIDE - 1) // SIDE * tiles_across
        n, rectangle = cuda.blockIdx.x // rectangles, cuda.blockIdx.x % rectangles
        top = rectangle // tiles_across * SIDE
        left = rectangle % tiles_across * tile_columns

        for k in range(t, taps, threads):  # those beyond the last have weights of 0
            c, u, v = k // (f1 * f1), k // f1 % f1, k % f1
            tap_at[k] = (c * lines + u) * width + v + shift if c < c_all else 0
        for c in range(c_all):
            copy_pixels(
                xs, (c * lines * width, lines, width // 4, 0), (t, *across_x), x, g.x,
                n * c_all + c, 1, g.shift + top - reach1, left - reach1 - shift, zeros,
            )  # fmt: skip
        cuda.syncthreads()
        for k in range(4 * t, x_floats, 4 * threads):
            round_tile(xs, k)
        acc = zero_tile(tall_2, SIDE, 4)
        for first in range(0, all_hidden, hidden):
            cuda.syncthreads()
            for item in range(warp, items, warps):
                r, q = item // across * deep, item % across * SIDE
                sums = zero_tile(tall_1, deep, 4)
                pixel = r * width + q + group
                w_at = first // 16 * FRAGMENT + 4 * lane
                for k in range(0, taps, 8):
                    sums = mma_tile(
                        sums, tall_1, deep, w1, w_at + k // 8 * step_1,
                        xs, pixel + tap_at[k + member], pixel + tap_at[k + member + 4], width,
                    )  # fmt: skip
                store_mma_tile(
                    sums, tall_1, deep, ROUNDED, b1, first + group,
                    hs, group * plane + r * columns + q + 2 * member, plane, columns, hidden,
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
            cuda.syncthreads()
            for m in range(0, hidden, 8):
                w_at = (first + m) // 8 * f2 * f2 * step_2 + 4 * lane
                for u in range(f2):
                    for v in range(f2):
                        pixel = (m + member) * plane + u * columns + v + warp * SIDE + group
                        acc = mma_tile(
                            acc, tall_2, SIDE, w2, w_at + (u * f2 + v) * step_2,
                            hs, pixel, pixel + 4 * plane, columns,
                        )  # fmt: skip

        column = left + warp * SIDE
        if column < g.y.columns:
            size = g.y.height * g.y.pitch
            at = (n * n2 + group) * size + top * g.y.pitch + column + 2 * member
            store_mma_tile(acc, tall_2, SIDE, RELU, b2, group, y, at, size, g.y.pitch, n2 - group)

    return two_layers


def two_layers(
    x: Planes, first: Arrays, second: Arrays, pair: Pair, y: Planes,
    *, shift: int, top: int, rows: int,
) -> Planes:  # fmt: skip
    """y = F2(F1(x)) for the rows of ``y``; see :class:`npsrcnn.kernels.cuda.fused.Geometry`."""
    parts = blocking(pair)
    rectangles = -(-y.rows // SIDE) * -(-y.columns // (SIDE * parts.warps))
    geometry = device.numbers(*x.extent, *y.extent, shift, top, rows)
    launch(
        kernel(pair, parts), x.n * rectangles, parts.threads,
        x.data, *first, *second, y.data, geometry,
    )  # fmt: skip
    return y
