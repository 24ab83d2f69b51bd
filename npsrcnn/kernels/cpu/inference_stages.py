"""Compute a row of a stage: a kernel for each kind of stage, called by its address.

N batch, C channels in, O channels out, H W height and width, K kernel size.

All take the same arguments: the stage's number ``d``, the row ``y`` to compute, and all that
``inference_plan.py`` lays out. Stage d reads level d and writes level d + 1.

A network needs two to four of these kernels. They are kernels of their own, and not parts of the
one in ``inference.py`` that calls them, so that the first start, which waits for them, can compile
them side by side (:mod:`npsrcnn.upscaling.compiling`).
"""

from __future__ import annotations

import functools

import numba
import numpy as np
from numba import types

from npsrcnn.kernels.cpu.inference_plan import (
    BLOCK_COLUMNS,
    BLOCK_TILES,
    LEVEL,
    POINTS,
    SETUP,
    SPAN,
    STAGE,
    Plan,
    Stage,
)
from npsrcnn.kernels.cpu.tiles import LANES, RELU, forward, forward_few, forward_thin
from npsrcnn.kernels.cpu.winograd import (
    GROUP,
    STEP,
    forward_rows,
    transform_input,
    transform_output,
)
from npsrcnn.runtime.jit import helper, inlined, jit
from npsrcnn.runtime.numba_inside import address, caller
from npsrcnn.runtime.threads import CACHE_LINE_FLOATS


def _array(kind: types.Type) -> types.Array:
    """Return Numba's type of a contiguous 1-D array."""
    return types.Array(kind, 1, "C")


_INTS, _FLOATS = _array(types.int64), _array(types.float32)
SIGNATURE = types.void(
    types.int64, types.int64,  # d, y
    *(_array(numba.from_dtype(kind)) for kind in (SPAN, STAGE, LEVEL, SETUP)),
    _INTS, _FLOATS, _FLOATS,  # tables, weights, biases
    _FLOATS, _INTS, _INTS,  # working memory: maps, off, blocks
)  # fmt: skip
"""(d, y, spans, stages, levels, setups, tables, weights, biases, maps, off, blocks)"""

call = caller(SIGNATURE)
"""Calls, in a kernel, the one at an address: ``call(address, (d, y, spans, ...))``."""


@helper
def row_at(level, setup, y):
    """Return where row ``y`` of a level starts; beyond the image its nearest row, or zeros."""
    if setup.zeros and not (setup.top <= y < setup.bottom):
        return level.start + level.slots * level.slot
    y = setup.top if y < setup.top else y if y < setup.bottom else setup.bottom - 1
    return level.start + y % level.slots * level.slot


@inlined
def _taps(off, p, y, stage, below, setup, tables):
    """Write to ``off`` where the taps of phase ``p`` of row ``y`` lie; return how many."""
    taps = stage.channels * stage.height * stage.width
    places = below.taps + p * taps
    for v in range(stage.height):
        row = row_at(below, setup, y - stage.above + v)
        for c in range(stage.channels):
            first = (c * stage.height + v) * stage.width
            for k in range(first, first + stage.width):
                off[k] = row + tables[places + k]
    return taps


@jit
def direct(d, y, spans, stages, levels, setups, tables, weights, biases, maps, off, blocks):
    """Compute a row by direct convolution, phase after phase."""
    stage, below, above, span, setup = stages[d], levels[d], levels[d + 1], spans[d + 1], setups[0]
    for p in range(setup.phases):
        taps = _taps(off, p, y, stage, below, setup, tables)
        t0, n = tables[span.runs + 2 * p], tables[span.runs + 2 * p + 1]
        out, pitch = row_at(above, setup, y) + p * setup.width + t0, setup.phases * setup.width
        forward(maps, t0, off, taps, weights, stage.weights, taps, biases, stage.biases,
                maps, out, pitch, stage.maps, n, np.int64(RELU), maps, out)  # fmt: skip


@jit
def last(d, y, spans, stages, levels, setups, tables, weights, biases, maps, off, blocks):
    """Compute a row of the last stage, whose maps are the rows of the last layer's filters."""
    stage, below, above, span, setup = stages[d], levels[d], levels[d + 1], spans[d + 1], setups[0]
    for p in range(setup.phases):
        taps = _taps(off, p, y, stage, below, setup, tables)
        t0, n = tables[span.runs + 2 * p], tables[span.runs + 2 * p + 1]
        out, pitch = row_at(above, setup, y) + p * setup.width + t0, setup.phases * setup.width
        forward_few(maps, t0, off, taps, weights, stage.weights, biases, stage.biases,
                    maps, out, pitch, stage.maps, n)  # fmt: skip


