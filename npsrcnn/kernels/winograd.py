"""Winograd's short convolutions: F(4x4, KxK), for layers with many channels.

Four neighbouring outputs of a K-tap filter depend on K + 3 inputs d, and can be had from K + 3
products instead of 4 K (Lavin and Gray 2016, arXiv 1509.09308)::

    y = A^T [(G g) * (B^T d)]

in both directions from (K + 3)^2 / 16 products an output: 4 instead of 25 for 5x5, 2.25 instead
of 9 for 3x3. A, B and G evaluate and interpolate polynomials at chosen points (Cook and Toom);
they are made here from the points, in exact fractions. With 0, +-1, +-2, +-1/2 and infinity every
entry of A and B is a float32 without error.

What is multiplied are maps of all channels at once, so the products are the forward tile's
sums over channels, one for each of the (K + 3)^2 points, and the transforms around them are
short sums with known coefficients, emitted here as straight SIMD code.
"""

from __future__ import annotations

from fractions import Fraction

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from npsrcnn.kernels.jit import BOUNDSCHECK, helper
from npsrcnn.kernels.tiles import (
    I64,
    LANES,
    ROWS,
    VECTOR,
    Emitter,
    call_once,
    check_range,
    check_types,
    pack,
    pointer_to,
)

STEP = 4
"""Outputs of one transform, in each direction."""
SIZES = (3, 5)
"""Filter sizes that have a transform."""
_POINTS = [Fraction(p) for p in ("0", "1", "-1", "2", "-2", "1/2", "-1/2")]

Matrix = list[list[Fraction]]


def cook_toom(k: int) -> tuple[Matrix, Matrix, Matrix]:
    """A^T (4, k+3), G (k+3, k) and B^T (k+3, k+3) of F(4, k), exactly.

    A filter g and four outputs are polynomials; a product of polynomials is found from its
    values at k + 2 points and its leading coefficient (the point infinity), by Lagrange's
    interpolation. A correlation is the transpose of that product.
    """
    points = _POINTS[: k + 2]
    at = [[p**power for p in points] + [Fraction(power == STEP - 1)] for power in range(STEP)]
    g, bt = [], []
    for p in points:
        others = [q for q in points if q != p]
        scale = Fraction(1)
        for q in others:
            scale *= p - q
        g.append([p**power / scale for power in range(k)])
        bt.append([*_from_roots(others), Fraction(0)])
    g.append([Fraction(power == k - 1) for power in range(k)])
    bt.append(_from_roots(points))
    return at, g, bt


def _from_roots(roots: list[Fraction]) -> list[Fraction]:
    """Coefficients, lowest first, of the product of (x - root)."""
    coefficients = [Fraction(1)]
    for root in roots:
        shifted = [Fraction(0), *coefficients]
        scaled = [root * c for c in coefficients] + [Fraction(0)]
        coefficients = [a - b for a, b in zip(shifted, scaled, strict=True)]
    return coefficients


def transform_filters(w: np.ndarray) -> np.ndarray:
    """G w G^T of filters (O, C, K, K), packed point by point for the forward tile, flat."""
    g = np.array(cook_toom(w.shape[2])[1], np.float64)
    points = np.einsum("iu,ocuv,jv->ijoc", g, w.astype(np.float64), g, optimize=True)
    return np.concatenate([pack(p, ROWS) for row in points for p in row])


INPUT, OUTPUT = 0, 1
_MATRICES = {(kind, k): matrix for k in SIZES for kind, matrix in enumerate(cook_toom(k)[::-2])}


def _combine(emit: Emitter, row: list[Fraction], values: list[ir.Value]) -> ir.Value:
    """The sum of row[k] * values[k]; the term to begin with needs no multiplication."""
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


def _apply(emit: Emitter, matrix: Matrix, values: list[ir.Value]) -> list[ir.Value]:
    """matrix @ values. Rows of points p and -p share their even and their odd part."""
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


def _transform_body(emit: Emitter, kind: int, k: int, arguments: list) -> None:
    """out[i, j] = sum over k of matrix[i][k] * x[off[k] + j], for all j < n."""
    x, off, out, ldo, n = arguments
    matrix = _MATRICES[kind, k]
    views = [emit.at(x, emit.scalar(off, i)) for i in range(len(matrix[0]))]
    rows = [emit.at(out, emit.builder.mul(ldo, ir.Constant(I64, i))) for i in range(len(matrix))]

    def vector(j: ir.Value, state: list) -> list:
        results = _apply(emit, matrix, [emit.load(view, j) for view in views])
        for row, result in zip(rows, results, strict=True):
            emit.store(result, row, j)
        return state

    emit.loop(n, LANES, [], vector)
    emit.builder.ret_void()


@intrinsic(prefer_literal=True)
def _transform(typing, kind, k, x, ix, off, out, io, ldo, n):
    """One call of a transform: INPUT (B^T) or OUTPUT (A^T) of filter size k (literals)."""
    check_types("x off out", (x, off, out))
    i64 = types.int64
    signature = types.void(kind, k, x, i64, off, out, i64, i64, i64)

    def generate(context, builder, signature, values):
        arguments = [
            pointer_to(context, builder, x, values[2], values[3]),
            context.make_array(off)(context, builder, values[4]).data,
            pointer_to(context, builder, out, values[5], values[6]),
            *values[7:],
        ]
        shape = kind.literal_value, k.literal_value
        call_once(builder, "transform", _transform_body, shape, arguments)
        return context.get_dummy_value()

    return signature, generate


@helper
def transform_input(k, x, ix, off, out, io, ldo, n):
    """out[i, j] = sum over l of B^T[i, l] * x[off[l] + j] for i < k + 3, j < n.

    ``k`` is one of SIZES, ``n`` a multiple of LANES; row i starts at ``out[io + i * ldo]``.
    """
    if BOUNDSCHECK:
        _check_transform(k + STEP - 1, k + STEP - 1, x, ix, off, out, io, ldo, n)
    if k == 3:
        _transform(INPUT, 3, x, ix, off, out, io, ldo, n)
    else:
        _transform(INPUT, 5, x, ix, off, out, io, ldo, n)


@helper
def transform_output(k, x, ix, off, out, io, ldo, n):
    """out[i, j] = sum over l of A^T[i, l] * x[off[l] + j] for i < 4, j < n."""
    if BOUNDSCHECK:
        _check_transform(k + STEP - 1, STEP, x, ix, off, out, io, ldo, n)
    if k == 3:
        _transform(OUTPUT, 3, x, ix, off, out, io, ldo, n)
    else:
        _transform(OUTPUT, 5, x, ix, off, out, io, ldo, n)


@helper
def _check_transform(columns, rows, x, ix, off, out, io, ldo, n):
    for i in range(columns):
        check_range(x.size, ix + off[i], n)
    check_range(out.size, io, (rows - 1) * ldo + n)
