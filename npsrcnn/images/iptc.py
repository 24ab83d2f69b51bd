"""Find IPTC (captions, keywords, rights) in Photoshop's image resources, where files keep it.

A resource is "8BIM", a number, a name, and its bytes (Adobe, "Photoshop File Formats
Specification"); IPTC is the one of number 1028. JPEG keeps resources in its segment APP13, TIFF in
tag 34377, and IPTC alone in tag 33723.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

NAME = b"Photoshop 3.0\0"  # before the resources in JPEG
MARK = b"8BIM"
IPTC, EXIF, XMP = 1028, 1058, 1060
ABOUT_PIXELS = (1033, 1036)  # thumbnails
IPTC_BEGINS = 0x1C
SEGMENT_BYTES = 65533  # that a segment of JPEG holds


def resources(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield number and whole bytes of each resource, up to the first that is damaged."""
    position = 0
    while data[position : position + 4] == MARK and position + 12 <= len(data):
        number, length = struct.unpack_from(">HB", data, position + 4)
        body = position + 6 + 1 + length + (1 - length % 2)
        if body + 4 > len(data):
            return
        size = struct.unpack_from(">I", data, body)[0]
        end = body + 4 + size
        if end > len(data):
            return
        yield number, data[position:end] + bytes(size % 2)
        position = end + size % 2


def resource(number: int, body: bytes) -> bytes:
    """Return the bytes of a resource without a name."""
    return MARK + struct.pack(">HHI", number, 0, len(body)) + body + bytes(len(body) % 2)


def iptc_of(data: bytes) -> bytes:
    """Return the IPTC in resources; nothing where there is none."""
    for number, whole in resources(data):
        if number == IPTC:
            name = whole[6]
            start = 6 + 1 + name + (1 - name % 2)
            size = struct.unpack_from(">I", whole, start)[0]
            return whole[start + 4 : start + 4 + size]
    return b""


def with_iptc(data: bytes, iptc: bytes) -> bytes:
    """Return resources that hold IPTC, if they do not yet."""
    return data if not iptc or iptc_of(data) else data + resource(IPTC, iptc)


def as_resources(data: bytes) -> bytes:
    """Return resources from what files have in their place: with a name, or IPTC alone."""
    data = data.removeprefix(NAME)
    if data[:1] == bytes([IPTC_BEGINS]):
        return resource(IPTC, data)
    return b"".join(whole for _, whole in resources(data))


def segments(data: bytes) -> bytes:
    """Return the segment APP13 of a JPEG file: of what is too long for it, IPTC alone, or nothing.

    One segment holds 65533 bytes.
    """
    for body in (data, resource(IPTC, iptc_of(data))):
        if data and len(NAME + body) <= SEGMENT_BYTES:
            return b"\xff\xed" + struct.pack(">H", len(NAME + body) + 2) + NAME + body
    return b""


def turned(data: bytes, orientation: int) -> bytes:
    """Return the resources of the picture that is upright: without thumbnails of it as it was."""
    if orientation == 1:
        return data
    return b"".join(whole for number, whole in resources(data) if number not in ABOUT_PIXELS)
