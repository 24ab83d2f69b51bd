"""The whole network on whole images, all layers fused. ``plan.py`` explains the layout.

One kernel, :func:`_run`, called once for every piece of the image. It loads the image row by
row, and after each row lets every stage, the last first, compute the rows that can be computed.
Beyond the image's edges stages read the nearest row and column, or zeros: rows by looking into
the table of rows, columns by writing them beside the row.

Column ``x`` of the image is column ``u = x - origin`` of a piece's rows, and lies at
``[u % phases, u // phases]``.
"""

from __future__ import annotations

import numpy as np

from npsrcnn.kernels.jit import jit
from npsrcnn.kernels.plan import Plan, cut, make_plan, phase_width
from npsrcnn.kernels.threads import get_num_threads, parallel
from npsrcnn.kernels.tiles import LANES, LINEAR, RELU, ROWS
from npsrcnn.kernels.tiles import forward as run_tiles
from npsrcnn.kernels.winograd import INPUT, OUTPUT, STEP, transform

_SETUP = np.dtype(
    [
        (name, np.int64)
        for name in (
            "top", "bottom", "left", "right",  # the image, in its own or a larger one's coordinates
            "zeros",  # 1: zeros beyond the edges, 0: the nearest pixel
            "phases", "width",  # of a row
            "work", "size",  # floats: where the stages' working memory starts; all memory
            "outputs", "last",  # maps and filter size of the last layer
        )
    ]
)  # fmt: skip
_SPAN = np.dtype(
    [
        (name, np.int64)
        for name in (
            "x_lo", "x_hi",  # columns that the next stage reads
            "c_lo", "c_hi",  # columns to compute: those of them inside the image
            "y_hi", "next",  # rows to compute: up to here, and the next one
        )
    ]
)  # fmt: skip
"""What a piece needs of one level."""


