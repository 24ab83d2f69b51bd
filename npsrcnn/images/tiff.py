"""Read TIFF, whole or windows of files of any size, by one reader.

tifffile parses a file's structure, and Pillow's libtiff decompresses strips and tiles. Pillow alone
would read 16-bit colour as 8-bit, so it is shown the strips or tiles of a file as those of an 8-bit
grey picture, one sample for each byte; sample types, predictors, planes, alpha and the meaning of
zero are then a matter of arrays (TIFF 6.0, Adobe 1992; TIFF Technical Note 3 for the predictor of
floats). tifffile alone would need imagecodecs, 20 MB, for LZW, JPEG and that predictor.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from npsrcnn.errors import UserError
from npsrcnn.images import ifd, tiff_metadata, tiff_tags
from npsrcnn.images.limits import check_pixels
from npsrcnn.images.metadata import Metadata
from npsrcnn.images.tiff_layout import (
    BY_PILLOW,
    COLORS,
    GREY,
    JPEG,
    MASK,
    PACKED,
    PREMULTIPLIED,
    RGB,
    TYPES,
    UNCOMPRESSED,
    UNSPECIFIED,
    WHITE_IS_ZERO,
    YCBCR,
)
from npsrcnn.images.tiff_pages import DAMAGED, TiffPages
from npsrcnn.images.tiff_strips import decompressed
from npsrcnn.pixels.color import peak
from npsrcnn.pixels.resize import Span
from npsrcnn.pixels.transparency import divided
from npsrcnn.pixels.values import DTYPES, AlphaError, Values
from npsrcnn.words import counted

TAKEN = "grey and RGB of 8, 16 and 32 bits and floats, with or without alpha"
SUFFIXES = (".tif", ".tiff")
BATCH_BYTES = 1 << 24  # that Pillow decompresses at a time, of a file of small strips or tiles
TILE_PIXELS = 1 << 24  # of a tile, which may be larger than a small picture: 4096 x 4096
TILE_TIMES = 4  # as many pixels as the picture, where that is more


class PillowOnly(UserError):
    """A kind of TIFF that :class:`TiffReader` does not take, but Pillow may."""


class Kind(NamedTuple):
    """The size and type of the pixels of a file."""

    size: tuple[int, int]  # rows and columns
    dtype: np.dtype[np.generic]  # one of npsrcnn.pixels.values.DTYPES
    colors: int  # 1 or 3
    alpha: bool

    @property
    def samples(self) -> int:
        """Number of channels, alpha included."""
        return self.colors + self.alpha


class TiffReader:
    """Read windows of one page of a TIFF file: grey or RGB, with or without alpha.

    What a page says of where its picture is valid becomes alpha. Only what a window needs is read
    and decoded. Decoded strips or tiles are kept until a window of other rows is read; those that
    the file leaves out are zero. Any number of threads may read.

    Parameters
    ----------
    source : Path or BytesIO
        A file, or its contents. Errors name the file.
    number : int
        Of the page, from 0 on.
    pages : TiffPages, optional
        The opened file, which other readers may share.

    Attributes
    ----------
    kind : Kind
    orientation : int
        Orientation of the pixels as stored (EXIF: 1 to 8).
    nodata : float or None
        Stands for no value: see :mod:`npsrcnn.pixels.values`.

    Raises
    ------
    UserError
        No such picture, or one of a kind that is not taken.
    PillowOnly
        A kind that Pillow may know.
    OSError
        The file cannot be read.
    """

    def __init__(
        self,
        source: Path | io.BytesIO,
        number: int = 0,
        pages: TiffPages | None = None,
        *,
        as_mask: bool = False,
    ) -> None:
        self.source, self.number = source, number
        self._pages = TiffPages(source) if pages is None else pages
        self._decoded: dict[int, np.ndarray] = {}
        self._mask: TiffReader | None = None
        try:
            place = self._pages.masks[number] if as_mask else self._pages.places[number]
            if place is None:
                raise self._error("no such mask")
            self._page, self._shift = place.page, place.shift
            self._check_tiles()
            self.kind = self._checked_kind(as_mask)
            self._directory = self._pages.directory(place)
            self._find_samples()
        except UserError:
            raise
        except DAMAGED as error:
            raise self._error(f"no TIFF file, or a damaged one ({_line(error)})") from error
        if not as_mask and self._pages.masks[number]:
            mask = TiffReader(source, number, self._pages, as_mask=True)
            if mask.kind.size == self.kind.size:
                self._mask, self.kind = mask, self.kind._replace(alpha=True)

    def _find_samples(self) -> None:
        """Find how samples lie in the file, and what they mean."""
        page = self._page
        self.orientation = tiff_tags.orientation(self._directory)
        self.nodata = tiff_tags.nodata(self._directory)
        if page.photometric == WHITE_IS_ZERO and self.nodata is not None:  # as samples() turns it
            signed = self.kind.dtype.kind == "i"
            self.nodata = (-1 if signed else peak(self.kind.dtype)) - self.nodata
            text = ifd.entry(ifd.ASCII, f"{self.nodata:.17g}")
            self._directory[tiff_tags.NODATA] = text
        self._planes = self.kind.samples if page.planarconfig == 2 else 1
        self._own_samples = self.kind.samples
        self._stored_dtype = self.kind.dtype.newbyteorder(self._pages.byte_order)
        height, width = self.kind.size
        strip, tile = (min(page.rowsperstrip, height), width), (page.tilelength, page.tilewidth)
        self._segment = tile if page.is_tiled else strip
        if min(*self.kind.size, *self._segment) < 1:
            raise self._error("a damaged TIFF, of no pixels")
        self._down, across = -(-height // self._segment[0]), -(-width // self._segment[1])
        count = self._planes * self._down * across
        if min(len(page.dataoffsets), len(page.databytecounts)) < count:
            raise self._error("truncated: pixels are missing")

    def __reduce__(self) -> tuple[type[TiffReader], tuple[Path | io.BytesIO, int]]:
        """Open the file again in another process."""
        return TiffReader, (self.source, self.number)

    def close(self) -> None:
        """Close the file, also for readers of its other pages."""
        self._pages.close()

    def _error(self, text: str, kind: type[UserError] = UserError) -> UserError:
        return kind(f"{self.source}: {text}" if isinstance(self.source, Path) else text)

    def _check_tiles(self) -> None:
        """Refuse tiles so large that no memory holds one, of a picture that is not."""
        page = self._page
        length, width = int(page.tilelength), int(page.tilewidth)  # damaged ones are several
        pixels = int(page.imagelength) * int(page.imagewidth)
        if page.is_tiled and length * width > max(TILE_PIXELS, TILE_TIMES * pixels):
            raise self._error(f"a damaged TIFF, of tiles of {width} x {length} pixels")

    def _checked_kind(self, as_mask: bool) -> Kind:
        page = self._page
        channels, bits = page.samplesperpixel, int(np.max(page.bitspersample))
        what = (
            f"a TIFF of {COLORS.get(page.photometric, 'an unknown kind')}, "
            f"{counted(channels, 'channel')} of {TYPES.get(page.sampleformat, 'unknown')}{bits}"
        )
        if len(page.extrasamples) > 1:
            raise self._error(f"{what}: taken are {TAKEN}")  # Pillow takes them for something else
        if UNSPECIFIED in page.extrasamples:
            raise self._error(
                "its last channel is not alpha as TIFF has it (ExtraSamples is 0): save it without"
            )
        # which Pillow turns into RGB
        jpeg = (page.photometric, page.compression, page.planarconfig) == (YCBCR, JPEG, 1)
        colors = 3 if page.photometric == RGB or jpeg else 1
        greys = (WHITE_IS_ZERO, GREY, RGB, MASK) if as_mask else (WHITE_IS_ZERO, GREY, RGB)
        one_bit = (bits, channels, page.sampleformat) == (1, 1, 1) and page.compression in PACKED
        dtype = np.dtype(np.uint8) if one_bit else page.dtype
        if (
            not (page.photometric in greys or jpeg)
            or channels not in (colors, colors + 1)
            or dtype not in DTYPES
            or (page.bitspersample != 8 * dtype.itemsize and not one_bit)
            or page.imagedepth != 1
        ):
            if isinstance(self.source, Path):
                more = "give more --memory, which holds it whole, or save it as one of these"
                raise self._error(f"{what}: in blocks go {TAKEN}: {more}", PillowOnly)
            raise PillowOnly(f"{what}: taken are {TAKEN}")
        size = page.imagelength, page.imagewidth
        return Kind(size, dtype, colors, channels > colors)

    def metadata(self) -> Metadata:
        """Return the page's metadata, of the picture turned upright."""
        return tiff_metadata.from_directory(self._directory, self.kind.size)

    def values(self) -> Values:
        """Return what the page's numbers mean; takes a pass over the file unless its type says."""
        try:
            return Values.measured(self._parts(), self.kind.dtype, self.nodata)
        except AlphaError as error:
            raise self._error(str(error)) from error

    def _parts(self) -> Iterator[tuple[np.ndarray, np.ndarray | None]]:
        """Yield pixels and alpha of some rows after the other."""
        height, width = self.kind.size
        row_bytes = width * self.kind.samples * self.kind.dtype.itemsize
        length = self._segment[0]
        rows = max(1, BATCH_BYTES // (length * row_bytes)) * length
        for top in range(0, height, rows):
            yield self.read((top, min(top + rows, height)), (0, width))

    def held_bytes(self, rows: int) -> int:
        """Return about how many bytes are held decoded to read windows of that many rows."""
        height, width = self.kind.size
        if self._is_plain():
            return 0
        segment = self._segment[0]
        rows = min(-(-rows // segment) + 1, -(-height // segment)) * segment
        mask = self._mask.held_bytes(rows) if self._mask else 0
        return rows * width * self._own_samples * self.kind.dtype.itemsize + mask

    def read(self, rows: Span, columns: Span) -> tuple[np.ndarray, np.ndarray | None]:
        """Return pixels (H, W) or (H, W, 3) and alpha (H, W) or None of a window."""
        samples = self.samples(rows, columns)
        pixels = samples[..., 0] if self.kind.colors == 1 else samples[..., :3]
        return pixels, samples[..., -1] if self.kind.alpha else None

    def samples(self, rows: Span, columns: Span) -> np.ndarray:
        """Return a window (H, W, C): black is zero, colours are not multiplied with alpha."""
        shape = (rows[1] - rows[0], columns[1] - columns[0], self._own_samples)
        samples = np.zeros(shape, self.kind.dtype)
        with self._pages.lock:
            if self._is_plain():
                self._read_rows(rows, columns, samples)
            else:
                self._read_segments(rows, columns, samples)
        if self._page.photometric == WHITE_IS_ZERO:
            black = samples[..., 0]
            samples[..., 0] = np.float32(1) - black if black.dtype.kind == "f" else ~black
        if PREMULTIPLIED in self._page.extrasamples:
            samples = divided(samples)
        if self._mask is None:
            return samples
        valid = self._mask.samples(rows, columns) != 0
        if self._own_samples < self.kind.samples:
            opaque = samples.dtype.type(peak(samples.dtype))
            return np.dstack([samples, np.where(valid, opaque, samples.dtype.type(0))])
        samples[..., -1:] *= valid
        return samples

    def _is_plain(self) -> bool:
        """Return whether a row lies in the file as it is in memory."""
        page = self._page
        plain = page.compression == UNCOMPRESSED and page.fillorder == 1 and not page.is_tiled
        return plain and page.bitspersample != 1 and min(page.databytecounts) > 0

    def _read_rows(self, rows: Span, columns: Span, samples: np.ndarray) -> None:
        """Read bytes from where they lie, for strips of any height."""
        page = self._page
        pixel = self._own_samples // self._planes * self.kind.dtype.itemsize
        (height, width), (start, stop) = self.kind.size, columns
        strips = -(-height // page.rowsperstrip)
        for plane in range(self._planes):
            target = samples[..., plane, None] if self._planes > 1 else samples
            for y in range(*rows):
                strip, row = divmod(y, page.rowsperstrip)
                offset = page.dataoffsets[plane * strips + strip] + self._shift
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
        data = self._pages.bytes_at(offset, count)
        if len(data) < count:
            raise self._error("truncated: pixels are missing")
        return data

    def _decode(self, indices: Sequence[int]) -> None:
        """Decode strips or tiles of one plane, in their order: each (rows, columns, samples)."""
        page, (length, width) = self._page, self._segment
        row_bytes = width * self._own_samples // self._planes * self.kind.dtype.itemsize
        batch = max(1, BATCH_BYTES // (length * row_bytes))
        decode = self._by_pillow if page.compression in BY_PILLOW else self._by_tifffile
        for start in range(0, len(indices), batch):
            stored = {
                index: self._bytes(
                    page.dataoffsets[index] + self._shift, page.databytecounts[index]
                )
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
        channels = self._own_samples // self._planes
        decoded = dict.fromkeys(stored, np.zeros((length, width, channels), self.kind.dtype))
        there = [index for index, data in stored.items() if data]  # where not, all is zero
        if there:
            rows = len(there) * length
            if not page.is_tiled and (there[-1] + 1) % self._down == 0:  # the last strip is short
                rows -= self._down * length - self.kind.size[0]
            whole = decompressed(
                page,
                self.kind.dtype,
                [stored[index] for index in there],
                (rows, width, channels),
                length,
                self._stored_dtype,
            )
            decoded |= zip(there, np.split(whole, range(length, rows, length)), strict=True)
        return decoded


def decode(data: bytes) -> tuple[np.ndarray, int]:
    """Return the samples of the first page of a TIFF file, and the orientation as stored.

    See :func:`whole`.
    """
    reader = TiffReader(io.BytesIO(data))
    return whole(reader), reader.orientation


def whole(reader: TiffReader) -> np.ndarray:
    """Return all samples of a page, (H, W, C).

    C is 1 grey, 2 grey with alpha, 3 RGB, 4 RGBA; black is zero, and colours are not multiplied
    with alpha.

    Raises
    ------
    UserError
        As :class:`TiffReader`.
    Image.DecompressionBombError
        More pixels than Pillow takes.
    """
    height, width = reader.kind.size
    check_pixels(height, width)
    return reader.samples((0, height), (0, width))


def _line(error: Exception) -> str:
    """Return an error's text without breaks."""
    return " ".join(str(error).split()) or type(error).__name__
