"""Compute a layer of the training step by Winograd's method, F(4x4, KxK), in three passes.

N batch, C channels in, O channels out, H W height and width, K kernel size.

The output is y = A^T [(G g G^T) . V] A with V = B^T d B (:mod:`~npsrcnn.kernels.cpu.winograd`), the
product summed over channels. So the gradient to the filters is::

    G^T [sum over tiles and sub-images of M . V] G,    M = A dy A^T

from the same V; and the gradient to the input is a convolution of dy, zeros around it, with the
filters turned by half a turn, by the same method. All three take (K + 3)^2 products for 16 outputs,
which are sums over maps, of the forward tile and of the dot tile. Tiles side by side and the
sub-images of a group are the lanes.
"""

from __future__ import annotations

import numpy as np

from npsrcnn.kernels.cpu.tiles import (
    DOT_TAPS,
    LANES,
    LINEAR,
    ROWS,
    check_range,
    dot_tile,
    forward,
    forward_thin,
)
from npsrcnn.kernels.cpu.winograd import STEP, spread_output, transform_input, transform_output
from npsrcnn.runtime.jit import BOUNDSCHECK, helper, jit
from npsrcnn.runtime.threads import CACHE_LINE_FLOATS


@jit
def transform_filters(layer, start, parameters, weights, biases, common):
    """Write G g G^T of a layer's filters w (O, C, K, K) at ``parameters[start:]`` to ``weights``.

    Both as the passes read them, point by point: for FORWARD, and turned by half a turn, inputs
    and outputs exchanged, for BACKWARD. It is the forward tile again, its taps being those of the
    filters, and filters side by side the lanes.
    """
    zeros = common[0].zeros
    maps, channels, taps = layer.filters, layer.channels, layer.size * layer.size
    count = maps * channels
    points = (layer.size + STEP - 1) * (layer.size + STEP - 1)
    points = (points + ROWS - 1) // ROWS * ROWS
    ordered = np.empty(taps * count, np.float32)
    off = np.empty(taps, np.int64)
    for k in range(taps):
        off[k] = k * count
    for o in range(maps):
        for c in range(channels):
            place = o // ROWS * ROWS * channels + c * ROWS + o % ROWS
            w = start + (o * channels + c) * taps
            for k in range(taps):
                ordered[place + k * count] = parameters[w + k]
    forward(ordered, 0, off, taps, weights, layer.to_points, taps, biases, zeros,
            weights, layer.w, count, points, count, np.int64(LINEAR), weights, 0)  # fmt: skip
    for o in range(maps):
        for c in range(channels):
            place = c // ROWS * ROWS * maps + o * ROWS + c % ROWS
            w = start + (o * channels + c) * taps
            for k in range(taps):
                ordered[place + k * count] = parameters[w + taps - 1 - k]
    forward(ordered, 0, off, taps, weights, layer.to_points, taps, biases, zeros,
            weights, layer.back_w, count, points, count, np.int64(LINEAR), weights, 0)  # fmt: skip


@helper
def convolve(one, t, weights, biases, off, work, common):
    """Compute four rows of a convolution, those of the tiles ``t``: FORWARD or BACKWARD."""
    points, channels, maps = one.size + STEP - 1, one.channels, one.maps
    across = one.across * LANES
    by_point, by_sum = channels * across + CACHE_LINE_FLOATS, maps * across + CACHE_LINE_FLOATS
    by_line = STEP * maps * across + CACHE_LINE_FLOATS
    inputs = common.scratch  # (points, channels, across): one row of points
    sums = inputs + points * by_point  # (points, maps, across): the same, summed over channels
    lines = sums + points * by_sum  # (points, maps, 4 across): A^T over columns
    pixels = lines + points * by_line  # (4, maps, 4 across): ... and over rows
    line = pixels + STEP * STEP * maps * across
    for i in range(points):
        _row_of_points(one, False, i, t, t + 1, weights, biases, off, work, common, inputs, line)
        for c in range(channels):
            off[c] = c * across
        for j in range(points):
            forward(work, inputs + j * by_point, off, channels, weights,
                    one.filters + (i * points + j) * channels * maps, channels,
                    biases, common.zeros, work, sums + j * by_sum, across, maps, across,
                    np.int64(LINEAR), work, sums)  # fmt: skip
        for j in range(points):
            off[j] = j * by_sum
        transform_output(one.size, work, sums, LANES, off, work, lines + i * by_line,
                         STEP * LANES, LANES, maps * across)  # fmt: skip
    for i in range(points):
        off[i] = i * by_line
    length = maps * STEP * across
    transform_output(one.size, work, lines, LANES, off, work, pixels, LANES, length, length)
    for r in range(min(STEP, one.y_height - t * STEP)):
        place = (t * STEP + r) * one.y_line
        for m in range(maps):
            # One tap, of weight 1: what is left to do is the bias, and ReLU or its gate.
            off[0] = pixels + (r * maps + m) * STEP * across
            forward_thin(work, 0, off, np.int64(1), weights, common.constants, biases, one.bias + m,
                         work, one.y + place + m * one.y_pitch, one.y_width * LANES, one.act,
                         work, one.gate + place + m * one.y_pitch)  # fmt: skip


