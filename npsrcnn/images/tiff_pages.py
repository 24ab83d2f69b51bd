"""Open a TIFF file and tell its pictures from overviews, thumbnails and masks."""

from __future__ import annotations

import io
import json
import lzma
import math
import re
import struct
import threading
import weakref
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from npsrcnn.errors import UserError
from npsrcnn.images import descriptions, ifd

if TYPE_CHECKING:
    from tifffile import TiffFrame, TiffPage

HEADERS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")  # little- and big-endian TIFF, and BigTIFF
DAMAGED = (
    ValueError, TypeError, SyntaxError, LookupError, AttributeError, OverflowError, RuntimeError,
    EOFError, AssertionError, struct.error, zlib.error, lzma.LZMAError,
)  # fmt: skip
"""Errors that tifffile and Pillow raise of a damaged file."""
OLD_SUBFILE, OLD_REDUCED = 255, 2  # the tag of TIFF before 6.0, and its value of a smaller copy
SUB_DIRECTORIES = 330
UNCOMPRESSED = 1


class Place(NamedTuple):
    """A page, and how many bytes behind that page's the picture lies."""

    page: TiffPage
    shift: int = 0


class TiffPages:
    """An opened TIFF file and the pages of it that are pictures.

    Smaller copies of a page (overviews, thumbnails) are no pictures. Stacks of which the file has
    only the first page's tags, as ImageJ writes them beyond 4 GB, are taken for what they are.

    Attributes
    ----------
    places : list of Place
        The pictures, in the file's order.
    masks : list of Place or None
        Of each picture the page that says where it is valid.
    indices : list of int
        Of each picture, its page's place among all of the file's.
    lock : Lock
        To be held while the file is read.

    Raises
    ------
    UserError
        No TIFF file, or a damaged one.
    OSError
        The file cannot be read.
    """

    def __init__(self, source: Path | io.BytesIO) -> None:
        import tifffile

        self.lock = threading.Lock()
        self.places: list[Place] = []
        self.masks: list[Place | None] = []
        self.indices: list[int] = []
        try:
            self._file = tifffile.TiffFile(source)
            self.close = weakref.finalize(self, self._file.close)
            self.byte_order = self._file.byteorder
            self._sort(list(_each_once(self._file.pages)))
        except UserError as error:
            raise UserError(f"{source}: {error}" if isinstance(source, Path) else error) from error
        except DAMAGED as error:
            reason = " ".join(str(error).split()) or type(error).__name__
            text = f"no TIFF file, or a damaged one ({reason})"
            raise UserError(f"{source}: {text}" if isinstance(source, Path) else text) from error

    def _sort(self, pages: list[TiffPage]) -> None:
        """Tell pictures from what goes with them."""
        for index, page in enumerate(pages):
            reduced = page.is_reduced or page.tags.valueof(OLD_SUBFILE) == OLD_REDUCED
            if page.is_mask:
                if self.places and not reduced and self.masks[-1] is None:
                    self.masks[-1] = Place(page)
            elif not reduced:
                self.places.append(Place(page))
                self.masks.append(None)
                self.indices.append(index)
        if not pages:
            raise ValueError("no page")
        if not self.places:
            if SUB_DIRECTORIES in pages[0].tags:
                raise UserError(
                    "its first page is a thumbnail, and its picture lies elsewhere, as in a "
                    "camera's raw file: convert it to TIFF or PNG first"
                )
            self.places, self.masks, self.indices = [Place(pages[0])], [None], [0]
        if len(pages) == 1:
            page = pages[0]
            more = range(1, _planes_behind(page, self._file.filehandle.size))
            self.places += [Place(page, i * page.nbytes) for i in more]
            self.masks += [None for _ in more]
            self.indices += [0 for _ in more]

    def bytes_at(self, offset: int, count: int) -> bytes:
        """Read bytes; fewer where the file ends. The lock is to be held."""
        file = self._file.filehandle
        start = file.seek(min(offset, file.size))  # of a damaged file beyond what can be sought
        data: bytes = file.read(max(0, min(count, file.size - start)))  # which takes all at once
        return data

    def directory(self, place: Place) -> ifd.Directory:
        """Read the tags of a page; of a plane behind another's not its description."""
        with self.lock:
            file, start = self._file.filehandle, place.page.offset
            tags, _ = ifd.read(file, start, self.byte_order, big=self._file.is_bigtiff)
        if place.shift:
            tags.pop(descriptions.TAG, None)
        return tags


def _each_once(pages: Iterable[TiffPage | TiffFrame]) -> Iterator[TiffPage]:
    """Yield pages up to one that a damaged file names a second time, and so on for ever."""
    import tifffile

    seen = set()
    for page in pages:
        if page.offset in seen:
            return
        seen.add(page.offset)
        if isinstance(page, tifffile.TiffPage):
            yield page


def _planes_behind(page: TiffPage, length: int) -> int:
    """Return how many pictures lie one behind the other where the only page has the first one."""
    if page.compression != UNCOMPRESSED or page.is_tiled or not page.is_contiguous:
        return 1
    text = page.description
    count = 1
    if descriptions.is_imagej(text) and (found := re.search(r"(?m)^images=(\d+)$", text)):
        count = int(found[1])
    elif text.startswith(descriptions.SHAPED):
        try:
            shape = json.loads(text)["shape"]
            count = math.prod(map(int, shape)) // page.size
        except (ValueError, TypeError, KeyError, AttributeError, ZeroDivisionError):
            count = 1
    inside = (length - page.dataoffsets[0]) // max(1, page.nbytes)
    return count if 1 < count <= inside else 1
