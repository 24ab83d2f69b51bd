"""Compute Winograd's short convolutions: F(MxM, KxK) of many channels, and of large filters of few.

N batch, C channels in, O channels out, H W height and width, K kernel size, M outputs of a tile in
each direction.

M neighbouring outputs of a K-tap filter depend on K + M - 1 inputs d, and can be had from as many
products instead of K M (Lavin and Gray 2016, arXiv 1509.09308)::

    y = A^T [(G g) * (B^T d)]

in both directions from (K + M - 1)^2 / M^2 products an output: with M = 4 4 instead of 25 for 5x5,
2.25 instead of 9 for 3x3. A, B and G evaluate and interpolate polynomials at chosen points (Cook
and Toom); they are made here from the points, in exact fractions. Of the points chosen every entry
of A and B is a float32 without error. Results err by 1.6e-6 (F(4, 3)), 2.4e-6 (F(5, 3)), 2.9e-6
(F(4, 5)) and 6.6e-6 (F(5, 5)) of their root mean square, of 64 channels of normal numbers.

What is multiplied are maps of all channels at once, so the products are the forward tile's
sums over channels, one for each of the (K + M - 1)^2 points, and the transforms around them are
short sums with known coefficients, emitted here as straight SIMD code.

A 9x9 or 6x6 first layer, of one or three channels, is cut into groups of 3x3, each an F(MxM, 3x3)
of its own place in the image. Their products are summed point by point, over channels and groups,
by the tile again, and transformed back once: for 9x9 with M = 4 9 * 36 products for 16 outputs
instead of 81 * 16, a quarter.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from fractions import Fraction
from itertools import combinations

import numpy as np
from llvmlite import ir
from numba import types

from npsrcnn.kernels.cpu.tiles import (
    F32,
    GATE,
    I64,
    LANES,
    ROWS,
    VECTOR,
    VECTORS,
    Act,
    Emitter,
    Values,
    check_range,
    check_types,
    for_each_act,
    pack,
    round_up,
    sum_taps,
    tile_call,
    tile_width,
)
from npsrcnn.runtime.jit import BOUNDSCHECK, emitted, helper
from npsrcnn.runtime.numba_inside import Dispatcher

SIZES = (3, 5)
"""Filter sizes that have a transform."""
STEP = 4
"""M of inference."""
GROUP = 3
"""Rows and columns of the groups that a large filter of a first layer is cut into."""
GROUP_VECTORS = 1 if LANES == 16 else VECTORS
"""The most vectors of a tile in groups, whose sums of all points wait in the first-level cache.

