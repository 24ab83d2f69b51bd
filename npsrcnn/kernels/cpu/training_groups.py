"""Compute a 9x9 first layer of the training step in groups of F(MxM, 3x3), and its gradients.

N batch, C channels in, O channels out, K kernel size.

As in inference (:mod:`~npsrcnn.kernels.cpu.winograd`) filters are cut into groups of 3 x 3. Those
of all channels are the taps, which are summed point by point before they are transformed back::

    y = A^T [sum over taps of (G g G^T) . V] A,    V = B^T d B
    dg = G^T [sum over tiles and sub-images of M . V] G,    M = A dy A^T

Both take 49 products of a tap for 25 outputs, where direct convolution takes 9 * 25. In the first
the sub-images of a group of the batch are the lanes. In the second maps are, so that a sum over
tiles and sub-images needs no sum over lanes; for that dy is turned, a column of a tile at a time,
which is 10 kB. With M = 4 a step of 9-1-5 took 0.84 of the time of direct convolution (one thread;
two 0.85), of 9-5-5 0.96 (AMD Zen 4, AVX-512). M = 5 takes 0.86 of the time of M = 4 (two threads
0.90), of 9-5-5 0.97 (Intel Emerald Rapids).
"""

from __future__ import annotations

import numpy as np

from npsrcnn.kernels.cpu.tiles import LANES, LINEAR, check_range, forward, outer_tile
from npsrcnn.kernels.cpu.training_plan import (
    GROUP_POINTS,
    GROUPS,
    OUTER_VECTORS,
    STEP,
    TAPS,
)
from npsrcnn.kernels.cpu.training_winograd import turn
from npsrcnn.kernels.cpu.winograd import GROUP, INPUT, SPREAD, groups_of, transform
from npsrcnn.runtime.jit import BOUNDSCHECK, helper
from npsrcnn.runtime.threads import CACHE_LINE_FLOATS

POINTS = GROUP_POINTS
forward_groups = groups_of(STEP)
transform_input, spread_output = (transform(kind, GROUP, STEP) for kind in (INPUT, SPREAD))


@helper
def convolve_groups(source, layer, t, weights, biases, off, work, common):
    """Compute the rows of the first layer that the tiles ``t`` are, and ReLU."""
    points, by_point = _points(source, layer, t, off, work, common)
    n, taps = layer.across * LANES, TAPS * layer.channels
    for k in range(taps):
        off[k] = k * n
    for r in range(STEP):
        off[taps + r] = r * layer.line
    z = layer.z + STEP * t % layer.kept * layer.line
    forward_groups(work, points, by_point, off, taps, weights, layer.w, biases, layer.b, work, z,
                   layer.pitch, STEP * LANES, LANES, layer.maps, n)  # fmt: skip


@helper
def _points(source, layer, t, off, work, common):
    """Compute V of the tiles ``t``; return its place, and how far points lie from each other."""
    n = layer.across * LANES
    by_row, by_point = source.line + CACHE_LINE_FLOATS, TAPS * layer.channels * n
    by_point += CACHE_LINE_FLOATS
    lines = common.scratch  # (POINTS, channels, columns): B^T over rows
    points = lines + POINTS * by_row  # (POINTS, POINTS, taps, tiles): and over columns
    for a in range(GROUPS):
        for i in range(POINTS):
            off[i] = source.z + (STEP * t + GROUP * a + i) * source.line
        transform_input(work, 0, LANES, off, work, lines, LANES, by_row, source.line)
        for b in range(GROUPS):
            for j in range(POINTS):
                off[j] = (GROUP * b + j) * LANES
            for c in range(layer.channels):
                there = points + ((c * GROUPS + a) * GROUPS + b) * n
                for i in range(POINTS):
                    transform_input(work, lines + i * by_row + c * source.pitch,
                                    STEP * LANES, off, work, there + POINTS * i * by_point, LANES,
                                    by_point, n)  # fmt: skip
    return points, by_point


@helper
def clear_products(layer, work, common):
    """Begin the sums of a group of sub-images."""
    for k in range((POINTS * POINTS * TAPS * layer.channels + 1) * layer.maps):
        work[common.products + k] = np.float32(0)


