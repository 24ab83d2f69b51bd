"""Change what XMP says of a picture that is turned upright or enlarged.

XMP is searched for names, not parsed: what is not understood stays byte for byte.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable

WIDTHS = (b"tiff:ImageWidth", b"exif:PixelXDimension", b"GPano:CroppedAreaImageWidthPixels")
HEIGHTS = (b"tiff:ImageLength", b"exif:PixelYDimension", b"GPano:CroppedAreaImageHeightPixels")
SCALED = (
    *(b"GPano:FullPanoWidthPixels", b"GPano:FullPanoHeightPixels"),
    *(b"GPano:CroppedAreaLeftPixels", b"GPano:CroppedAreaTopPixels"),
    *(b"GPano:LargestValidInteriorRectLeft", b"GPano:LargestValidInteriorRectTop"),
    *(b"GPano:LargestValidInteriorRectWidth", b"GPano:LargestValidInteriorRectHeight"),
)
GAIN_MAP = (rb"hdrgm:\w+",)  # names of what a gain map says of itself
MOTION = (rb"(?:GCamera|Camera):(?:MotionPhoto|MicroVideo)\w*", rb"MiCamera:XMPMeta")
DIMENSIONS = (b"stDim:w", b"stDim:h")  # to which regions apply (Metadata Working Group)
IN_AREA = re.compile(rb"(?<=stArea:)([xywh])(\s*=\s*[\"']|>)\s*([0-9.]+)")  # in parts of the sides


def _element(names: bytes) -> bytes:
    """Return a pattern of elements with these names that takes no longer than a text is.

    Nothing in it runs beyond the next tag of these names, or beyond the end of a tag, so that no
    part of a text is gone through for each of many beginnings.
    """
    inside = rb"[^<]*(?:<(?!/?(?:%s)\b)[^<]*)*" % names
    return rb"<(?:%s)\b[^<>]*(?:/>|(?<!/)>%s</(?:%s)>)" % (names, inside, names)


DIRECTORY = re.compile(_element(rb"Container:Directory"))
THUMBNAILS = re.compile(_element(rb"xmp:Thumbnails"))
SUBJECT = re.compile(_element(rb"exif:Subject(?:Area|Location)"))
AREA = re.compile(_element(rb"mwg-rs:Area"))
TAG = re.compile(rb"<(?:Container:Item|rdf:li)\b[^<>]*>")
ONE_ITEM = re.compile(rb"<rdf:li[^<>]*>\s*<Container:Item\b[^<>]*/>\s*</rdf:li>")


def turned(xmp: bytes | str | None, orientation: int) -> bytes | None:
    """Return the XMP of the picture that is upright.

    Thumbnails of the picture as it was are left out, and where its subject was; regions, faces
    most often, are turned.
    """
    if isinstance(xmp, str):
        xmp = xmp.encode()
    if xmp and orientation != 1:
        xmp = THUMBNAILS.sub(b"", upright(xmp))
        xmp = SUBJECT.sub(b"", xmp)
        xmp = AREA.sub(lambda area: _turned_area(area[0], orientation), xmp)
        if orientation >= 5:
            other = {b"w": b"h", b"h": b"w"}
            xmp = re.sub(rb"(?<=stDim:)[wh]\b", lambda side: other[side[0]], xmp)
    return xmp or None


def _turned_area(area: bytes, orientation: int) -> bytes:
    """Turn a region: its middle and its sides, as parts of the picture's."""
    found = {name: number for name, _, number in IN_AREA.findall(area)}
    try:
        x, y = float(found[b"x"]), float(found[b"y"])
    except (KeyError, ValueError):
        return area
    x, y = {
        2: (1 - x, y), 3: (1 - x, 1 - y), 4: (x, 1 - y), 5: (y, x), 6: (1 - y, x),
        7: (1 - y, 1 - x), 8: (y, 1 - x),
    }.get(orientation, (x, y))  # fmt: skip
    values = found | {b"x": b"%.6g" % x, b"y": b"%.6g" % y}
    if orientation >= 5 and b"w" in found and b"h" in found:
        values |= {b"w": found[b"h"], b"h": found[b"w"]}
    return IN_AREA.sub(lambda part: part[1] + part[2] + values[part[1]], area)


