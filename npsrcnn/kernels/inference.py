"""The whole network on whole images, all layers fused. ``plan.py`` explains the layout.

One kernel, :func:`_run`, called once for every piece of the image. It loads the image row by
row, and after each row lets every stage, the last first, compute the rows that can be computed.
Beyond the image's edges stages read the nearest row and column, or zeros.

The first start waits for this kernel, so it is written to be compiled soon: only what a network
needs, and without ``min`` and ``max``, which Numba compiles as functions of their own (a twentieth
of the time).
"""

from __future__ import annotations

import numpy as np

from npsrcnn.kernels.jit import helper, inlined, jit
from npsrcnn.kernels.plan import BLOCK, BLOCK_TILES, POINTS, Layers, Plan, make_job, make_plan
from npsrcnn.kernels.threads import get_num_threads, parallel, work_space
from npsrcnn.kernels.tiles import LANES, LINEAR, RELU, forward_thin
from npsrcnn.kernels.tiles import forward as run_tiles
from npsrcnn.kernels.winograd import GROUP, STEP, forward_rows, transform_input, transform_output


def forward(
    layers: Layers,
    images: np.ndarray,
    padding: str = "replicate",
    *,
    origin: tuple[int, int] = (0, 0),
    use_winograd: bool = True,
) -> np.ndarray:
    """The network ``layers`` on ``images`` (N, C, H, W) -> (N, O, H, W), float32.

    Edges are padded before every layer, as ``reference.forward`` does. The memory beyond input
    and output depends on the number of threads, not on the image.

    Every pixel results from the same operations, whatever the number of threads, and also in a
    strip cut out of a larger image, if ``origin`` says where (row, column) it begins there and
    it holds :func:`halo` more pixels on each side that is not the larger image's own edge.

    Parameters
    ----------
    layers : list of (w (O, C, K, K), b (O,))
        Converted to float32.
    images : array
        Converted to contiguous float32.
    padding : {"replicate", "zeros"}
        What lies beyond the edges of every layer's input.
    use_winograd : bool
        False: all layers by direct convolution.
    """
    return forward_plan(make_plan(layers, use_winograd), images, padding, origin)


def forward_plan(
    plan: Plan, images: np.ndarray, padding: str = "replicate", origin: tuple[int, int] = (0, 0)
) -> np.ndarray:
    """:func:`forward` for layers already made into a plan."""
    images = np.ascontiguousarray(images, np.float32)
    if images.shape[1] != plan.stages[0].channels:
        wanted = plan.stages[0].channels
        raise ValueError(f"images have {images.shape[1]} channels, the first layer {wanted}")
    out = np.empty((len(images), plan.outputs, *images.shape[2:]), np.float32)
    if out.size:
        job = make_job(plan, images.shape, padding, origin, get_num_threads())
        size, taps, between = job.setup[["size", "taps", "between"]][0]
        parts = _parts(plan)

        def work(i: int) -> None:
            _run(i, images, out, job.pieces, job.spans, job.stages, job.levels, job.setup,
                 job.tables, plan.weights, plan.biases, *parts, work_space(size),
                 np.empty(taps, np.int64), np.empty(between, np.int64))  # fmt: skip

        parallel(work, len(job.pieces))
    return out


def _parts(plan: Plan) -> tuple[bool | None, ...]:
    """What of the kernel a network needs, in the order of its arguments; None is not compiled."""
    winograd = any(stage.winograd for stage in plan.stages)
    rows = [stage for stage in plan.stages if stage.groups and not winograd]
    direct = [stage for stage in plan.stages if not (stage.groups or stage.winograd)]
    needed = (
        winograd,
        any(not stage.between for stage in rows),
        any(stage.between for stage in rows),
        any(stage.between for stage in direct),
    )
    return tuple(True if part else None for part in needed)


