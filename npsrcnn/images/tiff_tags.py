"""Keep TIFF's tags true of the enlarged picture: its place on Earth, the size of its pixels."""

from __future__ import annotations

import numpy as np

from npsrcnn.images import descriptions, exif, ifd
from npsrcnn.images.ifd import Directory, Entry

SUBFILE, DESCRIPTION, PAGE_NUMBER, ORIENTATION = 254, 270, 297, 274
X_RESOLUTION, Y_RESOLUTION, UNIT = 282, 283, 296
ICC, XMP, IPTC, PHOTOSHOP = 34675, 700, 33723, 34377
GEO_SCALE, GEO_TIES, GEO_MATRIX, GEO_KEYS = 33550, 33922, 34264, 34735  # GeoTIFF 1.1
GEO_RASTER_TYPE, POINT = 1025, 2  # a key, and its value where a pixel is its centre
NODATA = 42113
PLACE = (GEO_SCALE, GEO_TIES, GEO_MATRIX, GEO_KEYS, 34736, 34737, 42112)
"""Tags that say where on Earth a picture lies, and GDAL's."""
TEXTS = (269, DESCRIPTION, 271, 272, 285, 305, 306, 315, 316, 33432, 18246, *range(40091, 40096))
"""Tags that describe a picture in words; the last are Windows' titles, authors, keywords."""
IMAGEJ = (50838, 50839)  # lengths, and what has them: see :mod:`npsrcnn.images.imagej`
OF_PAGES = (PAGE_NUMBER, 286, 287)
PAGE = 2  # a kind of subfile: a page of several


def enlarged(
    tags: Directory, block: bytes | None, scale: float, size: tuple[int, int]
) -> tuple[Directory, bytes | None]:
    """Return tags, and an EXIF block, that are true of a picture ``scale`` times as large.

    ``size`` (H, W) is that of the enlarged picture.
    """
    tags, parts = rescaled(tags, scale), exif.parts(block or b"")
    described = parts.get(DESCRIPTION)
    if not isinstance(described, Entry):
        return tags, block
    text = described.text()
    has_unit = ifd.number(tags, UNIT, 2) != 1
    if descriptions.is_imagej(text) or (descriptions.is_ome(text) and has_unit):
        for tag in (X_RESOLUTION, Y_RESOLUTION):
            resolution = tags.get(tag)
            if isinstance(resolution, Entry) and resolution.numbers():
                tags[tag] = ifd.entry(ifd.RATIONAL, [scale * resolution.numbers()[0]])
    changed = descriptions.resized(text, scale, size)
    if changed != text:
        block = exif.block_of(parts | {DESCRIPTION: ifd.entry(ifd.ASCII, changed)})
    return tags, block


def orientation(directory: Directory) -> int:
    """Return how a page is to be turned: one of EXIF's 1 to 8, 1 where it says nothing known."""
    found = ifd.number(directory, ORIENTATION, 1)
    return found if found in exif.UPRIGHT else 1


def nodata(directory: Directory) -> float | None:
    """Return the number that stands for no value, as GDAL has it: of all channels the same."""
    value = directory.get(NODATA)
    if not isinstance(value, Entry):
        return None
    try:
        return float(value.text().strip())
    except ValueError:
        return None


def rescaled(tags: Directory, scale: float) -> Directory:
    """Return tags for a picture ``scale`` times as large, whose pixels are smaller on Earth.

    Tags of a damaged place are dropped.
    """
    result = dict(tags)
    values = {tag: value.numbers() for tag, value in tags.items() if isinstance(value, Entry)}
    try:
        if GEO_SCALE in tags:
            x, y, *z = values[GEO_SCALE]
            result[GEO_SCALE] = ifd.entry(ifd.DOUBLE, [x / scale, y / scale, *z])
        keys = np.array(values.get(GEO_KEYS, ())).reshape(-1, 4)
        shift = 0.5 if any(key[0] == GEO_RASTER_TYPE and key[3] == POINT for key in keys) else 0.0
        if GEO_TIES in tags:
            ties = np.array(values[GEO_TIES], float).reshape(-1, 6)
            ties[:, :2] = (ties[:, :2] + shift) * scale - shift
            result[GEO_TIES] = ifd.entry(ifd.DOUBLE, ties.ravel().tolist())
        if GEO_MATRIX in tags:
            matrix = np.array(values[GEO_MATRIX], float).reshape(4, 4)
            matrix[:, 3] += matrix[:, :2].sum(1) * (shift / scale - shift)
            matrix[:, :2] /= scale
            result[GEO_MATRIX] = ifd.entry(ifd.DOUBLE, matrix.ravel().tolist())
    except (TypeError, ValueError, KeyError):
        return {tag: value for tag, value in tags.items() if tag not in PLACE}
    return result
