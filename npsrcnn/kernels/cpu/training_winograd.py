"""Compute a layer of the training step by Winograd's method, F(MxM, KxK), in three passes.

N batch, C channels in, O channels out, H W height and width, K kernel size.

The output is y = A^T [(G g G^T) . V] A with V = B^T d B (:mod:`~npsrcnn.kernels.cpu.winograd`), the
product summed over channels. So the gradient to the filters is::

    G^T [sum over tiles and sub-images of M . V] G,    M = A dy A^T

from the same V; and the gradient to the input is a convolution of dy, zeros around it, with the
filters turned by half a turn, by the same method. All three take (K + M - 1)^2 products for M^2
outputs.
In outputs and gradients to inputs the sub-images of a group and a few tiles side by side are the
lanes; in gradients to filters the maps of dy are, which is turned for that, so that no lanes are
summed.

All passes take a few tiles at once, as many as a register tile has vectors, so that what they read
again stays in the second-level cache: of 64 channels, 5x5 filters and 16 lanes the points of three
tiles take 1.0 MB, those of all 25 tiles of a 33 x 33 sub-image 8.3 MB.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from npsrcnn.kernels.cpu.tiles import (
    LANES,
    LINEAR,
    ROWS,
    VECTORS,
    check_range,
    forward,
    outer_tile,
    tile_width,
    turn_tile,
)
from npsrcnn.kernels.cpu.training_plan import STEP
from npsrcnn.kernels.cpu.winograd import INPUT, OUTPUT, SPREAD, finish, transform
from npsrcnn.runtime.jit import BOUNDSCHECK, helper, jit
from npsrcnn.runtime.numba_inside import Dispatcher
from npsrcnn.runtime.threads import CACHE_LINE_FLOATS


def _by_size(kind: int) -> Dispatcher[Callable[..., None]]:
    """Return what calls :func:`~.winograd.transform` of filter size ``k``, its first argument."""
    of_3, of_5 = (transform(kind, k, STEP) for k in (3, 5))

    @helper
    def compute(k, x, ix, sx, off, out, io, so, ldo, n):
        if k == 3:
            of_3(x, ix, sx, off, out, io, so, ldo, n)
        else:
            of_5(x, ix, sx, off, out, io, so, ldo, n)

    return compute


transform_input, transform_output, spread_output = map(_by_size, (INPUT, OUTPUT, SPREAD))
_finish_3, _finish_5 = (finish(k, STEP) for k in (3, 5))


@helper
def finish_output(k, x, ix, off, bias, ib, out, io, n, act, gate, ig):
    """Call :func:`~.winograd.finish` of filter size ``k``."""
    if k == 3:
        _finish_3(x, ix, off, bias, ib, out, io, n, act, gate, ig)
    else:
        _finish_5(x, ix, off, bias, ib, out, io, n, act, gate, ig)


@jit
def transform_filters(backward, layer, start, parameters, weights, biases, common):
    """Write G g G^T of a layer's filters w (O, C, K, K) at ``parameters[start:]`` to ``weights``.

    As a pass reads them, point by point: for FORWARD, or, turned by half a turn, inputs and outputs
    exchanged, for BACKWARD. It is the forward tile again, its taps being those of the filters, and
    filters side by side the lanes.
    """
    zeros = common[0].zeros
    taps, count = layer.size * layer.size, layer.filters * layer.channels
    points = (layer.size + STEP - 1) * (layer.size + STEP - 1)
    points = (points + ROWS - 1) // ROWS * ROWS
    ordered = np.empty(taps * count, np.float32)
    off = np.empty(taps, np.int64)
    for k in range(taps):
        off[k] = k * count
        tap = start + (taps - 1 - k if backward else k)
        for o in range(layer.filters):
            for c in range(layer.channels):
                m, other, others = (c, o, layer.filters) if backward else (o, c, layer.channels)
                place = off[k] + m // ROWS * ROWS * others + other * ROWS + m % ROWS
                ordered[place] = parameters[tap + (o * layer.channels + c) * taps]
    target = layer.back_w if backward else layer.w
    forward(ordered, 0, off, taps, weights, layer.to_points, taps, biases, zeros,
            weights, target, count, points, count, np.int64(LINEAR), weights, 0)  # fmt: skip


@helper
def convolve(one, t, weights, biases, off, work, common):
    """Compute the rows of a convolution of the tiles ``t``: FORWARD or BACKWARD."""
    channels, maps, points = one.channels, one.maps, one.size + STEP - 1
    x = 0
    while x < one.across:
        tiles = tile_width((one.across - x) * LANES)
        n = tiles * LANES
        by_channel, by_sum = points * points * n + CACHE_LINE_FLOATS, maps * n + CACHE_LINE_FLOATS
        by_line = STEP * maps * n + CACHE_LINE_FLOATS
        inputs = common.scratch  # (channels, points, points, n)
        sums = inputs + channels * by_channel  # (points, maps, n): a row, summed over channels
        lines = sums + points * by_sum  # (points, maps, M n): A^T over columns
        _transform(one, t, x, tiles, off, work, common, lines + points * by_line, inputs)
        for i in range(points):
            for c in range(channels):
                off[c] = c * by_channel
            for j in range(points):
                forward(work, inputs + (i * points + j) * n, off, channels, weights,
                        one.filters + (i * points + j) * channels * maps, channels,
                        biases, common.zeros, work, sums + j * by_sum, n, maps, n,
                        np.int64(LINEAR), work, sums)  # fmt: skip
            for j in range(points):
                off[j] = j * by_sum
            transform_output(one.size, work, sums, LANES, off, work, lines + i * by_line,
                             STEP * LANES, LANES, maps * n)  # fmt: skip
        for i in range(points):
            off[i] = i * by_line
        for r in range(STEP):
            off[points + r] = r * one.y_line
        column, width = STEP * x * LANES, min(STEP * n, (one.y_width - STEP * x) * LANES)
        y = one.y + STEP * t * one.y_line + column
        for m in range(maps):
            finish_output(one.size, work, lines + m * STEP * n, off, biases, one.bias + m,
                          work, y + m * one.y_pitch, width, one.act,
                          work, y + m * one.y_pitch)  # fmt: skip
        x += tiles


@helper
def _transform(one, t, x, tiles, off, work, common, lines, target):
    """Compute V = B^T d B of tiles ``x`` to ``x + tiles`` of a row of tiles ``t``.

    It goes to ``target``: (channels, points, points, tiles), a channel after the other, because to
    write the points of each to 64 places costs up to 4% of a step of 9-5-5. Beyond the edges
    of the map are zeros.
    """
    points, n = one.size + STEP - 1, tiles * LANES
    columns = STEP * tiles + one.size - 1
    by_line = columns * LANES + CACHE_LINE_FLOATS  # of one channel: B^T over rows
    by_channel = points * points * n + CACHE_LINE_FLOATS
    top, left = STEP * t - one.margin, STEP * x - one.margin
    start, stop = max(0, -left), min(columns, one.width - left)
    for j in range(points):
        off[points + j] = lines + j * LANES
    for i in range(points):  # the same for all channels
        _clear(work, lines + i * by_line, start * LANES)
        _clear(work, lines + i * by_line + stop * LANES, (columns - stop) * LANES)
    for c in range(one.channels):
        for i in range(points):
            row = one.x + (top + i) * one.line + c * one.pitch + (left + start) * LANES
            off[i] = row if 0 <= top + i < one.height else common.blank
        transform_input(one.size, work, 0, LANES, off, work, lines + start * LANES, LANES, by_line,
                        (stop - start) * LANES)  # fmt: skip
        for i in range(points):
            there = target + c * by_channel + i * points * n
            transform_input(one.size, work, i * by_line, STEP * LANES, off[points:],
                            work, there, LANES, n, n)  # fmt: skip


@helper
def _clear(work, start, count):
    for k in range(start, start + count):
        work[k] = np.float32(0)


@helper
def add_filter_grads(layer, one, weights, biases, off, work, common, total):
    """Add the gradients of a group to dw; ``one`` is the layer's pass FORWARD."""
    size, channels = layer.size, layer.channels
    points = size + STEP - 1
    maps = (layer.maps + LANES - 1) // LANES * LANES
    by_product = channels * maps + CACHE_LINE_FLOATS
    products = common.scratch  # (points, points, channels, maps)
    free = products + points * points * by_product
    _clear(work, products, points * points * by_product)
    for t in range(one.down):
        x = 0
        while x < one.across:
            tiles = tile_width((one.across - x) * LANES)
            _add_products(layer, one, t, x, tiles, off, work, common, products, free)
            x += tiles
    for p in range(points * points):
        off[p] = p * by_product
    square, length = (size * size + ROWS - 1) // ROWS * ROWS, channels * maps
    grads = free  # (K * K, channels, maps)
    if BOUNDSCHECK:
        check_range(work.size, grads, square * length)
    forward(work, products, off, points * points, weights, layer.to_taps, points * points,
            biases, common.zeros, work, grads, length, square, length, np.int64(LINEAR),
            work, grads)  # fmt: skip
    sums = total[layer.dw : layer.dw + size * size * length]
    addends = work[grads : grads + size * size * length]
    for i in range(len(sums)):
        sums[i] += addends[i]


