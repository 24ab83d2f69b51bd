"""Run the whole network on whole images, all layers fused.

N batch, C channels in, O channels out, H W height and width, K kernel size.
:mod:`~npsrcnn.kernels.cpu.inference_plan` explains the layout.

One kernel, :func:`_run`, is called once for every piece of the image. It loads the image row by
row, and after each row lets every stage, the last first, compute the rows that can be computed,
which the kernels of :mod:`~npsrcnn.kernels.cpu.inference_stages` do. Beyond the image's edges
stages read the nearest row and column, or zeros.

The first start waits for this kernel, so it is written without ``min`` and ``max``, which Numba
compiles as functions of their own (a twentieth of the time).
"""

from __future__ import annotations

from functools import lru_cache, partial

import numpy as np

from npsrcnn.kernels.cpu.inference_plan import Job, Plan, make_job, make_plan
from npsrcnn.kernels.cpu.inference_stages import addresses, call, row_at
from npsrcnn.kernels.cpu.tiles import LINEAR, check_range, copy_tile, forward_thin
from npsrcnn.kernels.cpu.winograd import STEP
from npsrcnn.layers import Layers
from npsrcnn.runtime.jit import BOUNDSCHECK, helper, inlined, jit
from npsrcnn.runtime.numba_inside import is_new
from npsrcnn.runtime.threads import get_num_threads, parallel, work_space
from npsrcnn.words import counted

KEPT_JOBS = 8
"""Layouts that a network keeps, for as many shapes: of 1080p one has some 100 kB."""


def forward(
    layers: Layers,
    images: np.ndarray,
    padding: str = "replicate",
    origin: tuple[int, int] = (0, 0),
    *,
    use_winograd: bool = True,
) -> np.ndarray:
    """Run the network ``layers`` on ``images`` (N, C, H, W); return (N, O, H, W), float32.

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
        Values beyond the edges of every layer's input.
    origin : (row, column)
        Where ``images`` begin in larger ones.
    use_winograd : bool
        False: all layers by direct convolution.

    Raises
    ------
    ValueError
        Images have another number of channels than the first layer takes.
    """
    return Prepared(layers, use_winograd=use_winograd)(images, padding, origin)


class Prepared:
    """:func:`forward` of ``layers`` as they are now, planned once for many calls.

    Layouts for the last few shapes of images are kept too: each takes as long as a small image.
    """

    def __init__(self, layers: Layers, *, use_winograd: bool = True) -> None:
        self._plan = make_plan(layers, use_winograd)
        self._job = lru_cache(maxsize=KEPT_JOBS)(partial(make_job, self._plan))

    @property
    def kept_jobs(self) -> int:
        """How many layouts are kept."""
        return self._job.cache_info().currsize

    def __call__(
        self, images: np.ndarray, padding: str = "replicate", origin: tuple[int, int] = (0, 0)
    ) -> np.ndarray:
        """Return :func:`forward` of ``images``. May be called from several threads at once."""
        plan = self._plan
        images = np.ascontiguousarray(images, np.float32)
        if images.shape[1] != plan.stages[0].channels:
            has, wanted = counted(images.shape[1], "channel"), plan.stages[0].channels
            raise ValueError(f"images have {has}, the first layer {wanted}")
        out = np.empty((len(images), plan.outputs, *images.shape[2:]), np.float32)
        if not out.size:
            return out
        top, left = (start % STEP for start in origin)
        job = self._job(images.shape, padding, (top, left), get_num_threads())
        spans = job.spans.copy()  # the kernel changes them
        parallel(_run_piece, len(job.pieces), images, out, plan, job, spans, addresses(plan))
        return out


def _run_piece(
    i: int,
    images: np.ndarray,
    out: np.ndarray,
    plan: Plan,
    job: Job,
    spans: np.ndarray,
    code: np.ndarray,
) -> None:
    size, taps, between = job.setup[["size", "taps", "maps_between"]][0]
    _run(i, images, out, job.pieces, spans, job.stages, job.levels, job.setup, job.tables,
         plan.weights, plan.biases, code, work_space(size),
         np.empty(taps, np.int64), np.empty(between, np.int64))  # fmt: skip


def run_is_new() -> bool:
    """Return whether :func:`compile_run` has work to do that the next start will find done."""
    return is_new(_run)


def compile_run() -> None:
    """Compile what runs the stages of any network, if no cache has it; those are KERNELS."""
    plan = make_plan([(np.ones((1, 1, 1, 1), np.float32), np.zeros(1, np.float32))])
    image = np.zeros((1, 1, 1, 1), np.float32)
    job = make_job(plan, image.shape, "replicate", (0, 0), 1)
    no_rows, no_code = np.zeros_like(job.spans), np.zeros(len(plan.stages), np.int64)
    _run_piece(0, image, image.copy(), plan, job, no_rows, no_code)


