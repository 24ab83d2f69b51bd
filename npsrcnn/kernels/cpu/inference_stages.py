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
from npsrcnn.kernels.cpu.tiles import LANES, RELU, forward, forward_few
from npsrcnn.kernels.cpu.winograd import (
    GROUP,
    INPUT,
    OUTPUT,
    STEP,
    finish,
    groups_of,
    transform,
)
from npsrcnn.runtime.jit import helper, inlined, jit
from npsrcnn.runtime.numba_inside import address, caller
from npsrcnn.runtime.threads import CACHE_LINE_FLOATS

_group_input, forward_groups = transform(INPUT, GROUP, STEP), groups_of(STEP)
_input_3, _output_3 = transform(INPUT, 3, STEP), transform(OUTPUT, 3, STEP)
_input_5, _output_5 = transform(INPUT, 5, STEP), transform(OUTPUT, 5, STEP)
_finish_3, _finish_5 = finish(3, STEP), finish(5, STEP)


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


@inlined
def _points(d, y, stages, levels, setups, tables, span, maps, off):
    """Transform what four rows from ``y`` on see, in working memory, and write to ``off`` its taps.

    Return where the points start, the floats of a point, how many taps it has, and where working
    memory is free.
    """
    stage, below, setup = stages[d], levels[d], setups[0]
    t0, n = tables[span.runs], tables[span.runs + 1]
    groups, width = stage.groups, setup.image_width
    row = stage.channels * STEP * width
    by_row = row + LANES + CACHE_LINE_FLOATS
    taps = stage.channels * groups * groups
    by_point = taps * n + CACHE_LINE_FLOATS
    lines = setup.work + LANES  # (groups, POINTS, channels, phases, width): B^T over rows
    points = lines + groups * POINTS * by_row  # (POINTS, POINTS, taps, n): ... and over columns
    margin = LANES  # columns left of place 0 lie before the row
    for a in range(groups):
        for i in range(POINTS):
            off[i] = row_at(below, setup, y - stage.above + GROUP * a + i) - margin
        line = lines + a * POINTS * by_row - margin
        _group_input(maps, row - row, LANES, off,
                        maps, line, LANES, by_row, row + margin)  # fmt: skip
    for a in range(groups):
        for i in range(POINTS):
            for c in range(stage.channels):
                line = lines + (a * POINTS + i) * by_row + c * STEP * width + t0
                for g in range(groups):
                    for j in range(POINTS):
                        off[j] = tables[below.taps + g * POINTS + j]
                    tap = (c * groups + a) * groups + g
                    _group_input(maps, line, LANES, off,
                                    maps, points + POINTS * i * by_point + tap * n,
                                    LANES, by_point, n)  # fmt: skip
    for k in range(taps):
        off[k] = k * n
    return points, by_point, taps, points + POINTS * POINTS * by_point


@inlined
def _rows_written(off, taps, y, above):
    """Write to ``off``, after the taps, where four rows of a level start.

    Those beyond the image have places too, which are read by nobody.
    """
    for r in range(STEP):
        off[taps + r] = above.start + (y + r) % above.slots * above.slot


@jit
def groups(d, y, spans, stages, levels, setups, tables, weights, biases, maps, off, blocks):
    """Compute rows ``y`` to ``y + 3`` of the first stage by groups of F(4x4, 3x3).

    Tiles side by side are the lanes.
    """
    stage, above, span, setup = stages[d], levels[d + 1], spans[d + 1], setups[0]
    t0, n = tables[span.runs], tables[span.runs + 1]
    points, plane, taps, _ = _points(d, y, stages, levels, setups, tables, span, maps, off)
    _rows_written(off, taps, y, above)
    forward_groups(maps, points, plane, off, taps, weights, stage.weights, biases, stage.biases,
                   maps, STEP * t0, setup.width, STEP * LANES, None, stage.maps, n)  # fmt: skip


@jit
def groups_in_phases(
    d, y, spans, stages, levels, setups, tables, weights, biases, maps, off, blocks
):
    """Compute :func:`groups` in phases: a later stage is Winograd's."""
    stage, above, span, setup = stages[d], levels[d + 1], spans[d + 1], setups[0]
    t0, n = tables[span.runs], tables[span.runs + 1]
    points, plane, taps, _ = _points(d, y, stages, levels, setups, tables, span, maps, off)
    _rows_written(off, taps, y, above)
    forward_groups(maps, points, plane, off, taps, weights, stage.weights, biases, stage.biases,
                   maps, t0, STEP * setup.width, LANES, setup.width, stage.maps, n)  # fmt: skip


