"""Which images to take more often, so that the mean of PSNR over images is what training raises."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from npsrcnn import protocol
from npsrcnn.errors import UserError
from npsrcnn.images import read_array

HARDEST = 0.1  # the part of the images that is taken once
MOST = 20  # times that an image is taken


def balanced(images: Sequence[np.ndarray | Path], scale: int) -> list[np.ndarray | Path]:
    """The images, each as often as its error is small beside that of the hardest tenth.

    The squared error of many images is mostly that of the few with the most texture. Their mean
    PSNR weighs them alike: it changes as ``d log(e) = de / e``, so that an image of error e should
    count as 1 / e. What is taken for e is the error of bicubic interpolation.

    Parameters
    ----------
    images
        Arrays as of :func:`npsrcnn.datasets.sub_images`, or files. Those that cannot be measured,
        unreadable ones or too small ones, are kept once, for others to complain about.
    scale
        By which they are reduced and enlarged.
    """
    errors: dict[int | Path, float] = {}
    for i, image in enumerate(images):
        key = image if isinstance(image, Path) else i
        if key not in errors:
            errors[key] = _error(image, scale)
    each = [errors[image if isinstance(image, Path) else i] for i, image in enumerate(images)]
    times = np.ones(len(images), np.int64)
    if np.isfinite(each).any():
        hard = np.nanquantile(each, 1 - HARDEST)
        known = np.isfinite(each)
        least = hard / MOST  # of a flat image it is 0
        times[known] = np.maximum(1, np.round(hard / np.maximum(np.array(each)[known], least)))
    return [image for image, n in zip(images, times, strict=True) for _ in range(n)]


def _error(image: np.ndarray | Path, scale: int) -> float:
    """The mean squared error of bicubic interpolation, of white; NaN if it cannot be measured."""
    try:
        pixels = read_array(image) if isinstance(image, Path) else image
        return 10 ** (-protocol.prepare(pixels, scale).psnr_bicubic / 10)
    except (UserError, OSError):
        return float("nan")
