"""Learn both dictionaries from images, and make an SRCNN of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from npsrcnn.errors import UserError
from npsrcnn.model.network import SRCNN
from npsrcnn.pixels.resize import degrade
from npsrcnn.sparse_coding import checks, dictionaries, pursuit
from npsrcnn.sparse_coding.as_network import as_srcnn
from npsrcnn.sparse_coding.patches import extract, remove_mean
from npsrcnn.words import counted

KINDS = ("learned", "pca", "dct", "haar")
F1, F3 = 9, 5  # of 9-1-5
MAX_PATCHES = 40_000


def fit_dictionaries(
    images: Sequence[np.ndarray],
    scale: int,
    dictionary: str = "learned",
    *,
    atoms: int = 30,
    lam: float = 0.01,
    steps: int = 2,
    seed: int = 0,
) -> tuple[np.ndarray, np.ndarray]:
    """Learn both dictionaries for :func:`as_srcnn`, (81, atoms) and (25, atoms) float32.

    The low-resolution one is learned from blurred patches, or is a basis, each atom with both
    signs because codes are not negative; the high-resolution one is the least squares fit of the
    details that the centres of the patches lack to their codes after ``steps`` of ISTA.

    Parameters
    ----------
    images
        Y of sharp images, (H, W), float in 0..1, both sides multiples of ``scale``.
    scale
        2 or more.
    dictionary
        "learned" (non-negative online learning), "pca", "dct" or "haar" (the first atoms / 2 of
        them, but the constant one).
    atoms, lam, steps
        As for :func:`as_srcnn`. 30 atoms and 2 steps make 9-1-5 with 62 and 32 maps.
    seed
        Seed of the patches that are drawn.

    Raises
    ------
    UserError
        No such dictionary, an odd number of atoms of both signs, images without room for a patch,
        or without patches that are not flat.
    """
    if dictionary not in KINDS:
        raise UserError(f"no dictionary {dictionary!r}; there are {', '.join(KINDS)}")
    blurred, missing = _pairs(images, scale, seed)
    if dictionary == "learned":
        d_low = _learned(blurred, atoms, lam, seed)
    else:
        most = 2 * (F1 * F1 - 1)
        if atoms % 2 or not 2 <= atoms <= most:
            raise UserError(
                f"{counted(atoms, 'atom')}: a basis with both signs has 2, 4, ..., {most}"
            )
        basis = {
            "pca": lambda: dictionaries.pca(blurred, atoms // 2),
            "dct": lambda: dictionaries.dct(F1)[:, 1 : atoms // 2 + 1].astype(np.float32),
            "haar": lambda: dictionaries.haar(F1)[:, 1 : atoms // 2 + 1].astype(np.float32),
        }[dictionary]()
        d_low = np.concatenate([basis, -basis], axis=1)
    codes = pursuit.ista(d_low, blurred, lam, steps, signed=False)
    return d_low, dictionaries.high_resolution(codes, missing, 1e-3)


def fit_srcnn(
    images: Sequence[np.ndarray],
    scale: int,
    dictionary: str = "learned",
    *,
    atoms: int = 30,
    lam: float = 0.01,
    steps: int = 2,
    seed: int = 0,
    device: str = "cpu",
) -> SRCNN:
    """Fit sparse coding to images, as a network that can be trained further.

    It is :func:`as_srcnn` of :func:`fit_dictionaries`, whose parameters these are.
    """
    pair = fit_dictionaries(images, scale, dictionary, atoms=atoms, lam=lam, steps=steps, seed=seed)
    net = as_srcnn(*pair, lam, steps=steps, device=device)
    net.metadata.update(scale=scale, color="y")
    return net


def _learned(blurred: np.ndarray, atoms: int, lam: float, seed: int) -> np.ndarray:
    busy = blurred[np.linalg.norm(blurred, axis=1) > 4 * lam]  # flat patches teach nothing
    if len(busy) < atoms:
        few = f"too few patches that are not flat, {len(busy)}"
        raise UserError(f"{few}, for {counted(atoms, 'atom')}")
    return dictionaries.online(busy, atoms, lam, epochs=2, signed=False, seed=seed)


def _pairs(images: Sequence[np.ndarray], scale: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Cut blurred 9 x 9 patches, less their means, and details of their central 5 x 5 pixels."""
    blurred_patches, details = [], []
    for image in images:
        if min(image.shape) < F1:
            continue
        image = checks.image(np.asarray(image, np.float32), F1)
        blurred = degrade(image, scale)
        edge = (F1 - F3) // 2
        blurred_patches.append(extract(blurred, F1, 2))
        details.append(extract((image - blurred)[edge:-edge, edge:-edge], F3, 2))
    if not blurred_patches:
        raise UserError(f"no image to train on has room for a patch of {F1} x {F1}")
    low, high = np.concatenate(blurred_patches), np.concatenate(details)
    chosen = np.random.default_rng(seed).permutation(len(low))[:MAX_PATCHES]
    return remove_mean(low[chosen])[0], high[chosen]
