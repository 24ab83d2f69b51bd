"""Read and write directories of tags, of which TIFF and EXIF are made (TIFF 6.0, section 2).

A tag's value stays the bytes that it was stored as, turned to little-endian where it was not. So
what nobody here understands is kept all the same.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Sequence
from fractions import Fraction
from typing import NamedTuple, Protocol, TypeAlias

import numpy as np

BYTE, ASCII, SHORT, LONG, RATIONAL, UNDEFINED = 1, 2, 3, 4, 5, 7
SIGNED_RATIONAL, DOUBLE, IFD, LONG8 = 10, 12, 13, 16
SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}
SIZES |= {16: 8, 17: 8, 18: 8}
"""Bytes of a value of each type."""
CODES = {1: "u1", 3: "u2", 4: "u4", 5: "u4", 6: "i1", 7: "u1", 8: "i2", 9: "i4", 10: "i4"}
CODES |= {2: "u1", 11: "f4", 12: "f8", 13: "u4", 16: "u8", 17: "i8", 18: "u8"}
"""NumPy's names of the types; of a rational number those of its two parts."""
MAX_PART = 10**9  # of numerator and denominator of a rational number, which have 31 bits
MAX_TAGS = 4096  # of a directory; more are damage

EXIF, GPS, INTEROPERABILITY = 0x8769, 0x8825, 0xA005
WITHIN = (EXIF, GPS, INTEROPERABILITY)
"""Tags whose value is a directory."""


class BinaryFile(Protocol):
    """A file that bytes are read from."""

    def seek(self, offset: int, whence: int = 0, /) -> int:
        """Go to a byte, and return which it is."""

    def read(self, size: int, /) -> bytes:
        """Read bytes from there on, fewer where the file ends."""


class Entry(NamedTuple):
    """The value of a tag: its type, how many there are, and their bytes, little-endian."""

    kind: int
    length: int
    data: bytes

    def numbers(self) -> list[float]:
        """Return the value as numbers, rational ones divided; none of a text."""
        if self.kind == ASCII:
            return []
        parts = np.frombuffer(self.data, "<" + CODES[self.kind]).tolist()
        if self.kind in (RATIONAL, SIGNED_RATIONAL):
            return [
                above / below if below else 0.0
                for above, below in zip(parts[::2], parts[1::2], strict=True)
            ]
        return [float(part) if self.kind in (11, DOUBLE) else int(part) for part in parts]

    def text(self) -> str:
        """Return the value as a text: UTF-8, or else Latin-1, which decodes any bytes."""
        data = self.data.split(b"\0")[0]
        try:
            return data.decode()
        except UnicodeDecodeError:
            return data.decode("latin-1")


Directory: TypeAlias = "dict[int, Entry | Directory]"


def entry(type_: int, values: Sequence[float] | bytes | str) -> Entry:
    """Make the value of a tag of numbers, a text, or bytes."""
    if isinstance(values, str):
        values = values.encode() + b"\0"
    if isinstance(values, bytes):
        return Entry(type_, len(values), values)
    if type_ in (RATIONAL, SIGNED_RATIONAL):
        parts = [
            Fraction(value).limit_denominator(max(1, int(MAX_PART / max(1.0, abs(value)))))
            for value in values
        ]
        flat = [number for part in parts for number in part.as_integer_ratio()]
        return Entry(type_, len(values), np.array(flat, "<" + CODES[type_]).tobytes())
    return Entry(type_, len(values), np.array(values, "<" + CODES[type_]).tobytes())


def number(directory: Directory, tag: int, default: int) -> int:
    """Return the first number of a tag, or ``default`` where it is missing or no number."""
    value = directory.get(tag)
    numbers = value.numbers() if isinstance(value, Entry) else []
    return int(numbers[0]) if numbers else default


def read(
    file: BinaryFile, start: int, order: str, *, big: bool = False, depth: int = 2
) -> tuple[Directory, int]:
    """Read a directory, and those within it.

    Parameters
    ----------
    file : binary file
        Offsets count from its beginning.
    start : int
        Where the directory begins.
    order : "<" or ">"
        The file's byte order.
    big : bool
        The file is BigTIFF.
    depth : int
        How deep directories lie in one another at most.

    Returns
    -------
    directory, following
        Where the next directory begins; 0: there is none. Tags of unknown types, or whose values
        lie outside of the file, are left out.

    Raises
    ------
    struct.error
        The directory lies outside of the file, or is damaged.
    """
    count_of, head, word = ("Q", "HHQ", "Q") if big else ("H", "HHI", "I")
    room = struct.calcsize(word)
    size = struct.calcsize(order + head) + room
    end = file.seek(0, os.SEEK_END)
    file.seek(start)
    count = struct.unpack(order + count_of, file.read(struct.calcsize(count_of)))[0]
    if count > MAX_TAGS:
        raise struct.error(f"a directory of {count} tags")
    table = file.read(count * size)
    following = file.read(room)
    directory: Directory = {}
    for i in range(count):
        tag, type_, values = struct.unpack_from(order + head, table, i * size)
        length = SIZES.get(type_, 0) * values
        data = table[(i + 1) * size - room : (i + 1) * size]
        offset = struct.unpack(order + word, data)[0]
        if tag in WITHIN and type_ in (LONG, IFD, LONG8, 18):
            if depth:
                directory[tag], _ = read(file, offset, order, big=big, depth=depth - 1)
            continue
        if length > room:
            if offset + length > end:  # or memory would be taken for it before it is read
                continue
            file.seek(offset)
            data = file.read(length)
        if type_ in SIZES and len(data) >= length and tag not in directory:  # the first counts
            value = np.frombuffer(data[:length], order + CODES[type_])
            stored = value.astype(value.dtype.newbyteorder("<")).tobytes()
            directory[tag] = Entry(type_, values, stored)
    return directory, struct.unpack(order + word, following)[0] if len(following) == room else 0


def serialize(
    directory: Directory, start: int, *, big: bool = False, following: bool = False
) -> bytes:
    """Return the bytes of a directory that is to begin at ``start``, an even number.

    ``following``: another directory begins right behind these bytes.
    """
    count_of, head, word = ("Q", "HHQ", "Q") if big else ("H", "HHI", "I")
    room = struct.calcsize(word)
    fixed = struct.calcsize("<" + count_of) + len(directory) * (
        struct.calcsize("<" + head) + room
    ) + room  # fmt: skip
    table, tail = b"", b""
    for tag, value in sorted(directory.items()):
        if isinstance(value, dict):
            offset = start + fixed + len(tail)
            tail += serialize(value, offset, big=big)
            value = entry(LONG8 if big else LONG, [offset])
        data = value.data
        if len(data) > room:
            data = struct.pack("<" + word, start + fixed + len(tail))
            tail += value.data + bytes(len(value.data) % 2)
        table += struct.pack("<" + head, tag, value.kind, value.length) + data.ljust(room, b"\0")
    end = start + fixed + len(tail) if following else 0
    count = struct.pack("<" + count_of, len(directory))
    return count + table + struct.pack("<" + word, end) + tail


def header(first: int, *, big: bool = False) -> bytes:
    """Return the first bytes of a little-endian file whose first directory begins at ``first``."""
    if big:
        return b"II+\0" + struct.pack("<HHQ", 8, 0, first)
    return b"II*\0" + struct.pack("<I", first)
