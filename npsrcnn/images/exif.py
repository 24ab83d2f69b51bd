"""Change what EXIF says of a picture that is turned upright or enlarged, and nothing else.

Values are changed where they lie: makers' notes hold offsets that count from the block's
beginning, and would be lost if it were written anew. See EXIF 2.32, CIPA DC-008.
"""

from __future__ import annotations

import io
import struct
from typing import NamedTuple

import numpy as np
from PIL import Image

from npsrcnn.images import ifd

ORIENTATION = 0x0112
WIDTH, LENGTH = 0x0100, 0x0101
PIXEL_WIDTH, PIXEL_HEIGHT = 0xA002, 0xA003
FOCAL_PLANE = (0xA20E, 0xA20F)  # pixels on a unit of length of the sensor, along x and y
SUBJECT_AREA, SUBJECT_LOCATION = 0x9214, 0xA214
THUMBNAIL, THUMBNAIL_LENGTH = 0x0201, 0x0202
THUMBNAIL_QUALITY = 85  # of one that is turned
THUMBNAIL_PIXELS = 1 << 22  # at most; more is damage, or an attack
PREFIX = b"Exif\0\0"
LARGEST_SHORT = 65535

UPRIGHT = {  # how to bring an image upright, by its orientation: EXIF 2.32, 4.6.5
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: a.swapaxes(0, 1)[:, ::-1],
    7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
    8: lambda a: a.swapaxes(0, 1)[::-1],
}


class _Place(NamedTuple):
    """Where an entry of a directory lies, and what its value is."""

    start: int
    kind: int
    length: int


class _Block:
    """An EXIF block whose values can be changed.

    Raises
    ------
    struct.error
        The block is damaged.
    """

    def __init__(self, exif: bytes) -> None:
        self.data = bytearray(exif)
        order = {b"II": "<", b"MM": ">"}.get(exif[:2])
        if order is None:
            raise struct.error("no byte order")
        self.order = order
        self.first, self.following = self._directory(self._unpack("I", 4))

    def _unpack(self, code: str, start: int) -> int:
        return int(struct.unpack_from(self.order + code, self.data, start)[0])

    def _directory(self, start: int) -> tuple[dict[int, _Place], int]:
        """Return entries by their tags, and where the offset of the next directory lies."""
        count = self._unpack("H", start)
        places = {}
        for i in range(count):
            place = start + 2 + 12 * i
            tag, type_, values = struct.unpack_from(self.order + "HHI", self.data, place)
            places[tag] = _Place(place, type_, values)
        return places, start + 2 + 12 * count

    def proper(self) -> dict[int, _Place]:
        """Return the entries of EXIF proper; none where there are none, or they are damaged."""
        pointer = self.first.get(ifd.EXIF)
        try:
            return self._directory(self._unpack("I", pointer.start + 8))[0] if pointer else {}
        except struct.error:
            return {}

    def second(self) -> dict[int, _Place]:
        """Return the entries of the directory that describes the thumbnail."""
        try:
            start = self._unpack("I", self.following)
            return self._directory(start)[0] if start else {}
        except struct.error:
            return {}

    def number(self, place: _Place) -> int:
        """Return the only value, a SHORT or LONG."""
        return self._unpack("H" if place.kind == ifd.SHORT else "I", place.start + 8)

    def set_number(self, place: _Place, value: int) -> None:
        """Set the only value; a SHORT becomes a LONG where it must."""
        if place.length != 1 or place.kind not in (ifd.SHORT, ifd.LONG):
            return
        short = place.kind == ifd.SHORT and value <= LARGEST_SHORT
        struct.pack_into(self.order + "HI", self.data, place.start + 2, 3 if short else 4, 1)
        packed = struct.pack(self.order + ("H" if short else "I"), value)
        self.data[place.start + 8 : place.start + 12] = packed.ljust(4, b"\0")

    def values_at(self, place: _Place) -> int:
        """Return where the values of an entry begin."""
        inside = ifd.SIZES.get(place.kind, 1) * place.length <= 4
        return place.start + 8 if inside else self._unpack("I", place.start + 8)

    def drop_thumbnail(self) -> None:
        """Let the first directory be the last one."""
        struct.pack_into(self.order + "I", self.data, self.following, 0)


def turned(exif: bytes, size: tuple[int, int], *, decoder_turns: bool = False) -> tuple[int, bytes]:
    """Return the orientation in an EXIF block, and the block of the picture that is upright.

    The thumbnail is turned too, and where the subject is. A damaged block is dropped: the picture
    is worth more.

    Parameters
    ----------
    exif : bytes
    size : (int, int)
        Rows and columns of the picture as decoded.
    decoder_turns : bool
        What is decoded is upright.
    """
    try:
        block = _Block(exif)
        place = block.first.get(ORIENTATION)
        orientation = block.number(place) if place else 1
        if place and orientation != 1:
            block.set_number(place, 1)
            _turn_thumbnail(block, orientation)
            stored = size[::-1] if decoder_turns and orientation >= 5 else size
            _turn_subject(block, orientation, stored)
    except struct.error:
        return 1, b""
    return orientation, bytes(block.data)


