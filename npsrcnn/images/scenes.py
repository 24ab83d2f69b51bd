"""TIFF files that no memory holds: windows are read from them, and tiles written to them.

tifffile (extra ``large``) knows the format. A file is begun with all its tags and no tile, grows
tile by tile, and learns in the end where its tiles lie: what was written stays good if the process
dies, and :mod:`npsrcnn.upscaling.streaming` goes on from there.
"""

from __future__ import annotations

import lzma
import os
import threading
import weakref
import zlib
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import numpy as np

from npsrcnn.errors import UserError
from npsrcnn.images.metadata import TIFF_ICC, TIFF_PLACE, TIFF_TEXTS, TIFF_XMP, rescaled
from npsrcnn.images.tiff import DEFLATE, DIFFERENCES, TILE_COUNTS, TILE_OFFSETS, deflate
from npsrcnn.pixels.resize import Span

TILE = 256  # rows and columns of a tile that is written
SUFFIXES = (".tif", ".tiff")
UNCOMPRESSED, JPEG = 1, 7  # compressions
WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, YCBCR = 0, 1, 2, 6  # photometric interpretations
HIDDEN_COLOR = 2  # alpha that the colours are not multiplied with
ORIENTATION, X_RESOLUTION, Y_RESOLUTION, UNIT = 274, 282, 283, 296
KEPT = (*TIFF_TEXTS, TIFF_ICC, TIFF_XMP, ORIENTATION, *TIFF_PLACE)
"""Tags that go from a scene to its enlargement: texts, profile, place on Earth, GDAL's."""


def tifffile() -> ModuleType:
    """The package, imported when first needed.

    Raises
    ------
    UserError
        It is not installed.
    """
    try:
        import tifffile
    except ImportError as error:
        raise UserError(
            "for TIFF files larger than memory install tifffile: pip install 'npsrcnn[large]'"
        ) from error
    return tifffile


class Kind(NamedTuple):
    """What the pixels of a file are."""

    size: tuple[int, int]  # rows and columns
    dtype: np.dtype  # uint8, uint16 or float32
    colors: int  # 1 or 3
    alpha: bool

    @property
    def samples(self) -> int:
        """Channels, alpha included."""
        return self.colors + self.alpha


