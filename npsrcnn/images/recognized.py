"""Name a file that cannot be opened by its first bytes: another format, or a damaged file."""

from __future__ import annotations

from pathlib import Path

UNKNOWN = "not an image, or of an unknown format"
OTHERS = (
    (b"II\xbc\x01", "JPEG XR"),
    (b"%PDF-", "PDF"),
    (b"FLIF", "FLIF"),
    (b"BPG\xfb", "BPG"),
    (b"\x76\x2f\x31\x01", "OpenEXR"),
    (b"#?RADIANCE\n", "Radiance HDR"),
    (b"gimp xcf ", "GIMP's XCF"),
    (b"FUJIFILMCCD-RAW", "a camera's raw file (RAF)"),
    (b"P7\n", "PAM"),
    (b"DDS ", "DDS"),
    (b"<svg", "SVG"),
    (b"<!DOCTYPE html", "a web page"),
    (b"<!doctype html", "a web page"),
    (b"<html", "a web page"),
)  # fmt: skip
"""First bytes of formats that are not read."""
BRANDS = {b"crx ": "a camera's raw file (CR3)"}
"""Of files in boxes, as MP4's: the brand, which follows the box's size and "ftyp"."""
DAMAGED = (
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"\xff\xd8\xff", "JPEG"),
    (b"GIF8", "GIF"),
    (b"RIFF", "WebP"),
    (b"\0\0\0\x0cjP  \r\n\x87\n", "JPEG 2000"),
    (b"8BPS", "PSD"),
)
"""First bytes of formats that are read, but for headers that are damaged."""
LONGEST = 1 << 20  # of what is looked at: JPEG tells its kind behind profiles and previews
LOSSLESS = (0xC3, 0xC7, 0xCB, 0xCF)  # markers of JPEG
JPEG_LS = 0xF7
NO_FRAMES = (0xC4, 0xC8, 0xCC)  # of markers from 0xC0 to 0xCF


def described_file(path: Path) -> str:
    """Say what a file is that no reader knows.

    Raises
    ------
    OSError
        The file cannot be read.
    """
    with open(path, "rb") as file:
        return described(file.read(LONGEST))


def described(begin: bytes) -> str:
    """Say what a file is that no reader knows, by its first bytes."""
    other = next((name for first, name in OTHERS if begin.startswith(first)), None)
    if begin[4:8] == b"ftyp":
        other = BRANDS.get(begin[8:12])
    if begin.startswith(b"\xff\xd8\xff"):
        other = _rare_jpeg(begin)
    if begin.startswith(b"8BPS") and begin[23:24] in (b"\x10", b"\x20"):
        other = f"PSD of {begin[23]} bits a channel"
    if other:
        return f"{other}, which is not read: save it as PNG or TIFF"
    if begin.startswith(b"RIFF") and begin[8:12] != b"WEBP":
        return UNKNOWN
    damaged = next((name for first, name in DAMAGED if begin.startswith(first)), None)
    return f"{damaged}, but its headers are damaged or truncated" if damaged else UNKNOWN


def _rare_jpeg(begin: bytes) -> str | None:
    """Return what kind of JPEG a file is, where Pillow does not read it."""
    place = 2
    while begin[place : place + 1] == b"\xff" and place + 5 <= len(begin):
        marker = begin[place + 1]
        if marker == JPEG_LS:
            return "JPEG-LS"
        if marker in LOSSLESS:
            return "lossless JPEG"
        if marker >> 4 == 0xC and marker not in NO_FRAMES:
            bits = begin[place + 4]
            return f"JPEG of {bits} bits a channel" if bits in (12, 16) else None
        place += 2 + int.from_bytes(begin[place + 2 : place + 4], "big")
    return None
