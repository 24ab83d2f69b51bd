"""JPEG: compress pixels, and measure how strongly a quantization table compresses.

JPEG divides the 8 x 8 DCT coefficients of each block by the steps of a table and rounds them. The
*strength* of a luminance table is its size in percent of the table in the standard (ITU-T T.81,
Annex K): 100 at quality 50, 50 at quality 75, 250 at quality 20. It is libjpeg's scaling factor,
but tables of other encoders have one too, and with it the libjpeg quality that comes closest.
"""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np

from npsrcnn.errors import UserError

LUMINANCE = np.array(
    [
        [16, 11, 10, 16, 24, 40, 51, 61],
        [12, 12, 14, 19, 26, 58, 60, 55],
        [14, 13, 16, 24, 40, 57, 69, 56],
        [14, 17, 22, 29, 51, 87, 80, 62],
        [18, 22, 37, 56, 68, 109, 103, 77],
        [24, 35, 55, 64, 81, 104, 113, 92],
        [49, 64, 78, 87, 103, 121, 120, 101],
        [72, 92, 95, 98, 112, 100, 103, 99],
    ]
)
"""Steps of the standard's luminance table, rows of vertical frequency: libjpeg's at quality 50."""

LARGEST_STEP = 255  # that a baseline table can hold
SUBSAMPLINGS = ("4:4:4", "4:2:0")


def luminance_table(quality: int) -> np.ndarray:
    """Return libjpeg's luminance table, (8, 8), at a quality from 1 to 100."""
    scaled = (LUMINANCE * int(strength_of_quality(quality)) + 50) // 100
    return scaled.clip(1, LARGEST_STEP)


def strength_of_quality(quality: float) -> float:
    """Return the scaling factor, in percent, that libjpeg has for a quality from 1 to 100."""
    return 5000 / quality if quality < 50 else 200 - 2 * quality


def quality_of_strength(strength: float) -> float:
    """Return the libjpeg quality for a strength: the inverse of :func:`strength_of_quality`."""
    return 5000 / strength if strength > 100 else 100 - strength / 2


def strength_of_table(table: Sequence[int] | np.ndarray) -> float:
    """Measure a luminance table against the standard's.

    Parameters
    ----------
    table
        64 steps, rows of vertical frequency.

    Returns
    -------
    float
        Percent: the sum of its steps over that of the standard's, where they are below 255. Tables
        of one step for all frequencies, such as cameras have, are measured likewise.

    Raises
    ------
    UserError
        Not 64 steps, or one that is not positive.
    """
    steps = np.asarray(table, np.float64).reshape(-1)
    if steps.size != LUMINANCE.size or not (steps > 0).all():
        raise UserError("its quantization table is damaged: expected 64 steps above 0")
    standard = LUMINANCE.reshape(-1)
    held = steps < LARGEST_STEP
    if not held.any():
        held[:] = True
    return float(steps[held].sum() / standard[held].sum() * 100)


def compress(image: np.ndarray, quality: int, subsampling: str = "4:2:0") -> np.ndarray:
    """Compress an image as JPEG, by libjpeg, and return what is decoded from that.

    Parameters
    ----------
    image : ndarray, (H, W) or (H, W, 3), uint8
        Grey or RGB.
    quality : int
        From 1 to 100.
    subsampling : "4:2:0" or "4:4:4"
        Of Cb and Cr; a grey image has none.

    Returns
    -------
    ndarray
        uint8, the shape of ``image``.
    """
    from PIL import Image

    options = {} if image.ndim == 2 else {"subsampling": subsampling}
    with io.BytesIO() as file:
        Image.fromarray(image).save(file, "JPEG", quality=quality, **options)
        return np.asarray(Image.open(file))
