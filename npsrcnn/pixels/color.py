"""Convert colour to and from MATLAB's YCbCr (ITU-R BT.601, Y in 16..235), in which SRCNN works.

The network restores Y, where the eye sees detail; Cb and Cr are merely enlarged. Both directions
are affine, ``out = matrix @ in + offset``, and one compiled loop does either.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from npsrcnn.runtime.jit import jit
from npsrcnn.runtime.threads import parallel

PIECE_PIXELS = 1 << 15  # that one thread takes at a time: fewer cost more than they gain
BLOCK_COLUMNS = 512  # whose numbers stay in the first-level cache

_TO_YCBCR = np.array(
    [[65.481, 128.553, 24.966], [-37.797, -74.203, 112.0], [112.0, -93.786, -18.214]]
) * (1 / 255)  # as MATLAB: the last bit decides ties
_TO_RGB = np.linalg.inv(_TO_YCBCR)
Y_BLACK, Y_RANGE = 16 / 255, 219 / 255  # Y of black, and of white beyond that, of a peak of 1
_ZERO = np.array([16.0, 128.0, 128.0]) / 255  # where black lies, as a part of the peak


def rgb2ycbcr(image: np.ndarray) -> np.ndarray:
    """Convert RGB to YCbCr, as MATLAB's ``rgb2ycbcr``.

    Parameters
    ----------
    image : ndarray, (H, W, 3)
        uint8 or uint16 (the result is rounded), or a float type, in 0..1.

    Returns
    -------
    ndarray, (H, W, 3)
        Y, Cb, Cr with the dtype of ``image``; for 8 bits Y is in 16..235, Cb and Cr in 16..240,
        for other types in proportion.

    Raises
    ------
    TypeError, ValueError
        Another dtype or shape.
    """
    image = _checked(image)
    result = np.empty(image.shape, image.dtype)
    convert(image.transpose(2, 0, 1), *to_ycbcr(peak(image.dtype)), result)
    return result


def ycbcr2rgb(image: np.ndarray) -> np.ndarray:
    """Convert YCbCr to RGB, as MATLAB's ``ycbcr2rgb``: the inverse of :func:`rgb2ycbcr`.

    Takes and returns what that does. Colours that RGB cannot hold are limited to its range, of
    floats to 0..1, as MATLAB does.
    """
    image = _checked(image)
    result = np.empty(image.shape, image.dtype)
    convert(image.transpose(2, 0, 1), *to_rgb(peak(image.dtype)), result)
    return result if image.dtype.kind == "u" else result.clip(0, 1)


def luma(image: np.ndarray) -> np.ndarray:
    """Compute Y of :func:`rgb2ycbcr` alone, (H, W); return a grey image (H, W) as it is."""
    image = np.asarray(image)
    if image.ndim == 2:
        return image
    image = _checked(image)
    result = np.empty(image.shape[:2], image.dtype)
    matrix, offset = to_ycbcr(peak(image.dtype))
    convert(image.transpose(2, 0, 1), matrix[:1], offset[:1], result[..., None])
    return result


def peak(dtype: np.dtype) -> float:
    """Return the value of white: the largest of an integer type, 1 for a float type."""
    return 1.0 if np.dtype(dtype).kind == "f" else float(np.iinfo(dtype).max)


def to_ycbcr(white: float) -> tuple[np.ndarray, np.ndarray]:
    """Return matrix and offset from RGB to YCbCr, both with ``white`` as the peak."""
    return _TO_YCBCR, _ZERO * white


def to_rgb(white: float) -> tuple[np.ndarray, np.ndarray]:
    """Return matrix and offset from YCbCr to RGB, both with ``white`` as the peak."""
    return _TO_RGB, -(_TO_RGB @ _ZERO) * white


def convert(
    planes: Iterable[np.ndarray], matrix: np.ndarray, offset: np.ndarray, result: np.ndarray
) -> None:
    """Set ``result[y, x] = matrix @ (a, b, c)[y, x] + offset`` for every pixel.

    ``planes`` are a, b, c, each (H, W), of one dtype and like strides, fastest if contiguous;
    ``result`` is (H, W, channels). Sums are float64. An integer ``result`` is rounded and limited
    to its type.
    """
    height, width, channels = result.shape
    side_by_side = channels == 3 and result.flags.c_contiguous
    rows = result.reshape(height, -1) if side_by_side else np.empty((0, 0), result.dtype)
    # Copied sooner than to have Numba compile the kernel once more.
    a, b, c = (np.require(plane, requirements=["A", "W"]) for plane in planes)
    top = peak(result.dtype) if result.dtype.kind == "u" else 0.0
    block = max(1, PIECE_PIXELS // width)

    def piece(i: int) -> None:
        stop = min((i + 1) * block, height)
        lines = np.empty((3, BLOCK_COLUMNS))
        values = np.empty((channels, BLOCK_COLUMNS), result.dtype)
        _convert_rows(i * block, stop, a, b, c, matrix, offset, top, lines, values, result, rows)

    parallel(piece, -(-height // block))


@jit
def _convert_rows(start, stop, a, b, c, matrix, offset, top, lines, values, result, rows):
    # a channel of some columns at a time, into ``values``; from there to ``rows``, if there are
    # some, whose known step of three becomes SIMD: 16 times as fast as to ``result``
    for i in range(start, stop):
        for left in range(0, result.shape[1], values.shape[1]):
            n = min(values.shape[1], result.shape[1] - left)
            for j in range(n):
                lines[0, j] = a[i, np.uint64(left + j)]
            for j in range(n):
                lines[1, j] = b[i, np.uint64(left + j)]
            for j in range(n):
                lines[2, j] = c[i, np.uint64(left + j)]
            for k in range(len(values)):
                m0, m1, m2, zero = matrix[k, 0], matrix[k, 1], matrix[k, 2], offset[k]
                if top > 0:
                    for j in range(n):
                        value = m0 * lines[0, j] + m1 * lines[1, j] + m2 * lines[2, j] + zero
                        values[k, j] = min(max(np.floor(value + 0.5), 0.0), top)
                else:
                    for j in range(n):
                        values[k, j] = m0 * lines[0, j] + m1 * lines[1, j] + m2 * lines[2, j] + zero
            if len(rows):
                row = rows[i, 3 * left : 3 * (left + n)]
                for j in range(n):
                    row[np.uint64(3 * j)] = values[0, j]
                    row[np.uint64(3 * j + 1)] = values[1, j]
                    row[np.uint64(3 * j + 2)] = values[2, j]
            else:
                for k in range(len(values)):
                    for j in range(n):
                        result[i, np.uint64(left + j), k] = values[k, j]


def _checked(image: np.ndarray) -> np.ndarray:
    image = np.asarray(image)
    if image.ndim != 3 or image.shape[2] != 3 or image.size == 0:
        raise ValueError(f"expected an image (H, W, 3), not an array of {image.shape}")
    if image.dtype not in (np.uint8, np.uint16, np.float32, np.float64):
        raise TypeError(f"cannot convert {image.dtype}: use uint8, uint16, float32 or float64")
    return image