@helper
def _row_of_points(
    one, is_output, i, first, stop, weights, biases, off, work, common, target, line
):
    """Compute row ``i`` of the points of rows of tiles ``first`` to ``stop``, B^T d B or A dy A^T.

    They go to ``target``: (points, channels, tiles). Every row of points reads the map's rows anew.
    To transform them once, and keep the points of all tiles from FORWARD for the gradient to the
    filters, takes no longer on one thread; but on four it leaves the cache, and a step of 9-5-5 is
    1.4 times as fast as a direct one, not twice.
    """
    columns = (STEP * one.across + one.size - 1) * LANES
    left, length, across = one.margin * LANES, one.width * LANES, one.across * LANES
    by_map = (stop - first) * across
    by_point = one.channels * by_map + CACHE_LINE_FLOATS
    # Only the points 0 and infinity have the first coefficient of B^T, or the last; only those of A
    # have but one.
    is_last = i == one.size + STEP - 2
    if is_output:
        lo, hi = one.taps - 1 if is_last else 0, 1 if i == 0 else one.taps
    else:
        lo, hi = 0 if i == 0 else 1, one.taps if is_last else one.taps - 1
    for t in range(first, stop):
        # Rows above and below the map are zeros, and left out.
        top = t * STEP - one.margin
        skipped = lo if top + lo >= 0 else -top
        taps = (hi if top + hi <= one.height else one.height - top) - skipped
        for k in range(taps):
            off[k] = one.x + (top + skipped + k) * one.line
        for c in range(one.channels):
            here = line + c * columns
            _clear(work, here, columns if taps <= 0 else left)
            if taps > 0:
                forward_thin(work, c * one.pitch, off, taps,
                             weights, one.coefficients + i * one.taps + skipped,
                             biases, common.zeros, work, here + left, length, np.int64(LINEAR),
                             work, here + left)  # fmt: skip
                _clear(work, here + left + length, columns - left - length)
        for k in range(one.taps):
            off[k] = k * LANES
        for c in range(one.channels):
            there = target + c * by_map + (t - first) * across
            if is_output:
                spread_output(one.size, work, line + c * columns, STEP * LANES, off,
                              work, there, LANES, by_point, across)  # fmt: skip
            else:
                transform_input(one.size, work, line + c * columns, STEP * LANES, off,
                                work, there, LANES, by_point, across)  # fmt: skip


@helper
def _clear(work, start, count):
    for k in range(start, start + count):
        work[k] = np.float32(0)


@helper
def add_filter_grads(layer, inputs, outputs, weights, biases, off, work, common, total):
    """Add the gradients of a group to dw: ``inputs`` is the pass FORWARD, ``outputs`` SPREAD."""
    size, maps, channels = layer.size, outputs.channels, inputs.channels
    points, down = size + STEP - 1, outputs.down
    taps = (channels + DOT_TAPS - 1) // DOT_TAPS * DOT_TAPS
    tiles = down * outputs.across * LANES
    by_input, by_output = channels * tiles + CACHE_LINE_FLOATS, maps * tiles + CACHE_LINE_FLOATS
    length = (maps * taps + LANES - 1) // LANES * LANES
    products = common.scratch  # (points, points, maps, taps)
    v = products + points * points * length  # (points, channels, tiles)
    m = v + points * by_input  # (points, maps, tiles)
    line = m + points * by_output
    if BOUNDSCHECK:
        check_range(work.size, products, points * points * length)
        check_range(work.size, v, points * by_input)
        check_range(work.size, m, points * by_output)
    _clear(work, products, points * points * length)
    for i in range(points):
        _row_of_points(inputs, False, i, 0, down, weights, biases, off, work, common, v, line)
        _row_of_points(outputs, True, i, 0, down, weights, biases, off, work, common, m, line)
        for c in range(taps):
            off[c] = c * tiles if c < channels else 0
        for j in range(points):
            for o in range(0, maps, ROWS):
                for c in range(0, taps, DOT_TAPS):
                    dot_tile(ROWS, DOT_TAPS, work, m + j * by_output + o * tiles, tiles, 0,
                             work, v + j * by_input, off, c, 0, 1, tiles,
                             work, products + (i * points + j) * length + o * taps + c,
                             taps)  # fmt: skip
    for p in range(points * points):
        off[p] = p * length
    square = (size * size + ROWS - 1) // ROWS * ROWS
    grads = v  # (K * K, maps, taps)
    forward(work, products, off, points * points, weights, layer.to_taps, points * points,
            biases, common.zeros, work, grads, length, square, length, np.int64(LINEAR),
            work, grads)  # fmt: skip
    for o in range(maps):
        for c in range(channels):
            for k in range(size * size):
                there = layer.dw + o * layer.dot_taps + c * size * size + k
                total[there] += work[grads + k * length + o * taps + c]
