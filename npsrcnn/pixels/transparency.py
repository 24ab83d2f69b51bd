"""Fill in the colour behind transparency and where there is none, so that it does not show."""

from __future__ import annotations

import numpy as np

from npsrcnn.pixels.color import peak
from npsrcnn.pixels.values import largest_of, least_of
from npsrcnn.runtime.jit import jit
from npsrcnn.runtime.threads import parallel

PIECE_ROWS = 64  # that one thread takes at a time


def fill(
    pixels: np.ndarray, alpha: np.ndarray | None, reach: int, missing: np.ndarray | None = None
) -> np.ndarray:
    """Continue the visible colours into the pixels around them that have none.

    Enlarging mixes neighbours, and the colour stored where alpha is 0, often black, would show as
    a fringe, and so would what stands for no value. So it is replaced, ``reach`` pixels deep, by
    the average of the neighbours that have a colour already, each as much as it is visible.
    Visible pixels stay as they are.

    Parameters
    ----------
    pixels : ndarray, (H, W) or (H, W, 3)
    alpha : ndarray, (H, W), or None
        Zero where a pixel cannot be seen.
    reach : int
        In pixels.
    missing : ndarray of the shape of ``pixels``, optional
        Where there is no value, of a pixel or of some of its channels.

    Returns
    -------
    ndarray
        Of the shape and dtype of ``pixels``, which are left alone.
    """
    if missing is None:
        return pixels if alpha is None else _filled(pixels, _visible(alpha), reach)
    visible = np.ones(pixels.shape[:2], np.float32) if alpha is None else _visible(alpha)
    if pixels.ndim == 2:
        return _filled(pixels, np.where(missing, np.float32(0), visible), reach)
    channels = [
        _filled(pixels[..., c], np.where(missing[..., c], np.float32(0), visible), reach)
        for c in range(pixels.shape[2])
    ]
    return np.stack(channels, axis=2)


def without_nan(alpha: np.ndarray) -> np.ndarray:
    """Return alpha with pixels hidden of which it is not finite."""
    if alpha.dtype.kind != "f" or np.isfinite(alpha).all():
        return alpha
    return np.where(np.isfinite(alpha), alpha, alpha.dtype.type(0))


def divided(samples: np.ndarray) -> np.ndarray:
    """Undo a multiplication of colours with alpha, the last channel; (H, W, C).

    Where alpha is 0 nothing is known of the colours, and they stay. Of 8 bits they are rounded
    down, as Pillow does.
    """
    colors, alpha = samples[..., :-1], samples[..., -1:]
    dtype = samples.dtype
    if dtype.kind == "f":
        whole = colors / np.where(alpha == 0, dtype.type(1), alpha)
    elif dtype in (np.uint8, np.uint16):
        white = int(peak(dtype))
        half = alpha.astype(np.uint32) // 2 if dtype == np.uint16 else 0
        whole = (colors.astype(np.uint32) * white + half) // np.maximum(alpha, 1)
        whole = whole.clip(0, white)
    else:
        whole = np.rint(colors * (peak(dtype) / np.maximum(alpha, 1)))
        whole = whole.clip(least_of(dtype), largest_of(dtype))
    return np.dstack([np.where(alpha == 0, colors, whole), alpha]).astype(dtype)


def _visible(alpha: np.ndarray) -> np.ndarray:
    """Return as how much each pixel is visible, float32: 1 is opaque."""
    return (alpha / np.float32(peak(alpha.dtype))).astype(np.float32)


def _filled(pixels: np.ndarray, visible: np.ndarray, reach: int) -> np.ndarray:
    """Fill in pixels where ``visible``, float32 (H, W), is 0."""
    hidden = visible == 0
    if not hidden.any() or hidden.all():
        return pixels
    color = pixels.astype(np.float32).reshape(*visible.shape, -1)
    weight = np.ascontiguousarray(visible)
    for _ in range(reach):
        new_color, new_weight = np.empty_like(color), np.empty_like(weight)
        pieces = -(-len(visible) // PIECE_ROWS)
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
