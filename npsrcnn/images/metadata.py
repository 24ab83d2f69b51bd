"""Read and write what an image file holds besides pixels: profile, EXIF, XMP, IPTC, texts.

Metadata is read from any format and written to any that has a place for it. TIFF is read and
written in :mod:`npsrcnn.images.tiff_metadata`.
"""

from __future__ import annotations

import binascii
import struct
import zlib
from dataclasses import dataclass, field, replace

from PIL import Image

from npsrcnn.images import exif, icc, iptc, png, tiff_tags, xmp
from npsrcnn.images.ifd import Directory

XMP_IN_PNG = "XML:com.adobe.xmp"
XMP_IN_JPEG = b"http://ns.adobe.com/xap/1.0/\0"
RAW_PROFILE = "Raw profile type "  # before its name: how ImageMagick and ExifTool write into PNG
ISO_GAIN_MAP = b"urn:iso:std:iso:ts:21496:-1\0"


@dataclass
class Metadata:
    """Metadata of a picture. EXIF and XMP say that it is upright, as read() made it."""

    icc_profile: bytes | None = None
    exif: bytes | None = None  # from its TIFF header on
    xmp: bytes | None = None
    text: dict[str, str] = field(default_factory=dict)
    dpi: tuple[float, float] | None = None
    gamma: float | None = None  # PNG's, where no profile says better
    comment: bytes | None = None  # JPEG's and GIF's, which do not say how it is encoded
    photoshop: bytes = b""  # image resources, IPTC among them
    color: dict[bytes, bytes] = field(default_factory=dict)  # PNG's chunks that tell of colours
    gain_map: bytes = b""  # segments of JPEG by which ISO 21496-1 describes one
    tags: Directory = field(default_factory=dict)  # TIFF's, of what no other format has
    placed: tuple[int, int] | None = None  # rows and columns that a place in ``tags`` is for

    def for_profiles(self, grey: bool) -> Metadata:
        """Return the metadata for a format that knows no colours but by a profile."""
        profile = self.icc_profile or icc.profile_of(self.color, self.gamma, grey)
        return replace(self, icc_profile=profile)

    def stripped(self) -> Metadata:
        """Return what tells of the pixels: colours, and what stands for no value."""
        tags = {tag: value for tag, value in self.tags.items() if tag == tiff_tags.NODATA}
        return Metadata(
            self.icc_profile, gamma=self.gamma, color=self.color, tags=tags, placed=self.placed
        )

    def enlarged(self, scale: float, size: tuple[int, int]) -> Metadata:
        """Return the metadata of the picture ``scale`` times as large, of ``size`` (H, W)."""
        tags, block = tiff_tags.enlarged(self.tags, self.exif, scale, size)
        return replace(
            self,
            exif=block and exif.resized(block, scale, size),
            xmp=self.xmp and xmp.resized(self.xmp, scale, size),
            tags=tags,
            placed=size,
        )


def metadata_of(image: Image.Image, data: bytes) -> tuple[Metadata, int]:
    """Return the metadata and orientation (EXIF: 1 to 8) of an opened file, which is no TIFF.

    ``data`` are the file's contents.
    """
    if image.format == "PNG":
        image.load()  # chunks may follow the pixels
    info = image.info
    texts = {key: str(text) for key, text in getattr(image, "text", {}).items()}
    profiles = _raw_profiles(texts)
    block = info.get("exif") or profiles.get("exif") or profiles.get("APP1") or b""
    if image.format == "PSD":
        block = _resources_of_psd(image).get(iptc.EXIF, b"")
    if not block.startswith((exif.PREFIX, b"II", b"MM")):  # APP1 may hold XMP
        block = profiles.get("exif", b"")
    orientation, block = exif.turned(block.removeprefix(exif.PREFIX), (image.height, image.width))
    known_xmp = info.get("xmp") or info.get(XMP_IN_PNG) or _raw_xmp(profiles)
    if image.format == "PSD":
        known_xmp = _resources_of_psd(image).get(iptc.XMP)
    # JPEG 2000 has its encoder's name there
    comment = info.get("comment") if image.format in ("JPEG", "MPO", "GIF") else None
    return Metadata(
        info.get("icc_profile") or profiles.get("icc") or profiles.get("icm") or None,
        block or None,
        xmp.turned(known_xmp, orientation),
        {
            key: text
            for key, text in texts.items()
            if key != XMP_IN_PNG and not key.startswith(RAW_PROFILE)
        },
        known_dpi(info.get("dpi")),
        info.get("gamma"),
        comment or None,
        iptc.turned(_photoshop(image, profiles), orientation),
        png.color_chunks(data) if image.format == "PNG" else {},
        b"".join(
            _segment(body) for body in _segments(image, "APP2") if body.startswith(ISO_GAIN_MAP)
        ),
    ), orientation


