"""Write TIFF: pictures that memory holds, and the tags of those that grow tile by tile."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from npsrcnn.images import ifd
from npsrcnn.images.ifd import LONG, LONG8, SHORT, Directory
from npsrcnn.images.tiff import Kind
from npsrcnn.images.tiff_layout import (
    BITS,
    CMYK,
    COMPRESSION,
    DEFLATE,
    DIFFERENCES,
    EXTRA,
    FLOAT,
    GREY,
    LENGTH,
    PHOTOMETRIC,
    PREDICTOR,
    RGB,
    SAMPLE_FORMAT,
    SAMPLES,
    SIGNED,
    STRIP_COUNTS,
    STRIP_OFFSETS,
    STRIP_ROWS,
    UNASSOCIATED,
    WIDTH,
)
from npsrcnn.runtime.threads import parallel

STRIP_BYTES = 1 << 18  # about, that are compressed at a time
LARGEST = 1 << 32  # bytes of a file whose offsets are of 32 bits; a larger one is BigTIFF
SAMPLE_FORMATS = {"u": 1, "i": SIGNED, "f": FLOAT}


class Page(NamedTuple):
    """A page as it will lie in a file: its tags but for where the strips are, and the strips."""

    tags: Directory
    strips: list[bytes]


def deflate(parts: Sequence[np.ndarray]) -> list[bytes]:
    """Compress strips or tiles (H, W, C) as DEFLATE; of integers their DIFFERENCES."""
    result = [b""] * len(parts)

    def compress(i: int) -> None:
        part = parts[i].astype(parts[i].dtype.newbyteorder("<"))
        if part.dtype.kind != "f":
            part[:, 1:] -= part[:, :-1].copy()
        result[i] = zlib.compress(part.tobytes(), 4)

    parallel(compress, len(result))
    return result


def describe(kind: Kind) -> Directory:
    """Return the tags that say of what kind the pixels are, deflated as :func:`deflate` does."""
    each = [8 * kind.dtype.itemsize] * kind.samples
    tags: Directory = {
        WIDTH: ifd.entry(LONG, kind.size[1:]),
        LENGTH: ifd.entry(LONG, kind.size[:1]),
        BITS: ifd.entry(SHORT, each),
        COMPRESSION: ifd.entry(SHORT, [DEFLATE]),
        PHOTOMETRIC: ifd.entry(SHORT, [RGB if kind.colors == 3 else GREY]),
        SAMPLES: ifd.entry(SHORT, [kind.samples]),
        PREDICTOR: ifd.entry(SHORT, [1 if kind.dtype.kind == "f" else DIFFERENCES]),
        SAMPLE_FORMAT: ifd.entry(SHORT, [SAMPLE_FORMATS[kind.dtype.kind]] * kind.samples),
    }
    if kind.alpha:
        tags[EXTRA] = ifd.entry(SHORT, [UNASSOCIATED])
    return tags


def encode_page(samples: np.ndarray, tags: Directory, *, cmyk: bool = False) -> Page:
    """Compress a page.

    Parameters
    ----------
    samples : ndarray, (H, W, C)
        Of a type in :data:`npsrcnn.pixels.values.DTYPES`; C is 1 for grey, 3 for RGB, one more
        with alpha.
    tags : Directory
        What else to store.
    cmyk : bool
        The four channels are inks.
    """
    height, width, channels = samples.shape
    rows = max(1, STRIP_BYTES // (width * channels * samples.itemsize))
    strips = deflate([samples[start : start + rows] for start in range(0, height, rows)])
    kind = Kind((height, width), samples.dtype, 3 if channels > 2 else 1, channels in (2, 4))
    described = describe(kind)
    if cmyk:
        del described[EXTRA]
        described[PHOTOMETRIC] = ifd.entry(SHORT, [CMYK])
    return Page(tags | described | {STRIP_ROWS: ifd.entry(LONG, [rows])}, strips)


def assemble(pages: Sequence[Page]) -> list[bytes]:
    """Return the parts of a TIFF file: its header, all strips, all directories."""
    total = sum(sum(map(len, page.strips)) for page in pages)
    big = total > LARGEST - (1 << 24)
    position = len(ifd.header(0, big=big))
    parts, places = [b""], []
    for page in pages:
        places.append(position + np.cumsum([0, *map(len, page.strips)]))
        position = int(places[-1][-1])
        parts += page.strips
    parts.append(bytes(position % 2))
    position += position % 2
    parts[0] = ifd.header(position, big=big)
    for i, (page, offsets) in enumerate(zip(pages, places, strict=True)):
        kind = LONG8 if big else LONG
        strips = {
            STRIP_OFFSETS: ifd.entry(kind, offsets[:-1].tolist()),
            STRIP_COUNTS: ifd.entry(LONG, [len(strip) for strip in page.strips]),
        }
        last = i == len(pages) - 1
        parts.append(ifd.serialize(page.tags | strips, position, big=big, following=not last))
        position += len(parts[-1])
    return parts


def encode(samples: np.ndarray, tags: Directory) -> bytes:
    """Return a TIFF file of one page; see :func:`encode_page`."""
    return b"".join(assemble([encode_page(samples, tags)]))