@helper
def _add_products(layer, one, t, x, tiles, off, work, common, products, free):
    """Add M . V of tiles ``x`` to ``x + tiles`` of a row of tiles ``t``, summed over sub-images."""
    channels, n = layer.channels, tiles * LANES
    points = layer.size + STEP - 1
    maps = (layer.maps + LANES - 1) // LANES * LANES
    pixel = LANES * maps  # of all sub-images, the maps innermost
    by_channel = points * points * n + CACHE_LINE_FLOATS
    by_output = tiles * pixel + CACHE_LINE_FLOATS
    by_line = STEP * tiles * pixel + CACHE_LINE_FLOATS
    by_product = channels * maps + CACHE_LINE_FLOATS
    v = free  # (channels, points, points, n)
    m = v + channels * by_channel  # (points, tiles, pixel): one row of points of dy
    turned = m + points * by_output  # (M, pixel): a column of dy
    lines = turned + STEP * pixel  # (points, M tiles, pixel): A over rows
    if BOUNDSCHECK:
        check_range(work.size, lines, points * by_line)
    _transform(one, t, x, tiles, off, work, common, lines, v)
    for p in range(STEP):
        off[p] = p * pixel
    for p in range(STEP * tiles):
        for r in range(STEP):
            for o in range(0, maps, LANES):
                turn(layer, STEP * t + r, STEP * x + p, o, work, turned + r * pixel + o, maps)
        spread_output(layer.size, work, turned, LANES, off, work, lines + p * pixel, LANES,
                      by_line, pixel)  # fmt: skip
    for i in range(points):
        for k in range(tiles):
            spread_output(layer.size, work, lines + i * by_line + k * STEP * pixel, LANES, off,
                          work, m + k * pixel, LANES, by_output, pixel)  # fmt: skip
        for j in range(points):
            sums = products + (i * points + j) * by_product
            inputs = v + (i * points + j) * n
            for c in range(0, channels, ROWS):
                _add_outer(work, inputs + c * by_channel, by_channel, m + j * by_output, maps, n,
                           sums + c * maps, maps)  # fmt: skip


