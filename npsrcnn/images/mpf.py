"""Read and write JPEG files of several pictures: stereo pairs, gain maps of Ultra HDR.

A file begins with one picture, and the others follow as whole JPEG streams. A segment of the first
says where they are (CIPA DC-007, "Multi-Picture Format").
"""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from npsrcnn.images import ifd

NAME = b"MPF\0"
VERSION, COUNT, ENTRIES = 0xB000, 0xB001, 0xB002
ENTRY_BYTES = 16
BASELINE = 0x030000  # an attribute: the picture that all programs show
ROLE = 0xFFFFFF  # the part of an attribute that says what a picture is for
THUMBNAILS = (0x010001, 0x010002)
JPEG_BEGINS = b"\xff\xd8"
MAX_PICTURES = 64  # more are damage
SCAN, LAST = 0xDA, 0xD9  # markers


class Part(NamedTuple):
    """A picture that follows another: what it is for, and its JPEG stream."""

    attribute: int
    data: bytes


def segments(data: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Yield marker, where its contents begin, and the contents of what stands before the pixels."""
    position = 2
    while position + 4 <= len(data) and data[position] == 0xFF:
        marker = data[position + 1]
        if marker == 0xFF:  # a byte to fill
            position += 1
            continue
        if marker in (SCAN, LAST):
            return
        size = struct.unpack_from(">H", data, position + 2)[0]
        yield marker, position + 4, data[position + 4 : position + 2 + size]
        position += 2 + max(2, size)


def parts(data: bytes) -> tuple[int, list[Part]]:
    """Return the attribute of the first picture of a JPEG file, and the others.

    Thumbnails are left out, and what is damaged.
    """
    for marker, start, body in segments(data):
        if marker == 0xE2 and body.startswith(NAME):
            try:
                return _parts(data, start + len(NAME))
            except (struct.error, IndexError):
                return BASELINE, []
    return BASELINE, []


def _parts(data: bytes, base: int) -> tuple[int, list[Part]]:
    order = {b"II": "<", b"MM": ">"}.get(data[base : base + 2])
    if order is None:
        return BASELINE, []
    file = io.BytesIO(data[base : base + 65536])
    directory, _ = ifd.read(file, struct.unpack_from(order + "I", data, base + 4)[0], order)
    table = directory.get(ENTRIES)
    stored = table.data if isinstance(table, ifd.Entry) else b""
    entries = [
        struct.unpack_from(order + "III", stored, start)
        for start in range(0, min(len(stored), MAX_PICTURES * ENTRY_BYTES) - 15, ENTRY_BYTES)
    ]
    found = []
    for attribute, size, offset in entries[1:]:
        stream = data[base + offset : base + offset + size]
        if stream.startswith(JPEG_BEGINS) and attribute & ROLE not in THUMBNAILS:
            found.append(Part(attribute, stream))
    return entries[0][0] if entries else BASELINE, found


def placeholder(count: int) -> bytes:
    """Return the segment for ``count`` pictures, of which nothing is known yet."""
    body = NAME + _directory([(0, 0, 0)] * count)
    return b"\xff\xe2" + struct.pack(">H", len(body) + 2) + body


def joined(first: bytes, attribute: int, others: Sequence[Part]) -> bytes:
    """Return a file of several pictures; ``first`` has a :func:`placeholder` for them."""
    count = len(others) + 1
    empty = placeholder(count)
    start = first.index(empty)
    base = start + 4 + len(NAME)
    entries, position = [(attribute, len(first), 0)], len(first)
    for part in others:
        entries.append((part.attribute, len(part.data), position - base))
        position += len(part.data)
    whole = first[:base] + _directory(entries) + first[start + len(empty) :]
    return b"".join([whole, *(part.data for part in others)])


def _directory(entries: Sequence[tuple[int, int, int]]) -> bytes:
    table = b"".join(struct.pack("<3I4x", *numbers) for numbers in entries)
    directory: ifd.Directory = {
        VERSION: ifd.entry(ifd.UNDEFINED, b"0100"),
        COUNT: ifd.entry(ifd.LONG, [len(entries)]),
        ENTRIES: ifd.entry(ifd.UNDEFINED, table),
    }
    return ifd.header(8) + ifd.serialize(directory, 8)
