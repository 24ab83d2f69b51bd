"""Read PNG of 16 bits a channel, which Pillow reads as 8 bits, and write PNG on several threads.

Pillow compresses on one thread: half a second for a picture of 1080 x 1920, several times what
the network takes. See the PNG specification, third edition
(W3C 2025), for the names of things.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

import numpy as np

from npsrcnn.errors import UserError
from npsrcnn.runtime.jit import helper, jit
from npsrcnn.runtime.threads import parallel

SIGNATURE = b"\x89PNG\r\n\x1a\n"
CHANNELS = {0: 1, 2: 3, 4: 2, 6: 4}  # samples per pixel, of each colour type but palette
BLOCK_BYTES = 1 << 18  # compressed at a time: enough of them to keep the threads busy
WINDOW_BYTES = 1 << 15  # deflate looks back this far, also into the block before
COLOR_CHUNKS = (b"cICP", b"cHRM", b"sRGB", b"mDCV", b"cLLI", b"mDCv", b"cLLi")
WORDS = {
    b"tEXt": "text", b"zTXt": "text", b"iTXt": "text", b"eXIf": "EXIF", b"tIME": "date",
    b"pHYs": "resolution", b"iCCP": "colour profile", b"gAMA": "gamma",
    **dict.fromkeys(COLOR_CHUNKS, "colour space"),
}  # fmt: skip
"""What chunks hold without which the pixels are the same."""
OF_PIXELS = (b"tRNS", b"acTL", b"fcTL", b"fdAT")  # of the chunks that readers may leave out
PAETH = 4  # the type of a filter
PIECE_ROWS = 32  # that one thread filters at a time
ZLIB_LEVEL = 2  # zlib's: three times as fast as 6, files a seventh larger
ADAM7 = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1))  # fmt: skip  # noqa: E501


def bits(data: bytes) -> int:
    """Return the bits per sample of a PNG file."""
    return data[24]


def is_16_bit(data: bytes) -> bool:
    """Return whether ``data`` is a PNG file of 16 bits per sample."""
    return data.startswith(SIGNATURE) and data[24:25] == b"\x10"


def without_damaged(data: bytes) -> tuple[bytes, tuple[str, ...]]:
    """Return a PNG file without damaged chunks that its pixels need not, and what these held.

    Raises
    ------
    UserError
        A chunk before the pixels, which need it, has a wrong checksum. (Of the pixels themselves
        zlib has one.)
    """
    whole, before_pixels = memoryview(data), True
    kept, start, lost = [], 0, []
    for name, position, end in _places(data):
        before_pixels = before_pixels and name != b"IDAT"
        dispensable = name[:1].islower() and name not in OF_PIXELS
        if end > len(data) or not (dispensable or before_pixels):
            continue
        (checksum,) = struct.unpack_from(">I", data, end - 4)
        if zlib.crc32(whole[position + 4 : end - 4]) == checksum:
            continue
        text = name.decode("latin-1")
        if not dispensable:
            raise UserError(f"damaged PNG (wrong checksum of chunk {text!r})")
        lost.append(f"{WORDS.get(name, f'chunk {text!r}')}, which is damaged")
        kept.append(whole[start:position])
        start = end
    if not lost:
        return data, ()
    return b"".join([*kept, whole[start:]]), tuple(dict.fromkeys(lost))


def decode_16_bit(data: bytes) -> np.ndarray:
    """Decode a PNG file of 16 bits to (H, W, C): C is 1 grey, 2 with alpha, 3 RGB, 4 RGBA.

    A colour declared transparent (chunk tRNS) becomes an alpha channel.

    Raises
    ------
    UserError
        Compressed pixels that are damaged or missing. (Checksums are Pillow's to verify.)
    """
    chunks = list(_chunks(data))
    header = next(body for name, body in chunks if name == b"IHDR")
    width, height, _, color, _, _, interlaced = struct.unpack(">IIBBBBB", header[:13])
    channels = CHANNELS[color]
    passes = [
        (y, x, dy, dx, -(-(height - y) // dy), -(-(width - x) // dx))
        for y, x, dy, dx in (ADAM7 if interlaced else ((0, 0, 1, 1),))
        if y < height and x < width
    ]
    total = sum(rows * (1 + 2 * channels * columns) for *_, rows, columns in passes)
    inflate = zlib.decompressobj()
    packed = b"".join(body for name, body in chunks if name == b"IDAT")
    try:
        stream = np.frombuffer(bytearray(inflate.decompress(packed, total)), np.uint8)
    except zlib.error as error:
        raise UserError(f"damaged PNG ({error})") from error
    if len(stream) < total:
        raise UserError("truncated PNG: pixels are missing")
    pixels = np.empty((height, width, channels), np.uint16)
    start = 0
    for y, x, dy, dx, rows, columns in passes:
        stop = start + rows * (1 + 2 * channels * columns)
        lines = stream[start:stop].reshape(rows, -1)
        if lines[:, 0].max() > 4:
            raise UserError("damaged PNG (unknown filter)")
        _unfilter(lines, 2 * channels)
        samples = np.ascontiguousarray(lines[:, 1:]).view(">u2")
        pixels[y::dy, x::dx] = samples.reshape(rows, columns, channels)
        start = stop
    for name, body in chunks:
        if name == b"tRNS" and color in (0, 2):
            key = np.frombuffer(body[: 2 * channels], ">u2")
            alpha = np.where((pixels == key).all(axis=2), 0, 65535).astype(np.uint16)
            pixels = np.dstack([pixels, alpha])
    return pixels


def color_chunks(data: bytes) -> dict[bytes, bytes]:
    """Return the chunks of a PNG file that say what its colours are, but for profile and gamma."""
    return {name: body for name, body in _chunks(data) if name in COLOR_CHUNKS}


def encode(pixels: np.ndarray, chunks: list[tuple[bytes, bytes]]) -> bytes:
    """Encode ``pixels`` (H, W, C), uint8 or uint16, as a PNG file; C as for :func:`decode_16_bit`.

    ``chunks`` are names and contents of what else to store, after the header and before the
    pixels. The bytes do not depend on the number of threads.
    """
    height, width, channels = pixels.shape
    color = next(key for key, count in CHANNELS.items() if count == channels)
    depth = 8 * pixels.dtype.itemsize
    lines = np.require(pixels, pixels.dtype.newbyteorder(">"), ["C", "W"]).view(np.uint8)
    lines = lines.reshape(height, -1)
    filtered = np.empty((height, 1 + lines.shape[1]), np.uint8)
    step = pixels.itemsize * channels
    filtered[0, 0] = PAETH
    filtered[0, 1:] = lines[0]  # of which nothing lies above, and to the left
    filtered[0, 1 + step :] -= lines[0, :-step]
    parallel(_filter, -(-height // PIECE_ROWS), lines, step, filtered)
    del lines
    parts = [
        SIGNATURE,
        _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, 0)),
    ]
    parts += [_chunk(name, body) for name, body in chunks]
    parts += [_chunk(b"IDAT", body) for body in _deflate(filtered.reshape(-1))]
    return b"".join([*parts, _chunk(b"IEND", b"")])


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    for name, position, end in _places(data):
        yield name, data[position + 8 : end - 4]


def _places(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yield name, begin and end of each chunk; the last may end behind the file's end."""
    position = len(SIGNATURE)
    while position + 12 <= len(data):
        size, name = struct.unpack_from(">I4s", data, position)
        yield name, position, position + 12 + size
        position += 12 + size


def _chunk(name: bytes, body: bytes) -> bytes:
    return b"".join(
        [
            struct.pack(">I", len(body)),
            name,
            body,
            struct.pack(">I", zlib.crc32(body, zlib.crc32(name))),
        ]
    )


def _deflate(data: np.ndarray) -> list[bytes]:
    """Compress to a zlib stream (RFC 1950) in parts, several at the same time, as pigz does.

    Each block of ``data`` starts from the 32 KiB before it, so that cutting costs no size, and all
    but the last end on a byte, so that they can be joined.
    """
    count = -(-len(data) // BLOCK_BYTES)
    parts = [b""] * count

    def compress(i: int) -> None:
        start = i * BLOCK_BYTES
        packer = zlib.compressobj(
            ZLIB_LEVEL,
            zlib.DEFLATED,
            -15,
            9,
            zlib.Z_FILTERED,
            data[max(0, start - WINDOW_BYTES) : start].tobytes(),
        )
        body = packer.compress(data[start : start + BLOCK_BYTES].data)
        parts[i] = body + packer.flush(zlib.Z_FINISH if i == count - 1 else zlib.Z_SYNC_FLUSH)

    parallel(compress, count)
    return [
        b"\x78\x5e" + parts[0],
        *parts[1:-1],
        (parts[-1] if count > 1 else b"") + struct.pack(">I", zlib.adler32(data.data)),
    ]


@jit
def _filter(piece, lines, step, result):
    """Predict each byte by Paeth's filter from its neighbours, and keep what is left.

    All lines but the first, which has none above. On enlarged pictures the usual trial of all
    five filters a line ends with Paeth's on nearly every line (files equal to 0.1 %), so that the
    trial is not worth its time. ``step`` is the bytes from a pixel to the next.
    """
    stop = (piece + 1) * PIECE_ROWS
    if stop > len(lines):
        stop = len(lines)
    for y in range(piece * PIECE_ROWS, stop):
        if y == 0:
            continue
        result[y, 0] = PAETH
        for x in range(step):
            result[y, 1 + x] = lines[y, x] - lines[y - 1, x]
        for x in range(step, lines.shape[1]):
            predicted = _paeth(lines[y, x - step], lines[y - 1, x], lines[y - 1, x - step])
            result[y, 1 + x] = lines[y, x] - predicted


@jit
def _unfilter(lines, step):
    """Undo the filter of each line, in place; ``lines[:, 0]`` are their types, 0 to 4."""
    height, width = lines.shape
    for y in range(height):
        kind = lines[y, 0]
        for x in range(1, width):
            left = lines[y, x - step] if x > step else np.uint8(0)
            up = lines[y - 1, x] if y else np.uint8(0)
            corner = lines[y - 1, x - step] if y and x > step else np.uint8(0)
            predicted = np.int32(0)
            if kind == 1:
                predicted = np.int32(left)
            elif kind == 2:
                predicted = np.int32(up)
            elif kind == 3:
                predicted = (np.int32(left) + np.int32(up)) >> 1
            elif kind == PAETH:
                predicted = _paeth(left, up, corner)
            lines[y, x] = np.uint8(lines[y, x] + predicted)


@helper
def _paeth(left, up, corner):
    """Return whichever of the three is closest to left + up - corner."""
    left, up, corner = np.int32(left), np.int32(up), np.int32(corner)
    a, b, c = abs(up - corner), abs(left - corner), abs(left + up - 2 * corner)
    return left if a <= b and a <= c else up if b <= c else corner
