"""Check arguments of this package's functions; errors are one clear line."""

from __future__ import annotations

import math

import numpy as np

from npsrcnn.errors import UserError
from npsrcnn.words import counted

NORM_TOLERANCE = 1e-4  # of an atom's norm of 1: float32 keeps it within 1e-6


def image(x: np.ndarray, size: int) -> np.ndarray:
    """Check an image: (H, W) float32 or float64, finite, with room for ``size`` x ``size``."""
    x = np.asarray(x)
    if x.ndim != 2 or x.dtype not in (np.float32, np.float64):
        raise UserError(f"expected an image (H, W) of float32 or float64, not {x.dtype} {x.shape}")
    if size < 1 or min(x.shape) < size:
        raise UserError(f"patches of {size} x {size} do not fit in an image of {x.shape}")
    if not np.isfinite(x).all():
        raise UserError("an image with values that are not finite (NaN or infinity)")
    return np.ascontiguousarray(x)


def rows(y: np.ndarray, what: str = "patches") -> np.ndarray:
    """Check patches, codes or features, one a row: (N, d) float32 or float64, finite."""
    y = np.asarray(y)
    if y.ndim != 2 or y.size == 0 or y.dtype not in (np.float32, np.float64):
        raise UserError(
            f"expected {what} (N, d) of float32 or float64, one a row and not empty, "
            f"not {y.dtype} {y.shape}"
        )
    if not np.isfinite(y).all():
        raise UserError(f"{what} with values that are not finite (NaN or infinity)")
    return np.ascontiguousarray(y)


def dictionary(d: np.ndarray, length: int | None = None, unit: bool = True) -> np.ndarray:
    """Check a dictionary (d, K), an atom a column: its norms, and that d is ``length``."""
    d = np.asarray(d)
    if d.ndim != 2 or d.size == 0:
        raise UserError(f"expected a dictionary (d, K), an atom a column, not {d.shape}")
    if d.dtype not in (np.float32, np.float64) or not np.isfinite(d).all():
        raise UserError("expected a dictionary of finite float32 or float64 values")
    if length is not None and len(d) != length:
        raise UserError(f"atoms of {counted(len(d), 'value')} cannot represent vectors of {length}")
    if unit:
        norms = np.linalg.norm(d, axis=0)
        worst = int(np.abs(norms - 1).argmax())
        if abs(norms[worst] - 1) > NORM_TOLERANCE:
            raise UserError(
                f"atom {worst} of the dictionary has norm {norms[worst]:.4g}, not 1: "
                "use dictionaries.unit(dictionary)"
            )
    return d


def penalty(lam: float) -> float:
    """Check lambda, the weight of the l1 norm: finite and not below zero."""
    if not 0 <= lam < math.inf:
        raise UserError(f"lambda must be a finite number of at least 0, not {lam}")
    return float(lam)


def count(value: int, what: str, least: int = 1, most: int | None = None) -> int:
    """Check a whole number from ``least`` to ``most``."""
    if int(value) != value or value < least or (most is not None and value > most):
        limit = f"at least {least}" if most is None else f"{least} to {most}"
        raise UserError(f"{what} must be a whole number, {limit}, not {value}")
    return int(value)


def side(length: int, what: str) -> int:
    """Return the side of square patches of ``length`` values."""
    if math.isqrt(length) ** 2 != length:
        raise UserError(f"{what} of {length} values: square patches have 1, 4, 9, 16, 25, ...")
    return math.isqrt(length)