def upright(xmp: bytes) -> bytes:
    """Return XMP that says of its picture that it is upright, if it says anything of that."""
    return _replaced(xmp, (b"tiff:Orientation",), lambda _: b"1")


def resized(xmp: bytes, scale: float, size: tuple[int, int]) -> bytes:
    """Return the XMP of the picture ``scale`` times as large, of ``size`` (H, W)."""
    height, width = (b"%d" % side for side in size)

    def scaled(value: bytes) -> bytes:
        return b"%d" % math.ceil(scale * int(value))

    def place(found: re.Match[bytes]) -> bytes:
        return re.sub(rb"(?<=>)\d+(?=<)", lambda n: b"%d" % round(scale * int(n[0])), found[0])

    xmp = SUBJECT.sub(place, xmp)
    xmp = _replaced(xmp, WIDTHS, lambda _: width)
    xmp = _replaced(xmp, HEIGHTS, lambda _: height)
    return _replaced(xmp, (*SCALED, *DIMENSIONS), scaled)


def _replaced(xmp: bytes, names: tuple[bytes, ...], change: Callable[[bytes], bytes]) -> bytes:
    """Change whole numbers, which are values of attributes or the contents of elements."""
    pattern = rb"(?<![\w:])(%s)(\s*=\s*[\"']|>)(\s*)(\d+)(?=\s*[\"'<])" % b"|".join(names)
    return re.sub(pattern, lambda found: b"".join([*found.groups()[:3], change(found[4])]), xmp)


def claims_motion(xmp: bytes) -> bool:
    """Return whether a file is said to hold a video as well."""
    pattern = rb"(?:GCamera|Camera):(?:MotionPhoto|MicroVideo)(?:=[\"']|>)1"
    return re.search(pattern, xmp) is not None


def claims_extension(xmp: bytes) -> bool:
    """Return whether more XMP is said to lie in segments of its own."""
    return b"xmpNote:HasExtendedXMP" in xmp


def without_extension(xmp: bytes) -> bytes:
    """Remove what is said of more XMP."""
    return _removed(xmp, (b"xmpNote:HasExtendedXMP",))


def claims_gain_map(xmp: bytes) -> bool:
    """Return whether a file is said to hold a gain map as well."""
    return re.search(rb"hdrgm:Version(?:=[\"']|>)", xmp) is not None


def without_motion(xmp: bytes) -> bytes:
    """Remove what is said of a video; of what follows a picture only a gain map stays listed."""
    xmp = _removed(xmp, MOTION)
    return xmp if claims_gain_map(xmp) else DIRECTORY.sub(b"", xmp)


def without_gain_map(xmp: bytes) -> bytes:
    """Remove what is said of a gain map, and the list of what follows the picture."""
    return DIRECTORY.sub(b"", _removed(xmp, GAIN_MAP))


def with_gain_map_bytes(xmp: bytes, length: int) -> bytes:
    """Return XMP that says how long the gain map behind the picture is, and lists no video."""

    def item(found: re.Match[bytes]) -> bytes:
        text = found[0]
        if b"Item:" in text and b"GainMap" in text:
            return re.sub(rb"(Item:Length=[\"'])\d+", rb"\g<1>%d" % length, text)
        return text

    xmp = ONE_ITEM.sub(lambda found: b"" if b'"MotionPhoto"' in found[0] else found[0], xmp)
    return TAG.sub(item, xmp)


def _removed(xmp: bytes, names: tuple[bytes, ...]) -> bytes:
    """Remove attributes and elements."""
    name = b"|".join(names)
    xmp = re.sub(rb"(?s)\s(?:%s)\s*=\s*(?:\"[^\"]*\"|'[^']*')" % name, b"", xmp)
    return re.sub(_element(name), b"", xmp)
