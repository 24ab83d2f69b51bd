"""Show small arrays as pictures: patches, signed weights, maps over a picture."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape

import numpy as np

from npsrcnn.report.compare import as_shown, picture

BLUE, RED = np.array([33, 102, 172]), np.array([214, 96, 77])
SIDE = "9.5rem"


def grey(values: np.ndarray) -> np.ndarray:
    """Return values (H, W) or (c, H, W) in 0..1 as pixels, uint8."""
    planes = values if values.ndim == 2 else np.moveaxis(values, 0, 2).squeeze()
    return as_shown(np.asarray(planes, np.float32))


def signed(values: np.ndarray) -> np.ndarray:
    """Return values (H, W) on their own scale: white at zero, blue below, red above; uint8 RGB."""
    share = values / (float(np.abs(values).max()) or 1.0)
    color = np.where(share[..., None] < 0, BLUE, RED)
    mixed: np.ndarray = 255 + np.abs(share)[..., None] * (color - 255.0)
    return mixed.round().astype(np.uint8)


def overlaid(image: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Lay a map (H, W) over a picture (H, W) in 0..1: red where it is high; uint8 RGB."""
    share = (np.clip(values, 0, None) / (float(np.percentile(values, 99.5)) or 1.0)).clip(0, 1)
    base = 255 * np.clip(image, 0, 1)[..., None]
    mixed: np.ndarray = base * (1 - 0.85 * share[..., None]) + 0.85 * share[..., None] * RED
    return mixed.round().astype(np.uint8)


def marked(image: np.ndarray, y: int, x: int, side: int) -> np.ndarray:
    """Draw a square, ``side`` pixels wide, around a pixel of a picture (H, W) or (H, W, 3)."""
    result = np.dstack([image] * 3) if image.ndim == 2 else image.copy()
    top, left = max(0, y - side // 2 - 1), max(0, x - side // 2 - 1)
    bottom, right = (
        min(length - 1, at + side // 2 + 1)
        for length, at in zip(result.shape, (y, x), strict=False)
    )
    result[[top, bottom], left : right + 1] = (255, 210, 0)
    result[top : bottom + 1, [left, right]] = (255, 210, 0)
    return result


def row(pictures: Mapping[str, np.ndarray]) -> str:
    """Return small pictures side by side, each under its title, as HTML."""
    cells = [
        f'<figure style="margin:0;width:{SIDE}"><figcaption style="font-size:.85rem;'
        f'min-height:2.6em">{escape(title)}</figcaption>{picture(pixels, title, SIDE)}</figure>'
        for title, pixels in pictures.items()
    ]
    return f'<div style="display:flex;flex-wrap:wrap;gap:1rem">{"".join(cells)}</div>'


def columns(parts: list[str]) -> str:
    """Return parts side by side where there is room, as HTML."""
    cells = "".join(f'<div style="flex:1 1 20rem;min-width:0">{part}</div>' for part in parts)
    return f'<div style="display:flex;flex-wrap:wrap;gap:1.2rem;margin-top:1rem">{cells}</div>'
