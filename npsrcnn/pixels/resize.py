"""Resample bicubically, exactly as MATLAB's imresize: SRCNN's first step and its baseline.

An image is resampled one axis after the other. Along an axis every output sample is a weighted
sum of a few input samples, ``out[i] = sum_t weight[i, t] * in[index[i, t]]``; :func:`_table`
computes the two arrays, and two compiled loops apply them, to rows and to columns. Planes that
are enlarged by a whole number, the network's way in, have a third: a row, and at once its columns.

What makes it MATLAB's, and the paper's figures reproducible: Keys' cubic with a = -0.5 (Keys,
"Cubic convolution interpolation for digital image processing", 1981); the kernel is widened by
``1 / scale`` when shrinking (antialiasing); the axis with the smaller scale goes first, rows if
both are equal; integer images are rounded after each axis.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from npsrcnn.pixels.color import as_native
from npsrcnn.runtime.jit import helper, jit
from npsrcnn.runtime.threads import PIECE_PIXELS, parallel

SUPPORT = 4.0  # Keys' kernel is zero from a distance of 2 on
TAPS = 4  # input samples that kernels add up at a time
LANES = 32  # rows that are resampled side by side along the columns
BLOCK_COLUMNS = 64  # that are made of them before they are stored: they stay in the cache

Span = tuple[int, int]  # start and stop, of rows or columns


def imresize(
    image: np.ndarray,
    scale: float | None = None,
    shape: tuple[int, int] | None = None,
    edge: str = "clamp",
    antialias: bool = True,
) -> np.ndarray:
    """Resize an image bicubically, as MATLAB's ``imresize`` does.

    Parameters
    ----------
    image : ndarray, (H, W) or (H, W, C)
        uint8 or uint16 (rounded after each axis and limited to the range of the type, as in
        MATLAB), or float16, float32 or float64 (neither rounded nor limited).
    scale : float
        The result has ``ceil(scale * H)`` rows and ``ceil(scale * W)`` columns.
    shape : (rows, columns)
        Instead of ``scale``: the size of the result.
    edge : "clamp" or "mirror"
        What lies outside of the image: its outermost pixels again (MATLAB at the time of the
        paper; all published figures), or the image mirrored (MATLAB since, BasicSR).
    antialias : bool
        Widen the kernel when shrinking, so that it averages instead of picking pixels.

    Returns
    -------
    ndarray
        The resized image, with the dtype of ``image``.

    Raises
    ------
    TypeError
        Both or neither of ``scale`` and ``shape``; a dtype not named above.
    ValueError
        A size or scale that is not positive, an empty image, an unknown ``edge``.
    """
    image = as_native(image)
    return Resizer(image.shape[:2], scale, shape, edge, antialias)(image)


class Resizer:
    """Resample images of one size to another, with tables that are computed once.

    Takes the arguments of :func:`imresize`, with the input's ``(H, W)`` in place of an image.
    Called with an image it resizes it; with ``rows=(start, stop)`` as well, it computes those
    rows of the result only, bit for bit the same.
    """

    def __init__(
        self,
        size: tuple[int, int],
        scale: float | None = None,
        shape: tuple[int, int] | None = None,
        edge: str = "clamp",
        antialias: bool = True,
    ) -> None:
        if len(size) != 2 or min(size) < 1:
            raise ValueError(f"an image needs two axes of at least one pixel, not {tuple(size)}")
        if edge not in ("clamp", "mirror"):
            raise ValueError(f"edge is 'clamp' or 'mirror', not {edge!r}")
        if scale is not None and shape is None:
            if not 0 < scale < math.inf:
                raise ValueError(f"scale must be positive and finite, not {scale}")
            scales = (float(scale), float(scale))
            shape = (math.ceil(scale * size[0]), math.ceil(scale * size[1]))
        elif shape is not None and scale is None:
            if len(shape) != 2 or min(shape) < 1:
                raise ValueError(f"shape must be two positive numbers, not {tuple(shape)}")
            scales = (shape[0] / size[0], shape[1] / size[1])
        else:
            raise TypeError("give either scale or shape")
        self.size = (int(size[0]), int(size[1]))
        self.shape = (int(shape[0]), int(shape[1]))
        self._rows_first = scales[0] <= scales[1]
        self._rows = _table(self.size[0], self.shape[0], scales[0], edge, antialias)
        self._across = self.size[1], self.shape[1], scales[1], edge, antialias
        self._columns = _table(*self._across)
        self._whole = scales[0] == scales[1] and self._columns.period > 0

    def __call__(self, image: np.ndarray, rows: Span | None = None) -> np.ndarray:
        image = as_native(image)
        if image.ndim not in (2, 3) or image.shape[:2] != self.size:
            raise ValueError(f"expected an image of {self.size}, not an array of {image.shape}")
        return self.window(image, (0, 0), rows or (0, self.shape[0]), (0, self.shape[1]))

    def needs(self, rows: Span, columns: Span) -> tuple[Span, Span]:
        """Return rows and columns of the image from which a window of the result is made."""
        return _in_use(_part(self._rows, rows)), _in_use(_part(self._columns, columns))

    def window(
        self,
        image: np.ndarray,
        corner: tuple[int, int],
        rows: Span,
        columns: Span,
        out: np.ndarray | None = None,
    ) -> np.ndarray:
        """Compute some rows and columns, each (start, stop), of the result, bit for bit the same.

        ``image`` may be a part of the whole image, from row and column ``corner`` on, that holds
        what :meth:`needs` says. ``out``, contiguous, of the type of ``image`` and not
        float16, is where the window is to be.
        """
        if image.dtype == np.float16:
            image = image.astype(np.float32)
            return self.window(image, corner, rows, columns).astype(np.float16)
        if image.dtype not in (np.uint8, np.uint16, np.float32, np.float64):
            raise TypeError(f"cannot resize {image.dtype}: use uint8, uint16 or a float type")
        down = _part(self._rows, rows)
        top, bottom = _in_use(down)
        down = down._replace(indices=down.indices - top)
        image = image[top - corner[0] : bottom - corner[0]]
        if image.ndim == 2 and self._whole:
            phases = _phases(*self._across, columns, image.dtype == np.float32)
            image = image[:, phases.left - corner[1] : phases.right - corner[1]]
            return _whole_times(image, down, phases, out)
        across = _part(self._columns, columns)
        left, right = _in_use(across)
        image = image[:, left - corner[1] : right - corner[1]]
        across = across._replace(indices=across.indices - left)
        if self._rows_first:
            return _along_columns(_along_rows(image, down), across, out)
        return _along_rows(_along_columns(image, across), down, out)


def modcrop(image: np.ndarray, scale: int) -> np.ndarray:
    """Crop at the bottom and right so that height and width divide by ``scale`` (a view).

    Raises
    ------
    ValueError
        The image is smaller than ``scale`` pixels.
    """
    height, width = (size - size % scale for size in image.shape[:2])
    if min(height, width) == 0:
        raise ValueError(f"an image of {image.shape[:2]} is too small for scale {scale}")
    return image[:height, :width]


def degrade(image: np.ndarray, scale: int, edge: str = "clamp") -> np.ndarray:
    """Resize by ``1 / scale`` and up again: the blurred image that SRCNN learns to restore.

    Nothing is rounded in between, as in the authors' code.

    Parameters
    ----------
    image : ndarray, (H, W) or (H, W, C)
        Both sides divide by ``scale`` (see :func:`modcrop`). Integers are first taken to
        float32 in 0..1.
    scale : int
    edge : "clamp" or "mirror"
        As for :func:`imresize`.

    Returns
    -------
    ndarray
        Float, the size of ``image``.
    """
    image = as_native(image)
    if image.ndim < 2 or any(size % scale for size in image.shape[:2]):
        raise ValueError(f"both sides of {image.shape[:2]} must divide by {scale}: use modcrop")
    if image.dtype.kind == "u":
        image = image / np.float32(np.iinfo(image.dtype).max)
    return imresize(imresize(image, 1 / scale, edge=edge), scale, edge=edge)


class Table(NamedTuple):
    """Input samples, and their weights, of each output sample of an axis.

    Attributes
    ----------
    indices, weights : (outputs, taps)
    firsts : (outputs,)
        The first input sample, as if there were some beyond the edges too.
    period : int
        So many outputs farther the same inputs are used, but each one farther. 0: they are not.
    """

    indices: np.ndarray
    weights: np.ndarray
    firsts: np.ndarray
    period: int


@lru_cache(maxsize=8)  # those who go window by window ask again and again
def _table(size: int, outputs: int, scale: float, edge: str, antialias: bool) -> Table:
    """Compute MATLAB's ``contributions``, with its one-based positions."""
    stretch = min(scale, 1.0) if antialias else 1.0
    support = SUPPORT / stretch
    center = np.arange(1, outputs + 1) / scale + 0.5 * (1 - 1 / scale)
    first = np.floor(center - support / 2)
    index = first[:, None] + np.arange(math.ceil(support) + 2)
    weight = _keys(stretch * (center[:, None] - index))
    weight /= weight.sum(axis=1, keepdims=True)
    used = np.flatnonzero(weight.any(axis=0))
    spare = -len(used) % TAPS  # weights of zero, for kernels that take TAPS at a time
    index = index[:, np.append(used, used[:1].repeat(spare))].astype(np.intp, order="C") - 1
    weight = np.pad(weight[:, used], ((0, 0), (0, spare)))
    firsts, period = index[:, 0], round(scale)
    steady = period == scale > 1 and len(used) == TAPS == used[-1] - used[0] + 1
    if not (steady and np.array_equal(firsts[period:], firsts[:-period] + 1)):
        period = 0
    if edge == "clamp":
        index = index.clip(0, size - 1)
    else:
        index = index % (2 * size)
        index = np.minimum(index, 2 * size - 1 - index)
    return Table(index, weight, firsts, period)


