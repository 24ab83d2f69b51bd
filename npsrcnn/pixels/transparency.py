"""Fill in the colour behind transparency, so that it does not show in neighbours."""

from __future__ import annotations

import numpy as np

from npsrcnn.pixels.color import peak
from npsrcnn.runtime.jit import jit
from npsrcnn.runtime.threads import parallel

PIECE_ROWS = 64  # that one thread takes at a time


def fill(pixels: np.ndarray, alpha: np.ndarray, reach: int) -> np.ndarray:
    """Continue the visible colours into the transparent pixels around them.

    Enlarging mixes neighbours, and the colour stored where alpha is 0, often black, would show as
    a fringe. So it is replaced, ``reach`` pixels deep, by the average of the neighbours that have
    a colour already, each as much as it is visible. Visible pixels stay as they are.

    Parameters
    ----------
    pixels : ndarray, (H, W) or (H, W, 3)
    alpha : ndarray, (H, W)
        Zero where a pixel cannot be seen.
    reach : int
        In pixels.

    Returns
    -------
    ndarray
        Of the shape and dtype of ``pixels``, which are left alone.
    """
    hidden = alpha == 0
    if not hidden.any() or hidden.all():
        return pixels
    color = pixels.astype(np.float32).reshape(*alpha.shape, -1)
    weight = (alpha / np.float32(peak(alpha.dtype))).astype(np.float32)
    for _ in range(reach):
        new_color, new_weight = np.empty_like(color), np.empty_like(weight)
        pieces = -(-len(alpha) // PIECE_ROWS)
        parallel(_spread, pieces, color, weight, new_color, new_weight)
        color, weight = new_color, new_weight
    filled = hidden & (weight > 0)  # all else stays to the last bit, whatever lies farther away
    color = color.reshape(pixels.shape)[filled]
    result = pixels.copy()
    result[filled] = np.rint(color) if pixels.dtype.kind == "u" else color
    return result


@jit
def _spread(piece, color, weight, new_color, new_weight):
    """Give each pixel of weight 0 the weighted average of its eight neighbours."""
    height, width, channels = color.shape
    for y in range(piece * PIECE_ROWS, min((piece + 1) * PIECE_ROWS, height)):
        for x in range(width):
            new_weight[y, x] = weight[y, x]
            new_color[y, x] = color[y, x]
            if weight[y, x] > 0:
                continue
            total = np.float32(0)
            for i in range(max(0, y - 1), min(height, y + 2)):
                for j in range(max(0, x - 1), min(width, x + 2)):
                    total += weight[i, j]
            if total == 0:
                continue
            new_weight[y, x] = total / np.float32(8)
            for c in range(channels):
                mixed = np.float32(0)
                for i in range(max(0, y - 1), min(height, y + 2)):
                    for j in range(max(0, x - 1), min(width, x + 2)):
                        mixed += weight[i, j] * color[i, j, c]
                new_color[y, x, c] = mixed / total
