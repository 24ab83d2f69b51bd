"""Read TIFF, whole or windows of files of any size, by one reader; write TIFF from memory.

tifffile parses a file's structure, and Pillow's libtiff decompresses strips and tiles. Pillow alone
would read 16-bit colour as 8-bit, so it is shown the strips or tiles of a file as those of an 8-bit
grey picture, one sample for each byte; sample types, predictors, planes, alpha and the meaning of
zero are then a matter of arrays (TIFF 6.0, Adobe 1992; TIFF Technical Note 3 for the predictor of
floats). tifffile alone would need imagecodecs, 20 MB, for LZW, JPEG and that predictor.
"""

from __future__ import annotations

import io
import logging
import lzma
import struct
import threading
import weakref
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image
from PIL.TiffImagePlugin import ImageFileDirectory_v2 as Directory
from PIL.TiffImagePlugin import TiffImageFile

from npsrcnn.errors import UserError
from npsrcnn.images import metadata
from npsrcnn.pixels.color import peak
from npsrcnn.pixels.resize import Span
from npsrcnn.runtime.threads import parallel

# Tags, by their names in the specification
WIDTH, LENGTH, BITS, COMPRESSION, PHOTOMETRIC, FILL_ORDER = 256, 257, 258, 259, 262, 266
STRIP_OFFSETS, SAMPLES, STRIP_ROWS, STRIP_COUNTS = 273, 277, 278, 279
PREDICTOR, TILE_OFFSETS, TILE_COUNTS, EXTRA, SAMPLE_FORMAT = 317, 324, 325, 338, 339
JPEG_TABLES, SUBSAMPLING = 347, 530

UNCOMPRESSED, LZW, JPEG, DEFLATE, OLD_DEFLATE, PACKBITS = 1, 5, 7, 8, 32946, 32773
LZMA, ZSTD = 34925, 50000
PREDICTABLE = (LZW, DEFLATE, OLD_DEFLATE, LZMA, ZSTD)  # compressions that predictors go with
BY_PILLOW = (UNCOMPRESSED, JPEG, PACKBITS, *PREDICTABLE)
DIFFERENCES, FLOAT_DIFFERENCES = 2, 3  # predictors
WHITE_IS_ZERO, GREY, RGB, YCBCR = 0, 1, 2, 6  # photometric interpretations
COLORS = {WHITE_IS_ZERO: "grey", GREY: "grey", RGB: "RGB", 3: "palette", 5: "CMYK", YCBCR: "YCbCr"}
UNSPECIFIED, PREMULTIPLIED, UNASSOCIATED = 0, 1, 2  # what an extra sample is; the last: alpha
SIGNED, FLOAT = 2, 3  # sample formats
TYPES = {1: "uint", SIGNED: "int", FLOAT: "float"}
ASCII = 2  # a type of tags
DAMAGED = (
    ValueError, TypeError, SyntaxError, LookupError, AttributeError, OverflowError, RuntimeError,
    EOFError, struct.error, zlib.error, lzma.LZMAError,
)  # fmt: skip
"""Errors that tifffile and Pillow raise of a damaged file."""

SUFFIXES = (".tif", ".tiff")
HEADERS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")  # little- and big-endian TIFF, and BigTIFF
STRIP_BYTES = 1 << 18  # about, that are compressed at a time
BATCH_BYTES = 1 << 24  # that Pillow decompresses at a time, of a file of small strips or tiles
LARGEST = 1 << 32  # bytes: offsets are of 32 bits

# What tifffile logs of odd files would otherwise go to stderr where no program has set up logging.
logging.getLogger("tifffile").addHandler(logging.NullHandler())


Ratio = tuple[int, int]  # numerator and denominator


class PillowOnly(UserError):
    """A kind of TIFF that :class:`TiffReader` does not take, but Pillow may."""


class Kind(NamedTuple):
    """The size and type of the pixels of a file."""

    size: tuple[int, int]  # rows and columns
    dtype: np.dtype[np.generic]  # uint8, uint16 or float32
    colors: int  # 1 or 3
    alpha: bool

    @property
    def samples(self) -> int:
        """Number of channels, alpha included."""
        return self.colors + self.alpha