def halo(layers: Layers) -> int:
    """How many pixels around a strip :func:`forward` needs to compute it as in the whole image."""
    margin = sum(w.shape[2] // 2 for w, _ in layers)
    return -(-margin // STEP) * STEP + STEP * len(layers)


@helper
def _row(level, setup, y):
    """Where row ``y`` of a level starts: the nearest row of the image, or a row of zeros."""
    if setup.zeros and not (setup.top <= y < setup.bottom):
        return level.start + level.slots * level.slot
    y = setup.top if y < setup.top else y if y < setup.bottom else setup.bottom - 1
    return level.start + y % level.slots * level.slot


@inlined
def _load(image, maps, tables, piece, setup, start, y):
    """Row ``y`` of the image (C, H, W) to level 0."""
    for c in range(image.shape[0]):
        for p in range(setup.image_phases):
            run = piece.source + 3 * p
            t0, n, x = tables[run], tables[run + 1], tables[run + 2]
            place = start + (c * setup.image_phases + p) * setup.image_width + t0
            for t in range(n):
                maps[place + t] = image[c, y, x + t * setup.image_phases]


@inlined
def _pad_columns(maps, tables, channels, pitch, span, setup, start):
    """Write what lies beyond the image's left and right edge, in all channels of a row."""
    for _ in range(channels):
        for q in range(span.pads, span.pads + span.padded):
            value = maps[start + tables[q + span.padded]]
            maps[start + tables[q]] = np.float32(0) if setup.zeros else value
        start += pitch


@inlined
def _direct(
    maps, off, blocks, tables, weights, biases, stage, below, above, span, setup, mapped, y
):
    """Row ``y`` of a stage by direct convolution, phase after phase."""
    taps = stage.channels * stage.height * stage.width
    for c in range(stage.between):
        blocks[c] = c * BLOCK
    for p in range(setup.phases):
        places = below.taps + p * taps
        for v in range(stage.height):
            row = _row(below, setup, y - stage.above + v)
            for c in range(stage.channels):
                first = (c * stage.height + v) * stage.width
                for k in range(first, first + stage.width):
                    off[k] = row + tables[places + k]
        t0, n = tables[span.runs + 2 * p], tables[span.runs + 2 * p + 1]
        out, pitch = _row(above, setup, y) + p * setup.width + t0, setup.phases * setup.width
        if stage.between == 0:
            run_tiles(stage.rows, maps, t0, off, taps, weights, stage.weights, biases, stage.biases,
                      maps, out, pitch, stage.maps, n, stage.act, maps, out)  # fmt: skip
        elif mapped is not None:
            for t in range(0, n, BLOCK):
                length = BLOCK if t + BLOCK < n else n - t
                run_tiles(stage.rows, maps, t0 + t, off, taps, weights, stage.weights,
                          biases, stage.biases, maps, setup.work, np.int64(BLOCK), stage.between,
                          length, stage.act, maps, setup.work)  # fmt: skip
                run_tiles(stage.rows, maps, setup.work, blocks, stage.between,
                          weights, stage.mapping_weights, biases, stage.mapping_biases,
                          maps, out + t, pitch, stage.maps, length,
                          stage.act, maps, out + t)  # fmt: skip


@inlined
def _transform_row(maps, off, tables, stage, level, span, setup, start):
    """A row of the image, in working memory, to level 0: B^T of each group's columns."""
    t0, n = tables[span.runs], tables[span.runs + 1]
    width = setup.image_width
    for g in range(stage.groups):
        for i in range(POINTS):
            off[i] = tables[level.taps + g * POINTS + i]
        for c in range(stage.channels):
            raw, plane = setup.work + c * STEP * width, (c * stage.groups + g) * POINTS * width
            transform_input(GROUP, maps, raw + t0, LANES, off,
                            maps, start + plane + t0, LANES, width, n)  # fmt: skip


@inlined
def _along_rows(
    maps, off, blocks, tables, weights, biases, stage, below, above, span, setup, winograd,
    rows, mapped_rows, y,
):  # fmt: skip
    """Row ``y`` of the first stage by F(4, 3) along rows; tiles side by side are the lanes."""
    t0, n, plane = tables[span.runs], tables[span.runs + 1], setup.image_width
    taps = stage.channels * stage.height * stage.groups
    for v in range(stage.height):
        row = _row(below, setup, y - stage.above + v)
        for c in range(stage.channels):
            for g in range(stage.groups):
                place = (c * stage.groups + g) * POINTS * plane
                off[(c * stage.height + v) * stage.groups + g] = row + place
    target = _row(above, setup, y)
    if winograd is not None:
        forward_rows(maps, t0, plane, off, taps, weights, stage.weights, biases, stage.biases,
                     maps, target + t0, STEP * setup.width, setup.width, stage.maps, n)  # fmt: skip
    if rows is not None:
        forward_rows(maps, t0, plane, off, taps, weights, stage.weights, biases, stage.biases,
                     maps, target + STEP * t0, setup.width, None, stage.maps, n)  # fmt: skip
    if mapped_rows is not None:
        for t in range(t0, t0 + n, BLOCK_TILES):
            length = BLOCK_TILES if t + BLOCK_TILES < t0 + n else t0 + n - t
            columns = STEP * length
            forward_rows(maps, t, plane, off, taps, weights, stage.weights, biases, stage.biases,
                         maps, setup.work, columns, None, stage.between, length)  # fmt: skip
            for c in range(stage.between):
                blocks[c] = c * columns
            run_tiles(stage.rows, maps, setup.work, blocks, stage.between,
                      weights, stage.mapping_weights, biases, stage.mapping_biases,
                      maps, target + STEP * t, setup.width, stage.maps, columns,
                      stage.act, maps, target)  # fmt: skip


@inlined
def _winograd(maps, off, tables, weights, biases, stage, below, above, span, setup, y):
    """Rows ``y`` to ``y + 3`` of a stage by F(4x4, kxk); tiles side by side are the lanes."""
    k, channels, outs, width = stage.winograd, stage.channels, stage.maps, setup.width
    points = k + STEP - 1
    t0, n = tables[span.runs], tables[span.runs + 1]
    row = channels * STEP * width
    rows_in = setup.work  # (points, channels, phases, width): B^T over rows
    points_in = rows_in + points * row  # (points, channels, n): ... and over columns, of one row
    points_out = points_in + points * channels * n  # (points, outs, n): summed over channels
    rows_out = points_out + points * outs * n  # (points, phases, outs, n): A^T over columns
    pixels = rows_in  # (4, phases, outs, n): ... and over rows, when rows_in is used up

    for i in range(points):
        off[i] = _row(below, setup, y - stage.above + i)
    zero = t0 - t0
    transform_input(k, maps, zero, LANES, off, maps, rows_in, LANES, row, row)
    for i in range(points):
        for j in range(points):
            off[j] = tables[below.taps + j]
        for c in range(channels):
            transform_input(k, maps, rows_in + i * row + c * STEP * width + t0, LANES, off,
                            maps, points_in + c * n, LANES, channels * n, n)  # fmt: skip
        for c in range(channels):
            off[c] = c * n
        for j in range(points):
            run_tiles(stage.rows, maps, points_in + j * channels * n, off, channels,
                      weights, stage.weights + (i * points + j) * channels * outs, biases, zero,
                      maps, points_out + j * outs * n, n, outs, n, zero, maps, zero)  # fmt: skip
        for j in range(points):
            off[j] = j * outs * n
        transform_output(k, maps, points_out, LANES, off,
                         maps, rows_out + i * STEP * outs * n, LANES, outs * n,
                         outs * n)  # fmt: skip
    for i in range(points):
        off[i] = i * STEP * outs * n
    transform_output(k, maps, rows_out, LANES, off,
                     maps, pixels, LANES, STEP * outs * n, STEP * outs * n)  # fmt: skip

    for r in range(STEP):
        if setup.top <= y + r < setup.bottom:
            target = _row(above, setup, y + r) + t0
            for o in range(outs):
                for p in range(STEP):
                    # One tap, of weight 1: what is left to do is the bias and ReLU.
                    off[0] = pixels + ((r * STEP + p) * outs + o) * n
                    forward_thin(maps, zero, off, np.int64(1), weights, len(weights) - 1,
                                 biases, stage.biases + o, maps, target, n, np.int64(RELU),
                                 maps, target)  # fmt: skip
                    target += width


@inlined
def _sum_rows(maps, off, tables, weights, biases, level, setup, piece, y, out):
    """Row ``y`` of the network's output: its filters' rows, each from its own row, and bias."""
    length, last = setup.phases * setup.width, setup.last
    for o in range(setup.outputs):
        for v in range(last):
            row = _row(level, setup, y - (last - 1) // 2 + v)
            off[v] = row + (v * setup.outputs + o) * length
        zero = length - length
        forward_thin(maps, zero, off, last, weights, len(weights) - last,
                     biases, len(biases) - setup.outputs + o,
                     maps, setup.work, length, np.int64(LINEAR), maps, zero)  # fmt: skip
        for p in range(setup.phases):
            run = piece.target + 3 * p
            t0, n, x = tables[run], tables[run + 1], tables[run + 2]
            total = setup.work + p * setup.width + t0
            for t in range(n):
                out[piece.image, o, y - setup.top, x + t * setup.phases] = maps[total + t]


@jit
def _run(
    i, images, out, pieces, all_spans, stages, levels, setups, tables, weights, biases, winograd,
    rows, mapped_rows, mapped, maps, off, blocks,
):  # fmt: skip
    """All stages on piece ``i``.

    ``winograd``, ``rows``, ``mapped_rows`` and ``mapped`` say whether a stage is Winograd's in both
    directions, along rows, along rows with a 1x1 layer at its end, direct with one. Code for what
    is None is not compiled, which would take a sixth of the time of 9-5-5.
    """
    piece, spans, setup, depth = pieces[i], all_spans[i], setups[0], len(stages)
    for q in range(setup.size):
        maps[q] = np.float32(0)
    y = piece.y0
    for row in range(spans[0].next, spans[0].end):
        start = _row(levels[0], setup, row)
        raw = setup.work if stages[0].groups else start
        _load(images[piece.image], maps, tables, piece, setup, raw, row - setup.top)
        pitch = setup.image_phases * setup.image_width
        _pad_columns(maps, tables, images.shape[1], pitch, spans[0], setup, raw)
        if stages[0].groups:
            _transform_row(maps, off, tables, stages[0], levels[0], spans[1], setup, start)
        spans[0].next = row + 1
        d = depth
        while d >= 0:  # the last stage first, so that no row is overwritten before it is read
            if d == depth:
                seen = y + setup.last // 2 + 1
                ready = y < piece.y1 and (spans[d].next >= seen or spans[d].next >= setup.bottom)
                if ready:
                    _sum_rows(maps, off, tables, weights, biases, levels[d], setup, piece, y, out)
                    y += 1
            else:
                stage, below, above = stages[d], levels[d], levels[d + 1]
                span = spans[d + 1]
                step = STEP if stage.winograd else 1
                first = span.next // step * step
                seen = first + step - 1 + stage.height - stage.above
                there = spans[d].next >= seen or spans[d].next >= setup.bottom
                ready = span.next < span.end and there
                if ready:
                    if winograd is not None:  # noqa: SIM102 (Numba can prune only this)
                        if stage.winograd:
                            _winograd(maps, off, tables, weights, biases, stage, below, above,
                                      span, setup, first)  # fmt: skip
                    if stage.groups:
                        _along_rows(maps, off, blocks, tables, weights, biases, stage, below,
                                    above, span, setup, winograd, rows, mapped_rows,
                                    first)  # fmt: skip
                    elif not stage.winograd:
                        _direct(maps, off, blocks, tables, weights, biases, stage, below, above,
                                span, setup, mapped, first)  # fmt: skip
                    span.next = first + step
                    for new in range(first, first + step):
                        if setup.top <= new < setup.bottom:
                            _pad_columns(maps, tables, stage.maps, setup.phases * setup.width,
                                         span, setup, _row(above, setup, new))  # fmt: skip
            d = depth if ready else d - 1
