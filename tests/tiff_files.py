"""TIFF files that several tests make."""

from __future__ import annotations

import numpy as np
import tifffile

from npsrcnn.images import ifd, tiff_writer

TYPES = {274: ifd.SHORT, 34735: ifd.SHORT, 282: ifd.RATIONAL, 283: ifd.RATIONAL, 296: ifd.SHORT}
LAYOUT = {256, 257, 258, 259, 262, 266, 273, 277, 278, 279, 284, 317, 322, 323, 324, 325, 338, 339}
"""Tags that say how the pixels lie in the file."""
HILL = np.exp(-(np.linspace(-2, 2, 70)[:, None] ** 2) - np.linspace(-2, 2, 90) ** 2)
"""Soft values of 70 x 90 pixels, 0 to 1."""


def directory_of(values):
    """Tags from texts, bytes and numbers, which are doubles where nothing else is usual."""
    directory = {}
    for tag, value in values.items():
        if isinstance(value, (str, bytes)):
            directory[tag] = ifd.entry(ifd.ASCII if isinstance(value, str) else ifd.BYTE, value)
        else:
            directory[tag] = ifd.entry(TYPES.get(tag, ifd.DOUBLE), np.atleast_1d(value).tolist())
    return directory


def tiff_of(samples, values=()):
    """The bytes of a TIFF file of (H, W, C)."""
    return tiff_writer.encode(samples, directory_of(dict(values)))


def tiff_file(path, samples, nodata=None, **options):
    """Write a TIFF file with no tags but its layout, and the text of GDAL_NODATA if given."""
    tags = [(42113, 2, len(nodata) + 1, nodata, True)] if nodata else []
    tifffile.imwrite(path, samples, extratags=tags, metadata=None, **options)
