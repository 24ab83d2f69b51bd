"""Compare two images: PSNR, PSNR-B and SSIM, with the peak of the signal always explicit."""

from __future__ import annotations

import math

import numpy as np

from npsrcnn.words import counted

WINDOW = 11  # Wang et al. 2004: an 11 x 11 Gaussian
SIGMA = 1.5
K1, K2 = 0.01, 0.03
BLOCK = 8  # pixels of the side of a block of JPEG


def psnr(a: np.ndarray, b: np.ndarray, data_range: float) -> float:
    """Compute PSNR in dB: ``10 log10(data_range^2 / mean((a - b)^2))``.

    Parameters
    ----------
    a, b : ndarray
        Two images of one shape, of any type and number of axes.
    data_range : float
        The peak: 255 for 8 bits, 1 for images in 0..1.

    Returns
    -------
    float
        Infinite where the images are equal.
    """
    a, b = _pair(a, b, data_range)
    error = np.mean(np.square(a - b))
    return 10 * math.log10(data_range**2 / error) if error else math.inf


def psnr_b(image: np.ndarray, truth: np.ndarray, peak: float) -> float:
    """Compute PSNR in dB with a penalty for visible edges of the 8 x 8 blocks of JPEG (PSNR-B).

    C. Yim, A. C. Bovik, "Quality assessment of deblocked images", IEEE TIP 20(1), 2011:
    ``PSNR-B = 10 log10(peak^2 / (MSE + BEF))``. The blocking effect factor is
    ``BEF = eta (D_B - D_BC)`` where D_B > D_BC, else 0; D_B is the mean squared difference of
    neighbours, in a row or a column, that an edge of blocks separates, D_BC that of all others,
    and ``eta = log2(8) / log2(min(H, W))``. The means are over the pairs that there are.

    Parameters
    ----------
    image, truth : ndarray, (H, W)
        One channel, of the same shape; the first block of ``image`` begins in its corner. The two
        cannot be swapped: only the blocks of ``image`` count.
    peak : float
        255 for 8 bits, 1 for images in 0..1.

    Returns
    -------
    float
        At most the PSNR, which images without visible blocks reach.
    """
    image, truth = _pair(image, truth, peak)
    if image.ndim != 2 or min(image.shape) < 2:
        raise ValueError(f"PSNR-B needs (H, W) of at least 2 x 2, not {image.shape}")
    across, inside = [], []
    for transposed in (image, image.T):
        steps = np.square(np.diff(transposed, axis=0))
        between = np.arange(1, len(steps) + 1) % BLOCK == 0
        across.append(steps[between].ravel())
        inside.append(steps[~between].ravel())
    at_edges, elsewhere = np.concatenate(across), np.concatenate(inside)
    error = np.mean(np.square(image - truth))
    if at_edges.size and at_edges.mean() > elsewhere.mean():
        eta = math.log2(BLOCK) / math.log2(min(image.shape))
        error += eta * (at_edges.mean() - elsewhere.mean())
    return 10 * math.log10(peak**2 / error) if error else math.inf


def ssim(a: np.ndarray, b: np.ndarray, data_range: float) -> float:
    """Compute structural similarity (SSIM), as its authors do.

    Z. Wang, A. C. Bovik, H. R. Sheikh, E. P. Simoncelli, "Image quality assessment: from error
    visibility to structural similarity", IEEE TIP 2004, equation 13: Gaussian window of 11 x 11
    and sigma 1.5, K1 = 0.01, K2 = 0.03, and the mean over the positions where the window fits.

    Parameters
    ----------
    a, b : ndarray, (H, W)
        Two images of one channel, at least 11 x 11.
    data_range : float
        As for :func:`psnr`.

    Returns
    -------
    float
        At most 1, which equal images reach.
    """
    a, b = _pair(a, b, data_range)
    if a.ndim != 2 or min(a.shape) < WINDOW:
        raise ValueError(f"SSIM needs (H, W) of at least {WINDOW} x {WINDOW}, not {a.shape}")
    mean_a, mean_b = _window_mean(a), _window_mean(b)
    mean_ab = mean_a * mean_b
    mean_squares = mean_a**2 + mean_b**2
    variances = _window_mean(a * a + b * b) - mean_squares
    covariance = _window_mean(a * b) - mean_ab
    c1, c2 = (K1 * data_range) ** 2, (K2 * data_range) ** 2
    luminance = (2 * mean_ab + c1) / (mean_squares + c1)
    contrast_and_structure = (2 * covariance + c2) / (variances + c2)
    return float(np.mean(luminance * contrast_and_structure))


def shave(image: np.ndarray, border: int) -> np.ndarray:
    """Return ``image`` without ``border`` pixels on every side (a view).

    Raises
    ------
    ValueError
        Nothing would be left.
    """
    height, width = image.shape[:2]
    if border < 0 or min(height, width) <= 2 * border:
        shaved = counted(border, "pixel")
        raise ValueError(f"cannot shave {shaved} from every side of {height} x {width}")
    return image[border : height - border, border : width - border]


def _pair(a: np.ndarray, b: np.ndarray, data_range: float) -> tuple[np.ndarray, np.ndarray]:
    if not 0 < data_range < math.inf:
        raise ValueError(f"data_range must be positive and finite, not {data_range}")
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    if a.shape != b.shape or a.size == 0:
        raise ValueError(f"cannot compare images of {a.shape} and {b.shape}")
    return a, b


def _window_mean(image: np.ndarray) -> np.ndarray:
    """Compute the mean under the Gaussian window, at every position where the window fits."""
    x = np.arange(WINDOW) - WINDOW // 2
    weight = np.exp(-(x**2) / (2 * SIGMA**2))
    weight /= weight.sum()
    for _ in range(2):  # along the first axis, then, transposed, along the other
        n = len(image) - WINDOW + 1
        image = sum(weight[k] * image[k : k + n] for k in range(WINDOW)).T
    return image