@helper
def _add_outer(work, a, lda, x, ldx, n, out, maps):
    """Add to out[c, j] the sum over k < n of a[c, k] * x[k, j], c < ROWS, j < maps."""
    o = 0
    while o < maps:
        vectors = tile_width(maps - o)
        if vectors == VECTORS:
            outer_tile(ROWS, VECTORS, work, a, lda, work, x + o, ldx, n, work, out + o, maps)
        elif vectors == 2:
            outer_tile(ROWS, 2, work, a, lda, work, x + o, ldx, n, work, out + o, maps)
        else:
            outer_tile(ROWS, 1, work, a, lda, work, x + o, ldx, n, work, out + o, maps)
        o += vectors * LANES


@helper
def turn(layer, row, column, m, work, target, ldo):
    """Write dz of LANES maps from ``m`` on of a pixel, maps innermost: zeros beyond its edges.

    Past the last map is what follows in memory, in lanes that nobody reads.
    """
    if row < layer.height and column < layer.width:
        dz = layer.z + row % layer.kept * layer.line + m * layer.pitch + column * LANES
        if BOUNDSCHECK:
            check_range(work.size, dz, (LANES - 1) * layer.pitch + LANES)
        turn_tile(LANES, 1, work, dz, layer.pitch, work, target, ldo)
    else:
        for i in range(LANES):
            _clear(work, target + i * ldo, LANES)