def forward(
    layers: list[tuple[np.ndarray, np.ndarray]],
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
    strip cut out of a larger image, provided that ``origin`` says where (row, column) and that
    the strip holds :func:`halo` more pixels on each side that is not the image's own edge.

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
    count, channels, height, width = images.shape
    if channels != plan.stages[0]["channels"]:
        raise ValueError(f"{channels} channels for {plan.stages[0]['channels']}-channel filters")
    out = np.empty((count, plan.outputs, height, width), np.float32)
    if out.size == 0:
        return out
    top, left = (start % STEP for start in origin)
    pieces = cut(plan, (count, height, width), get_num_threads())
    pieces["y0"] += top
    pieces["y1"] += top
    pieces["x0"] += left
    pieces["x1"] += left
    room = phase_width(plan, int(np.max(pieces["x1"] - pieces["x0"])))
    levels = plan.levels(room)
    work = int(levels[-1]["start"] + (levels[-1]["slots"] + 1) * levels[-1]["slot"])
    setup = np.array(
        [(top, top + height, left, left + width, {"replicate": 0, "zeros": 1}[padding],
          plan.phases, room, work, work + plan.working_floats(room), plan.outputs, plan.last)],
        _SETUP,
    )  # fmt: skip
    parallel(
        _run, len(pieces), images, out, pieces, plan.stages, levels, setup,
        plan.weights, plan.biases,
    )  # fmt: skip
    return out


@jit
def _run(i, images, out, pieces, stages, levels, setups, weights, biases):
    """All stages on piece ``i``."""
    piece, setup, depth = pieces[i], setups[0], len(stages)
    maps = np.zeros(setup.size, np.float32)
    off = np.empty(_most_taps(stages), np.int64)
    spans = np.empty(depth + 1, _SPAN)
    first, origin = _plan_spans(piece, stages, setup, spans)
    y = piece.y0
    for row in range(first, spans[0].y_hi):
        _load(images[piece.image], maps, levels[0], spans[0], setup, origin, row)
        spans[0].next = row + 1
        level = depth
        while level >= 0:  # the last stage first, so that no row is overwritten before it is read
            ready = False
            if level == depth:
                seen = min(setup.bottom, y + setup.last // 2 + 1)
                ready = y < piece.y1 and spans[depth].next >= seen
                if ready:
                    _sum_rows(maps, biases, levels[depth], setup, piece, origin, y, out)
                    y += 1
            elif spans[level + 1].next < spans[level + 1].y_hi:
                stage, target = stages[level], spans[level + 1]
                step = STEP if stage.winograd else 1
                start = target.next // step * step
                seen = min(setup.bottom, start + step - 1 + stage.height - stage.above)
                ready = spans[level].next >= seen
                if ready:
                    if stage.winograd:
                        _winograd(maps, off, weights, biases, stage, levels[level],
                                  levels[level + 1], target, setup, origin, start)  # fmt: skip
                    else:
                        _direct(maps, off, weights, biases, stage, levels[level],
                                levels[level + 1], target, setup, origin, start)  # fmt: skip
                    target.next = start + step
                    if level + 1 < depth:
                        for new in range(start, start + step):
                            if setup.top <= new < setup.bottom:
                                _pad_columns(maps, stage.maps, levels[level + 1], target, setup,
                                             origin, new)  # fmt: skip
            level = depth if ready else level - 1


@jit
def _most_taps(stages):
    most = 0
    for stage in stages:
        most = max(most, stage.channels * stage.height * stage.width)
    return most


@jit
def _plan_spans(piece, stages, setup, spans):
    """From the last level to the first: what each must hold. -> first image row, origin."""
    x_lo, x_hi = piece.x0, piece.x1
    y_lo, y_hi = piece.y0 - (setup.last - 1) // 2, piece.y1 + setup.last // 2
    least = x_lo
    for level in range(len(stages), -1, -1):
        span = spans[level]
        span.x_lo, span.x_hi = x_lo, x_hi
        least = min(least, x_lo)
        step = STEP if level > 0 and stages[level - 1].winograd else 1
        c_lo = max(x_lo, setup.left) // step * step
        c_hi = _ceil_div(min(x_hi, setup.right), step) * step
        y_lo = max(y_lo, setup.top) // step * step
        y_hi = min(y_hi, setup.bottom)
        span.c_lo, span.c_hi, span.next, span.y_hi = c_lo, c_hi, y_lo, y_hi
        if level > 0:
            stage = stages[level - 1]
            x_lo, x_hi = c_lo - stage.left, c_hi + stage.width - 1 - stage.left
            y_hi = _ceil_div(y_hi, step) * step + stage.height - 1 - stage.above
            y_lo -= stage.above
    return spans[0].next, least // setup.phases * setup.phases


@jit
def _ceil_div(a, b):
    return -(-a // b)


@jit
def _row(level, setup, y):
    """Where row ``y`` of a level starts: the nearest row of the image, or a row of zeros."""
    if setup.zeros and not (setup.top <= y < setup.bottom):
        return level.start + level.slots * level.slot
    return level.start + min(max(y, setup.top), setup.bottom - 1) % level.slots * level.slot


@jit
def _load(image, maps, level, span, setup, origin, y):
    """Row ``y`` of the image (C, H, W) to level 0, with what lies beyond its edges."""
    start = _row(level, setup, y)
    for c in range(image.shape[0]):
        source = image[c, y - setup.top]
        for p in range(setup.phases):
            x = origin + p
            place = start + (c * setup.phases + p) * setup.width
            for t in range(_ceil_div(span.x_lo - x, setup.phases),
                           _ceil_div(span.x_hi - x, setup.phases)):  # fmt: skip
                column = x + t * setup.phases
                inside = min(max(column, setup.left), setup.right - 1)
                value = source[inside - setup.left]
                maps[place + t] = np.float32(0) if setup.zeros and inside != column else value


@jit
def _pad_columns(maps, channels, level, span, setup, origin, y):
    """Write what lies beyond the image's left and right edge beside row ``y`` of all channels."""
    for c in range(channels):
        start = _row(level, setup, y) + c * setup.phases * setup.width
        for side in range(2):
            edge = setup.right - 1 - origin if side else setup.left - origin
            value = maps[start + edge % setup.phases * setup.width + edge // setup.phases]
            if setup.zeros:
                value = np.float32(0)
            lo = setup.right if side else span.x_lo
            for x in range(lo, span.x_hi if side else setup.left):
                u = x - origin
                maps[start + u % setup.phases * setup.width + u // setup.phases] = value


@jit
def _direct(maps, off, weights, biases, stage, below, above, span, setup, origin, y):
    """Row ``y`` of a stage by direct convolution: one run of the forward tile for each phase."""
    phases, width = setup.phases, setup.width
    taps = stage.channels * stage.height * stage.width
    for p in range(phases):
        t0 = _ceil_div(span.c_lo - origin - p, phases)
        n = _ceil_div(_ceil_div(span.c_hi - origin - p, phases) - t0, LANES) * LANES
        if n <= 0:
            continue
        for v in range(stage.height):
            row = _row(below, setup, y - stage.above + v)
            for h in range(stage.width):
                u = p + h - stage.left
                place = row + u % phases * width + u // phases
                for c in range(stage.channels):
                    off[(c * stage.height + v) * stage.width + h] = place + c * phases * width
        run_tiles(stage.rows, maps, t0, off, taps, weights, stage.weights, biases, stage.biases,
                  maps, _row(above, setup, y) + p * width + t0, phases * width, stage.maps, n,
                  RELU if stage.relu else LINEAR, maps, 0)  # fmt: skip


@jit
def _winograd(maps, off, weights, biases, stage, below, above, span, setup, origin, y):
    """Rows ``y`` to ``y + 3`` of a stage by F(4x4, kxk); tiles side by side are the lanes."""
    k, channels, outs, width = stage.winograd, stage.channels, stage.maps, setup.width
    points = k + STEP - 1
    t0 = (span.c_lo - origin) // STEP
    n = _ceil_div((span.c_hi - span.c_lo) // STEP, LANES) * LANES
    row = channels * STEP * width
    rows_in = setup.work  # (points, channels, phases, width): B^T over rows
    points_in = rows_in + points * row  # (points, channels, n): ... and over columns, of one row
    points_out = points_in + points * channels * n  # (points, outs, n): summed over channels
    rows_out = points_out + points * outs * n  # (points, phases, outs, n): A^T over columns
    pixels = rows_in  # (4, phases, outs, n): ... and over rows, when rows_in is used up

    for i in range(points):
        off[i] = _row(below, setup, y - stage.above + i)
    transform(INPUT, k, maps, 0, off, maps, rows_in, row, row)
    for i in range(points):
        for j in range(points):
            u = j - stage.left
            off[j] = u % STEP * width + u // STEP
        for c in range(channels):
            transform(INPUT, k, maps, rows_in + i * row + c * STEP * width + t0, off,
                      maps, points_in + c * n, channels * n, n)  # fmt: skip
        for c in range(channels):
            off[c] = c * n
        for j in range(points):
            run_tiles(ROWS, maps, points_in + j * channels * n, off, channels,
                      weights, stage.weights + (i * points + j) * channels * outs, biases, 0,
                      maps, points_out + j * outs * n, n, outs, n, LINEAR, maps, 0)  # fmt: skip
        for j in range(points):
            off[j] = j * outs * n
        transform(OUTPUT, k, maps, points_out, off,
                  maps, rows_out + i * STEP * outs * n, outs * n, outs * n)  # fmt: skip
    for i in range(points):
        off[i] = i * STEP * outs * n
    transform(OUTPUT, k, maps, rows_out, off, maps, pixels, STEP * outs * n, STEP * outs * n)

    for r in range(STEP):
        if setup.top <= y + r < setup.bottom:
            for o in range(outs):
                bias = biases[stage.biases + o]
                for p in range(STEP):
                    source = pixels + ((r * STEP + p) * outs + o) * n
                    place = _row(above, setup, y + r) + (o * STEP + p) * width + t0
                    for t in range(n):
                        maps[place + t] = max(maps[source + t] + bias, np.float32(0))


@jit
def _sum_rows(maps, biases, level, setup, piece, origin, y, out):
    """Row ``y`` of the network's output: its filters' rows, each from its own row, and bias."""
    phases, width, last = setup.phases, setup.width, setup.last
    total = setup.work
    for o in range(setup.outputs):
        bias = biases[len(biases) - setup.outputs + o]
        target = out[piece.image, o, y - setup.top]
        for p in range(phases):
            t0 = _ceil_div(piece.x0 - origin - p, phases)
            n = _ceil_div(piece.x1 - origin - p, phases) - t0
            for v in range(last):
                part = _row(level, setup, y - (last - 1) // 2 + v)
                part += ((v * setup.outputs + o) * phases + p) * width + t0
                for t in range(n):
                    if v == 0:
                        maps[total + t] = maps[part + t]
                    else:
                        maps[total + t] += maps[part + t]
            x = origin + p + t0 * phases - setup.left
            for t in range(n):
                target[x + t * phases] = maps[total + t] + bias
