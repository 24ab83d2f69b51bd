"""Enlarge an image that memory holds, in strips of rows.

Each strip is computed with as much of its surroundings as the filters see, so that memory beyond
the image and its result is bounded and the result does not show it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from npsrcnn.model.network import SRCNN
from npsrcnn.pixels.resize import Span
from npsrcnn.pixels.values import Values
from npsrcnn.upscaling.enlarger import Enlarger

Progress = Callable[[int, int], None]
STRIP = 1 << 23  # pixels of the result that are in work at a time: 4 x 32 MiB in floats


def split(image: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
    """Split what :func:`upscale` takes into pixels (H, W) or (H, W, 3) and alpha (H, W) or None."""
    if image.ndim == 2:
        return image, None
    channels = image.shape[2]
    pixels = image[..., 0] if channels < 3 else image[..., :3]
    return pixels, image[..., -1] if channels in (2, 4) else None


def join(pixels: np.ndarray, alpha: np.ndarray | None, channels: tuple[int, ...]) -> np.ndarray:
    """Join what :func:`split` split; ``channels`` are what follows (H, W) in the image's shape."""
    if alpha is not None:
        pixels = np.dstack([pixels, alpha])
    return pixels.reshape(*pixels.shape[:2], *channels)


def enlarge(
    pixels: np.ndarray,
    alpha: np.ndarray | None,
    nets: Sequence[SRCNN],
    scale: float,
    values: Values | None = None,
    shape: tuple[int, int] | None = None,
    progress: Progress | None = None,
) -> tuple[np.ndarray, np.ndarray | None]:
    """Enlarge pixels (H, W) or (H, W, 3) and alpha (H, W).

    See :func:`npsrcnn.upscale`, and :class:`npsrcnn.upscaling.enlarger.Enlarger` for ``values`` and
    ``shape``. ``progress`` is called with the number of strips done, and of all, where there are
    several.
    """
    height, width = pixels.shape[:2]
    enlarger = Enlarger((height, width), nets, scale, values, shape)
    height, width = enlarger.shape
    return enlarge_window(enlarger, pixels, alpha, (0, height), (0, width), progress=progress)


def enlarge_window(
    enlarger: Enlarger,
    pixels: np.ndarray,
    alpha: np.ndarray | None,
    rows: Span,
    columns: Span,
    corner: tuple[int, int] = (0, 0),
    progress: Progress | None = None,
) -> tuple[np.ndarray, np.ndarray | None]:
    """Call ``enlarger`` strip by strip: memory beyond arguments and result is bounded.

    ``progress`` is called after each of several.
    """
    height, width = (stop - start for start, stop in (rows, columns))
    step = max(64, STRIP // width)
    if step >= height:
        return enlarger(pixels, alpha, rows, columns, corner)
    result = np.empty((height, width, *pixels.shape[2:]), pixels.dtype)
    opacity = None if alpha is None else np.empty((height, width), alpha.dtype)
    for top in range(0, height, step):
        strip = rows[0] + top, min(rows[0] + top + step, rows[1])
        part, part_alpha = enlarger(pixels, alpha, strip, columns, corner)
        result[top : top + step] = part
        if opacity is not None:
            opacity[top : top + step] = part_alpha
        if progress is not None:
            progress(top // step + 1, -(-height // step))
    return result, opacity
