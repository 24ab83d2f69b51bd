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
DIMENSIONS = (b"stDim:w", b"stDim:h")  # to which regions apply (Metadata Working Group)


def turned(xmp: bytes | str | None, orientation: int) -> bytes | None:
    """Return the XMP of the picture that is upright: without thumbnails of it as it was."""
    if isinstance(xmp, str):
        xmp = xmp.encode()
    if xmp and orientation != 1:
        xmp = _replaced(xmp, (b"tiff:Orientation",), lambda _: b"1")
        xmp = re.sub(rb"(?s)<xmp:Thumbnails>.*?</xmp:Thumbnails>", b"", xmp)
    return xmp or None


def resized(xmp: bytes, scale: float, size: tuple[int, int]) -> bytes:
    """Return the XMP of the picture ``scale`` times as large, of ``size`` (H, W)."""
    height, width = (b"%d" % side for side in size)

    def scaled(value: bytes) -> bytes:
        return b"%d" % math.ceil(scale * int(value))

    xmp = _replaced(xmp, WIDTHS, lambda _: width)
    xmp = _replaced(xmp, HEIGHTS, lambda _: height)
    return _replaced(xmp, (*SCALED, *DIMENSIONS), scaled)


def _replaced(xmp: bytes, names: tuple[bytes, ...], change: Callable[[bytes], bytes]) -> bytes:
    """Change whole numbers, which are values of attributes or the contents of elements."""
    pattern = rb"(?<![\w:])(%s)(\s*=\s*[\"']|>)(\s*)(\d+)(?=\s*[\"'<])" % b"|".join(names)
    return re.sub(pattern, lambda found: b"".join([*found.groups()[:3], change(found[4])]), xmp)