@helper
def add_products(source, layer, t, off, work, common):
    """Add M . V of the tiles ``t`` to the sums, (POINTS, POINTS, taps, maps).

    After them follow those of M at the point (1, 1), (maps,): of dy itself, which is db.
    """
    n, taps = layer.across * LANES, TAPS * layer.channels
    pixel = LANES * layer.at_once  # of all sub-images of a group, maps innermost
    row = STEP * pixel
    points, by_point = _points(source, layer, t, off, work, common)
    turned = points + POINTS * POINTS * by_point  # (M, sub-images, maps at once): a column of dy
    lines = turned + row  # (POINTS, M, ...): A over rows, of a tile
    spread = lines + POINTS * (row + CACHE_LINE_FLOATS)  # (POINTS, ...): and over columns
    length = taps * layer.maps
    if BOUNDSCHECK:
        check_range(work.size, points, POINTS * POINTS * by_point)
        check_range(work.size, spread, POINTS * pixel)
        check_range(work.size, common.products, POINTS * POINTS * length + layer.maps)
    for m in range(0, layer.maps, layer.at_once):
        for x in range(layer.across):
            for p in range(STEP):
                off[p] = p * pixel
            for p in range(STEP):
                for r in range(STEP):
                    for o in range(0, layer.at_once, LANES):
                        turn(layer, STEP * t + r, STEP * x + p, m + o, work,
                             turned + r * pixel + o, layer.at_once)  # fmt: skip
                spread_output(work, turned, LANES, off, work, lines + p * pixel, LANES,
                              row + CACHE_LINE_FLOATS, pixel)  # fmt: skip
            for i in range(POINTS):
                line = lines + i * (row + CACHE_LINE_FLOATS)
                spread_output(work, line, LANES, off, work, spread, LANES, pixel,
                              pixel)  # fmt: skip
                if i == 1:
                    dy, out = spread + pixel, common.products + POINTS * POINTS * length + m
                    if layer.at_once == LANES:
                        outer_tile(1, 1, work, common.ones, 0, work, dy, LANES, LANES,
                                   work, out, 0)  # fmt: skip
                    else:
                        outer_tile(1, OUTER_VECTORS, work, common.ones, 0, work, dy,
                                   layer.at_once, LANES, work, out, 0)  # fmt: skip
                for j in range(POINTS):
                    seen = points + (i * POINTS + j) * by_point + x * LANES
                    sums = common.products + (i * POINTS + j) * length + m
                    for k in range(0, taps, TAPS):
                        v, dy, out = seen + k * n, spread + j * pixel, sums + k * layer.maps
                        if layer.at_once == LANES:
                            outer_tile(TAPS, 1, work, v, n, work, dy, LANES, LANES,
                                       work, out, layer.maps)  # fmt: skip
                        else:
                            outer_tile(TAPS, OUTER_VECTORS, work, v, n, work, dy, layer.at_once,
                                       LANES, work, out, layer.maps)  # fmt: skip


@helper
def add_group_grads(layer, weights, biases, off, work, common, total):
    """Add G^T of the sums of a group of sub-images to dw, and those of dy to db."""
    taps, size = TAPS * layer.channels, layer.size
    length = taps * layer.maps
    for p in range(POINTS * POINTS):
        off[p] = p * length
    grads = common.scratch  # (GROUP * GROUP, in whole tiles, taps, maps)
    forward(work, common.products, off, POINTS * POINTS, weights, layer.to_taps, POINTS * POINTS,
            biases, common.zeros, work, grads, length, layer.group_rows, length, np.int64(LINEAR),
            work, grads)  # fmt: skip
    for k in range(taps):
        row, column = k // GROUPS % GROUPS * GROUP, k % GROUPS * GROUP
        for u in range(GROUP):
            for v in range(GROUP):
                there = layer.dw + (k // TAPS * size + row + u) * size + column + v
                here = grads + (u * GROUP + v) * length + k * layer.maps
                for o in range(layer.filters):
                    total[there + o * layer.dot_taps] += work[here + o]
    for o in range(layer.filters):
        total[layer.db + o] += work[common.products + POINTS * POINTS * length + o]
