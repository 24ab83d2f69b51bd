"""Read and write what an image file holds besides pixels: profile, EXIF, XMP, texts, resolution.

Metadata is read from any format and written to any that has a place for it.
"""

from __future__ import annotations

import io
import re
import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from PIL import Image

ORIENTATION = 0x0112  # the EXIF tag
# Tags of TIFF, and those of EXIF that describe an image
TIFF_ICC, TIFF_XMP = 34675, 700
TIFF_X_RESOLUTION, TIFF_Y_RESOLUTION, TIFF_UNIT = 282, 283, 296
TIFF_TEXTS = (270, 271, 272, 305, 306, 315, 33432)
GEO_SCALE, GEO_TIES, GEO_MATRIX, GEO_KEYS = 33550, 33922, 34264, 34735  # GeoTIFF 1.1
GEO_RASTER_TYPE, POINT = 1025, 2  # a key, and its value where a pixel is its centre
TIFF_PLACE = (GEO_SCALE, GEO_TIES, GEO_MATRIX, GEO_KEYS, 34736, 34737, 42112, 42113)
"""TIFF tags that say where on Earth a picture lies, and GDAL's."""
TIFF_KEPT = (*TIFF_TEXTS, TIFF_ICC, TIFF_XMP, ORIENTATION, *TIFF_PLACE)  # block by block
TIFF_DIRECTORIES = (0x8769, 0x8825)  # EXIF proper, GPS
INTEROPERABILITY = 0xA005
XMP_IN_PNG = "XML:com.adobe.xmp"


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
    place: dict[int, object] = field(default_factory=dict)  # TIFF_PLACE, as far as a file has them
    placed: tuple[int, int] | None = None  # rows and columns of the picture that place is for

    def enlarged(self, scale: float, size: tuple[int, int]) -> Metadata:
        """Return the metadata of the picture ``scale`` times as large, of ``size`` (H, W)."""
        return replace(self, place=rescaled(self.place, scale), placed=size)


def metadata_of(image: Image.Image) -> tuple[Metadata, int]:
    """Return the metadata and orientation (EXIF: 1 to 8) of an opened file, which is no TIFF."""
    if image.format == "PNG":
        image.load()  # chunks may follow the pixels
    info = image.info
    orientation, exif = _upright(info.get("exif", b"").removeprefix(b"Exif\0\0"))
    texts = {
        key: str(text)
        for key, text in getattr(image, "text", {}).items()
        if key != XMP_IN_PNG and not key.startswith("Raw profile type")
    }
    # JPEG 2000 has its encoder's name there
    comment = info.get("comment") if image.format in ("JPEG", "MPO", "GIF") else None
    return Metadata(
        info.get("icc_profile") or None,
        exif or None,
        _upright_xmp(info.get("xmp") or info.get(XMP_IN_PNG), orientation),
        texts,
        _known_dpi(info.get("dpi")),
        info.get("gamma"),
        comment or None,
    ), orientation


def metadata_of_tiff(data: bytes, size: tuple[int, int]) -> tuple[Metadata, int]:
    """Return the metadata and orientation (EXIF: 1 to 8) of a TIFF file of ``size`` (H, W).

    Pillow cannot read the tags of big-endian BigTIFF: for such files the metadata is empty.
    """
    if data[:4] == b"MM\0+":
        return Metadata(), 1
    tags = Image.Exif()
    tags.endian = "<" if data[:2] == b"II" else ">"
    tags.bigtiff = data[2] == 43
    start = struct.unpack_from("<Q" if tags.bigtiff else f"{tags.endian}I", data, 4 << tags.bigtiff)
    tags.load_from_fp(io.BytesIO(data), start[0])
    orientation = tags.get(ORIENTATION, 1)
    per_inch = {None: 1.0, 2: 1.0, 3: 2.54}.get(tags.get(TIFF_UNIT))  # no unit; inch; centimetre
    dpi = None
    if per_inch and TIFF_X_RESOLUTION in tags and TIFF_Y_RESOLUTION in tags:
        x, y = tags[TIFF_X_RESOLUTION], tags[TIFF_Y_RESOLUTION]
        dpi = _known_dpi((x * per_inch, y * per_inch))
    upright = orientation == 1  # a place tells of rows and columns as stored, not as turned
    return Metadata(
        tags.get(TIFF_ICC) or None,
        _exif_of_tiff(tags) or None,
        _upright_xmp(tags.get(TIFF_XMP), orientation),
        dpi=dpi,
        place={tag: tags[tag] for tag in TIFF_PLACE if tag in tags} if upright else {},
        placed=size,
    ), orientation