@jit
def direct_mapped(d, y, spans, stages, levels, setups, tables, weights, biases, maps, off, blocks):
    """Compute a row by direct convolution and a 1x1 layer, a block of columns after the other."""
    stage, below, above, span, setup = stages[d], levels[d], levels[d + 1], spans[d + 1], setups[0]
    for c in range(stage.maps_between):
        blocks[c] = c * BLOCK_COLUMNS
    for p in range(setup.phases):
        taps = _taps(off, p, y, stage, below, setup, tables)
        t0, n = tables[span.runs + 2 * p], tables[span.runs + 2 * p + 1]
        out, pitch = row_at(above, setup, y) + p * setup.width + t0, setup.phases * setup.width
        for t in range(0, n, BLOCK_COLUMNS):
            length = BLOCK_COLUMNS if t + BLOCK_COLUMNS < n else n - t
            forward(maps, t0 + t, off, taps, weights, stage.weights, taps, biases, stage.biases,
                    maps, setup.work, np.int64(BLOCK_COLUMNS), stage.maps_between, length,
                    np.int64(RELU), maps, setup.work)  # fmt: skip
            forward(maps, setup.work, blocks, stage.maps_between,
                    weights, stage.mapping_weights, stage.maps_between,
                    biases, stage.mapping_biases, maps, out + t, pitch, stage.maps, length,
                    np.int64(RELU), maps, out + t)  # fmt: skip


@jit
def transform_row(d, y, spans, stages, levels, setups, tables, weights, biases, maps, off, blocks):
    """Transform a row of the image, in working memory, to level 0: B^T of each group's columns."""
    stage, level, span, setup = stages[d], levels[d], spans[d + 1], setups[0]
    start = row_at(level, setup, y)
    t0, n = tables[span.runs], tables[span.runs + 1]
    width = setup.image_width
    for g in range(stage.column_groups):
        for i in range(POINTS):
            off[i] = tables[level.taps + g * POINTS + i]
        for c in range(stage.channels):
            raw, plane = (
                setup.work + c * STEP * width,
                (c * stage.column_groups + g) * POINTS * width,
            )
            transform_input(GROUP, maps, raw + t0, LANES, off,
                            maps, start + plane + t0, LANES, width, n)  # fmt: skip


@inlined
def _row_taps(off, y, stage, below, setup):
    """Write to ``off`` where the transformed groups for row ``y`` lie; return how many."""
    plane = setup.image_width
    for v in range(stage.height):
        row = row_at(below, setup, y - stage.above + v)
        for c in range(stage.channels):
            for g in range(stage.column_groups):
                place = (c * stage.column_groups + g) * POINTS * plane
                off[(c * stage.height + v) * stage.column_groups + g] = row + place
    return stage.channels * stage.height * stage.column_groups


@jit
def rows(d, y, spans, stages, levels, setups, tables, weights, biases, maps, off, blocks):
    """Compute a row of the first stage by F(4, 3) along rows; tiles side by side are the lanes."""
    stage, below, above, span, setup = stages[d], levels[d], levels[d + 1], spans[d + 1], setups[0]
    t0, n, plane = tables[span.runs], tables[span.runs + 1], setup.image_width
    taps = _row_taps(off, y, stage, below, setup)
    target = row_at(above, setup, y)
    forward_rows(maps, t0, plane, off, taps, weights, stage.weights, biases, stage.biases,
                 maps, target + STEP * t0, setup.width, None, stage.maps, n)  # fmt: skip


@jit
def rows_in_phases(d, y, spans, stages, levels, setups, tables, weights, biases, maps, off, blocks):
    """Compute :func:`rows` in phases: a later stage is Winograd's in both directions."""
    stage, below, above, span, setup = stages[d], levels[d], levels[d + 1], spans[d + 1], setups[0]
    t0, n, plane = tables[span.runs], tables[span.runs + 1], setup.image_width
    taps = _row_taps(off, y, stage, below, setup)
    target = row_at(above, setup, y)
    forward_rows(maps, t0, plane, off, taps, weights, stage.weights, biases, stage.biases,
                 maps, target + t0, STEP * setup.width, setup.width, stage.maps, n)  # fmt: skip


@jit
def rows_mapped(d, y, spans, stages, levels, setups, tables, weights, biases, maps, off, blocks):
    """Compute :func:`rows` and a 1x1 layer, a block of tiles after the other."""
    stage, below, above, span, setup = stages[d], levels[d], levels[d + 1], spans[d + 1], setups[0]
    t0, n, plane = tables[span.runs], tables[span.runs + 1], setup.image_width
    taps = _row_taps(off, y, stage, below, setup)
    target = row_at(above, setup, y)
    for t in range(t0, t0 + n, BLOCK_TILES):
        length = BLOCK_TILES if t + BLOCK_TILES < t0 + n else t0 + n - t
        columns = STEP * length
        forward_rows(maps, t, plane, off, taps, weights, stage.weights, biases, stage.biases,
                     maps, setup.work, columns, None, stage.maps_between, length)  # fmt: skip
        for c in range(stage.maps_between):
            blocks[c] = c * columns
        forward(maps, setup.work, blocks, stage.maps_between,
                weights, stage.mapping_weights, stage.maps_between, biases, stage.mapping_biases,
                maps, target + STEP * t, setup.width, stage.maps, columns,
                np.int64(RELU), maps, target)  # fmt: skip


