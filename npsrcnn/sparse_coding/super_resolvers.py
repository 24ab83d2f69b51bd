"""Super-resolvers that SRCNN was compared with: sparse coding, Zeyde, GR, ANR, A+.

All restore what SRCNN restores, an image enlarged by bicubic interpolation, and all by patches:
features of each patch (gradients, fewer numbers by PCA), from them the details that the patch
lacks, and the mean of these where patches overlap. They differ in the step between:

=================  ================================================================================
:class:`Lasso`     the code that both dictionaries share, by l1: Yang, Wright, Huang, Ma, "Image
                   super-resolution via sparse representation", TIP 2010
:class:`Pursuit`   three atoms by OMP: Zeyde, Elad, Protter, "On single image scale-up using
                   sparse-representations", 2010
:class:`Nearest`   one matrix for each anchor, and the matrix of the nearest. One for all: global
                   regression (GR); from each atom's neighbours: anchored neighborhood regression
                   (ANR), Timofte, De Smet, Van Gool, ICCV 2013; from neighbours among the training
                   patches: A+, the same, ACCV 2014
=================  ================================================================================
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from npsrcnn.errors import UserError
from npsrcnn.pixels.resize import degrade
from npsrcnn.runtime.jit import jit
from npsrcnn.runtime.threads import parallel
from npsrcnn.sparse_coding import checks, pursuit
from npsrcnn.sparse_coding.patches import extract, gradients, overlap_average

SMALL_SIDE = 3  # of a patch, in pixels of the small image
PATCHES_PER_BATCH = 4096
FLAT_NORM = 1 / 255  # of features, below which a patch counts as flat
PATCHES_PER_TASK = 64


@dataclass(frozen=True)
class Describer:
    """Computes features of an enlarged image's patches, and the image from its patches' details.

    Patches are 3 x 3 pixels of the small image, 3 scale x 3 scale of the enlarged one, and
    follow each other pixel by pixel of the small image, as in Zeyde et al. and Timofte et al.
    """

    scale: int
    basis: np.ndarray  # (4 (3 scale)^2, d), float32, orthonormal columns

    @property
    def size(self) -> int:
        """Return the side of a patch, in pixels of the enlarged image."""
        return SMALL_SIDE * self.scale

    def features(self, blurred: np.ndarray) -> np.ndarray:
        """Compute the gradients of all patches of (H, W), on the basis: (N, d) float32."""
        features: np.ndarray = raw_features(blurred, self.scale) @ self.basis
        return features

    def assemble(self, details: np.ndarray, blurred: np.ndarray) -> np.ndarray:
        """Add the details (N, size^2) of all patches to the enlarged image."""
        height, width = blurred.shape
        image: np.ndarray = blurred + overlap_average(
            details, (height, width), self.size, self.scale
        )
        return image


def raw_features(blurred: np.ndarray, scale: int) -> np.ndarray:
    """Compute the gradients of all patches, (N, 4 (3 scale)^2) float32, before PCA."""
    maps = gradients(np.asarray(blurred, np.float32))
    return extract(maps, SMALL_SIDE * scale, scale)


class SuperResolver:
    """Base of all methods: restores an enlarged image, as SRCNN does.

    Attributes
    ----------
    describer : Describer
    scale : int
        The factor of enlargement it was trained for.
    """

    def __init__(self, describer: Describer) -> None:
        self.describer = describer
        self.scale = describer.scale

    def forward(self, blurred: np.ndarray) -> np.ndarray:
        """Restore (H, W), enlarged by bicubic interpolation, values around 0..1.

        Returns
        -------
        numpy.ndarray
            (H, W) float32, not clipped.

        Raises
        ------
        UserError
            Another shape, an image smaller than a patch, values that are not finite.
        """
        x = checks.image(np.asarray(blurred, np.float32), self.describer.size)
        features = self.describer.features(x)
        parts = [
            self._details(features[i : i + PATCHES_PER_BATCH])
            for i in range(0, len(features), PATCHES_PER_BATCH)
        ]
        return self.describer.assemble(np.concatenate(parts), x)

    def _details(self, features: np.ndarray) -> np.ndarray:
        """Compute from features (n, d) the details that patches lack, (n, size^2)."""
        raise NotImplementedError


class Lasso(SuperResolver):
    """Yang et al. 2010, algorithm 1: the sparsest code that explains the features, by l1.

    The features of a patch are scaled to norm 1, so that one lambda serves faint and strong
    patches (as the authors' code does), and the details are scaled back.
    """

    def __init__(self, describer: Describer, low: np.ndarray, high: np.ndarray, lam: float) -> None:
        super().__init__(describer)
        self.low, self.high, self.lam = low, high, lam

    def _details(self, features: np.ndarray) -> np.ndarray:
        scaled, norms = scaled_to_one(features)
        codes = pursuit.lasso(self.low, scaled, self.lam, tolerance=1e-3)
        details: np.ndarray = (codes @ self.high.T) * norms
        return details


class Pursuit(SuperResolver):
    """Zeyde et al. 2010, section 4: OMP on one dictionary, the details from the other."""

    def __init__(
        self, describer: Describer, low: np.ndarray, high: np.ndarray, nonzeros: int = 3
    ) -> None:
        super().__init__(describer)
        self.low, self.high, self.nonzeros = low, high, nonzeros

    def _details(self, features: np.ndarray) -> np.ndarray:
        details: np.ndarray = pursuit.omp(self.low, features, self.nonzeros) @ self.high.T
        return details


class Nearest(SuperResolver):
    """Timofte et al. 2013 and 2014: details = P_j features, j the anchor nearest in direction.

    ``anchors`` (d, K), ``matrices`` (K, size^2, d).
    """

    def __init__(self, describer: Describer, anchors: np.ndarray, matrices: np.ndarray) -> None:
        super().__init__(describer)
        self.anchors, self.matrices = anchors, matrices

    def _details(self, features: np.ndarray) -> np.ndarray:
        nearest = np.abs(features @ self.anchors).argmax(axis=1)
        details = np.empty((len(features), self.matrices.shape[1]), np.float32)
        pieces = -(-len(features) // PATCHES_PER_TASK)
        parallel(_project, pieces, features, nearest, self.matrices, details)
        return details


def scaled_to_one(features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Scale features (N, d) to norm 1 unless flat; return them and their norms (N, 1).

    Flat: the norm is under one grey level of 255, as in the code of Yang et al.
    """
    norms = np.maximum(np.linalg.norm(features, axis=1, keepdims=True), FLAT_NORM)
    return features / norms, norms


def ridge_regression(low: np.ndarray, high: np.ndarray, lam: float) -> np.ndarray:
    """Compute P = H L^T (L L^T + lambda I)^-1, from columns of ``low`` (d, n) to those of ``high``.

    Timofte et al. 2013, equation 5 (all atoms: GR; an atom's neighbours: ANR), here in its
    smaller form, d x d.
    """
    low, high = low.astype(np.float64), high.astype(np.float64)
    gram = low @ low.T + checks.penalty(lam) * np.eye(len(low))
    return np.linalg.solve(gram, low @ high.T).T.astype(np.float32)


def global_regression(low: np.ndarray, high: np.ndarray, lam: float = 0.01) -> np.ndarray:
    """Compute GR's regression from all atoms, (1, size^2, d): Timofte et al. 2013, section 3.1."""
    return ridge_regression(low, high, lam)[None]


def anchored_regression(
    low: np.ndarray, high: np.ndarray, neighbours: int = 40, lam: float = 0.01
) -> np.ndarray:
    """Compute ANR's regressions, for each atom from the nearest in direction: (K, size^2, d).

    Timofte et al. 2013, section 3.2; 40 neighbours as there.
    """
    neighbours = checks.count(neighbours, "neighbours", 1, low.shape[1])
    near = np.argsort(-np.abs(low.T @ low), axis=1, kind="stable")[:, :neighbours]
    return np.stack([ridge_regression(low[:, some], high[:, some], lam) for some in near])


def adjusted_anchored_regression(
    anchors: np.ndarray,
    features: np.ndarray,
    details: np.ndarray,
    neighbours: int = 2048,
    lam: float = 0.1,
) -> np.ndarray:
    """Compute A+'s regressions, for each atom from the training patches nearest in direction.

    Timofte, De Smet, Van Gool, "A+: adjusted anchored neighborhood regression for fast
    super-resolution", ACCV 2014, section 3: patches are scaled to unit features, and lambda is
    0.1; 2048 neighbours.
    """
    norms = np.linalg.norm(features, axis=1, keepdims=True)
    usable = norms[:, 0] > 0
    low = features[usable] / norms[usable]
    high = details[usable] / norms[usable]
    neighbours = checks.count(neighbours, "neighbours", 1, len(low))
    matrices = []
    for start in range(0, anchors.shape[1], 32):
        likeness = np.abs(anchors[:, start : start + 32].T @ low.T)
        for near in np.argpartition(-likeness, neighbours - 1, axis=1)[:, :neighbours]:
            near.sort()  # sums in one order, whatever the partition left
            matrices.append(ridge_regression(low[near].T, high[near].T, lam))
    return np.stack(matrices)


def training_pairs(
    images: Sequence[np.ndarray], scale: int, limit: int | None = None, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Cut from images raw features (N, ...) and the details that patches lack (N, size^2), float32.

    Parameters
    ----------
    images
        Y of sharp images, (H, W), float in 0..1, sides multiples of ``scale``. Smaller than a
        patch: left out.
    limit
        Largest number of patches, drawn at random.

    Raises
    ------
    UserError
        No image has room for a patch.
    """
    size = SMALL_SIDE * scale
    images = [np.asarray(x, np.float32) for x in images if min(np.shape(x)) >= size]
    counts = [np.prod([(n - size) // scale + 1 for n in x.shape]) for x in images]
    total = int(sum(counts))
    if total == 0:
        raise UserError(f"no image to train on has room for a patch of {size} x {size}")
    keep = np.ones(total, bool)
    if limit is not None and limit < total:
        keep[:] = False
        keep[np.random.default_rng(seed).choice(total, limit, replace=False)] = True
    pairs, start = [], 0
    for x, n in zip(images, counts, strict=True):
        mine = keep[start : start + n]
        start += n
        blurred = degrade(x, scale)
        pairs.append((raw_features(blurred, scale)[mine], extract(x - blurred, size, scale)[mine]))
    low, high = zip(*pairs, strict=True)
    return np.concatenate(low), np.concatenate(high)


@jit
def _project(piece, features, nearest, matrices, details):
    for n in range(piece * PATCHES_PER_TASK, min((piece + 1) * PATCHES_PER_TASK, len(features))):
        matrix = matrices[nearest[n]]
        for p in range(matrix.shape[0]):
            total = features[n, 0] * matrix[p, 0]
            for i in range(1, matrix.shape[1]):
                total += features[n, i] * matrix[p, i]
            details[n, p] = total