def _upright_xmp(xmp: bytes | str | None, orientation: int) -> bytes | None:
    """Return XMP with an orientation of 1."""
    if isinstance(xmp, str):
        xmp = xmp.encode()
    if xmp and orientation != 1:
        xmp = re.sub(rb"(tiff:Orientation(?:=\"|='|>))[2-8]", rb"\g<1>1", xmp)
    return xmp or None


def _known_dpi(dpi: tuple[float, float] | None) -> tuple[float, float] | None:
    """Return a resolution as floats, or None where it is unknown, as TIFF's 1 is."""
    if dpi and all(1 < float(value) < 1e6 for value in dpi):
        return float(dpi[0]), float(dpi[1])
    return None


def _upright(exif: bytes) -> tuple[int, bytes]:
    """Return the orientation in an EXIF block, and the block with 1 in its place.

    Nothing else is changed. A damaged block is dropped: the picture is worth more.
    """
    order = {b"II": "<", b"MM": ">"}.get(exif[:2])
    try:
        position = struct.unpack_from(f"{order}I", exif, 4)[0]
        for i in range(struct.unpack_from(f"{order}H", exif, position)[0]):
            entry = position + 2 + 12 * i
            tag, _, _, orientation = struct.unpack_from(f"{order}HHIH", exif, entry)
            if tag == ORIENTATION:
                value = struct.pack(f"{order}H", 1)
                return orientation, exif[: entry + 8] + value + exif[entry + 10 :]
    except struct.error:
        return 1, b""
    return 1, exif


def _exif_of_tiff(tags: Image.Exif) -> bytes:
    """Return the tags of a TIFF file that describe the picture, as an EXIF block."""
    exif = Image.Exif()
    for tag in TIFF_TEXTS:
        if tag in tags:
            exif[tag] = tags[tag]
    for tag in TIFF_DIRECTORIES:
        directory = _directory(tags, tag)
        if directory:
            exif[tag] = directory
    return exif.tobytes() if len(exif) else b""


def _directory(exif: Image.Exif, tag: int) -> dict[int, object]:
    """Return a directory within EXIF, without the tag that points to yet another one."""
    return {key: value for key, value in exif.get_ifd(tag).items() if key != INTEROPERABILITY}


def exif_with_prefix(metadata: Metadata) -> bytes:
    """Return EXIF with the prefix that JPEG and Pillow expect, or nothing."""
    return b"Exif\0\0" + metadata.exif if metadata.exif else b""


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
    return chunks


def rescaled(tags: Mapping[int, object], scale: float) -> dict[int, object]:
    """Return TIFF tags for a picture ``scale`` times as large, whose pixels are smaller on Earth.

    Tags of a damaged place are dropped.
    """
    result = dict(tags)
    try:
        if GEO_SCALE in tags:
            x, y, *z = np.array(tags[GEO_SCALE], float).tolist()
            result[GEO_SCALE] = (x / scale, y / scale, *z)
        keys = np.array(tags.get(GEO_KEYS, ())).reshape(-1, 4)
        shift = 0.5 if any(key[0] == GEO_RASTER_TYPE and key[3] == POINT for key in keys) else 0.0
        if GEO_TIES in tags:
            ties = np.array(tags[GEO_TIES], float).reshape(-1, 6)
            ties[:, :2] = (ties[:, :2] + shift) * scale - shift
            result[GEO_TIES] = tuple(map(float, ties.ravel()))
        if GEO_MATRIX in tags:
            matrix = np.array(tags[GEO_MATRIX], float).reshape(4, 4)
            matrix[:, 3] += matrix[:, :2].sum(1) * (shift / scale - shift)
            matrix[:, :2] /= scale
            result[GEO_MATRIX] = tuple(map(float, matrix.ravel()))
    except (TypeError, ValueError):
        return {tag: value for tag, value in tags.items() if tag not in TIFF_PLACE}
    return result


def tiff_tags(metadata: Metadata, size: tuple[int, int]) -> dict[int, object]:
    """Return the tags of a TIFF file that hold the metadata of a picture of ``size`` (H, W)."""
    tags = dict(metadata.place) if metadata.placed == size else {}
    if metadata.exif:
        exif = Image.Exif()
        exif.load(exif_with_prefix(metadata))
        tags |= {tag: exif[tag] for tag in TIFF_TEXTS if tag in exif}
        for tag in TIFF_DIRECTORIES:
            directory = _directory(exif, tag)
            if directory:
                tags[tag] = directory
    if metadata.icc_profile:
        tags[TIFF_ICC] = metadata.icc_profile
    if metadata.xmp:
        tags[TIFF_XMP] = metadata.xmp
    if metadata.dpi:
        x, y = metadata.dpi
        tags |= {TIFF_X_RESOLUTION: x, TIFF_Y_RESOLUTION: y, TIFF_UNIT: 2}  # 2: per inch
    return tags
