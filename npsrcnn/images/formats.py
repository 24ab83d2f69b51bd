"""Say which formats there are, what each can hold, and by which suffix it goes."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import NamedTuple

from PIL import Image, ImageFile

from npsrcnn.errors import UserError
from npsrcnn.images.tiff_pages import DAMAGED
from npsrcnn.pixels.values import DTYPES

EXTRA = 'which takes a package more: pip install "npsrcnn[formats]"'


class Format(NamedTuple):
    """A file format: what it can hold, and the options with which it is written."""

    name: str
    dtype_chars: str = "B"  # of samples, as NumPy has them: B uint8, H uint16
    alpha: bool = False
    max_side: int = 65535  # pixels
    options: dict[str, object] = {}  # noqa: RUF012 (never changed)
    limits: dict[str, int] = {}  # noqa: RUF012 (bytes of metadata; longer ones are dropped)
    packages: tuple[str, ...] = ()  # of the extra, without which it is neither read nor written

    @property
    def has_quality(self) -> bool:
        """Return whether it may lose something, more or less."""
        return "quality" in self.options

    @property
    def can_be_lossless(self) -> bool:
        """Return whether it can keep pixels as they are. Pillow's AVIF always loses something."""
        return not self.has_quality or self.name in ("WEBP", "HEIC", "JPEG XL")

    @property
    def can_say_hdr(self) -> bool:
        """Return whether it can name colours of high dynamic range, for which no profile stands."""
        return self.name in ("PNG", "HEIC")

    def is_here(self) -> bool:
        """Return whether the packages that it takes are installed."""
        return all(importlib.util.find_spec(name) is not None for name in self.packages)


SEGMENT_BYTES = 65533  # that a segment of JPEG holds
# Pillow below 13 leaves no room in libjpeg's buffer for a comment, and there must be room for all
# that stands before the pixels.
ImageFile.MAXBLOCK = max(ImageFile.MAXBLOCK, 8 * SEGMENT_BYTES)
FORMATS = {
    ".png": Format("PNG", "BH", True, 2**31 - 1),
    ".jpg": Format(
        "JPEG",
        options={"quality": 95, "subsampling": 0},
        limits={
            "exif": SEGMENT_BYTES,
            "xmp": SEGMENT_BYTES - 29,
            "comment": SEGMENT_BYTES,
        },  # 29: XMP's name
    ),
    ".tif": Format("TIFF", "".join(dtype.char for dtype in DTYPES), True, 2**31 - 1),
    ".webp": Format("WEBP", alpha=True, max_side=16383, options={"quality": 95}),
    ".bmp": Format("BMP", max_side=2**31 - 1),
    ".ppm": Format("PPM", max_side=2**31 - 1),
    ".tga": Format("TGA", alpha=True),
    ".jp2": Format("JPEG2000", alpha=True, limits={"comment": SEGMENT_BYTES - 2}),
    ".avif": Format("AVIF", alpha=True, options={"quality": 90, "subsampling": "4:4:4"}),
    ".heic": Format("HEIC", "BH", True, 16384, {"quality": 90}, packages=("pillow_heif",)),
    ".jxl": Format(
        "JPEG XL",
        "BHf",
        True,
        2**30,
        options={"quality": 90},
        packages=("imagecodecs", "pillow_jxl"),
    ),
}
ALIASES = {
    ".jpeg": ".jpg",
    ".jpe": ".jpg",
    ".jfif": ".jpg",
    ".mpo": ".jpg",
    ".tiff": ".tif",
    ".pgm": ".ppm",
    ".pnm": ".ppm",
    ".heif": ".heic",
    ".hif": ".heic",
}
READ_ONLY = {".gif", ".pbm"}  # suffixes of formats with too few colours for a result
READABLE = [format.name for format in FORMATS.values() if not format.packages]
READABLE += ["GIF", "MPO", "DIB", "ICO", "PCX", "PSD", "QOI", "SGI"]  # no EPS, which is a program
WRITABLE = {suffix for suffix, format in FORMATS.items() if format.is_here()}
WRITABLE |= {alias for alias, suffix in ALIASES.items() if suffix in WRITABLE}
SUFFIXES = WRITABLE | READ_ONLY
IN_EXTRA = {*FORMATS, *ALIASES} - WRITABLE  # suffixes of formats whose packages are missing
DAMAGE = (*DAMAGED, OSError)
"""What decoders raise when a file is damaged."""


def writable(suffix: str) -> Format:
    """Return the format that a suffix, such as ".png", names.

    Raises
    ------
    UserError
        An unknown format, or one that pictures are only read from, or not without a package.
    """
    suffix = suffix.lower()
    kind = FORMATS.get(ALIASES.get(suffix, suffix))
    if kind is None:
        raise UserError(
            f"cannot write {suffix or 'a file without suffix'}: use {', '.join(FORMATS)}"
        )
    if kind.packages:
        if not kind.is_here():
            raise UserError(f"cannot write {suffix}, {EXTRA}")
        return kind
    Image.preinit()
    if kind.name not in Image.SAVE:
        Image.init()
    if kind.name not in Image.SAVE:
        raise UserError(f"cannot write {suffix}: this Pillow was built without {kind.name}")
    return kind


def suffix_of_name(name: str) -> str:
    """Return the suffix, as ".png", of a format by its name, as "PNG"."""
    suffixes = {format.name: suffix for suffix, format in FORMATS.items()}
    return suffixes.get(name, f".{name.lower()}")


def list_images(folder: str | Path) -> list[Path]:
    """Return the image files of ``folder`` (by suffix, hidden ones left out), sorted by name.

    Raises
    ------
    UserError
        No such folder, or none of its files is an image.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder")
    paths = [
        path
        for path in sorted(folder.iterdir())
        if path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and path.is_file()
    ]
    if not paths:
        raise UserError(f"{folder}: no image files in this folder")
    return paths