def _turn_thumbnail(block: _Block, orientation: int) -> None:
    """Turn the thumbnail, or drop it where it is none that can be read."""
    second = block.second()
    if not second:
        return
    if place := second.get(ORIENTATION):  # its own
        orientation = block.number(place)
        block.set_number(place, 1)
    start, length = second.get(THUMBNAIL), second.get(THUMBNAIL_LENGTH)
    if orientation not in UPRIGHT:
        return
    if not (start and length):
        block.drop_thumbnail()
        return
    first = block.number(start)
    data = bytes(block.data[first : first + block.number(length)])
    try:
        with Image.open(io.BytesIO(data), formats=["JPEG"]) as image:
            if image.width * image.height > THUMBNAIL_PIXELS:
                raise ValueError("no thumbnail")
            pixels = UPRIGHT[orientation](np.asarray(image.convert("RGB")))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        block.drop_thumbnail()
        return
    file = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(file, "JPEG", quality=THUMBNAIL_QUALITY)
    small = file.getvalue()
    block.data[first : first + len(data)] = bytes(len(data))
    if len(small) > len(data):
        first = len(block.data)
        block.data += small
        block.set_number(start, first)
    else:
        block.data[first : first + len(small)] = small
    block.set_number(length, len(small))


def _turn_subject(block: _Block, orientation: int, size: tuple[int, int]) -> None:
    """Turn where the subject is, in a picture of ``size`` (H, W)."""
    entries, (height, width) = block.proper(), size
    for place in (entries.get(SUBJECT_AREA), entries.get(SUBJECT_LOCATION)):
        if not place or place.kind != ifd.SHORT or place.length < 2:
            continue
        code, start = f"{block.order}{place.length}H", block.values_at(place)
        x, y, *sizes = struct.unpack_from(code, block.data, start)
        across, down = max(0, width - 1 - x), max(0, height - 1 - y)
        x, y = {
            2: (across, y), 3: (across, down), 4: (x, down), 5: (y, x), 6: (down, x),
            7: (down, across), 8: (y, across),
        }.get(orientation, (x, y))  # fmt: skip
        sizes = sizes[::-1] if orientation >= 5 else sizes
        struct.pack_into(code, block.data, start, x, y, *sizes)


def resized(exif: bytes, scale: float, size: tuple[int, int]) -> bytes:
    """Return an EXIF block for the picture ``scale`` times as large, of ``size`` (H, W)."""
    try:
        block = _Block(exif)
        entries = block.proper()
        for places, tag, side in (
            (block.first, WIDTH, size[1]), (block.first, LENGTH, size[0]),
            (entries, PIXEL_WIDTH, size[1]), (entries, PIXEL_HEIGHT, size[0]),
        ):  # fmt: skip
            if place := places.get(tag):
                block.set_number(place, side)
        for tag in FOCAL_PLANE:
            place = entries.get(tag)
            if place and (place.kind, place.length) == (ifd.RATIONAL, 1):
                start = block.values_at(place)
                above, below = struct.unpack_from(block.order + "2I", block.data, start)
                if below:
                    value = ifd.entry(ifd.RATIONAL, [scale * above / below]).data
                    parts = struct.unpack("<2I", value)
                    struct.pack_into(block.order + "2I", block.data, start, *parts)
        for tag in (SUBJECT_AREA, SUBJECT_LOCATION):
            place = entries.get(tag)
            if place and place.kind == ifd.SHORT:
                code, start = f"{block.order}{place.length}H", block.values_at(place)
                values = struct.unpack_from(code, block.data, start)
                scaled = [min(LARGEST_SHORT, round(scale * value)) for value in values]
                struct.pack_into(code, block.data, start, *scaled)
    except struct.error:
        return exif
    return bytes(block.data)


def parts(exif: bytes) -> ifd.Directory:
    """Return the first directory of an EXIF block and those within it; none of a damaged one."""
    order = {b"II": "<", b"MM": ">"}.get(exif[:2])
    try:
        if order:
            start = struct.unpack_from(order + "I", exif, 4)[0]
            return ifd.read(io.BytesIO(exif), start, order)[0]
    except struct.error:
        return {}
    return {}


def block_of(directory: ifd.Directory) -> bytes:
    """Return an EXIF block of a directory; nothing of an empty one."""
    return ifd.header(8) + ifd.serialize(directory, 8) if directory else b""
