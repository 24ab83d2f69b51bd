"""Convert colour to and from MATLAB's YCbCr (ITU-R BT.601, Y in 16..235), in which SRCNN works.

The network restores Y, where the eye sees detail; Cb and Cr are merely enlarged. Both directions
are affine, ``out = matrix @ in + offset``. One compiled loop takes the pixels of an image apart to
planes, and one makes pixels of planes: the way into the network and the way out.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from npsrcnn.runtime.jit import jit
from npsrcnn.runtime.threads import PIECE_PIXELS, parallel

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
    return _converted(image, *to_ycbcr(peak(image.dtype)))


def ycbcr2rgb(image: np.ndarray) -> np.ndarray:
    """Convert YCbCr to RGB, as MATLAB's ``ycbcr2rgb``: the inverse of :func:`rgb2ycbcr`.

    Takes and returns what that does. Colours that RGB cannot hold are limited to its range, of
    floats to 0..1, as MATLAB does.
    """
    image = _checked(image)
    result = _converted(image, *to_rgb(peak(image.dtype)))
    return result if image.dtype.kind == "u" else result.clip(0, 1)


def luma(image: np.ndarray) -> np.ndarray:
    """Compute Y of :func:`rgb2ycbcr` alone, (H, W); return a grey image (H, W) as it is."""
    image = as_native(image)
    if image.ndim == 2:
        return image
    image = _checked(image)
    matrix, offset = to_ycbcr(peak(image.dtype))
    return _converted(image, matrix[:1], offset[:1])[..., 0]


def as_native(image: ArrayLike) -> np.ndarray:
    """Return an image as an array in this machine's byte order, which compiled loops read.

    Arrays from FITS and many TIFF files are in the other one.
    """
    image = np.asarray(image)
    return image.astype(image.dtype.newbyteorder("="), copy=False)


def peak(dtype: np.dtype) -> float:
    """Return the value of white: the largest of an integer type, 1 for a float type."""
    return 1.0 if np.dtype(dtype).kind == "f" else float(np.iinfo(dtype).max)


def to_ycbcr(white: float) -> tuple[np.ndarray, np.ndarray]:
    """Return matrix and offset from RGB to YCbCr, both with ``white`` as the peak."""
    return _TO_YCBCR, _ZERO * white


def to_rgb(white: float) -> tuple[np.ndarray, np.ndarray]:
    """Return matrix and offset from YCbCr to RGB, both with ``white`` as the peak."""
    return _TO_RGB, -(_TO_RGB @ _ZERO) * white


def to_planes(
    image: np.ndarray, matrix: np.ndarray, offset: np.ndarray, planes: np.ndarray
) -> None:
    """Set ``planes[:, y, x] = matrix @ image[y, x] + offset`` for every pixel.

    ``image`` is (H, W, 3), ``planes`` (channels, H, W), of a float type, that of the sums, and
    contiguous.
    """
    # Copied sooner than to have Numba compile the kernel once more.
    rows = np.require(image, requirements=["C", "A", "W"]).reshape(len(image), -1)
    matrix, offset = matrix.astype(planes.dtype), offset.astype(planes.dtype)
    block = max(1, PIECE_PIXELS // image.shape[1])

    def piece(i: int) -> None:
        _take_apart(i * block, min((i + 1) * block, len(rows)), rows, matrix, offset, planes)

    parallel(piece, -(-len(rows) // block))


def to_pixels(
    planes: np.ndarray, matrix: np.ndarray, offset: np.ndarray, image: np.ndarray
) -> None:
    """Set ``image[y, x] = matrix @ planes[:, y, x] + offset`` for every pixel.

    ``planes`` is (3, H, W), of a float type, that of the sums, and ``image`` (H, W, 3); both are
    contiguous. An integer ``image`` is rounded and limited to its type.
    """
    height, width = image.shape[:2]
    rows, real = image.reshape(height, -1), planes.dtype.type
    matrix, offset = matrix.astype(real), offset.astype(real)
    top, half = real(peak(image.dtype)) if image.dtype.kind == "u" else None, real(0.5)
    block = max(1, PIECE_PIXELS // width)

    def piece(i: int) -> None:
        values = np.empty((3, BLOCK_COLUMNS), image.dtype)
        stop = min((i + 1) * block, height)
        _put_together(i * block, stop, planes, matrix, offset, top, half, values, rows)

    parallel(piece, -(-height // block))


def _converted(image: np.ndarray, matrix: np.ndarray, offset: np.ndarray) -> np.ndarray:
    """Return ``matrix @ image[y, x] + offset``, (H, W, channels), of the dtype of ``image``."""
    planes = np.empty((len(matrix), *image.shape[:2]))
    to_planes(image, matrix, offset, planes)
    if image.dtype.kind == "u":
        planes = np.floor(planes + 0.5).clip(0, peak(image.dtype))
    return planes.transpose(1, 2, 0).astype(image.dtype, order="C")


@jit
def _take_apart(start, stop, rows, matrix, offset, planes):
    for i in range(start, stop):
        for k in range(len(planes)):
            m0, m1, m2, zero = matrix[k, 0], matrix[k, 1], matrix[k, 2], offset[k]
            for j in range(planes.shape[2]):  # unsigned: without Numba's test for negative indices
                x = np.uint64(3 * j)
                a, b, c = rows[i, x], rows[i, x + np.uint64(1)], rows[i, x + np.uint64(2)]
                planes[k, i, np.uint64(j)] = m0 * a + m1 * b + m2 * c + zero


@jit
def _put_together(start, stop, planes, matrix, offset, top, half, values, rows):
    # a channel of some columns at a time, into ``values``, and from there to every third place
    for i in range(start, stop):
        for left in range(0, planes.shape[2], values.shape[1]):
            n = min(values.shape[1], planes.shape[2] - left)
            for k in range(3):
                m0, m1, m2, zero = matrix[k, 0], matrix[k, 1], matrix[k, 2], offset[k]
                for j in range(n):
                    x = np.uint64(left + j)
                    value = m0 * planes[0, i, x] + m1 * planes[1, i, x] + m2 * planes[2, i, x]
                    value += zero
                    if top is not None:
                        value = np.floor(value + half)
                        value = top if value > top else value if value > 0 else half - half
                    values[k, j] = value
            for j in range(n):
                x = np.uint64(3 * (left + j))
                rows[i, x] = values[0, j]
                rows[i, x + np.uint64(1)] = values[1, j]
                rows[i, x + np.uint64(2)] = values[2, j]


def _checked(image: np.ndarray) -> np.ndarray:
    image = as_native(image)
    if image.ndim != 3 or image.shape[2] != 3 or image.size == 0:
        raise ValueError(f"expected an image (H, W, 3), not an array of {image.shape}")
    if image.dtype not in (np.uint8, np.uint16, np.float32, np.float64):
        raise TypeError(f"cannot convert {image.dtype}: use uint8, uint16, float32 or float64")
    return image
