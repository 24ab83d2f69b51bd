"""TIFF files that several tests make."""

from __future__ import annotations

import numpy as np

from npsrcnn.images import ifd, tiff_writer

TYPES = {274: ifd.SHORT, 34735: ifd.SHORT, 282: ifd.RATIONAL, 283: ifd.RATIONAL, 296: ifd.SHORT}


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