def _segments(image: Image.Image, name: str) -> list[bytes]:
    """Return the contents of a JPEG file's segments of a name, as "APP2"."""
    return [body for marker, body in getattr(image, "applist", []) if marker == name]


def _segment(body: bytes) -> bytes:
    """Return a segment APP2 of JPEG."""
    return b"\xff\xe2" + struct.pack(">H", len(body) + 2) + body


def _photoshop(image: Image.Image, profiles: dict[str, bytes]) -> bytes:
    """Return Photoshop's image resources, in which IPTC is."""
    if image.format in ("JPEG", "MPO"):
        segments = _segments(image, "APP13")
        bodies = [body[len(iptc.NAME) :] for body in segments if body.startswith(iptc.NAME)]
        return iptc.as_resources(b"".join(bodies))
    if image.format == "PSD":
        body = _resources_of_psd(image).get(iptc.IPTC, b"")
        return iptc.resource(iptc.IPTC, body) if body else b""
    for name in ("iptc", "8bim", "APP13"):
        if found := iptc.as_resources(profiles.get(name, b"")):
            return found
    return b""


def _resources_of_psd(image: Image.Image) -> dict[int, bytes]:
    """Return Photoshop's image resources of its own files, by their numbers."""
    return {number: body for number, _, body in getattr(image, "resources", [])}


def _raw_profiles(texts: dict[str, str]) -> dict[str, bytes]:
    """Decode texts of PNG that hold bytes: a line of a name, one of a length, then digits."""
    profiles = {}
    for key, text in texts.items():
        if key.startswith(RAW_PROFILE):
            try:
                _, length, digits = text.lstrip("\n").split("\n", 2)
                body = binascii.unhexlify("".join(digits.split()))
                profiles[key.removeprefix(RAW_PROFILE)] = body[: int(length)]
            except ValueError:
                continue  # damaged: the picture is worth more
    return profiles


def _raw_xmp(profiles: dict[str, bytes]) -> bytes | None:
    """Return XMP that stands in a text as it is, or as a segment of JPEG."""
    segment = profiles.get("APP1", b"")
    if segment.startswith(XMP_IN_JPEG):
        return segment.removeprefix(XMP_IN_JPEG)
    return profiles.get("xmp")


def known_dpi(dpi: tuple[float, float] | None) -> tuple[float, float] | None:
    """Return a resolution as floats, or None where it is unknown, as TIFF's 1 is."""
    if dpi and all(1 < float(value) < 1e6 for value in dpi):
        return float(dpi[0]), float(dpi[1])
    return None


def exif_with_prefix(metadata: Metadata) -> bytes:
    """Return EXIF with the prefix that JPEG and Pillow expect, or nothing."""
    return exif.PREFIX + metadata.exif if metadata.exif else b""


def _decoded(text: bytes) -> str:
    """Decode a text of unknown encoding: UTF-8, or else Latin-1, which decodes any bytes."""
    try:
        return text.decode()
    except UnicodeDecodeError:
        return text.decode("latin-1")


def png_chunks(metadata: Metadata) -> list[tuple[bytes, bytes]]:
    """Return names and contents of the chunks of a PNG file that hold the metadata."""
    chunks = []
    if metadata.icc_profile:
        chunks.append((b"iCCP", b"ICC\0\0" + zlib.compress(metadata.icc_profile)))
    elif metadata.gamma:
        chunks.append((b"gAMA", struct.pack(">I", round(metadata.gamma * 100000))))
    chunks += [
        (name, body)
        for name, body in metadata.color.items()
        if not (name == b"sRGB" and metadata.icc_profile)
    ]
    if metadata.dpi:
        x, y = (round(value / 0.0254) for value in metadata.dpi)
        chunks.append((b"pHYs", struct.pack(">IIB", x, y, 1)))
    if metadata.exif:
        chunks.append((b"eXIf", metadata.exif))
    texts = dict(metadata.text)
    if metadata.comment:
        texts["Comment"] = _decoded(metadata.comment)
    for key, text in texts.items():
        chunks.append((b"iTXt", key.encode("latin-1") + b"\0\0\0\0\0" + text.encode()))
    if metadata.xmp:
        chunks.append((b"iTXt", XMP_IN_PNG.encode() + b"\0\0\0\0\0" + metadata.xmp))
    if metadata.photoshop:
        chunks.append((b"zTXt", _raw_profile("iptc", metadata.photoshop)))
    return chunks


def _raw_profile(name: str, body: bytes) -> bytes:
    """Return the contents of a zTXt chunk that holds bytes, as ImageMagick and ExifTool do."""
    digits = body.hex()
    lines = "\n".join(digits[i : i + 72] for i in range(0, len(digits), 72))
    text = f"\n{name}\n{len(body):8}\n{lines}\n"
    return f"{RAW_PROFILE}{name}\0\0".encode() + zlib.compress(text.encode())
