"""Decompress the strips and tiles of TIFF by Pillow's libtiff, whatever their samples are."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from PIL.TiffImagePlugin import TiffImageFile

from npsrcnn.images import ifd
from npsrcnn.images.limits import pixel_limit
from npsrcnn.images.quiet import keep_libtiff_quiet
from npsrcnn.images.tiff_layout import (
    BITS,
    COMPRESSION,
    DIFFERENCES,
    EXTRA,
    FILL_ORDER,
    FLOAT_DIFFERENCES,
    GREY,
    JPEG,
    JPEG_TABLES,
    LENGTH,
    PHOTOMETRIC,
    PREDICTABLE,
    SAMPLES,
    STRIP_COUNTS,
    STRIP_OFFSETS,
    STRIP_ROWS,
    SUBSAMPLING,
    UNASSOCIATED,
    WIDTH,
)

if TYPE_CHECKING:
    from tifffile import TiffPage


def decompressed(
    page: TiffPage,
    dtype: np.dtype,
    segments: Sequence[bytes],
    shape: tuple[int, int, int],
    length: int,
    stored_dtype: np.dtype,
) -> np.ndarray:
    """Decompress strips or tiles, one below the other.

    They become the strips of a file in memory, which Pillow opens.

    Parameters
    ----------
    page : TiffPage
        Says how they are compressed.
    dtype : dtype
        Of the samples.
    segments : sequence of bytes
    shape : (rows, columns, channels)
        Of the result.
    length : int
        Rows of a strip or tile, of which the last may have fewer.
    stored_dtype : dtype
        The same in the file's order of bytes.

    Returns
    -------
    ndarray, (rows, columns, channels)
    """
    rows, width, channels = shape
    shorts = {COMPRESSION: [int(page.compression)], FILL_ORDER: [int(page.fillorder)]}
    longs = {LENGTH: [rows], STRIP_ROWS: [length]}
    tables: ifd.Directory = {}
    if page.compression == JPEG:
        longs[WIDTH], shorts[SAMPLES], shorts[BITS] = [width], [channels], [8] * channels
        shorts[PHOTOMETRIC] = [int(page.photometric) if channels > 2 else GREY]
        if channels in (2, 4):
            shorts[EXTRA] = [UNASSOCIATED]
        if page.subsampling:
            shorts[SUBSAMPLING] = list(page.subsampling)
        if page.jpegtables:
            tables[JPEG_TABLES] = ifd.entry(ifd.UNDEFINED, page.jpegtables)
    else:  # bytes, whatever they mean
        bits = 8 * dtype.itemsize if page.bitspersample != 1 else 1
        longs[WIDTH] = [-(-width * channels * bits // 8)]
        shorts[SAMPLES], shorts[BITS], shorts[PHOTOMETRIC] = [1], [8], [GREY]
    for kind, entries in ((ifd.SHORT, shorts), (ifd.LONG, longs)):
        tables |= {tag: ifd.entry(kind, values) for tag, values in entries.items()}
    keep_libtiff_quiet()
    # Pillow, from 13 on while it decodes, counts these bytes for pixels and would refuse them as
    # too many, and warn of half of that; whole() has counted the pixels. Image.open would look at
    # them once more.
    with (
        pixel_limit.at_least(2 * rows * longs[WIDTH][0]),
        TiffImageFile(io.BytesIO(_file_of(tables, segments))) as image,
    ):
        samples = np.asarray(image)
    if page.bitspersample == 1:
        packed = samples.reshape(rows, -1)
        return np.unpackbits(packed, axis=1)[:, :width, None] * np.uint8(255)
    predictor = page.predictor if page.compression in PREDICTABLE else 1
    if predictor == FLOAT_DIFFERENCES:
        # differences of bytes, in each row first the highest ones of all samples, then the next
        stored = np.cumsum(samples.reshape(rows, -1, channels), 1, np.uint8)
        stored = stored.reshape(rows, dtype.itemsize, -1).swapaxes(1, 2)
        values = np.ascontiguousarray(stored).view(dtype.newbyteorder(">"))
    else:
        values = samples.view(stored_dtype)
    result = values.astype(dtype).reshape(rows, width, channels)
    if predictor == DIFFERENCES:
        integers = result.view(f"u{dtype.itemsize}")
        np.cumsum(integers, 1, integers.dtype, out=integers)
    return result


def _file_of(tags: ifd.Directory, strips: Sequence[bytes]) -> bytes:
    """Return a TIFF file of one picture, of less than 4 GiB."""
    start = len(ifd.header(0))
    places = start + np.cumsum([0, *map(len, strips)])
    tags = tags | {
        STRIP_OFFSETS: ifd.entry(ifd.LONG, places[:-1].tolist()),
        STRIP_COUNTS: ifd.entry(ifd.LONG, list(map(len, strips))),
    }
    end = int(places[-1])
    gap = bytes(end % 2)
    parts = [ifd.header(end + end % 2), *strips, gap, ifd.serialize(tags, end + end % 2)]
    return b"".join(parts)