class Scene:
    """A TIFF file of one picture: grey or RGB, with or without alpha, in strips or tiles.

    Only what a window needs is read and decoded, and decoded segments stay until a window of
    other rows is asked for. Any number of threads may read.

    Raises
    ------
    UserError
        No such picture, or one of a kind that is not taken.
    OSError
        The file cannot be read.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._lock = threading.Lock()
        self._decoded: dict[int, np.ndarray] = {}
        package = tifffile()
        try:
            self._file = package.TiffFile(self.path)
        except package.TiffFileError as error:
            raise self._error(f"no TIFF file, or a damaged one ({error})") from error
        self.close = weakref.finalize(self, self._file.close)
        self._page = self._file.pages[0]
        self.kind = self._kind()

    def __reduce__(self) -> tuple:
        """In another process the file is opened there."""
        return Scene, (self.path,)

    def _error(self, text: str) -> UserError:
        return UserError(f"{self.path}: {text}")

    def _kind(self) -> Kind:
        page = self._page
        others = sum(not p.is_reduced and not p.is_mask for p in self._file.pages) - 1
        if others > 0:
            raise self._error(f"TIFF of {others + 1} pages: only single pictures are taken")
        jpeg = page.photometric == YCBCR and page.compression == JPEG  # which decodes to RGB
        colors = 3 if page.photometric == RGB or jpeg else 1
        extra = page.samplesperpixel - colors
        if page.photometric not in (WHITE_IS_ZERO, BLACK_IS_ZERO, RGB) and not jpeg:
            raise self._error("too large for its kind of TIFF: save it as grey or RGB")
        if extra not in (0, 1) or page.imagedepth != 1:
            raise self._error(
                f"{page.samplesperpixel} channels: only grey, RGB and alpha are taken"
            )
        if extra and tuple(page.extrasamples) != (HIDDEN_COLOR,):
            raise self._error("its last channel is not alpha as TIFF has it (unassociated)")
        if page.dtype not in (np.uint8, np.uint16, np.float32):
            raise self._error(f"pixels of {page.dtype}: only uint8, uint16 and float32 are taken")
        if page.bitspersample != 8 * page.dtype.itemsize:
            raise self._error(f"{page.bitspersample} bits a channel: save it with 8, 16 or 32")
        size = page.imagelength, page.imagewidth
        return Kind(size, page.dtype, colors, bool(extra))

    def tags(self, scale: float) -> list[tuple]:
        """What tifffile is to write of this file's tags beside an image ``scale`` times as large.

        Where it lies on Earth is said for the smaller pixels.
        """
        found = self._page.tags
        kept = rescaled({code: found[code].value for code in KEPT if code in found}, scale)
        return [
            (code, int(found[code].dtype), None if isinstance(value, str) else found[code].count,
             value, True)
            for code, value in kept.items()
        ]  # fmt: skip

    def resolution(self) -> dict[str, object]:
        """Pixels per inch or centimetre, as tifffile writes them, or nothing."""
        tags = self._page.tags
        if not {X_RESOLUTION, Y_RESOLUTION} <= {tag.code for tag in tags}:
            return {}
        x, y = tags[X_RESOLUTION].value, tags[Y_RESOLUTION].value
        unit = tags[UNIT].value if UNIT in tags else 2
        return {"resolution": (x, y), "resolutionunit": int(unit)}

    def held(self, rows: int) -> int:
        """About how many bytes are held decoded to read windows of that many rows."""
        height, width = self.kind.size
        if self._is_plain():
            return 0
        segment = self._segment[0]
        rows = min(-(-rows // segment) + 1, -(-height // segment)) * segment
        return rows * width * self.kind.samples * self.kind.dtype.itemsize

    def read(self, rows: Span, columns: Span) -> tuple[np.ndarray, np.ndarray | None]:
        """Pixels (H, W) or (H, W, 3) and alpha (H, W) or None of a window."""
        samples = np.zeros((rows[1] - rows[0], columns[1] - columns[0], self.kind.samples),
                           self.kind.dtype)  # fmt: skip
        with self._lock:
            if self._is_plain():
                self._read_rows(rows, columns, samples)
            else:
                self._read_segments(rows, columns, samples)
        if self._page.photometric == WHITE_IS_ZERO:
            top = np.iinfo(samples.dtype).max if samples.dtype.kind == "u" else 1
            samples[..., 0] = top - samples[..., 0]
        pixels = samples[..., 0] if self.kind.colors == 1 else samples[..., :3]
        if pixels.dtype.kind == "f" and not np.isfinite(pixels).all():
            raise self._error("holds values that are not finite (NaN or infinity)")
        return pixels, samples[..., -1] if self.kind.alpha else None

    @property
    def _segment(self) -> tuple[int, int]:
        """Rows and columns of a strip or tile."""
        page = self._page
        if page.is_tiled:
            return page.tilelength, page.tilewidth
        return min(page.rowsperstrip, self.kind.size[0]), self.kind.size[1]

    def _is_plain(self) -> bool:
        """Whether a row lies in the file as it is in memory."""
        page = self._page
        return (
            page.compression == UNCOMPRESSED and not page.is_tiled
            and page.fillorder == 1 and min(page.databytecounts) > 0
        )  # fmt: skip

    def _read_rows(self, rows: Span, columns: Span, samples: np.ndarray) -> None:
        """Bytes from where they lie, for strips of any height."""
        page, file = self._page, self._file.filehandle
        planes = self.kind.samples if page.planarconfig == 2 else 1
        pixel = self.kind.samples // planes * self.kind.dtype.itemsize
        strips, (start, stop) = len(page.dataoffsets) // planes, columns
        stored = self.kind.dtype.newbyteorder(self._file.byteorder)
        for plane in range(planes):
            target = samples[..., plane, None] if planes > 1 else samples
            for y in range(*rows):
                strip, row = divmod(y, page.rowsperstrip)
                offset = page.dataoffsets[plane * strips + strip]
                file.seek(offset + (row * self.kind.size[1] + start) * pixel)
                data = file.read((stop - start) * pixel)
                if len(data) < (stop - start) * pixel:
                    raise self._error("truncated: pixels are missing")
                target[y - rows[0]] = np.frombuffer(data, stored).reshape(stop - start, -1)

    def _read_segments(self, rows: Span, columns: Span, samples: np.ndarray) -> None:
        """Strips or tiles that the window touches, decoded."""
        page = self._page
        planes = self.kind.samples if page.planarconfig == 2 else 1
        length, width = self._segment
        down, across = -(-self.kind.size[0] // length), -(-self.kind.size[1] // width)
        kept = range(rows[0] // length, -(-rows[1] // length))
        for index in [i for i in self._decoded if i // across % down not in kept]:
            del self._decoded[index]
        for plane in range(planes):
            for y in kept:
                for x in range(columns[0] // width, -(-columns[1] // width)):
                    index = (plane * down + y) * across + x
                    if index not in self._decoded:
                        self._decoded[index] = self._decode(index)
                    part = self._decoded[index]
                    top, left = y * length, x * width
                    first, last = max(rows[0], top), min(rows[1], top + len(part))
                    start, stop = max(columns[0], left), min(columns[1], left + part.shape[1])
                    target = samples[
                        first - rows[0] : last - rows[0], start - columns[0] : stop - columns[0]
                    ]
                    target[..., plane : plane + part.shape[2]] = part[
                        first - top : last - top, start - left : stop - left
                    ]

    def _decode(self, index: int) -> np.ndarray:
        """A strip or tile, (rows, columns, samples); of zeros where the file has none."""
        page, file = self._page, self._file.filehandle
        file.seek(page.dataoffsets[index])
        data = file.read(page.databytecounts[index])
        try:
            part, _, shape = page.decode(data or None, index, jpegtables=page.jpegtables)
        except ImportError as error:  # of a codec that this Python or tifffile is without
            raise self._codec() from error
        except (ValueError, RuntimeError, TypeError, zlib.error, lzma.LZMAError) as error:
            if "imagecodecs" in str(error):
                raise self._codec() from error
            raise self._error(f"damaged or truncated ({' '.join(str(error).split())})") from error
        return np.zeros(shape[1:], page.dtype) if part is None else part[0]

    def _codec(self) -> UserError:
        name = getattr(self._page.compression, "name", self._page.compression)
        return self._error(
            f"compressed by {name}, which needs a package more: pip install imagecodecs"
        )


class TiledFile:
    """A BigTIFF file that grows by tiles, in any order.

    Parameters
    ----------
    path : Path
        Of a file that :meth:`begin` has made.
    end : int
        Its length; what lies behind it, a write that was cut short, goes.
    """

    def __init__(self, path: Path, end: int) -> None:
        self.path, self.end = path, end
        os.truncate(path, end)

    @classmethod
    def begin(
        cls, path: Path, kind: Kind, tags: Sequence[tuple], resolution: dict[str, object]
    ) -> TiledFile:
        """Write all but the tiles."""
        shape = (*kind.size, kind.samples) if kind.samples > 1 else kind.size
        with tifffile().TiffWriter(path, bigtiff=True, byteorder="<") as writer:
            writer.write(
                (b"" for _ in range(tiles_of(kind.size))), shape=shape, dtype=kind.dtype,
                tile=(TILE, TILE), compression=DEFLATE,
                predictor=DIFFERENCES if kind.dtype.kind == "u" else None,
                photometric="rgb" if kind.colors == 3 else "minisblack", planarconfig="contig",
                extrasamples=["unassalpha"] if kind.alpha else None,
                metadata=None, software=False, extratags=tags, **resolution,
            )  # fmt: skip
        return cls(path, path.stat().st_size)

    def append(self, tiles: Sequence[bytes]) -> None:
        """Write compressed tiles, down to the disk."""
        with open(self.path, "rb+") as file:
            file.seek(self.end)
            file.writelines(tiles)
            file.flush()
            os.fsync(file.fileno())
        self.end += sum(map(len, tiles))

    def finish(self, offsets: np.ndarray, counts: np.ndarray) -> None:
        """Say where each tile lies and how long it is, row by row of tiles."""
        with tifffile().TiffFile(self.path, mode="r+") as file:
            tags = file.pages[0].tags
            tags[TILE_OFFSETS].overwrite(offsets.tolist())
            tags[TILE_COUNTS].overwrite(counts.tolist())


def tiles_of(size: tuple[int, int]) -> int:
    """How many tiles an image of ``size`` (H, W) has."""
    return -(-size[0] // TILE) * -(-size[1] // TILE)


def compress(pixels: np.ndarray, alpha: np.ndarray | None) -> list[bytes]:
    """The tiles of a window that begins where a tile does, row by row."""
    samples = np.atleast_3d(pixels) if alpha is None else np.dstack([pixels, alpha])
    height, width, channels = samples.shape
    tiles = []
    for top in range(0, height, TILE):
        for left in range(0, width, TILE):
            part = samples[top : top + TILE, left : left + TILE]
            tile = np.zeros((TILE, TILE, channels), samples.dtype)
            tile[: len(part), : part.shape[1]] = part
            tiles.append(tile)
    return deflate(tiles)