@jit
def winograd(d, y, spans, stages, levels, setups, tables, weights, biases, maps, off, blocks):
    """Compute rows ``y`` to ``y + 3`` by F(4x4, kxk); tiles side by side are the lanes."""
    stage, below, above, span, setup = stages[d], levels[d], levels[d + 1], spans[d + 1], setups[0]
    k, channels, outs, width = stage.winograd, stage.channels, stage.maps, setup.width
    points = k + STEP - 1
    t0, n = tables[span.runs], tables[span.runs + 1]
    row = channels * STEP * width
    by_row, by_point = row + CACHE_LINE_FLOATS, channels * n + CACHE_LINE_FLOATS
    by_sum, by_line = outs * n + CACHE_LINE_FLOATS, STEP * outs * n + CACHE_LINE_FLOATS
    rows_in = setup.work  # (points, channels, phases, width): B^T over rows
    points_in = rows_in + points * by_row  # (points, channels, n): ... and over columns, of one row
    points_out = points_in + points * by_point  # (points, outs, n): summed over channels
    rows_out = points_out + points * by_sum  # (points, phases, outs, n): A^T over columns
    pixels = rows_in  # (4, phases, outs, n): ... and over rows, when rows_in is used up

    for i in range(points):
        off[i] = row_at(below, setup, y - stage.above + i)
    zero = t0 - t0
    transform_input(k, maps, zero, LANES, off, maps, rows_in, LANES, by_row, row)
    for i in range(points):
        for j in range(points):
            off[j] = tables[below.taps + j]
        for c in range(channels):
            transform_input(k, maps, rows_in + i * by_row + c * STEP * width + t0, LANES, off,
                            maps, points_in + c * n, LANES, by_point, n)  # fmt: skip
        for c in range(channels):
            off[c] = c * n
        for j in range(points):
            forward(maps, points_in + j * by_point, off, channels, weights,
                    stage.weights + (i * points + j) * channels * outs, channels, biases, zero,
                    maps, points_out + j * by_sum, n, outs, n, zero, maps, zero)  # fmt: skip
        for j in range(points):
            off[j] = j * by_sum
        transform_output(k, maps, points_out, LANES, off,
                         maps, rows_out + i * by_line, LANES, outs * n,
                         outs * n)  # fmt: skip
    for i in range(points):
        off[i] = i * by_line
    transform_output(k, maps, rows_out, LANES, off,
                     maps, pixels, LANES, STEP * outs * n, STEP * outs * n)  # fmt: skip

    for r in range(STEP):
        if setup.top <= y + r < setup.bottom:
            target = row_at(above, setup, y + r) + t0
            for o in range(outs):
                for p in range(STEP):
                    # One tap, of weight 1: what is left to do is the bias and ReLU.
                    off[0] = pixels + ((r * STEP + p) * outs + o) * n
                    forward_thin(maps, zero, off, np.int64(1), weights, len(weights) - 1,
                                 biases, stage.biases + o, maps, target, n, np.int64(RELU),
                                 maps, target)  # fmt: skip
                    target += width


KERNELS = {
    kernel.py_func.__name__: kernel
    for kernel in (
        winograd, rows_mapped, rows_in_phases, rows, direct_mapped, direct, last, transform_row,
    )
}  # fmt: skip
"""Kernels by name; those that take longest to compile come first."""


def names(plan: Plan) -> list[str]:
    """Return the kernels of a network: the one that transforms rows, if any, and each stage's."""
    first = ["transform_row"] if plan.stages[0].column_groups else []
    return [*first, *(_kind(plan, stage) for stage in plan.stages[:-1]), "last"]


def _kind(plan: Plan, stage: Stage) -> str:
    """Return the name of the kernel that computes a stage which is not the last."""
    if stage.winograd:
        return "winograd"
    if not stage.column_groups:
        return "direct_mapped" if stage.maps_between else "direct"
    if plan.phases > 1:
        return "rows_in_phases"
    return "rows_mapped" if stage.maps_between else "rows"


@functools.cache
def compiled(name: str) -> int:
    """Return the address of a kernel's code, compiled if no cache has it."""
    return address(KERNELS[name], SIGNATURE)


def addresses(plan: Plan) -> np.ndarray:
    """Return (L+1,) int64: addresses of what makes levels 0 to L; 0 if level 0 is the image."""
    found = [compiled(name) for name in names(plan)]
    return np.array(found if plan.stages[0].column_groups else [0, *found], np.int64)
