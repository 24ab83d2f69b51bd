"""Find the few atoms of a dictionary that together make a patch (pursuit).

Two problems, for each patch y, a row of (N, d), and a dictionary D (d, K) of unit columns:

- the lasso: minimise ``1/2 |y - D a|^2 + lambda |a|_1``, by :func:`ista`, :func:`fista` or, to the
  exact solution and fastest, :func:`lasso`; with ``signed=False`` over codes a >= 0;
- the best few: minimise ``|y - D a|^2`` with at most so many nonzeros, by :func:`omp`.

Every patch is solved by itself, on all threads, in float32 or float64 as given. All work on
D^T y and the Gram matrix D^T D, so that a step costs K for each nonzero of a code.
"""

from __future__ import annotations

import itertools
import math

import numpy as np

from npsrcnn.runtime.jit import helper, jit
from npsrcnn.runtime.threads import parallel
from npsrcnn.sparse_coding import checks

PATCHES_PER_TASK = 64


def soft_threshold(x: np.ndarray, threshold: float | np.ndarray, signed: bool = True) -> np.ndarray:
    """Shrink x towards zero by a threshold.

    It is ``sign(x) max(0, |x| - threshold)``, or ``max(0, x - threshold)`` where not signed.

    It is the proximal operator of ``threshold |.|_1`` (Donoho and Johnstone 1994; Daubechies et al.
    2004, equation 2.9). Signed, it is two ReLUs: max(0, x - t) - max(0, -x - t). Not signed, it is
    one: the ReLU of SRCNN with bias -t.
    """
    if signed:
        return np.maximum(x - threshold, 0) - np.maximum(-x - threshold, 0)
    return np.maximum(x - threshold, 0)


def step_bound(d: np.ndarray) -> float:
    """Return L, the largest eigenvalue of D^T D, whose inverse is the longest safe step."""
    return float(np.linalg.norm(checks.dictionary(d, unit=False).astype(np.float64), 2) ** 2)


def objective(d: np.ndarray, y: np.ndarray, codes: np.ndarray, lam: float) -> float:
    """Compute ``1/2 |y - D a|^2 + lambda |a|_1``, summed over all patches."""
    y, codes = (np.asarray(x, np.float64) for x in (y, codes))
    rest = y - codes @ np.asarray(d, np.float64).T
    return float(0.5 * (rest**2).sum() + lam * np.abs(codes).sum())


def ista(
    d: np.ndarray,
    y: np.ndarray,
    lam: float,
    steps: int,
    *,
    signed: bool = True,
    bound: float | None = None,
    history: list[float] | None = None,
) -> np.ndarray:
    """Solve the lasso by iterative shrinkage-thresholding (ISTA), from a = 0.

    A step is a <- shrink(a + D^T (y - D a) / L, lambda / L): Daubechies, Defrise, De Mol 2004;
    Beck and Teboulle 2009, equation 3.5. The objective never rises; it is within
    ``1 / (2 steps) L |a*|^2`` of its minimum.

    Parameters
    ----------
    d
        Dictionary (d, K), atoms of unit norm.
    y
        Patches (N, d).
    lam
        lambda, at least 0.
    steps
        Number of steps.
    signed
        False: codes a >= 0.
    bound
        L; default: :func:`step_bound`. Smaller may diverge.
    history
        Gets the objective, summed over patches, before the first and after each step.

    Returns
    -------
    numpy.ndarray, (N, K)
        The codes.

    Raises
    ------
    UserError
        Shapes that do not fit, atoms that are not of unit norm, lambda below zero.
    """
    momenta = np.zeros(checks.count(steps, "steps", 0))
    return _shrink(d, y, lam, momenta, signed, bound, history)


def fista(
    d: np.ndarray,
    y: np.ndarray,
    lam: float,
    steps: int,
    *,
    signed: bool = True,
    bound: float | None = None,
    history: list[float] | None = None,
) -> np.ndarray:
    """Solve the lasso by FISTA: each step starts ahead of the last code.

    The error falls as 1 / steps^2, that of ISTA as 1 / steps. Beck and Teboulle, "A fast iterative
    shrinkage-thresholding algorithm for linear inverse problems", 2009, equations 4.1-4.3.
    Parameters and results are those of :func:`ista`; the objective may rise now and then.
    """
    times = [1.0]
    for _ in range(checks.count(steps, "steps", 0)):
        times.append((1 + math.sqrt(1 + 4 * times[-1] ** 2)) / 2)
    momenta = np.array([(a - 1) / b for a, b in itertools.pairwise(times)])
    return _shrink(d, y, lam, momenta, signed, bound, history)