class TiffReader:
    """Read windows of a TIFF file of one picture: grey or RGB, with or without alpha.

    Only what a window needs is read and decoded. Decoded strips or tiles are kept until a window of
    other rows is read; those that the file leaves out are zero. Any number of threads may read.

    Parameters
    ----------
    source : Path or BytesIO
        A file, or its contents. Errors name the file.

    Attributes
    ----------
    kind : Kind
    orientation : int
        Orientation of the pixels as stored (EXIF: 1 to 8).

    Raises
    ------
    UserError
        No such picture, or one of a kind that is not taken.
    PillowOnly
        A kind that Pillow may know.
    OSError
        The file cannot be read.
    """

    def __init__(self, source: Path | io.BytesIO) -> None:
        import tifffile

        self.source = source
        self._lock = threading.Lock()
        self._decoded: dict[int, np.ndarray] = {}
        try:
            self._file = tifffile.TiffFile(source)
            self.close = weakref.finalize(self, self._file.close)
            self._page = page = self._file.pages.first
            self.kind = self._checked_kind()
            self.orientation = page.tags.valueof(metadata.ORIENTATION, 1)
        except UserError:
            raise
        except DAMAGED as error:
            raise self._error(f"no TIFF file, or a damaged one ({_line(error)})") from error
        self._planes = self.kind.samples if page.planarconfig == 2 else 1
        self._stored_dtype = self.kind.dtype.newbyteorder(self._file.byteorder)
        height, width = self.kind.size
        strip, tile = (min(page.rowsperstrip, height), width), (page.tilelength, page.tilewidth)
        self._segment = tile if page.is_tiled else strip
        if min(*self.kind.size, *self._segment) < 1:
            raise self._error("a damaged TIFF, of no pixels")
        self._down, across = -(-height // self._segment[0]), -(-width // self._segment[1])
        count = self._planes * self._down * across
        if min(len(page.dataoffsets), len(page.databytecounts)) < count:
            raise self._error("truncated: pixels are missing")

    def __reduce__(self) -> tuple[type[TiffReader], tuple[Path | io.BytesIO]]:
        """Open the file again in another process."""
        return TiffReader, (self.source,)

    def _error(self, text: str, kind: type[UserError] = UserError) -> UserError:
        return kind(f"{self.source}: {text}" if isinstance(self.source, Path) else text)

    def _checked_kind(self) -> Kind:
        page = self._page
        pages = sum(
            not (p.keyframe and (p.keyframe.is_reduced or p.keyframe.is_mask))
            for p in self._file.pages
        )
        if pages > 1:
            raise self._error(f"TIFF of {pages} pages: only single pictures are taken")
        channels, bits = page.samplesperpixel, int(np.max(page.bitspersample))
        what = (
            f"a TIFF of {COLORS.get(page.photometric, 'an unknown kind')}, {channels} "
            f"channel{'s' * (channels > 1)} of {TYPES.get(page.sampleformat, 'unknown')}{bits}"
        )
        taken = "grey and RGB of uint8, uint16 and float32, with or without alpha"
        if len(page.extrasamples) > 1 or (page.sampleformat, bits) == (SIGNED, 8):
            raise self._error(f"{what}: taken are {taken}")  # Pillow takes them for something else
        if UNSPECIFIED in page.extrasamples:
            raise self._error(
                "its last channel is not alpha as TIFF has it (ExtraSamples is 0): save it without"
            )
        # which Pillow turns into RGB
        jpeg = (page.photometric, page.compression, page.planarconfig) == (YCBCR, JPEG, 1)
        colors = 3 if page.photometric == RGB or jpeg else 1
        if (
            not (page.photometric in (WHITE_IS_ZERO, GREY, RGB) or jpeg)
            or channels not in (colors, colors + 1)
            or page.dtype not in (np.uint8, np.uint16, np.float32)
            or page.bitspersample != 8 * page.dtype.itemsize
            or page.imagedepth != 1
        ):
            if isinstance(self.source, Path):
                raise self._error(f"too large for {what}: save it as {taken}", PillowOnly)
            raise PillowOnly(f"{what}: taken are {taken}")
        size = page.imagelength, page.imagewidth
        return Kind(size, page.dtype, colors, channels > colors)

    def tags(self, scale: float) -> list[tuple[int, int, int | None, object, bool]]:
        """Return tags for tifffile to write with an image ``scale`` times as large.

        Texts, profile, place on Earth, of which is said where the smaller pixels lie.
        """
        found = self._page.tags
        kept = {tag.code: tag.value for tag in found if tag.code in metadata.TIFF_KEPT}
        tags = metadata.rescaled(kept, scale)
        counts = {code: None if isinstance(tags[code], str) else found[code].count for code in tags}
        return [(code, int(found[code].dtype), counts[code], tags[code], True) for code in tags]

    def resolution(self) -> tuple[tuple[Ratio, Ratio] | None, int | None]:
        """Return the resolution of x and y and its unit's code, or None of each."""
        values = self._page.tags.valueof
        x, y = values(metadata.TIFF_X_RESOLUTION), values(metadata.TIFF_Y_RESOLUTION)
        if x is None or y is None:
            return None, None
        return (x, y), int(values(metadata.TIFF_UNIT, 2))

    def held_bytes(self, rows: int) -> int:
        """Return about how many bytes are held decoded to read windows of that many rows."""
        height, width = self.kind.size
        if self._is_plain():
            return 0
        segment = self._segment[0]
        rows = min(-(-rows // segment) + 1, -(-height // segment)) * segment
        return rows * width * self.kind.samples * self.kind.dtype.itemsize

    def read(self, rows: Span, columns: Span) -> tuple[np.ndarray, np.ndarray | None]:
        """Return pixels (H, W) or (H, W, 3) and alpha (H, W) or None of a window."""
        samples = self.samples(rows, columns)
        pixels = samples[..., 0] if self.kind.colors == 1 else samples[..., :3]
        return pixels, samples[..., -1] if self.kind.alpha else None

    def samples(self, rows: Span, columns: Span) -> np.ndarray:
        """Return a window (H, W, C): black is zero, colours are not multiplied with alpha."""
        shape = (rows[1] - rows[0], columns[1] - columns[0], self.kind.samples)
        samples = np.zeros(shape, self.kind.dtype)
        with self._lock:
            if self._is_plain():
                self._read_rows(rows, columns, samples)
            else:
                self._read_segments(rows, columns, samples)
        if self._page.photometric == WHITE_IS_ZERO:
            samples[..., 0] = self.kind.dtype.type(peak(self.kind.dtype)) - samples[..., 0]
        if self.kind.dtype.kind == "f" and not np.isfinite(samples).all():
            raise self._error("holds values that are not finite (NaN or infinity)")
        return _divided(samples) if PREMULTIPLIED in self._page.extrasamples else samples

    def _is_plain(self) -> bool:
        """Return whether a row lies in the file as it is in memory."""
        page = self._page
        plain = page.compression == UNCOMPRESSED and page.fillorder == 1 and not page.is_tiled
        return plain and min(page.databytecounts) > 0

    def _read_rows(self, rows: Span, columns: Span, samples: np.ndarray) -> None:
        """Read bytes from where they lie, for strips of any height."""
        page = self._page
        pixel = self.kind.samples // self._planes * self.kind.dtype.itemsize
        (height, width), (start, stop) = self.kind.size, columns
        strips = -(-height // page.rowsperstrip)
        for plane in range(self._planes):
            target = samples[..., plane, None] if self._planes > 1 else samples
            for y in range(*rows):
                strip, row = divmod(y, page.rowsperstrip)
                offset = page.dataoffsets[plane * strips + strip]
                data = self._bytes(offset + (row * width + start) * pixel, (stop - start) * pixel)
                part = np.frombuffer(data, self._stored_dtype)
                target[y - rows[0]] = part.reshape(stop - start, -1)

    def _read_segments(self, rows: Span, columns: Span, samples: np.ndarray) -> None:
        """Decode strips or tiles that the window touches."""
        length, width = self._segment
        down, across = self._down, -(-self.kind.size[1] // width)
        in_rows = range(rows[0] // length, -(-rows[1] // length))
        in_columns = range(columns[0] // width, -(-columns[1] // width))
        for index in [i for i in self._decoded if i // across % down not in in_rows]:
            del self._decoded[index]
        for plane in range(self._planes):
            places = {
                (plane * down + y) * across + x: (y * length, x * width)
                for y in in_rows
                for x in in_columns
            }
            self._decode([index for index in places if index not in self._decoded])
            for index, (top, left) in places.items():
                part = self._decoded[index]
                first, last = max(rows[0], top), min(rows[1], top + len(part))
                start, stop = max(columns[0], left), min(columns[1], left + part.shape[1])
                target = samples[
                    first - rows[0] : last - rows[0], start - columns[0] : stop - columns[0]
                ]
                target[..., plane : plane + part.shape[2]] = part[
                    first - top : last - top, start - left : stop - left
                ]

    def _bytes(self, offset: int, count: int) -> bytes:
        self._file.filehandle.seek(offset)
        data = self._file.filehandle.read(count)
        if len(data) < count:
            raise self._error("truncated: pixels are missing")
        return data

    def _decode(self, indices: Sequence[int]) -> None:
        """Decode strips or tiles of one plane, in their order: each (rows, columns, samples)."""
        page, (length, width) = self._page, self._segment
        row_bytes = width * self.kind.samples // self._planes * self.kind.dtype.itemsize
        batch = max(1, BATCH_BYTES // (length * row_bytes))
        decode = self._by_pillow if page.compression in BY_PILLOW else self._by_tifffile
        for start in range(0, len(indices), batch):
            stored = {
                index: self._bytes(page.dataoffsets[index], page.databytecounts[index])
                for index in indices[start : start + batch]
            }
            try:
                self._decoded |= decode(stored)
            except (*DAMAGED, OSError, ImportError) as error:
                if isinstance(error, ImportError) or "imagecodecs" in str(error):
                    name = getattr(page.compression, "name", page.compression)
                    raise self._error(
                        f"compressed by {name}, which needs a package more: pip install imagecodecs"
                    ) from error
                raise self._error(f"damaged or truncated ({_line(error)})") from error

    def _by_tifffile(self, stored: dict[int, bytes]) -> dict[int, np.ndarray]:
        page, decoded = self._page, {}
        for index, data in stored.items():
            part, _, shape = page.decode(data or None, index, jpegtables=page.jpegtables)
            decoded[index] = np.zeros(shape[1:], page.dtype) if part is None else part[0]
        return decoded

    def _by_pillow(self, stored: dict[int, bytes]) -> dict[int, np.ndarray]:
        page, (length, width) = self._page, self._segment
        channels = self.kind.samples // self._planes
        decoded = dict.fromkeys(stored, np.zeros((length, width, channels), self.kind.dtype))
        there = [index for index, data in stored.items() if data]  # where not, all is zero
        if there:
            rows = len(there) * length
            if not page.is_tiled and (there[-1] + 1) % self._down == 0:  # the last strip is short
                rows -= self._down * length - self.kind.size[0]
            whole = self._decompressed([stored[index] for index in there], rows, channels)
            decoded |= zip(there, np.split(whole, range(length, rows, length)), strict=True)
        return decoded

    def _decompressed(self, segments: Sequence[bytes], rows: int, channels: int) -> np.ndarray:
        """Decompress strips or tiles, one below the other: (rows, columns, channels).

        They become the strips of a file in memory, which Pillow opens.
        """
        page, (length, width), dtype = self._page, self._segment, self.kind.dtype
        tags = Directory(HEADERS[0] + bytes(4))
        tags[LENGTH], tags[STRIP_ROWS] = rows, length
        tags[COMPRESSION], tags[FILL_ORDER] = int(page.compression), int(page.fillorder)
        if page.compression == JPEG:
            tags[WIDTH], tags[SAMPLES], tags[BITS] = width, channels, (8,) * channels
            tags[PHOTOMETRIC] = int(page.photometric) if channels > 2 else GREY
            if channels in (2, 4):
                tags[EXTRA] = UNASSOCIATED
            if page.jpegtables:
                tags[JPEG_TABLES] = page.jpegtables
            if page.subsampling:
                tags[SUBSAMPLING] = page.subsampling
        else:  # bytes, whatever they mean
            tags[WIDTH] = width * channels * dtype.itemsize
            tags[SAMPLES], tags[BITS], tags[PHOTOMETRIC] = 1, 8, GREY
        # not Image.open, which counts bytes for pixels and would refuse them as too many
        with TiffImageFile(io.BytesIO(_file(tags, segments))) as image:
            samples = np.asarray(image)
        predictor = page.predictor if page.compression in PREDICTABLE else 1
        if predictor == FLOAT_DIFFERENCES:
            # differences of bytes, in each row first the highest ones of all samples, then the next
            stored = np.cumsum(samples.reshape(rows, -1, channels), 1, np.uint8)
            stored = stored.reshape(rows, dtype.itemsize, -1).swapaxes(1, 2)
            values = np.ascontiguousarray(stored).view(dtype.newbyteorder(">"))
        else:
            values = samples.view(self._stored_dtype)
        result = values.astype(dtype).reshape(rows, width, channels)
        if predictor == DIFFERENCES:
            integers = result.view(f"u{dtype.itemsize}")
            np.cumsum(integers, 1, integers.dtype, out=integers)
        return result


def decode(data: bytes) -> tuple[np.ndarray, int]:
    """Return the samples of a TIFF file, (H, W, C), and the orientation in which they are stored.

    C is 1 grey, 2 grey with alpha, 3 RGB, 4 RGBA; black is zero, and colours are not multiplied
    with alpha.

    Raises
    ------
    UserError, PillowOnly
        As :class:`TiffReader`.
    Image.DecompressionBombError
        More pixels than Pillow takes.
    """
    reader = TiffReader(io.BytesIO(data))
    height, width = reader.kind.size
    if Image.MAX_IMAGE_PIXELS and height * width > 2 * Image.MAX_IMAGE_PIXELS:
        raise Image.DecompressionBombError
    return reader.samples((0, height), (0, width)), reader.orientation


def read_layout(path: str | Path) -> tuple[int, int, int, int] | None:
    """Return rows, columns, channels and bytes a sample of a TIFF file; None where it is none.

    Only headers are read, of files of any size.
    """
    with open(path, "rb") as file:
        if file.read(4) not in HEADERS:
            return None
    import tifffile

    try:
        with tifffile.TiffFile(path) as opened:
            page = opened.pages.first
            bits = int(np.max(page.bitspersample))
            return page.imagelength, page.imagewidth, page.samplesperpixel, -(-bits // 8)
    except (*DAMAGED, OSError):
        return None  # damaged: images.read() says how


def _line(error: Exception) -> str:
    """Return an error's text without breaks."""
    return " ".join(str(error).split()) or type(error).__name__


def _divided(samples: np.ndarray) -> np.ndarray:
    """Undo a multiplication of colours with alpha, the last channel; (H, W, C).

    Where alpha is 0 nothing is known of the colours, and they stay. Of 8 bits they are rounded
    down, as Pillow does.
    """
    colors, alpha = samples[..., :-1], samples[..., -1:]
    if samples.dtype.kind == "f":
        whole = colors / np.where(alpha == 0, np.float32(1), alpha)
    else:
        white = int(peak(samples.dtype))
        half = alpha.astype(np.uint32) // 2 if samples.dtype == np.uint16 else 0
        whole = (colors.astype(np.uint32) * white + half) // np.maximum(alpha, 1)
        whole = whole.clip(0, white)
    return np.dstack([np.where(alpha == 0, colors, whole), alpha]).astype(samples.dtype)


def deflate(parts: Sequence[np.ndarray]) -> list[bytes]:
    """Compress strips or tiles (H, W, C) as DEFLATE; of integers their DIFFERENCES."""
    result = [b""] * len(parts)

    def compress(i: int) -> None:
        part = parts[i].astype(parts[i].dtype.newbyteorder("<"))
        if part.dtype.kind == "u":
            part[:, 1:] -= part[:, :-1].copy()
        result[i] = zlib.compress(part.tobytes(), 4)

    parallel(compress, len(result))
    return result


def encode(pixels: np.ndarray, tags: dict[int, object]) -> bytes:
    """Return a deflated TIFF file of ``pixels`` (H, W, C), uint8, uint16 or float32.

    C is 1 for grey, 3 for RGB, one more with alpha; ``tags`` are what else to store.
    """
    height, width, channels = pixels.shape
    rows = max(1, STRIP_BYTES // (width * channels * pixels.itemsize))
    parts = deflate([pixels[start : start + rows] for start in range(0, height, rows)])
    integer = pixels.dtype.kind == "u"
    if sum(map(len, parts)) > LARGEST - (1 << 24):
        raise UserError("too large for TIFF (4 GiB): write PNG")
    directory = Directory(HEADERS[0] + bytes(4))
    for tag, value in tags.items():
        if isinstance(value, str):  # of which Pillow writes ASCII alone, but reads Latin-1
            directory.tagtype[tag], value = ASCII, value.encode("latin-1", "replace")
        directory[tag] = value
    directory[WIDTH], directory[LENGTH] = width, height
    directory[BITS] = (8 * pixels.itemsize,) * channels
    directory[COMPRESSION], directory[PREDICTOR] = DEFLATE, DIFFERENCES if integer else 1
    directory[PHOTOMETRIC] = RGB if channels > 2 else GREY
    directory[SAMPLES], directory[STRIP_ROWS] = channels, rows
    directory[SAMPLE_FORMAT] = (1 if integer else FLOAT,) * channels
    if channels in (2, 4):
        directory[EXTRA] = UNASSOCIATED
    return _file(directory, parts)


def _file(tags: Directory, strips: Sequence[bytes]) -> bytes:
    """Return a TIFF file of one picture."""
    tags[STRIP_COUNTS] = tuple(map(len, strips))
    tags[STRIP_OFFSETS] = tuple(map(int, np.cumsum([0, *map(len, strips[:-1])])))  # save() adds
    file = io.BytesIO()
    tags.save(file)
    return file.getvalue() + b"".join(strips)