def halo(layers: Layers) -> int:
    """Count the pixels around a part of an image that :func:`forward` needs for the same bits."""
    margin: int = sum(w.shape[2] // 2 for w, _ in layers)
    return -(-margin // STEP) * STEP + STEP * len(layers)


@inlined
def _copy(x, ix, step, out, io, apart, n):
    """Copy ``n`` numbers, ``step`` apart, to places ``apart`` apart: 1 and 1, or 1 and STEP.

    In a loop of Numba's, which looks at each index whether it counts from the end, no vectors come
    of it: 9-1-5 took 3 to 5% longer, with 16 and 8 maps 12 to 15% (Intel Emerald Rapids, AVX-512).
    """
    if BOUNDSCHECK:
        check_range(x.size, ix, (n - 1) * step + 1)
        check_range(out.size, io, (n - 1) * apart + 1)
    if n > 0:
        if step == apart:
            copy_tile(1, 1, x, ix, out, io, n)
        elif step == STEP:
            copy_tile(STEP, 1, x, ix, out, io, n)
        else:
            copy_tile(1, STEP, x, ix, out, io, n)


@inlined
def _load(image, maps, tables, piece, setup, start, y):
    """Load row ``y`` of the image (C, H, W) to level 0."""
    for c in range(image.shape[0]):
        for p in range(setup.image_phases):
            run = piece.source + 3 * p
            t0, n, x = tables[run], tables[run + 1], tables[run + 2]
            place = start + (c * setup.image_phases + p) * setup.image_width + t0
            seen = (c * image.shape[1] + y) * image.shape[2] + x
            _copy(image, seen, setup.image_phases, maps, place, 1, n)


@helper
def _pad_columns(maps, tables, channels, pitch, span, setup, start):
    """Write the columns beyond the image's left and right edge, in all channels of a row."""
    for _ in range(channels):
        for q in range(span.pads, span.pads + span.padded):
            value = maps[start + tables[q + span.padded]]
            maps[start + tables[q]] = np.float32(0) if setup.zeros else value
        start += pitch


@inlined
def _sum_rows(maps, off, tables, weights, biases, level, setup, piece, y, out):
    """Compute row ``y`` of the output: sum its filters' rows, each from its own row, and bias."""
    length, last = setup.phases * setup.width, setup.last
    for o in range(setup.outputs):
        for v in range(last):
            row = row_at(level, setup, y - (last - 1) // 2 + v)
            off[v] = row + (v * setup.outputs + o) * length
        zero = length - length
        forward_thin(maps, zero, off, last, weights, len(weights) - last,
                     biases, len(biases) - setup.outputs + o,
                     maps, setup.work, length, np.int64(LINEAR), maps, zero)  # fmt: skip
        for p in range(setup.phases):
            run = piece.target + 3 * p
            t0, n, x = tables[run], tables[run + 1], tables[run + 2]
            total = setup.work + p * setup.width + t0
            row = (piece.image * setup.outputs + o) * out.shape[2] + y - setup.top
            _copy(maps, total, 1, out, row * out.shape[3] + x, setup.phases, n)


@jit
def _run(
    i, images, out, pieces, all_spans, stages, levels, setups, tables, weights, biases, code, maps,
    off, blocks,
):  # fmt: skip
    """Run all stages on piece ``i``, by the kernels whose addresses are in ``code``."""
    piece, spans, setup, depth = pieces[i], all_spans[i], setups[0], len(stages)
    for q in range(setup.size):
        maps[q] = np.float32(0)
    y = piece.y0
    for row in range(spans[0].next, spans[0].end):
        start = row_at(levels[0], setup, row)
        _load(images[piece.image], maps, tables, piece, setup, start, row - setup.top)
        pitch = setup.image_phases * setup.image_width
        _pad_columns(maps, tables, images.shape[1], pitch, spans[0], setup, start)
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
                stage, span = stages[d], spans[d + 1]
                step = STEP if stage.winograd or stage.groups else 1
                first = span.next // step * step
                seen = first + step - 1 + stage.height - stage.above
                there = spans[d].next >= seen or spans[d].next >= setup.bottom
                ready = span.next < span.end and there
                if ready:
                    call(code[d], (d, first, spans, stages, levels, setups, tables, weights,
                                   biases, maps, off, blocks))  # fmt: skip
                    span.next = first + step
                    for new in range(first, first + step):
                        if setup.top <= new < setup.bottom:
                            start = row_at(levels[d + 1], setup, new)
                            _pad_columns(maps, tables, stage.maps, setup.phases * setup.width,
                                         span, setup, start)  # fmt: skip
            d = depth if ready else d - 1