def lasso(
    d: np.ndarray,
    y: np.ndarray,
    lam: float,
    *,
    signed: bool = True,
    tolerance: float = 1e-4,
    limit: int = 2000,
) -> np.ndarray:
    """Solve the lasso one coordinate at a time, always the one that moves farthest.

    It is the coordinate descent of Fu 1998 in the greedy order of Li and Osher 2009. A move costs
    K, and codes have few nonzeros, so that this is far faster than :func:`fista` at equal accuracy.

    Parameters
    ----------
    d, y, lam, signed
        As for :func:`ista`.
    tolerance
        Stop where no coordinate would move more than this fraction of ``|y|``.
    limit
        Stop after this number of moves in any case.
    """
    d, y, lam, codes = _checked(d, y, lam)
    real = y.dtype.type
    pieces = -(-len(y) // PATCHES_PER_TASK)
    parallel(_lasso_block, pieces, y, d, d.T @ d, real(lam), real(tolerance), limit, signed, codes)
    return codes


def omp(d: np.ndarray, y: np.ndarray, nonzeros: int, *, tolerance: float = 0.0) -> np.ndarray:
    """Run orthogonal matching pursuit: add the atom that fits the rest best, then refit all.

    Pati, Rezaiifar, Krishnaprasad 1993, computed as Batch-OMP (Rubinstein, Zibulevsky, Elad 2008,
    algorithm 1) with a growing Cholesky factor.

    Parameters
    ----------
    d, y
        As for :func:`ista`.
    nonzeros
        Largest number of atoms for each patch, from 1 to d and K.
    tolerance
        A patch is done where its residual has this norm or less.

    Returns
    -------
    numpy.ndarray, (N, K)
    """
    index, value = omp_pairs(d, y, nonzeros, tolerance=tolerance)
    codes = np.zeros((len(y), d.shape[1] + 1), value.dtype)  # the last is where no atom goes
    np.put_along_axis(codes, index, value, axis=1)
    return np.ascontiguousarray(codes[:, :-1])


def omp_pairs(
    d: np.ndarray, y: np.ndarray, nonzeros: int, *, tolerance: float = 0.0
) -> tuple[np.ndarray, np.ndarray]:
    """Run :func:`omp`; return (N, nonzeros) atoms, -1 where there were fewer, and their values."""
    d, y, _, _ = _checked(d, y, 0.0, dense=False)
    nonzeros = checks.count(nonzeros, "nonzeros", 1, min(d.shape))
    index = np.full((len(y), nonzeros), -1)
    value = np.zeros((len(y), nonzeros), y.dtype)
    pieces = -(-len(y) // PATCHES_PER_TASK)
    norm = y.dtype.type(tolerance)
    parallel(_omp_block, pieces, y, d, d.T @ d, norm * norm, index, value)
    return index, value


def _checked(
    d: np.ndarray, y: np.ndarray, lam: float, dense: bool = True
) -> tuple[np.ndarray, np.ndarray, float, np.ndarray]:
    """Check arguments; return them in one dtype, with an array of zeros for the codes."""
    y = checks.rows(y)
    d = np.ascontiguousarray(checks.dictionary(d, y.shape[1]), y.dtype)
    codes = np.zeros((len(y), d.shape[1]) if dense else (0, 0), y.dtype)
    return d, y, checks.penalty(lam), codes


def _shrink(
    d: np.ndarray,
    y: np.ndarray,
    lam: float,
    momenta: np.ndarray,
    signed: bool,
    bound: float | None,
    history: list[float] | None,
) -> np.ndarray:
    d, y, lam, codes = _checked(d, y, lam)
    bound = step_bound(d) if bound is None else bound
    pieces = -(-len(y) // PATCHES_PER_TASK)
    values = np.zeros((pieces, 0 if history is None else len(momenta) + 1))
    lam, step = (y.dtype.type(x) for x in (lam, 1 / bound))
    momenta = momenta.astype(y.dtype)
    parallel(_shrink_block, pieces, y, d, d.T @ d, lam, step, momenta, signed, codes, values)
    if history is not None:
        history += values.sum(axis=0).tolist()
    return codes


@helper
def _correlate(y, d, z):
    """z = D^T y, atoms side by side in the inner loop."""
    for j in range(d.shape[1]):
        z[j] = y[0] * d[0, j]
    for i in range(1, len(y)):
        for j in range(d.shape[1]):
            z[j] += y[i] * d[i, j]


@helper
def _square(y):
    total = y[0] * y[0]
    for i in range(1, len(y)):
        total += y[i] * y[i]
    return total


@helper
def _shrunk(x, threshold, signed):
    if x > threshold:
        return x - threshold
    if signed and x < -threshold:
        return x + threshold
    return threshold - threshold


@helper
def _value(y, d, code, lam):
    """1/2 |y - D a|^2 + lambda |a|_1 of one patch, in float64."""
    total = 0.0
    for i in range(len(y)):
        rest = np.float64(y[i])
        for j in range(len(code)):
            if code[j] != 0:
                rest -= np.float64(d[i, j]) * code[j]
        total += 0.5 * rest * rest
    for j in range(len(code)):
        total += lam * abs(code[j])
    return total


@jit
def _shrink_block(piece, y, d, gram, lam, step, momenta, signed, codes, values):
    k = d.shape[1]
    z, slope, point = np.empty(k, y.dtype), np.empty(k, y.dtype), np.empty(k, y.dtype)
    for n in range(piece * PATCHES_PER_TASK, min((piece + 1) * PATCHES_PER_TASK, len(y))):
        code = codes[n]
        _correlate(y[n], d, z)
        point[:] = code
        if values.shape[1] > 0:
            values[piece, 0] += _value(y[n], d, code, lam)
        for t in range(len(momenta)):
            slope[:] = z
            for i in range(k):
                weight = point[i]
                if weight != 0:
                    for j in range(k):
                        slope[j] -= weight * gram[i, j]
            for j in range(k):
                new = _shrunk(point[j] + step * slope[j], lam * step, signed)
                point[j] = new + momenta[t] * (new - code[j])
                code[j] = new
            if values.shape[1] > 0:
                values[piece, t + 1] += _value(y[n], d, code, lam)


@jit
def _lasso_block(piece, y, d, gram, lam, tolerance, limit, signed, codes):
    k = d.shape[1]
    slope = np.empty(k, y.dtype)
    for n in range(piece * PATCHES_PER_TASK, min((piece + 1) * PATCHES_PER_TASK, len(y))):
        code = codes[n]
        _correlate(y[n], d, slope)
        least = tolerance * tolerance * _square(y[n])
        for _ in range(limit):
            best, farthest = 0, tolerance - tolerance
            for j in range(k):
                move = _shrunk(slope[j] + code[j], lam, signed) - code[j]
                if move * move > farthest:
                    best, farthest = j, move * move
            if farthest <= least:
                break
            move = _shrunk(slope[best] + code[best], lam, signed) - code[best]
            code[best] += move
            for j in range(k):
                slope[j] -= move * gram[best, j]


@jit
def _omp_block(piece, y, d, gram, tolerance, index, value):
    k, most = d.shape[1], value.shape[1]
    z, rest = np.empty(k, y.dtype), np.empty(k, y.dtype)
    factor = np.empty((most, most), y.dtype)  # lower Cholesky factor of the chosen part of gram
    half = np.empty(most, y.dtype)
    for n in range(piece * PATCHES_PER_TASK, min((piece + 1) * PATCHES_PER_TASK, len(y))):
        chosen, weight = index[n], value[n]
        _correlate(y[n], d, z)
        rest[:] = z
        left = _square(y[n])
        for m in range(most):
            best = 0
            for j in range(1, k):
                if abs(rest[j]) > abs(rest[best]):
                    best = j
            if left <= tolerance or rest[best] == 0:
                break
            # The new row of the factor, by forward substitution.
            square = gram[best, best]
            for i in range(m):
                total = gram[best, chosen[i]]
                for j in range(i):
                    total -= factor[m, j] * factor[i, j]
                factor[m, i] = total / factor[i, i]
                square -= factor[m, i] * factor[m, i]
            if square <= 1e-6:  # the atom lies in the span of the others: nothing is gained
                break
            factor[m, m] = np.sqrt(square)
            chosen[m] = best
            # factor factor^T weight = z of the chosen.
            for i in range(m + 1):
                total = z[chosen[i]]
                for j in range(i):
                    total -= factor[i, j] * half[j]
                half[i] = total / factor[i, i]
            for i in range(m, -1, -1):
                total = half[i]
                for j in range(i + 1, m + 1):
                    total -= factor[j, i] * weight[j]
                weight[i] = total / factor[i, i]
            left -= half[m] * half[m]
            rest[:] = z
            for i in range(m + 1):
                for j in range(k):
                    rest[j] -= weight[i] * gram[chosen[i], j]
