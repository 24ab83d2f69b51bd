"""Image files: read and write any picture, and the colour spaces of images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from npsrcnn.color import luma, rgb2ycbcr, ycbcr2rgb
from npsrcnn.errors import UserError

__all__ = ["list_images", "luma", "read_array", "rgb2ycbcr", "ycbcr2rgb"]

SUFFIXES = frozenset(f".{s}" for s in ("avif", "bmp", "gif", "jp2", "jpeg", "jpg", "pbm", "pgm"))
SUFFIXES |= frozenset(f".{s}" for s in ("png", "pnm", "ppm", "tga", "tif", "tiff", "webp"))


def read_array(path: str | Path) -> np.ndarray:
    """(H, W) or (H, W, 3), uint8 or uint16; transparency is dropped."""
    with Image.open(path) as image:
        grey = image.mode in ("1", "L", "LA")
        return np.asarray(image.convert("L" if grey else "RGB"))


def list_images(folder: str | Path) -> list[Path]:
    """The image files of ``folder`` (by suffix, hidden ones left out), sorted by name.

    Raises
    ------
    UserError
        No such folder, or none of its files is an image.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder")
    paths = [
        path
        for path in sorted(folder.iterdir())
        if path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and path.is_file()
    ]
    if not paths:
        raise UserError(f"{folder}: no image files in this folder")
    return paths
