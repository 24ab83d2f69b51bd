"""Follow one pixel through sparse coding, and through the network that equals it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from npsrcnn.errors import UserError
from npsrcnn.sparse_coding import checks, pursuit
from npsrcnn.sparse_coding.as_network import as_srcnn, super_resolve
from npsrcnn.sparse_coding.patches import around_each_pixel, remove_mean


@dataclass(frozen=True)
class CodedPixel:
    """What sparse coding makes of the patch around one pixel, in float64.

    Attributes
    ----------
    patch : ndarray, (f1, f1)
        Of the image around the pixel, less its mean.
    mean : float
        Of that patch.
    code : ndarray, (K,)
        After ``steps`` of non-negative ISTA.
    reconstruction : ndarray, (f1, f1)
        The code by the low-resolution dictionary: what it says of the patch.
    detail : ndarray, (f3, f3)
        The code by the high-resolution dictionary: what it adds around the pixel.
    restored : float
        The pixel that :func:`npsrcnn.sparse_coding.super_resolve` makes.
    network : float
        The pixel that the network of :func:`npsrcnn.sparse_coding.as_srcnn` makes.
    """

    patch: np.ndarray
    mean: float
    code: np.ndarray
    reconstruction: np.ndarray
    detail: np.ndarray
    restored: float
    network: float


def code_pixel(
    image: np.ndarray,
    d_low: np.ndarray,
    d_high: np.ndarray,
    lam: float,
    y: int,
    x: int,
    steps: int = 2,
) -> CodedPixel:
    """Code the patch around a pixel, and restore the pixel twice: by patches, and by convolutions.

    Parameters
    ----------
    image
        (H, W), enlarged by bicubic interpolation.
    d_low, d_high, lam, steps
        As for :func:`npsrcnn.sparse_coding.as_srcnn`.
    y, x
        The pixel.

    Raises
    ------
    UserError
        No such pixel; and as :func:`npsrcnn.sparse_coding.as_srcnn`.
    """
    image, d_low, d_high = (np.asarray(a, np.float64) for a in (image, d_low, d_high))
    if not (0 <= y < image.shape[0] and 0 <= x < image.shape[1]):
        raise UserError(f"no pixel ({y}, {x}) in an image of {image.shape}")
    d_low = d_low / np.linalg.norm(d_low, axis=0)  # float32 atoms are of unit norm to 7 digits
    f1, f3 = checks.side(len(d_low), "atoms"), checks.side(len(d_high), "atoms")
    reach = f1 + f3  # beyond it nothing reaches the pixel; it ends at the image's edge alone
    top, left = max(0, y - reach), max(0, x - reach)
    part = np.ascontiguousarray(image[top : y + reach + 1, left : x + reach + 1])
    y, x = y - top, x - left
    patches, means = remove_mean(around_each_pixel(part, f1))
    index = y * part.shape[1] + x
    patch = patches[index]
    code = pursuit.ista(d_low, patch[None], lam, steps, signed=False)[0]
    net = as_srcnn(d_low, d_high, lam, steps=steps, device="reference")
    return CodedPixel(
        patch=patch.reshape(f1, f1),
        mean=float(means[index]),
        code=code,
        reconstruction=(d_low @ code).reshape(f1, f1),
        detail=(d_high @ code).reshape(f3, f3),
        restored=float(super_resolve(part, d_low, d_high, lam, steps=steps)[y, x]),
        network=float(net.forward(part)[y, x]),
    )