def _part(table: Table, span: Span) -> Table:
    """Return the part of a table for some of the output samples."""
    part = slice(*span)
    return table._replace(
        indices=table.indices[part], weights=table.weights[part], firsts=table.firsts[part]
    )


def _in_use(table: Table) -> Span:
    """Return the first input sample that a table names, and the one after the last."""
    return int(table.indices.min()), int(table.indices.max()) + 1


def _keys(x: np.ndarray) -> np.ndarray:
    """Compute Keys' cubic convolution kernel, a = -0.5 (Keys 1981, equation 15)."""
    x = np.abs(x)
    near = (1.5 * x - 2.5) * x * x + 1
    far = ((-0.5 * x + 2.5) * x - 4) * x + 2
    return np.where(x <= 1, near, np.where(x <= 2, far, 0.0))


def _along_rows(image: np.ndarray, table: Table, out: np.ndarray | None = None) -> np.ndarray:
    """Resample the first axis."""
    flat = np.require(image, requirements=["C", "A", "W"]).reshape(len(image), -1)
    shape = len(table.indices), flat.shape[1]
    result = np.empty(shape, image.dtype) if out is None else out.reshape(shape)
    block = -(-PIECE_PIXELS // flat.shape[1])
    _run(_rows_kernel, block, flat, [table.indices], [table.weights], result, (flat.shape[1],))
    return result.reshape(len(result), *image.shape[1:])


def _along_columns(image: np.ndarray, table: Table, out: np.ndarray | None = None) -> np.ndarray:
    """Resample the second axis. Channels lie side by side: out[j, c] = sum_t w[j, t] in[i_t, c]."""
    channels = math.prod(image.shape[2:])
    flat = np.require(image, requirements=["C", "A", "W"]).reshape(len(image), -1)
    shape = len(flat), channels * len(table.indices)
    result = np.empty(shape, image.dtype) if out is None else out.reshape(shape)
    index = channels * table.indices[:, None] + np.arange(channels)[:, None]
    weight = table.weights.repeat(channels, axis=0)
    index = index.reshape(weight.shape)
    scratch = (flat.shape[1], LANES), (BLOCK_COLUMNS, LANES)
    _run(_columns_kernel, LANES, flat, [index], [weight], result, *scratch)
    return result.reshape(len(image), -1, *image.shape[2:])


def _whole_times(
    image: np.ndarray, down: Table, across: Phases, out: np.ndarray | None
) -> np.ndarray:
    """Resample both axes of a plane by a whole number, rows first."""
    image = np.require(image, requirements=["C", "A", "W"])
    shape = len(down.indices), across.outputs
    result = np.empty(shape, image.dtype) if out is None else out
    block = max(1, PIECE_PIXELS // shape[1])
    scratch = image.shape[1:], across.places.shape, across.weights.shape[::2]
    indices = [down.indices, across.places, across.starts]
    _run(_whole_kernel, block, image, indices, [down.weights, across.weights], result, *scratch)
    return result


class Phases(NamedTuple):
    """A part of a table of columns, sorted by the phases of its period.

    Attributes
    ----------
    outputs : int
        How many columns of the result.
    left, right : int
        The first input column that they use, and the one after the last.
    places : (inputs,)
        The input samples that are used, from ``left`` on, one after the other, those beyond the
        edges too.
    starts : (period,)
        Of each phase: where in ``places`` the first tap of its first output is. That of the next
        output of the phase is one farther.
    weights : (period, TAPS, outputs of a phase)
    """

    outputs: int
    left: int
    right: int
    places: np.ndarray
    starts: np.ndarray
    weights: np.ndarray


@lru_cache(maxsize=8)  # those who go strip by strip ask for the same columns again
def _phases(
    size: int, outputs: int, scale: float, edge: str, antialias: bool, span: Span, single: bool
) -> Phases:
    """Sort the part of a table (the arguments of :func:`_table`) for some of the outputs.

    ``single``: weights of single precision.
    """
    table = _part(_table(size, outputs, scale, edge, antialias), span)
    period, (columns, taps) = table.period, table.indices.shape
    first = table.firsts - table.firsts[0]
    left, right = _in_use(table)
    places = np.full(first[-1] + taps + 1, left)  # one more, for phases that end sooner
    places[first[:, None] + np.arange(taps)] = table.indices
    kind = np.float32 if single else np.float64
    weights = np.zeros((-(-columns // period) * period, taps), kind)
    weights[:columns] = table.weights
    weights = np.ascontiguousarray(weights.reshape(-1, period, taps).transpose(1, 2, 0))
    return Phases(columns, left, right, places - left, np.resize(first[:period], period), weights)


def _run(
    kernel: Callable[..., None],
    block: int,
    source: np.ndarray,
    indices: Sequence[np.ndarray],
    weights: Sequence[np.ndarray],
    result: np.ndarray,
    *scratch: tuple[int, ...],
) -> None:
    """Call ``kernel`` for blocks of rows of ``result``; sums are float32 for float32 alone.

    Each call gets arrays of the shapes ``scratch`` to work in: a kernel that makes its own takes
    half as long again to compile. All arrays are contiguous and writable: for others Numba would
    compile the kernel once more.
    """
    real = np.float32 if result.dtype == np.float32 else np.float64
    weights = [weight.astype(real, copy=False) for weight in weights]
    # None at compile time: a kernel of floats has no code for rounding
    top = real(np.iinfo(result.dtype).max) if result.dtype.kind == "u" else None

    def piece(i: int) -> None:
        stop = min((i + 1) * block, len(result))
        space = [np.empty(shape, real) for shape in scratch]
        kernel(i * block, stop, source, *indices, *weights, top, real(0.5), *space, result)

    parallel(piece, -(-len(result) // block))


@jit
def _rows_kernel(start, stop, source, index, weight, top, half, total, result):
    for i in range(start, stop):
        for j in range(source.shape[1]):
            total[j] = 0
        for t in range(0, index.shape[1], TAPS):
            w0, w1, w2, w3 = weight[i, t], weight[i, t + 1], weight[i, t + 2], weight[i, t + 3]
            r0, r1, r2, r3 = index[i, t], index[i, t + 1], index[i, t + 2], index[i, t + 3]
            for j in range(source.shape[1]):
                s = total[j] + w0 * source[r0, j] + w1 * source[r1, j]
                total[j] = s + w2 * source[r2, j] + w3 * source[r3, j]
        for j in range(source.shape[1]):
            result[i, j] = _stored(total[j], top, half)


@jit
def _columns_kernel(start, stop, source, index, weight, top, half, turned, total, result):
    # up to LANES rows, turned so that they lie side by side: then the inner loop is SIMD
    for i in range(start, stop):
        for j in range(source.shape[1]):
            turned[j, i - start] = source[i, j]
    lanes = total.shape[1]  # not LANES: a loop of known length is unrolled before it becomes SIMD
    for left in range(0, result.shape[1], len(total)):
        right = min(left + len(total), result.shape[1])
        for j in range(left, right):
            for i in range(lanes):
                total[j - left, i] = 0
            for t in range(0, index.shape[1], TAPS):
                w0, w1, w2, w3 = weight[j, t], weight[j, t + 1], weight[j, t + 2], weight[j, t + 3]
                c0, c1, c2, c3 = index[j, t], index[j, t + 1], index[j, t + 2], index[j, t + 3]
                for i in range(lanes):
                    s = total[j - left, i] + w0 * turned[c0, i] + w1 * turned[c1, i]
                    total[j - left, i] = s + w2 * turned[c2, i] + w3 * turned[c3, i]
        for i in range(start, stop):
            for j in range(left, right):  # unsigned: that spares Numba's test for negative indices
                value = total[np.uint64(j - left), i - start]
                result[i, np.uint64(j)] = _stored(value, top, half)


@jit
def _whole_kernel(
    start, stop, source, index, places, starts, weight, across, top, half, line, samples, sums,
    result,
):  # fmt: skip
    # the outputs of a phase read neighbouring inputs: SIMD without turning rows, in half the time
    period, outputs = len(across), result.shape[1]
    whole = outputs // period
    for i in range(start, stop):
        w0, w1, w2, w3 = weight[i, 0], weight[i, 1], weight[i, 2], weight[i, 3]
        r0, r1, r2, r3 = index[i, 0], index[i, 1], index[i, 2], index[i, 3]
        for j in range(len(line)):
            s = w0 * source[r0, j] + w1 * source[r1, j] + w2 * source[r2, j] + w3 * source[r3, j]
            line[j] = _stored(s, top, half)
        for k in range(len(places)):
            samples[k] = line[places[k]]
        for p in range(period):
            first = np.uint64(starts[p])
            for q in range(sums.shape[1]):
                here = first + np.uint64(q)
                s = across[p, 0, q] * samples[here] + across[p, 1, q] * samples[here + np.uint64(1)]
                s = s + across[p, 2, q] * samples[here + np.uint64(2)]
                s = s + across[p, 3, q] * samples[here + np.uint64(3)]
                sums[p, q] = _stored(s, top, half)
        row = result[i]
        if period == 2:  # a known step becomes SIMD
            for q in range(whole):
                row[np.uint64(2 * q)] = sums[0, q]
                row[np.uint64(2 * q + 1)] = sums[1, q]
        else:
            for p in range(period):
                for q in range(whole):
                    row[np.uint64(period * q + p)] = sums[p, q]
        for j in range(period * whole, outputs):
            row[j] = sums[j - period * whole, whole]


@helper
def _stored(value, top, half):
    """Return ``value`` as an image holds it: rounded, in 0..top; as it is where top is None."""
    if top is None:
        return value
    value = np.floor(value + half)
    return top if value > top else value if value > 0 else half - half