@jit
def groups_mapped(d, y, spans, stages, levels, setups, tables, weights, biases, maps, off, blocks):
    """Compute :func:`groups` and a 1x1 layer, a block of tiles after the other."""
    stage, above, span, setup = stages[d], levels[d + 1], spans[d + 1], setups[0]
    t0, n = tables[span.runs], tables[span.runs + 1]
    points, plane, taps, free = _points(d, y, stages, levels, setups, tables, span, maps, off)
    for t in range(0, n, BLOCK_TILES):
        length = BLOCK_TILES if t + BLOCK_TILES < n else n - t
        columns = STEP * length
        # An odd number of cache lines, so that the 1x1 layer finds the maps in all sets of the
        # first-level cache: 9-1-5 takes 0.99 of the time, and 0.98 with blocks twice as wide (AMD
        # Zen 3, AVX2).
        pitch = STEP * columns + CACHE_LINE_FLOATS
        for r in range(STEP):
            off[taps + r] = r * columns
        forward_groups(maps, points + t, plane, off, taps, weights, stage.weights,
                       biases, stage.biases, maps, free, pitch, STEP * LANES, None,
                       stage.maps_between, length)  # fmt: skip
        for c in range(stage.maps_between):
            blocks[c] = c * pitch
        for r in range(STEP):
            if setup.top <= y + r < setup.bottom:
                target = row_at(above, setup, y + r) + STEP * (t0 + t)
                forward(maps, free + r * columns, blocks, stage.maps_between,
                        weights, stage.mapping_weights, stage.maps_between,
                        biases, stage.mapping_biases, maps, target, setup.width, stage.maps,
                        columns, np.int64(RELU), maps, target)  # fmt: skip


@inlined
def _winograd(
    transform_input, transform_output, finish_output,
    d, y, spans, stages, levels, setups, tables, weights, biases, maps, off, blocks,
):  # fmt: skip
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

    for i in range(points):
        off[i] = row_at(below, setup, y - stage.above + i)
    zero = t0 - t0
    transform_input(maps, zero, LANES, off, maps, rows_in, LANES, by_row, row)
    for i in range(points):
        for j in range(points):
            off[j] = tables[below.taps + j]
        for c in range(channels):
            transform_input(maps, rows_in + i * by_row + c * STEP * width + t0, LANES, off,
                            maps, points_in + c * n, LANES, by_point, n)  # fmt: skip
        for c in range(channels):
            off[c] = c * n
        for j in range(points):
            forward(maps, points_in + j * by_point, off, channels, weights,
                    stage.weights + (i * points + j) * channels * outs, channels, biases, zero,
                    maps, points_out + j * by_sum, n, outs, n, zero, maps, zero)  # fmt: skip
        for j in range(points):
            off[j] = j * by_sum
        transform_output(maps, points_out, LANES, off,
                         maps, rows_out + i * by_line, LANES, outs * n,
                         outs * n)  # fmt: skip
    for i in range(points):
        off[i] = i * by_line
    _rows_written(off, points, y, above)
    for o in range(outs):
        for p in range(STEP):
            target = t0 + (o * STEP + p) * width
            finish_output(maps, rows_out + (p * outs + o) * n, off, biases, stage.biases + o,
                          maps, target, n, np.int64(RELU), maps, target)  # fmt: skip


@jit
def winograd_3(d, y, spans, stages, levels, setups, tables, weights, biases, maps, off, blocks):
    """Compute :func:`_winograd` of 3x3 filters."""
    _winograd(_input_3, _output_3, _finish_3, d, y, spans, stages, levels, setups, tables,
              weights, biases, maps, off, blocks)  # fmt: skip


@jit
def winograd_5(d, y, spans, stages, levels, setups, tables, weights, biases, maps, off, blocks):
    """Compute :func:`_winograd` of 5x5 filters."""
    _winograd(_input_5, _output_5, _finish_5, d, y, spans, stages, levels, setups, tables,
              weights, biases, maps, off, blocks)  # fmt: skip


KERNELS = {
    kernel.py_func.__name__: kernel
    for kernel in (
        winograd_5, winograd_3, groups_mapped, groups_in_phases, groups, direct_mapped, direct,
        last,
    )
}  # fmt: skip
"""Kernels by name; those that take longest to compile come first."""


def names(plan: Plan) -> list[str]:
    """Return the kernels of a network's stages."""
    return [*(_kind(plan, stage) for stage in plan.stages[:-1]), "last"]


def _kind(plan: Plan, stage: Stage) -> str:
    """Return the name of the kernel that computes a stage which is not the last."""
    if stage.winograd:
        return f"winograd_{stage.winograd}"
    if not stage.groups:
        return "direct_mapped" if stage.maps_between else "direct"
    if plan.phases > 1:
        return "groups_in_phases"
    return "groups_mapped" if stage.maps_between else "groups"


@functools.cache
def compiled(name: str) -> int:
    """Return the address of a kernel's code, compiled if no cache has it."""
    return address(KERNELS[name], SIGNATURE)


def addresses(plan: Plan) -> np.ndarray:
    """Return (L,) int64: the addresses of the kernels of stages 0 to L - 1."""
    return np.array([compiled(name) for name in names(plan)], np.int64)
