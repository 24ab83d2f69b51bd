"""Read from a file's headers how large its pictures are."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import NamedTuple

import numpy as np

from npsrcnn.images.tiff_pages import DAMAGED, HEADERS, TiffPages


class Layout(NamedTuple):
    """What a file's headers say of its pictures."""

    rows: int
    columns: int
    channels: int
    bytes_each: int  # of a sample
    pages: int = 1


def read_tiff_layout(path: str | Path) -> Layout | None:
    """Return the layout of a TIFF file; None where it is none.

    Only headers are read, of files of any size. Of several pages it is that of the largest.
    """
    with open(path, "rb") as file:
        if file.read(4) not in HEADERS:
            return None
    try:
        with contextlib.closing(TiffPages(Path(path))) as opened:
            found = []
            for (page, _), mask in zip(opened.places, opened.masks, strict=True):
                bits = int(np.max(page.bitspersample))
                channels = page.samplesperpixel + (mask is not None)
                size = int(page.imagelength), int(page.imagewidth)  # damaged ones are several
                found.append(Layout(*size, int(channels), -(-bits // 8)))
            largest = max(found, key=lambda layout: layout.rows * layout.columns)
            return largest._replace(pages=len(found))
    except (*DAMAGED, OSError):
        return None  # damaged: images.read() says how
