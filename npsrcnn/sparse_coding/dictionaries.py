"""Make dictionaries: fixed (DCT, Haar), of patches (PCA), learned (K-SVD, online, coupled).

A dictionary is an array (d, K), an atom a column, as in the papers; patches and codes are rows of
(N, d) and (N, K), so that ``patches = codes @ dictionary.T``.
"""

from __future__ import annotations

import math

import numpy as np

from npsrcnn.errors import UserError
from npsrcnn.runtime.jit import helper, jit
from npsrcnn.runtime.threads import parallel
from npsrcnn.sparse_coding import checks
from npsrcnn.sparse_coding.pursuit import lasso, omp_pairs
from npsrcnn.words import counted

PATCHES_PER_PRODUCT = 4096


def unit(d: np.ndarray) -> np.ndarray:
    """Scale each atom to norm 1.

    Raises
    ------
    UserError
        An empty dictionary, or an atom of zeros.
    """
    d = checks.dictionary(d, unit=False)
    norms = np.linalg.norm(d, axis=0)
    if not norms.all():
        raise UserError(f"atom {int(norms.argmin())} of the dictionary is zero: no direction")
    scaled: np.ndarray = d / norms
    return scaled


def dct(size: int, atoms: int | None = None) -> np.ndarray:
    """Make the two-dimensional cosine transform: (size^2, atoms), low frequencies first.

    ``atoms`` = size^2 (default) is orthonormal. A larger square number is overcomplete, with
    frequencies closer together (Elad and Aharon 2006, section III-D). The first atom is constant;
    all others have mean zero.
    """
    size = checks.count(size, "size")
    per_axis = size if atoms is None else checks.side(atoms, "a DCT dictionary")
    if per_axis < size:
        few = counted(per_axis**2, "atom")
        raise UserError(f"{few}: too few to span patches of {size} x {size}")
    position, frequency = np.arange(size)[:, None] + 0.5, np.arange(per_axis)
    axis = np.cos(np.pi * position * frequency / per_axis)
    axis[:, 1:] -= axis[:, 1:].mean(axis=0)
    axis /= np.linalg.norm(axis, axis=0)
    order = np.argsort(np.add.outer(frequency, frequency).ravel(), kind="stable")
    return np.ascontiguousarray(np.kron(axis, axis)[:, order])


def haar(size: int) -> np.ndarray:
    """Make the two-dimensional Haar transform, orthonormal: (size^2, size^2), coarse atoms first.

    Each step halves an interval; where its length is odd the first half is one longer, and the
    two heights follow so that atoms stay orthonormal (the unbalanced Haar of Fryzlewicz 2007).
    """
    size = checks.count(size, "size")
    atoms, intervals = [np.full(size, 1 / math.sqrt(size))], [(0, size)]
    for start, stop in intervals:  # grows while it is read: breadth first
        if stop - start < 2:
            continue
        middle = (start + stop + 1) // 2
        left, right = middle - start, stop - middle
        atom = np.zeros(size)
        atom[start:middle], atom[middle:stop] = 1 / left, -1 / right
        atoms.append(atom / np.linalg.norm(atom))
        intervals += [(start, middle), (middle, stop)]
    axis = np.array(atoms).T
    order = np.argsort(np.add.outer(np.arange(size), np.arange(size)).ravel(), kind="stable")
    return np.ascontiguousarray(np.kron(axis, axis)[:, order])


def pca(patches: np.ndarray, atoms: int | None = None, energy: float | None = None) -> np.ndarray:
    """Compute principal components of patches (N, d): orthonormal (d, atoms).

    The largest variance comes first.

    TPAMI section 3.1.1: representing patches "by a set of pre-trained bases such as PCA, DCT,
    Haar" is convolving with the bases. ``energy``, 0..1: as many atoms as hold that fraction of
    the variance. Means are not removed here. Signs are such that each atom's largest value is
    positive.
    """
    patches = checks.rows(patches)
    covariance = np.zeros((patches.shape[1],) * 2)
    for start in range(
        0, len(patches), PATCHES_PER_PRODUCT
    ):  # products in the patches' type, sums in float64
        some = patches[start : start + PATCHES_PER_PRODUCT]
        covariance += some.T @ some
    values, vectors = np.linalg.eigh(covariance)
    values, vectors = values[::-1].clip(min=0), vectors[:, ::-1]
    if energy is not None:
        if not 0 < energy <= 1:
            raise UserError(f"energy must be a number in 0..1, not {energy}")
        atoms = int(np.searchsorted(values.cumsum(), energy * values.sum()) + 1)
    atoms = checks.count(atoms or patches.shape[1], "atoms", 1, patches.shape[1])
    vectors = vectors[:, :atoms]
    largest = np.take_along_axis(vectors, np.abs(vectors).argmax(axis=0)[None], axis=0)
    return np.ascontiguousarray(vectors * np.sign(largest)).astype(patches.dtype)


