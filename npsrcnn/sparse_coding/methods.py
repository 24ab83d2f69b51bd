"""Train super-resolvers by name when first asked for, and keep them for the next time."""

from __future__ import annotations

import hashlib
import sys
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from npsrcnn.errors import UserError
from npsrcnn.runtime.files import write_atomically
from npsrcnn.sparse_coding import dictionaries
from npsrcnn.sparse_coding.pursuit import lasso, omp
from npsrcnn.sparse_coding.super_resolvers import (
    PATCHES_PER_BATCH,
    Describer,
    Lasso,
    Nearest,
    Pursuit,
    SuperResolver,
    adjusted_anchored_regression,
    anchored_regression,
    global_regression,
    scaled_to_one,
    training_pairs,
)

ATOMS = 1024  # as in Yang et al., Zeyde et al. and Timofte et al.
ENERGY = 0.999  # of the features, that their basis keeps (Zeyde et al.)
VERSION = 1  # of the training below; files that another version kept are not read
Arrays = dict[str, np.ndarray]

TITLES = {
    "sparse-coding": "sparse coding by l1, coupled dictionaries (Yang et al. 2010)",
    "sparse-coding-refit": "the same, high-resolution dictionary by least squares",
    "zeyde": "K-SVD and OMP (Zeyde et al. 2010)",
    "gr": "global regression (Timofte et al. 2013)",
    "anr": "anchored neighborhood regression (Timofte et al. 2013)",
    "a+": "adjusted anchored neighborhood regression (Timofte et al. 2014)",
}


def default_cache() -> Path:
    """Return the folder, in the user's cache, where the command keeps trained methods."""
    import pooch

    return Path(pooch.os_cache("npsrcnn")) / "super-resolvers"


def super_resolver(
    name: str,
    images: Sequence[np.ndarray],
    scale: int,
    *,
    cache: str | Path | None = None,
    seed: int = 0,
) -> SuperResolver:
    """Train a method, or load it where an earlier call trained it on the same images.

    Parameters
    ----------
    name
        One of :data:`TITLES`.
    images
        Y of sharp images, (H, W), float32 in 0..1, both sides multiples of ``scale``.
    scale
        2 or more.
    cache
        A folder for trained methods; ``None``: nothing is kept.
    seed
        Seed of the patches that are drawn and of the first atoms.

    Raises
    ------
    UserError
        No such method, or too few patches in the images.
    """
    if name not in TITLES:
        raise UserError(f"no method {name!r}; there are {', '.join(TITLES)}")
    part = name.removesuffix("-refit")
    kind = "zeyde" if part in ("gr", "anr") else part
    arrays = _load_or_train(kind, images, scale, cache, seed)
    describer, low = Describer(scale, arrays["basis"]), arrays["low"]
    if name == "a+":
        return Nearest(describer, low, arrays["matrices"])
    high = arrays["high" if name == part else "refit"]
    if name == "zeyde":
        return Pursuit(describer, low, high)
    if name == "gr":
        return Nearest(describer, low[:, :1], global_regression(low, high))
    if name == "anr":
        return Nearest(describer, low, anchored_regression(low, high))
    return Lasso(describer, low, high, LASSO_LAMBDA)


LASSO_LAMBDA = 0.1  # for features of norm 1; 0.05 to 0.2 differ by less than 0.1 dB
LASSO_PATCHES, LASSO_FLAT_NORM = 30_000, 5 / 255  # Yang et al. leave flat patches out as well
OMP_PATCHES, OMP_ITERATIONS = 60_000, 8
NEIGHBOUR_PATCHES = 300_000


def _train_lasso(features: np.ndarray, details: np.ndarray, seed: int) -> Arrays:
    scaled, norms = scaled_to_one(features)
    busy = np.flatnonzero(norms[:, 0] > LASSO_FLAT_NORM)
    scaled, details = scaled[busy], (details / norms)[busy]
    some = slice(0, LASSO_PATCHES)
    low, high = dictionaries.coupled(scaled[some], details[some], ATOMS, LASSO_LAMBDA, seed=seed)
    refit = _refit(lambda y: lasso(low, y, LASSO_LAMBDA, tolerance=1e-3), scaled, details, 1e-3)
    return {"low": low, "high": high, "refit": refit}


def _train_omp(features: np.ndarray, details: np.ndarray, seed: int) -> Arrays:
    low = dictionaries.ksvd(features, ATOMS, 3, OMP_ITERATIONS, seed)
    return {"low": low, "high": _refit(lambda y: omp(low, y, 3), features, details, 1e-6)}


def _train_neighbours(features: np.ndarray, details: np.ndarray, seed: int) -> Arrays:
    anchors = dictionaries.ksvd(features[:OMP_PATCHES], ATOMS, 3, OMP_ITERATIONS, seed)
    return {
        "low": anchors,
        "matrices": adjusted_anchored_regression(anchors, features, details),
    }


TRAINERS: Mapping[str, tuple[int, Callable[[np.ndarray, np.ndarray, int], Arrays]]] = {
    "sparse-coding": (100_000, _train_lasso),
    "zeyde": (OMP_PATCHES, _train_omp),
    "a+": (NEIGHBOUR_PATCHES, _train_neighbours),
}


def _refit(
    code: Callable[[np.ndarray], np.ndarray],
    features: np.ndarray,
    details: np.ndarray,
    ridge: float,
) -> np.ndarray:
    """Fit the high-resolution dictionary by least squares, codes of a few patches at a time."""
    aa: np.ndarray = np.zeros((), features.dtype)
    ap: np.ndarray = np.zeros((), features.dtype)
    for start in range(0, len(features), PATCHES_PER_BATCH):
        codes = code(features[start : start + PATCHES_PER_BATCH])
        aa = aa + codes.T @ codes
        ap = ap + codes.T @ details[start : start + PATCHES_PER_BATCH]
    return dictionaries.solve_high(aa, ap, ridge)


def _load_or_train(
    kind: str, images: Sequence[np.ndarray], scale: int, cache: str | Path | None, seed: int
) -> Arrays:
    """Load the arrays that an earlier call kept; else train and keep them."""
    path = None
    if cache is not None:
        path = Path(cache) / f"{kind}-x{scale}-{_fingerprint(images, seed)}.npz"
        arrays = _read(path)
        if arrays is not None:
            return arrays
        print(f"training {TITLES[kind]}, once; it is kept as {path}", file=sys.stderr)
    max_patches, train = TRAINERS[kind]
    raw, details = training_pairs(images, scale, max_patches, seed)
    basis = dictionaries.pca(raw, energy=ENERGY)
    arrays = {"basis": basis, **train(raw @ basis, details, seed)}
    if path is not None:
        save: Callable[..., None] = np.savez  # mypy would take an array for its flag allow_pickle
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with write_atomically(path) as temporary:
                save(temporary, **arrays)
        except OSError as error:  # it can be used all the same
            print(f"could not keep it: {error}", file=sys.stderr)
    return arrays


def _read(path: Path) -> Arrays | None:
    """Read a file of arrays; return None where there is none, or a damaged one."""
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile):
        return None


def _fingerprint(images: Sequence[np.ndarray], seed: int) -> str:
    """Return a digest of all that training depends on."""
    digest = hashlib.sha256(f"{VERSION} {seed}".encode())
    for image in images:
        digest.update(f" {image.shape}".encode())
        digest.update(np.ascontiguousarray(image, np.float32).data)
    return digest.hexdigest()[:16]
