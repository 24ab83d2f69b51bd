"""Fill the shared memory of a block: with pixels, four floats at a time, and with weights.

Each thread copies the same place of one map after the other, so that what depends on the place
(where an image ends, which rows lie outside) is worked out once.
"""

from __future__ import annotations

import numpy as np

from npsrcnn.kernels.cuda.device import inline
from npsrcnn.kernels.cuda.tiles import copy_tile


def spread(threads: int, *extents: int) -> tuple[int, ...]:
    """Return how many of ``threads`` go along each extent, and how often that repeats."""
    result = []
    for extent in extents:
        result.append(min(threads, extent))
        threads //= result[-1]
    return (*result, max(1, threads))


@inline
def nearest(i, count):
    """Return the number below ``count``, and not below 0, that is nearest to ``i``."""
    return 0 if i < 0 else (i if i < count else count - 1)


@inline
def copy_pixels(shared, to, abreast, x, extent, plane, count, row, column, zeros):
    """Copy a rectangle of ``count`` maps of ``x``, from map ``plane`` on, to ``shared``.

    ``to``: from where on, ``lines`` rows of ``fours`` times four floats, and how many floats
    from one map to the next. They come from (row, column) of a map on, where ``column`` is a
    multiple of four; outside the map lies 0 with ``zeros``, else the nearest pixel.
    ``abreast`` is the thread, then ``spread(threads, fours, lines)``: a thread copies four floats
    of the same place in one map after the other.
    """
    (at, lines, fours, step), (t, across, down, deep) = to, abreast
    size = extent.height * extent.pitch
    zero = np.float32(0)
    for k in range(t % across, fours, across):
        j = column + 4 * k
        valid = extent.columns - j if j >= 0 else 0
        edge = extent.columns - 1 if j >= 0 else 0
        source = j if j >= 0 and j < extent.pitch else 0
        for line in range(t // across % down, lines, down):
            i = row + line
            near = nearest(i, extent.rows)
            live = 0 if zeros and i != near else valid
            start = plane * size + near * extent.pitch
            place = at + (line * fours + k) * 4
            for c in range(t // (across * down), count, deep):
                fill = zero
                if valid < 4 and not zeros:
                    fill = x[start + c * size + edge]
                source_c = start + c * size + source
                copy_tile(4, x, source_c, live, fill, shared, place + c * step)


@inline
def copy_weights(shared, row, maps, abreast, w, shape, channel, count, first_map):
    """Copy the weights of ``count`` channels from ``channel`` on to ``shared``, tap after tap.

    A tap takes ``row`` floats: the weights of as many maps from ``first_map`` on, in groups of
    ``maps``, each group in a multiple of four floats. ``shape`` is what the weights are:
    (channels, maps, taps, transposed); see :class:`npsrcnn.kernels.cuda.convolution.Shape`.
    ``abreast`` is the thread, then ``spread(threads, row, taps)``.
    """
    channels, outputs, taps, transposed = shape
    t, across, down, deep = abreast
    padded = (maps + 3) // 4 * 4
    for k in range(t % across, row, across):
        o = first_map + k // padded * maps + k % padded
        valid = 1 if k % padded < maps and o < outputs else 0
        o = o if valid else 0
        for tap in range(t // across % down, taps, down):
            start = (channel * taps + tap) * outputs + o
            step = taps * outputs
            if transposed:  # of the same weights, seen from the other side, turned by 180 degrees
                start, step = (o * taps + taps - 1 - tap) * channels + channel, 1
            for c in range(t // (across * down), count, deep):
                where = (c * taps + tap) * row + k
                copy_tile(1, w, start + c * step, valid, np.float32(0), shared, where)


@inline
def pad_maps(shared, threads, t, maps, plane, columns, place, extent, zeros):
    """Replace what lies outside the image in ``maps`` maps by their nearest pixel, or by 0.

    Each is a region of ``plane`` floats, ``columns`` a row, whose first pixel is at ``place`` (row
    and column) of an image of ``extent``. ``t`` of ``threads`` is the thread.
    """
    (row, column), (rows, wide) = place, extent
    for k in range(t, maps * plane, threads):
        r, q = row + k % plane // columns, column + k % plane % columns
        r_in, q_in = nearest(r, rows), nearest(q, wide)
        if r != r_in or q != q_in:
            at = k + (r_in - r) * columns + q_in - q
            shared[k] = np.float32(0) if zeros else shared[at]