def samples(patches: np.ndarray, atoms: int, seed: int = 0) -> np.ndarray:
    """Draw patches (N, d) at random as atoms of unit norm: (d, atoms). Flat ones are left out."""
    patches = checks.rows(patches)
    norms = np.linalg.norm(patches, axis=1)
    usable = np.flatnonzero(norms > 1e-3 * norms.max())
    if len(usable) < checks.count(atoms, "atoms"):
        few = f"too few patches that are not zero, {len(usable)}"
        raise UserError(f"{few}, for {counted(atoms, 'atom')}")
    chosen = np.random.default_rng(seed).choice(usable, atoms, replace=False)
    return np.ascontiguousarray(patches[chosen].T / norms[chosen])


def ksvd(
    patches: np.ndarray, atoms: int, nonzeros: int, iterations: int = 20, seed: int = 0
) -> np.ndarray:
    """Learn by K-SVD the dictionary (d, atoms) in which ``nonzeros`` atoms make patches best.

    Aharon, Elad, Bruckstein 2006: codes by :func:`omp_pairs`, then atom by atom, each with the
    codes that use it, one step of the power method instead of a whole SVD (Rubinstein,
    Zibulevsky, Elad 2008, algorithm 5). An atom that no patch uses becomes the patch that is
    represented worst.

    Parameters
    ----------
    patches
        (N, d), float32 or float64.
    atoms, nonzeros, iterations
        Numbers of atoms, of atoms in a patch, of iterations.
    seed
        Seed of the patches that are the first atoms.
    """
    patches = checks.rows(patches)
    d = samples(patches, atoms, seed)
    for _ in range(checks.count(iterations, "iterations", 0)):
        index, value = omp_pairs(d, patches, nonzeros)
        by_atom = np.argsort(index.ravel(), kind="stable")  # -1, no atom, comes first
        starts = np.searchsorted(index.ravel()[by_atom], np.arange(atoms + 1))
        columns = np.ascontiguousarray(d.T)
        parallel(_ksvd_update, 1, patches, index, value, by_atom, starts, columns)
        d = np.ascontiguousarray(columns.T)
    return d


def online(
    patches: np.ndarray,
    atoms: int,
    lam: float,
    *,
    batch: int = 512,
    epochs: int = 1,
    signed: bool = True,
    seed: int = 0,
) -> np.ndarray:
    """Learn a dictionary (d, atoms) for the lasso online.

    Mairal, Bach, Ponce, Sapiro 2010, algorithms 1 and 2: codes of a few patches at a time, sums
    of a a^T and y a^T over all patches so far (older ones count less, section 3.4.2), and one
    round of descent over the atoms. ``signed=False``: codes a >= 0.
    """
    patches = checks.rows(patches)
    rng = np.random.default_rng(seed)
    d = np.ascontiguousarray(samples(patches, atoms, seed).T)  # an atom a row, here
    aa, ya = np.zeros((atoms, atoms), d.dtype), np.zeros((atoms, patches.shape[1]), d.dtype)
    step = 0
    for _ in range(checks.count(epochs, "epochs")):
        order = rng.permutation(len(patches))
        for start in range(0, len(order), batch):
            y = patches[order[start : start + batch]]
            codes = lasso(d.T, y, lam, signed=signed, tolerance=1e-3)
            step += 1
            forget = d.dtype.type((1 - 1 / step) ** 2)
            aa, ya = forget * aa + codes.T @ codes, forget * ya + codes.T @ y
            parallel(_online_update, 1, aa, ya, d)
            unused = np.flatnonzero(np.diagonal(aa) <= 0)
            if len(unused) and step % 20 == 0:
                worst = np.argsort(-np.square(y - codes @ d).sum(axis=1), kind="stable")
                fresh = y[worst[: len(unused)]]
                norms = np.linalg.norm(fresh, axis=1, keepdims=True)
                d[unused[: len(fresh)]] = fresh / np.where(norms > 0, norms, 1)
    return unit(np.ascontiguousarray(d.T))


