"""Tell clips and animated pictures from still ones, by name and by content; needs no PyAV."""

from __future__ import annotations

from pathlib import Path

from PIL import Image, UnidentifiedImageError

from npsrcnn import images
from npsrcnn.errors import UsageError
from npsrcnn.images.formats import DAMAGE

CONTAINERS = {
    ".mp4": "mp4",
    ".m4v": "mp4",
    ".mov": "mov",
    ".mkv": "matroska",
    ".webm": "webm",
    ".ts": "mpegts",
    ".mts": "mpegts",
    ".m2ts": "mpegts",
}
"""Suffixes of clips that are written, and FFmpeg's names of their containers."""
READ_ONLY = {".avi", ".wmv", ".asf", ".flv", ".f4v", ".mpg", ".mpeg", ".vob", ".ogv", ".3gp"}
READ_ONLY |= {".3g2", ".mxf", ".nut", ".ivf", ".dv", ".mjpeg", ".mjpg", ".y4m", ".m1v", ".m2v"}
READ_ONLY |= {".h264", ".264", ".avc", ".h265", ".265", ".hevc", ".obu"}
"""Suffixes of clips that are read, whose results are Matroska."""
ANIMATIONS = {".gif": "GIF", ".apng": "PNG", ".png": "PNG", ".webp": "WEBP", ".avif": "AVIF"}
"""Suffixes of animated pictures, and Pillow's names of their formats."""
HEAD_BYTES = 400
TS_PACKET = 188  # bytes; M2TS has four more before each
STILL_BRANDS = {b"avif", b"avis", b"heic", b"heix", b"mif1", b"msf1"}


def has_name_of_clip(path: Path) -> bool:
    """Return whether a file is a clip by its suffix."""
    return path.suffix.lower() in {*CONTAINERS, *READ_ONLY}


def container_of(target: Path) -> str:
    """Return FFmpeg's name of the container that a target's suffix names.

    Raises
    ------
    UsageError
        Clips are not written as that.
    """
    container = CONTAINERS.get(target.suffix.lower())
    if container is None:
        raise UsageError(f"cannot write {target.name}: clips are {', '.join(CONTAINERS)}")
    return container


def target_suffix(source: Path) -> str:
    """Return the suffix of a result: the source's where that is written, or .mkv."""
    written = {*CONTAINERS, *ANIMATIONS}
    return source.suffix if source.suffix.lower() in written else ".mkv"


def is_clip(path: Path) -> bool:
    """Return whether a file is a clip: by its suffix, or else by its first bytes."""
    if has_name_of_clip(path):
        return True
    suffix = path.suffix.lower()
    if suffix in images.SUFFIXES or suffix in ANIMATIONS or not path.is_file():
        return False
    with open(path, "rb") as file:
        return _begins_as_clip(file.read(HEAD_BYTES))


def is_animation(path: Path) -> bool:
    """Return whether a file is an animated picture: its headers tell of several frames."""
    if path.suffix.lower() not in ANIMATIONS or not path.is_file():
        return False
    try:
        with Image.open(path) as image:
            return getattr(image, "n_frames", 1) > 1
    except (UnidentifiedImageError, Image.DecompressionBombError, *DAMAGE):
        return False  # as a still picture it says what is wrong


def _begins_as_clip(head: bytes) -> bool:
    if head[4:8] in (b"ftyp", b"moov"):
        return head[8:12] not in STILL_BRANDS
    if head[:4] == b"RIFF":
        return head[8:12] == b"AVI "
    if any(head[i : i + 1] == head[i + n : i + n + 1] == b"G" for i, n in ((0, 188), (4, 192))):
        return len(head) > 2 * TS_PACKET
    marks = (b"\x1aE\xdf\xa3", b"FLV\1", b"OggS", b"0&\xb2u\x8ef\xcf\x11", b"\0\0\1\xba")
    return head.startswith(marks)
