"""TIFF where Pillow falls short: colour of 16 bits a channel, and grey whose white is zero.

Pillow knows every compression of TIFF, and 16 bits in grey, but 16-bit colour comes out as 8-bit.
So it is shown a file with the same strips, declared as a grey picture C times as wide; and files
are written from scratch (TIFF 6.0, Adobe 1992).
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image
from PIL.TiffImagePlugin import ImageFileDirectory_v2 as Directory

from npsrcnn.errors import UserError
from npsrcnn.runtime.threads import parallel

# Tags, by their names in the specification
WIDTH, LENGTH, BITS, COMPRESSION, PHOTOMETRIC, FILL_ORDER = 256, 257, 258, 259, 262, 266
STRIP_OFFSETS, SAMPLES, STRIP_ROWS, STRIP_COUNTS, PLANAR = 273, 277, 278, 279, 284
PREDICTOR, TILE_WIDTH, TILE_LENGTH, TILE_OFFSETS, TILE_COUNTS = 317, 322, 323, 324, 325
EXTRA, SAMPLE_FORMAT = 338, 339

DEFLATE, DIFFERENCES = 8, 2  # a compression and a predictor
WHITE_IS_ZERO, GREY, RGB = 0, 1, 2  # photometric interpretations
UNSPECIFIED, PREMULTIPLIED = 0, 1  # what an extra sample is, if not alpha as we write it
COLORS = {WHITE_IS_ZERO: "grey", GREY: "grey", RGB: "RGB", 3: "palette", 5: "CMYK", 6: "YCbCr"}
ASCII = 2  # a type of tags
TYPES = {1: "uint", 2: "int", 3: "float"}  # by sample format
STRIP = 1 << 18  # bytes, about, that are compressed at a time
MAGIC = {b"II": b"II*\0", b"MM": b"MM\0*"}  # the first two bytes of a file, and all four of TIFF's
LARGEST = 1 << 32  # bytes: offsets are of 32 bits


def read_layout(path: str | Path) -> tuple[int, int, int, int] | None:
    """Rows, columns, channels and bytes a sample of a TIFF file; None where it is none.

    Only headers are read, of files of any size.
    """
    with open(path, "rb") as file:
        head = file.read(16)
        if head[:2] not in MAGIC:
            return None
        try:
            tags = _directory(head, file)
            return tags[LENGTH], tags[WIDTH], tags.get(SAMPLES, 1), -(-max(tags[BITS]) // 8)
        except (KeyError, SyntaxError, TypeError, ValueError, struct.error, OSError):
            return None  # damaged: images.read() says how


def _directory(head: bytes, file: BinaryIO) -> Directory:
    """The tags of the first picture of a file, of which ``head`` are the first bytes."""
    if head[:4] == b"MM\0\x2b":
        raise UserError("a BigTIFF of big-endian numbers, which is not supported: save it as TIFF")
    tags = Directory(head[: 16 if head[2] == 43 else 8])  # BigTIFF, TIFF
    file.seek(tags.next)
    tags.load(file)
    return tags


def decode_16_bit(data: bytes) -> np.ndarray | None:
    """The samples of a TIFF file of 16 bits that Pillow gets wrong, (H, W, C) uint16.

    C is 1 for grey whose white is zero, 2 grey with alpha, 3 RGB, 4 RGBA; black is zero in what is
    returned, and colours are not multiplied with alpha. None where the file is of another kind.

    Raises
    ------
    UserError
        Of any number of bits: a kind that is not taken, but that Pillow takes for another.
    """
    tags = _directory(data[:16], io.BytesIO(data))
    signed_bytes = set(tags.get(SAMPLE_FORMAT, ())) == {2} and set(tags.get(BITS, ())) == {8}
    if signed_bytes or len(tags.get(EXTRA, ())) > 1:
        raise UserError(_not_taken(tags))
    if UNSPECIFIED in tags.get(EXTRA, ()):
        raise UserError(
            "its last channel is not alpha as TIFF has it (ExtraSamples is 0): save it without"
        )
    channels = tags.get(SAMPLES, 1)
    kind = (tags.get(PHOTOMETRIC), channels)
    kinds = ((WHITE_IS_ZERO, 1), (WHITE_IS_ZERO, 2), (GREY, 2), (RGB, 3), (RGB, 4))
    if kind not in kinds or set(tags.get(BITS, ())) != {16}:
        return None
    if set(tags.get(SAMPLE_FORMAT, (1,))) != {1}:
        raise UserError(_not_taken(tags))
    if tags.get(PLANAR, 1) == 2:
        pixels = np.dstack([_as_grey(data, tags, 1, plane) for plane in range(channels)])
    else:
        pixels = _as_grey(data, tags, channels, 0)
        pixels = pixels.reshape(len(pixels), -1, channels)
    if tags[PHOTOMETRIC] == WHITE_IS_ZERO:
        pixels[..., 0] = 65535 - pixels[..., 0]
    return _divided(pixels) if PREMULTIPLIED in tags.get(EXTRA, ()) else pixels


def _divided(pixels: np.ndarray) -> np.ndarray:
    """Colours that were multiplied with alpha, the last channel, as they were; (H, W, C) uint16.

    Where alpha is 0 nothing is known of them, and they stay.
    """
    colors, alpha = pixels[..., :-1], pixels[..., -1:].astype(np.uint32)
    whole = (colors.astype(np.uint32) * 65535 + alpha // 2) // np.maximum(alpha, 1)
    colors = np.where(alpha > 0, whole.clip(0, 65535), colors)
    return np.dstack([colors, alpha]).astype(np.uint16)


def refusal(data: bytes) -> str | None:
    """What to say of a TIFF file that nobody here can decode; None if it is no whole one."""
    tags = _directory(data[:16], io.BytesIO(data))
    return _not_taken(tags) if {WIDTH, LENGTH, BITS, PHOTOMETRIC} <= tags.keys() else None


def _not_taken(tags: Directory) -> str:
    color = COLORS.get(tags.get(PHOTOMETRIC), "an unknown kind")
    channels = tags.get(SAMPLES, 1)
    dtype = f"{TYPES.get(max(tags.get(SAMPLE_FORMAT, (1,))), 'unknown')}{max(tags.get(BITS, (1,)))}"
    return (
        f"a TIFF of {color}, {channels} channel{'s' * (channels > 1)} of {dtype}: taken are grey "
        "and RGB of uint8 and uint16, with or without alpha, and grey of float32"
    )


def _as_grey(data: bytes, tags: Directory, channels: int, plane: int) -> np.ndarray:
    """Decode a plane of ``channels`` interleaved samples as a grey picture, (H, W * channels)."""
    tiled = TILE_WIDTH in tags
    offsets, counts = (
        tags[tag]
        for tag in ((TILE_OFFSETS, TILE_COUNTS) if tiled else (STRIP_OFFSETS, STRIP_COUNTS))
    )
    if plane or len(offsets) > 1:
        planes = tags[SAMPLES] if tags.get(PLANAR, 1) == 2 else 1
        part = slice(plane * len(offsets) // planes, (plane + 1) * len(offsets) // planes)
        offsets, counts = offsets[part], counts[part]
    predicted = tags.get(PREDICTOR, 1) == DIFFERENCES and channels > 1

    grey = Directory(MAGIC[data[:2]] + b"\0\0\0\0")
    for tag in (LENGTH, COMPRESSION, FILL_ORDER, STRIP_ROWS, PREDICTOR, TILE_LENGTH):
        if tag in tags:
            grey[tag] = tags[tag]
    for tag in (WIDTH, TILE_WIDTH):
        if tag in tags:
            grey[tag] = tags[tag] * channels
    grey[BITS], grey[SAMPLES], grey[PHOTOMETRIC] = 16, 1, GREY
    if predicted:
        grey[PREDICTOR] = 1  # differences are to the same channel, which a grey picture has not
    body = b"".join(data[start : start + size] for start, size in zip(offsets, counts, strict=True))
    starts = np.cumsum([0, *counts[:-1]])
    file = io.BytesIO()
    if tiled:
        grey[TILE_COUNTS], grey[TILE_OFFSETS] = counts, offsets
        base = 8 + len(grey.tobytes(8))
        grey[TILE_OFFSETS] = tuple(int(base + start) for start in starts)
    else:
        grey[STRIP_COUNTS], grey[STRIP_OFFSETS] = counts, tuple(map(int, starts))  # save() adds
    grey.save(file)
    file.write(body)
    with Image.open(file) as image:
        pixels = np.array(image, np.uint16)
    if predicted:
        step = tags.get(TILE_WIDTH, tags[WIDTH]) * channels
        for x in range(0, pixels.shape[1], step):
            part = pixels[:, x : x + step].reshape(len(pixels), -1, channels)
            pixels[:, x : x + step] = np.cumsum(part, 1, np.uint16).reshape(len(pixels), -1)
    return pixels


def deflate(parts: Sequence[np.ndarray]) -> list[bytes]:
    """Strips or tiles (H, W, C), compressed as DEFLATE; of integers their DIFFERENCES."""
    result = [b""] * len(parts)

    def compress(i: int) -> None:
        part = parts[i].astype(parts[i].dtype.newbyteorder("<"))
        if part.dtype.kind == "u":
            part[:, 1:] -= part[:, :-1].copy()
        result[i] = zlib.compress(part.tobytes(), 4)

    parallel(compress, len(result))
    return result


def encode(pixels: np.ndarray, tags: dict[int, object]) -> bytes:
    """A TIFF file of ``pixels`` (H, W, C), uint8, uint16 or float32; deflated.

    C is 1 for grey, 3 for RGB, one more with alpha; ``tags`` are what else to store.
    """
    height, width, channels = pixels.shape
    rows = max(1, STRIP // (width * channels * pixels.itemsize))
    parts = deflate([pixels[start : start + rows] for start in range(0, height, rows)])
    integer = pixels.dtype.kind == "u"
    size = sum(map(len, parts))
    if size > LARGEST - (1 << 24):
        raise UserError("too large for TIFF (4 GiB): write PNG")
    directory = Directory(MAGIC[b"II"] + b"\0\0\0\0")
    for tag, value in tags.items():
        if isinstance(value, str):  # of which Pillow writes ASCII alone, but reads Latin-1
            directory.tagtype[tag], value = ASCII, value.encode("latin-1", "replace")
        directory[tag] = value
    directory[WIDTH], directory[LENGTH] = width, height
    directory[BITS] = (8 * pixels.itemsize,) * channels
    directory[COMPRESSION], directory[PREDICTOR] = DEFLATE, DIFFERENCES if integer else 1
    directory[PHOTOMETRIC] = RGB if channels > 2 else GREY
    directory[SAMPLES], directory[STRIP_ROWS] = channels, rows
    directory[SAMPLE_FORMAT] = (1 if integer else 3,) * channels
    if channels in (2, 4):
        directory[EXTRA] = 2  # alpha that the colours are not multiplied with
    directory[STRIP_COUNTS] = tuple(map(len, parts))
    directory[STRIP_OFFSETS] = tuple(map(int, np.cumsum([0, *map(len, parts[:-1])])))
    file = io.BytesIO()
    directory.save(file)
    return file.getvalue() + b"".join(parts)