def coupled(
    low: np.ndarray,
    high: np.ndarray,
    atoms: int,
    lam: float,
    *,
    batch: int = 512,
    epochs: int = 1,
    signed: bool = True,
    seed: int = 0,
) -> tuple[np.ndarray, np.ndarray]:
    """Learn two dictionaries that share their codes, of features (N, d) and of patches (N, e).

    Yang et al. 2010, section II-C, equations 22-24: one dictionary of both joined, weighted by
    1 / sqrt(their lengths). Columns of the first are of unit norm; those of the second are scaled
    alike, so that a code of ``low`` gives ``high``. Other parameters are those of
    :func:`online`.
    """
    low, high = checks.rows(low, "low"), checks.rows(high, "high")
    if len(low) != len(high):
        raise UserError(f"{len(low)} low- and {len(high)} high-resolution patches: not the same")
    weight_low, weight_high = (np.float32(x.shape[1] ** -0.5) for x in (low, high))
    both = np.concatenate([low * weight_low, high * weight_high], axis=1).astype(low.dtype)
    scale = np.linalg.norm(both, axis=1).mean()
    d = online(both / scale, atoms, lam, batch=batch, epochs=epochs, signed=signed, seed=seed)
    first, second = d[: low.shape[1]] / weight_low, d[low.shape[1] :] / weight_high
    norms = np.linalg.norm(first, axis=0)
    used = norms > 1e-3 * norms.max()
    return first[:, used] / norms[used], second[:, used] / norms[used]


def high_resolution(codes: np.ndarray, high: np.ndarray, ridge: float = 1e-6) -> np.ndarray:
    """Find by least squares the dictionary (d, K) that best makes ``high`` (N, d) of codes (N, K).

    Zeyde, Elad, Protter 2010, equation 10: D = P A^T (A A^T)^-1. ``ridge``, relative to the mean
    square of a code, decides where atoms are not used or always together.
    """
    codes, high = checks.rows(codes, "codes"), checks.rows(high, "high")
    if len(codes) != len(high):
        raise UserError(f"codes and patches are not as many: {len(codes)} and {len(high)}")
    return solve_high(codes.T @ codes, codes.T @ high, ridge)


def solve_high(aa: np.ndarray, ap: np.ndarray, ridge: float = 1e-6) -> np.ndarray:
    """Solve :func:`high_resolution` in float64, from the sums a a^T (K, K) and a p^T (K, d)."""
    dtype = ap.dtype
    aa, ap = aa.astype(np.float64), ap.astype(np.float64)
    shift = ridge * max(np.trace(aa) / len(aa), np.finfo(dtype).tiny)
    return np.linalg.solve(aa + shift * np.eye(len(aa)), ap).T.astype(dtype)


@helper
def _normalise(x):
    total = x[0] * x[0]
    for i in range(1, len(x)):
        total += x[i] * x[i]
    norm = np.sqrt(total)
    if norm > 0:
        for i in range(len(x)):
            x[i] /= norm
    return norm


@jit
def _ksvd_update(_, patches, index, value, by_atom, starts, columns):
    n, d = patches.shape
    nonzeros = value.shape[1]
    flat = value.ravel()
    rest = patches.copy()
    for p in range(n):
        for m in range(nonzeros):
            if index[p, m] >= 0:
                for i in range(d):
                    rest[p, i] -= value[p, m] * columns[index[p, m], i]
    new = np.empty(d, patches.dtype)
    for k in range(len(columns)):
        atom = columns[k]
        if starts[k] == starts[k + 1]:
            worst, most = 0, patches[0, 0] - patches[0, 0]
            for p in range(n):
                total = rest[p, 0] * rest[p, 0]
                for i in range(1, d):
                    total += rest[p, i] * rest[p, i]
                if total > most:
                    worst, most = p, total
            new[:] = patches[worst]
            if _normalise(new) > 0:
                atom[:] = new
                rest[worst] = new - new  # taken: the next unused atom finds another
            continue
        new[:] = atom - atom
        for u in range(starts[k], starts[k + 1]):
            p, a = by_atom[u] // nonzeros, flat[by_atom[u]]
            for i in range(d):
                new[i] += a * (rest[p, i] + a * atom[i])
        if _normalise(new) == 0:
            continue
        for u in range(starts[k], starts[k + 1]):
            p, a = by_atom[u] // nonzeros, flat[by_atom[u]]
            b = a - a
            for i in range(d):
                rest[p, i] += a * atom[i]
                b += rest[p, i] * new[i]
            flat[by_atom[u]] = b
            for i in range(d):
                rest[p, i] -= b * new[i]
        atom[:] = new


@jit
def _online_update(_, aa, ya, d):
    k, length = d.shape
    move = np.empty(length, d.dtype)
    for j in range(k):
        if aa[j, j] > 0:
            for i in range(length):
                move[i] = ya[j, i]
            for m in range(k):
                weight = aa[j, m]
                if weight != 0:
                    for i in range(length):
                        move[i] -= weight * d[m, i]
            for i in range(length):
                move[i] = d[j, i] + move[i] / aa[j, j]
            if _normalise(move) > 0:
                d[j] = move