Of 8 maps, 16 lanes and M = 4 one vector is 18 kB; with three, 55 kB, 9-1-5 took 1.04 times as long
(AMD Zen 4, AVX-512), and with two, where the cache has 48 kB, 0.97 to 1.00 of the time (Intel
Emerald Rapids). Of 4 maps and 8 lanes three are 14 kB, and two or one take 1.00 to 1.11 times as
long, having too few sums to hide a multiply-add's latency (AMD Zen 3, AVX2).
"""
_POINTS = [Fraction(p) for p in ("0", "1", "-1", "2", "-2", "1/2", "-1/2")]
_NINE_POINTS = [Fraction(p) for p in ("0", "1/2", "-1/2", "7/8", "-7/8", "3/2", "-3/2", "4", "-4")]
"""Of short fractions those that err least: with +-4 after ``_POINTS`` twice as much."""

Matrix = list[list[Fraction]]


def points_of(k: int, step: int) -> int:
    """Return the points of F(step, k): products, and inputs, of a tile in each direction."""
    return k + step - 1


@functools.cache
def cook_toom(k: int, step: int) -> tuple[Matrix, Matrix, Matrix]:
    """Return A^T (step, n), G (n, k) and B^T (n, n) of F(step, k), n = k + step - 1, exactly.

    A filter g and the outputs are polynomials; a product of polynomials is found from its values
    at n points by Lagrange's interpolation. A correlation is the transpose of that product. If n
    is even one of the points is infinity, whose value is the leading coefficient: then all others
    but 0 are pairs p and -p, whose sums share their terms.
    """
    n = points_of(k, step)
    points = _NINE_POINTS if n == 9 else _POINTS[: n - 1 + n % 2]
    at = [[p**power for p in points] for power in range(step)]
    g, bt = [], []
    for p in points:
        others = [q for q in points if q != p]
        scale = Fraction(1)
        for q in others:
            scale *= p - q
        g.append([p**power / scale for power in range(k)])
        bt.append(_from_roots(others))
    if len(points) < n:
        for power, row in enumerate(at):
            row.append(Fraction(power == step - 1))
        for row in bt:
            row.append(Fraction(0))
        g.append([Fraction(power == k - 1) for power in range(k)])
        bt.append(_from_roots(points))
    return at, g, bt


def _from_roots(roots: list[Fraction]) -> list[Fraction]:
    """Return the coefficients, lowest first, of the product of (x - root)."""
    coefficients = [Fraction(1)]
    for root in roots:
        shifted = [Fraction(0), *coefficients]
        scaled = [root * c for c in coefficients] + [Fraction(0)]
        coefficients = [a - b for a, b in zip(shifted, scaled, strict=True)]
    return coefficients


@functools.cache
def points_of_filters(k: int, step: int) -> np.ndarray:
    """Return what makes the points of a filter, (n * n,) for n points, of its weights, (k * k,)."""
    g = np.array(cook_toom(k, step)[1], np.float64)
    return np.kron(g, g)


def winograd_pays(shape: tuple[int, ...]) -> bool:
    """Return whether filters (O, C, K, K) run as F(MxM, KxK): K in SIZES, and O and C large."""
    return shape[2] in SIZES and min(shape[:2]) >= 2 * ROWS


def transform_filters(w: np.ndarray, step: int) -> np.ndarray:
    """Compute G w G^T of filters (O, C, K, K), packed point by point for the forward tile, flat.

    Without BLAS, whose threads spin for a while after a product, on the cores that are to run the
    network next: 9-5-5 on 256 x 256 took 21.6 ms on two cores, and takes 13.0 (OpenBLAS).
    """
    g = np.array(cook_toom(w.shape[2], step)[1], np.float64)
    columns = np.einsum("ocuv,jv->ujoc", w.astype(np.float64), g)
    points = np.einsum("iu,ujoc->ijoc", g, columns)
    return np.concatenate([pack(p, ROWS) for row in points for p in row])


def transform_filter_groups(w: np.ndarray, step: int) -> np.ndarray:
    """Compute G g G^T of each 3 x 3 group of filters (O, C, K, K), as :func:`groups_of` reads them.

    Flat, (maps / ROWS, points, taps, ROWS); the taps of a point are (C, groups down, across).
    """
    o, c, k, _ = w.shape
    filled = np.zeros((round_up(o, ROWS), c, k, k))
    filled[:o] = w
    cut = filled.reshape(-1, ROWS, c, k // GROUP, GROUP, k // GROUP, GROUP)
    by_place = cut.transpose(4, 6, 0, 2, 3, 5, 1).reshape(GROUP**2, len(cut), -1)
    points = np.einsum("pq,qmt->mpt", points_of_filters(GROUP, step), by_place)
    packed: np.ndarray = points.astype(np.float32).ravel()
    return packed


INPUT, OUTPUT, SPREAD = 0, 1, 2


@functools.cache
def _matrix(kind: int, k: int, step: int) -> Matrix:
    """Return the matrix of a transform of F(step, k): B^T, A^T or A."""
    at, _, bt = cook_toom(k, step)
    if kind == SPREAD:
        return [list(column) for column in zip(*at, strict=True)]
    return bt if kind == INPUT else at


def _combine(emit: Emitter, row: list[Fraction], values: Values) -> ir.Value:
    """Sum row[k] * values[k], beginning with a term that needs no multiplication."""
    b = emit.builder
    terms = sorted((c != 1, k) for k, c in enumerate(row) if c)
    total = None
    for _, k in terms:
        constant = ir.Constant(VECTOR, [float(row[k])] * LANES)
        if total is None:
            total = values[k] if row[k] == 1 else b.fmul(constant, values[k])
        elif abs(row[k]) == 1:
            total = (b.fadd if row[k] == 1 else b.fsub)(total, values[k])
        else:
            total = emit.fma(constant, values[k], total)
    return total


def _paired(emit: Emitter, matrix: Matrix, values: Values) -> tuple[Matrix, Values]:
    """Replace values whose columns are equal but for signs, by their sum and their difference.

    A^T has such columns for the points p and -p: it takes 10 operations in place of 14, of 5 x 5 16
    in place of 22.
    """
    columns, values = [list(column) for column in zip(*matrix, strict=True)], list(values)
    for i, j in combinations(range(len(columns)), 2):
        one, other = columns[i], columns[j]
        if [abs(c) for c in one] == [abs(c) for c in other]:
            pairs = list(zip(one, other, strict=True))
            columns[i] = [c if c == d else Fraction(0) for c, d in pairs]
            columns[j] = [c if c != d else Fraction(0) for c, d in pairs]
            total = emit.builder.fadd(values[i], values[j])
            values[i], values[j] = total, emit.builder.fsub(values[i], values[j])
    return [list(row) for row in zip(*columns, strict=True)], values


def _apply(emit: Emitter, matrix: Matrix, values: Values) -> Values:
    """Compute matrix @ values. Rows of points p and -p share their even and their odd part."""
    matrix, values = _paired(emit, matrix, values)
    results: dict[int, ir.Value] = {}
    for i, row in enumerate(matrix):
        if i in results:
            continue
        twins = [
            t for t in range(i + 1, len(matrix))
            if t not in results and [abs(c) for c in matrix[t]] == [abs(c) for c in row]
        ]  # fmt: skip
        if not twins:
            results[i] = _combine(emit, row, values)
            continue
        twin = matrix[twins[0]]
        even = [c if c == t else Fraction(0) for c, t in zip(row, twin, strict=True)]
        odd = [c if c != t else Fraction(0) for c, t in zip(row, twin, strict=True)]
        e, o = _combine(emit, even, values), _combine(emit, odd, values)
        results[i] = emit.builder.fadd(e, o)
        results[twins[0]] = emit.builder.fsub(e, o)
    return [results[i] for i in range(len(matrix))]


def _transform_body(emit: Emitter, kind: int, k: int, step: int, arguments: Values) -> None:
    """Compute out[i, so * t] = sum over l of matrix[i][l] * x[off[l] + sx * t], t < n / LANES."""
    x, sx, off, out, so, ldo, n = arguments
    b = emit.builder
    matrix = _matrix(kind, k, step)
    views = [emit.at(x, emit.scalar(off, i)) for i in range(len(matrix[0]))]
    rows = [emit.at(out, b.mul(ldo, ir.Constant(I64, i))) for i in range(len(matrix))]

    def vector(_: ir.Value, state: Values) -> Values:
        there, here = state
        results = _apply(emit, matrix, [emit.load(view, there) for view in views])
        for row, result in zip(rows, results, strict=True):
            emit.store(result, row, here)
        return [b.add(there, sx, flags=["nsw"]), b.add(here, so, flags=["nsw"])]

    emit.loop(n, LANES, [ir.Constant(I64, 0)] * 2, vector)
    b.ret_void()


@emitted
def _transform(typing, kind, k, step, x, ix, sx, off, out, io, so, ldo, n):
    """Call a transform of F(step, k) (literals): INPUT (B^T), OUTPUT (A^T) or SPREAD (A)."""
    check_types("x off out", (x, off, out))
    arguments = x, ix, sx, off, out, io, so, ldo, n
    return tile_call("transform", _transform_body, (kind, k, step), *arguments)


@functools.cache
def transform(kind: int, k: int, step: int) -> Dispatcher[Callable[..., None]]:
    """Return a transform of F(step, k), a function of kernels: INPUT, OUTPUT or SPREAD.

    ``(x, ix, sx, off, out, io, so, ldo, n)``: out[i, so * t] = sum over l of matrix[i, l] *
    x[off[l] + sx * t]. ``n``, the floats of a row, is a multiple of LANES; vector t of row i goes
    to ``out[io + i * ldo + so * t]``. Where vectors are neighbours, ``sx`` and ``so`` are LANES.
    INPUT, B^T, takes what a tile sees to its points; OUTPUT, A^T, the sums of points to outputs;
    SPREAD, A, gradients to outputs to those to the sums.
    """
    matrix = _matrix(kind, k, step)
    rows, columns = len(matrix), len(matrix[0])

    @helper
    def compute(x, ix, sx, off, out, io, so, ldo, n):
        if BOUNDSCHECK:
            _check_transform(columns, rows, x, ix, sx, off, out, io, so, ldo, n)
        _transform(kind, k, step, x, ix, sx, off, out, io, so, ldo, n)

    return compute


def _finish_body(emit: Emitter, k: int, step: int, arguments: Values) -> None:
    """Compute ``step`` rows of n floats: A^T over rows, bias and act."""
    x, off, bias, out, n, act, gate = arguments
    b = emit.builder
    matrix = _matrix(OUTPUT, k, step)
    points = len(matrix[0])
    views = [emit.at(x, emit.scalar(off, i)) for i in range(points)]
    rows = [emit.scalar(off, points + r) for r in range(step)]
    added = emit.splat(emit.scalar(bias, 0))

    def write(result: Act) -> None:
        def vector(j: ir.Value, state: Values) -> Values:
            sums = _apply(emit, matrix, [emit.load(view, j) for view in views])
            for row, total in zip(rows, sums, strict=True):
                place = b.add(row, j)
                emit.store(result(b.fadd(added, total), place), out, place)
            return state

        emit.loop(n, LANES, [], vector)

    for_each_act(emit, act, gate, write)


@emitted
def _finish(typing, k, step, x, ix, off, bias, ib, out, io, n, act, gate, ig):
    """Call the last transform of F(step, k) (literals)."""
    check_types("x off bias out gate", (x, off, bias, out, gate))
    arguments = x, ix, off, bias, ib, out, io, n, act, gate, ig
    return tile_call("finish", _finish_body, (k, step), *arguments)


@functools.cache
def finish(k: int, step: int) -> Dispatcher[Callable[..., None]]:
    """Return the last transform of F(step, k), which computes ``step`` rows of a map.

    ``(x, ix, off, bias, ib, out, io, n, act, gate, ig)``: act(bias[ib] + sum over l < points of
    A^T[r, l] * x[ix + off[l]]). Row r goes to ``out[io + off[points + r]]``, its gate lies at
    ``gate[ig + off[points + r]]`` (any array will do unless ``act`` is GATE); ``n``, the floats of
    a row, is a multiple of LANES.
    """
    points = points_of(k, step)

    @helper
    def compute(x, ix, off, bias, ib, out, io, n, act, gate, ig):
        if BOUNDSCHECK:
            for i in range(points):
                check_range(x.size, ix + off[i], n)
            for r in range(points, points + step):
                check_range(out.size, io + off[r], n)
                if act == GATE:
                    check_range(gate.size, ig + off[r], n)
            check_range(bias.size, ib, 1)
        _finish(k, step, x, ix, off, bias, ib, out, io, n, act, gate, ig)

    return compute


def _groups_body(emit: Emitter, rows: int, vectors: int, step: int, arguments: Values) -> None:
    """Compute a tile of F(MxM, 3x3) over groups, from the sums over taps to the outputs' ReLU.

    The sums of all points wait in memory for the transform.
    """
    x, plane, off, taps, w, bias, out, ldo, stride, *phase = arguments
    b = emit.builder
    matrix, points = _matrix(OUTPUT, GROUP, step), points_of(GROUP, step)
    size = rows * vectors * LANES
    room = b.alloca(F32, ir.Constant(I64, points**2 * size))
    nothing = b.alloca(F32, ir.Constant(I64, rows))
    for m in range(rows):
        b.store(ir.Constant(F32, 0), emit.at(nothing, m))

    def point(i: ir.Value, state: Values) -> Values:
        here = emit.at(x, b.mul(plane, i))
        filters = emit.at(w, b.mul(b.mul(taps, ir.Constant(I64, rows)), i))
        # The sum of the point (1, 1) every output takes with weight 1: there the bias is added.
        added = b.select(b.icmp_signed("==", i, ir.Constant(I64, points + 1)), bias, nothing)
        sums = emit.at(room, b.mul(i, ir.Constant(I64, size)))
        for place, vector in enumerate(
            sum_taps(emit, rows, vectors, [here, off, taps, filters, added])
        ):
            emit.store(vector, sums, place * LANES)
        return state

    def vector(mv: ir.Value, state: Values) -> Values:
        sums = emit.at(room, b.mul(mv, ir.Constant(I64, LANES)))
        across = [
            _apply(emit, matrix, [emit.load(sums, (i * points + j) * size) for j in range(points)])
            for i in range(points)
        ]
        down = [_apply(emit, matrix, list(column)) for column in zip(*across, strict=True)]
        m, v = (div(mv, ir.Constant(I64, vectors)) for div in (b.udiv, b.urem))
        first = b.add(b.mul(ldo, m), b.mul(stride, v))
        for r, line in enumerate(zip(*down, strict=True)):
            outputs = [emit.positive(y, y) for y in line]
            outputs = outputs if phase else emit.transposed(outputs)
            beside = phase[0] if phase else ir.Constant(I64, LANES)
            place = b.add(first, emit.scalar(off, b.add(taps, ir.Constant(I64, r))))
            for output in outputs:
                emit.store(output, out, place)
                place = b.add(place, beside)
        return state

    emit.loop(ir.Constant(I64, points**2), 1, [], point)
    emit.loop(ir.Constant(I64, rows * vectors), 1, [], vector)
    b.ret_void()


@emitted
def _groups_tile(
    typing, rows, vectors, step, x, ix, plane, off, taps, w, iw, bias, ib, out, io, ldo, stride,
    phase,
):  # fmt: skip
    """Call the tile of rows maps and vectors vectors of step x step pixels a lane (literals)."""
    check_types("x off w bias out", (x, off, w, bias, out))
    name = "groups.phases" if isinstance(phase, types.Integer) else "groups"
    arguments = x, ix, plane, off, taps, w, iw, bias, ib, out, io, ldo, stride, phase
    return tile_call(name, _groups_body, (rows, vectors, step), *arguments)


@functools.cache
def groups_of(step: int) -> Dispatcher[Callable[..., None]]:
    """Return what computes F(MxM, 3x3), M = ``step``, over groups, then ReLU.

    ``(x, ix, plane, off, taps, w, iw, bias, ib, out, io, ldo, stride, phase, maps, n)``: ``maps``
    maps of M rows of M ``n`` columns. Point i of the transformed input lies ``plane * i`` after
    ``x[ix]``. Row r of map m goes to ``out[io + off[taps + r] + m * ldo]``, what comes of vector v
    of tiles ``stride * v`` further: if ``phase`` is None, M LANES columns of tiles side by side,
    else a vector of columns p of all its tiles at ``p * phase``, p < M. Filters are packed by
    :func:`transform_filter_groups`. ``maps`` is a multiple of ROWS, ``n`` of LANES.
    """
    points = points_of(GROUP, step)

    @helper
    def compute(x, ix, plane, off, taps, w, iw, bias, ib, out, io, ldo, stride, phase, maps, n):
        if BOUNDSCHECK:
            _check_groups(step, x, ix, plane, off, taps, w, iw, bias, ib, out, io, ldo, stride,
                          phase, maps, n)  # fmt: skip
        j = 0
        while j < n:
            vectors = tile_width(n - j) if GROUP_VECTORS == VECTORS else 1
            at = io + j // LANES * stride
            for m in range(0, maps, ROWS):
                xj, wm, bm, om = ix + j, iw + m * taps * points**2, ib + m, at + m * ldo
                if vectors == VECTORS:
                    _groups_tile(ROWS, VECTORS, step, x, xj, plane, off, taps, w, wm, bias, bm,
                                 out, om, ldo, stride, phase)  # fmt: skip
                elif vectors == 2:
                    _groups_tile(ROWS, 2, step, x, xj, plane, off, taps, w, wm, bias, bm,
                                 out, om, ldo, stride, phase)  # fmt: skip
                else:
                    _groups_tile(ROWS, 1, step, x, xj, plane, off, taps, w, wm, bias, bm,
                                 out, om, ldo, stride, phase)  # fmt: skip
            j += vectors * LANES

    return compute


@helper
def _check_groups(
    step, x, ix, plane, off, taps, w, iw, bias, ib, out, io, ldo, stride, phase, maps, n
):
    points = (GROUP + step - 1) * (GROUP + step - 1)
    for k in range(taps):
        check_range(x.size, ix + off[k], (points - 1) * plane + n)
    check_range(w.size, iw, points * maps * taps)
    check_range(bias.size, ib, maps)
    last = (step - 1) * (LANES if phase is None else phase) + LANES
    length = (n // LANES - 1) * stride + last
    for r in range(step):
        check_range(out.size, io + off[taps + r], (maps - 1) * ldo + length)


@helper
def _check_transform(columns, rows, x, ix, sx, off, out, io, so, ldo, n):
    last = n // LANES - 1
    for i in range(columns):
        check_range(x.size, ix + off[i], last * sx + LANES)
    check_range(out.size, io, (rows - 1) * ldo + last * so + LANES)
