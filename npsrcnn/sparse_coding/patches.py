"""Cut patches from an image, describe them by features, and average them where they overlap.

A patch is a row of (N, size * size), its pixels row by row; patches follow one another as their
upper left corners do, row by row.
"""

from __future__ import annotations

import numpy as np

from npsrcnn.errors import UserError
from npsrcnn.runtime.jit import jit
from npsrcnn.runtime.threads import parallel
from npsrcnn.sparse_coding import checks

ROWS_PER_TASK = 8  # of patches or of pixels


def extract(image: np.ndarray, size: int, stride: int = 1) -> np.ndarray:
    """Cut the patches of an image at every ``stride``-th row and column.

    Parameters
    ----------
    image
        (H, W), or maps (C, H, W), whose patches are joined: float32 or float64.
    size
        Side of a patch, at most H and W.
    stride
        From one patch to the next. Where the last would leave pixels uncovered, one more is cut
        flush with the edge, so that every pixel is in a patch.

    Returns
    -------
    numpy.ndarray
        (N, C * size * size), of the image's dtype.

    Raises
    ------
    UserError
        Patches larger than the image, another shape or dtype, values that are not finite.
    """
    maps = image if np.ndim(image) == 3 else np.asarray(image)[None]
    maps = np.stack([checks.image(one, size) for one in maps])
    top, left = _places((maps.shape[1], maps.shape[2]), size, stride)
    patches = np.empty((len(top) * len(left), len(maps) * size * size), maps.dtype)
    parallel(_extract, -(-len(top) // ROWS_PER_TASK), maps, top, left, size, patches)
    return patches


def overlap_average(
    patches: np.ndarray, shape: tuple[int, int], size: int, stride: int = 1
) -> np.ndarray:
    """Make the image (H, W) whose every pixel is the mean of all patches that cover it.

    It inverts :func:`extract` with the same ``size`` and ``stride``. TPAMI section 3.1.3: "the
    predicted overlapping high-resolution patches are often averaged".

    Raises
    ------
    UserError
        Not as many patches, or not as large, as an image of this shape has.
    """
    patches = checks.rows(patches)
    size, stride = checks.count(size, "size", 1, min(shape)), checks.count(stride, "stride")
    top, left = _places(shape, size, stride)
    expected = (len(top) * len(left), size * size)
    if patches.shape != expected:
        raise _mismatch(patches, shape, expected)
    image = np.empty(shape, patches.dtype)
    one = patches.dtype.type(1)
    parallel(_overlap_average, -(-shape[0] // ROWS_PER_TASK), patches, top, left, size, one, image)
    return image


def around_each_pixel(image: np.ndarray, size: int) -> np.ndarray:
    """Cut a patch around every pixel, the image's edge replicated: (H * W, size * size).

    A convolution of this size, edges replicated, sees these patches at its outputs.
    """
    image = checks.image(image, 1)
    before, after = (size - 1) // 2, size // 2
    return extract(np.pad(image, (before, after), mode="edge"), size)


def average_around_each_pixel(patches: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Average the patches around every pixel, (H * W, size * size), where they overlap: (H, W).

    Patches around pixels beyond the edge are those of the edge again, so that each pixel is the
    mean of exactly size * size values; the third convolution sees just that when the codes,
    not the image, are replicated at the edge.
    """
    patches = checks.rows(patches)
    if len(patches) != shape[0] * shape[1]:
        raise _mismatch(patches, shape, (shape[0] * shape[1], patches.shape[1]))
    size = checks.side(patches.shape[1], "patches")
    before, after = (size - 1) // 2, size // 2
    grid = patches.reshape(*shape, -1)
    grid = np.pad(grid, ((before, after), (before, after), (0, 0)), mode="edge")
    full = (shape[0] + 2 * size - 2, shape[1] + 2 * size - 2)
    image = overlap_average(grid.reshape(-1, size * size), full, size)
    return image[size - 1 :, size - 1 :][: shape[0], : shape[1]]


def remove_mean(patches: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Subtract from patches their means; return the patches (N, d) and the means (N,).

    TPAMI section 3.2: "the patch mean is subtracted", which the filters of layer 1 absorb.
    """
    patches = checks.rows(patches)
    means = patches.mean(axis=1, dtype=patches.dtype)
    return patches - means[:, None], means


def gradients(image: np.ndarray) -> np.ndarray:
    """Compute first and second derivatives along both axes, (4, H, W), the edge replicated.

    Yang et al. 2010, equation 6: f1 = [-1, 0, 1], f2 its transpose, f3 = [1, 0, -2, 0, 1], f4 its
    transpose.
    """
    image = checks.image(image, 1)
    height, width = image.shape
    x = np.pad(image, 2, mode="edge")

    def moved(dy: int, dx: int) -> np.ndarray:
        return x[2 + dy : 2 + dy + height, 2 + dx : 2 + dx + width]

    two = image.dtype.type(2)
    return np.stack(
        [
            moved(0, 1) - moved(0, -1),
            moved(1, 0) - moved(-1, 0),
            moved(0, 2) - two * image + moved(0, -2),
            moved(2, 0) - two * image + moved(-2, 0),
        ]
    )


def _mismatch(patches: np.ndarray, shape: tuple[int, int], expected: tuple[int, int]) -> UserError:
    return UserError(f"patches {patches.shape} for an image of {shape}: expected {expected}")


def _places(shape: tuple[int, int], size: int, stride: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the first row of each row of patches, the first column of each column of patches."""
    stride = checks.count(stride, "stride")
    top, left = (np.append(np.arange(0, n - size, stride), n - size) for n in shape)
    return top, left


@jit
def _extract(piece, maps, top, left, size, patches):
    for r in range(piece * ROWS_PER_TASK, min((piece + 1) * ROWS_PER_TASK, len(top))):
        for c in range(len(left)):
            patch = patches[r * len(left) + c]
            i = 0
            for m in range(len(maps)):
                for y in range(size):
                    for x in range(size):
                        patch[i] = maps[m, top[r] + y, left[c] + x]
                        i += 1


@jit
def _overlap_average(piece, patches, top, left, size, one, image):
    # By rows of the image, not of patches: each piece writes its own rows, in a fixed order.
    height, width = image.shape
    count = np.empty(width, image.dtype)
    for y in range(piece * ROWS_PER_TASK, min((piece + 1) * ROWS_PER_TASK, height)):
        image[y] = one - one
        count[:] = one - one
        for r in range(len(top)):
            if top[r] <= y < top[r] + size:
                start = (y - top[r]) * size
                for c in range(len(left)):
                    patch = patches[r * len(left) + c]
                    for x in range(size):
                        image[y, left[c] + x] += patch[start + x]
                        count[left[c] + x] += one
        image[y] /= count
