"""Sparse coding as SRCNN, TPAMI section 3.2: the parts, the super-resolvers, and the equality.

======================= ============================================================================
:mod:`.patches`         cut, describe by gradients, put back by averaging
:mod:`.dictionaries`    DCT, Haar, PCA, K-SVD, online, coupled; least squares
:mod:`.pursuit`         ISTA, FISTA, the lasso to its solution, OMP
:mod:`.as_network`      sparse coding as three convolutions: ``as_srcnn``
:mod:`.fitting`         both dictionaries fitted to images, and the network made of them
:mod:`.super_resolvers` Yang, Zeyde, GR, ANR, A+, and in :mod:`.methods` each trained on images:
                        ``npsrcnn evaluate --method anr``
======================= ============================================================================

Arrays are float32 or float64, and results have the type of the patches. A dictionary is (d, K), an
atom a column; patches and codes are rows, (N, d) and (N, K).
"""

from npsrcnn.sparse_coding.as_network import as_layers, as_srcnn, super_resolve
from npsrcnn.sparse_coding.pursuit import fista, ista, lasso, objective, omp, soft_threshold

__all__ = [
    "as_layers",
    "as_srcnn",
    "fista",
    "ista",
    "lasso",
    "objective",
    "omp",
    "soft_threshold",
    "super_resolve",
]
