"""Read and write what a TIFF file says of its picture beside the pixels.

A picture in memory and one that goes block by block get their tags from here, so that both keep
the same.
"""

from __future__ import annotations

import struct
from dataclasses import replace

from npsrcnn.images import descriptions, exif, ifd, imagej, iptc, tiff_tags, xmp
from npsrcnn.images.ifd import Directory, Entry
from npsrcnn.images.metadata import Metadata, known_dpi
from npsrcnn.images.tiff_tags import (
    DESCRIPTION,
    ICC,
    IMAGEJ,
    IPTC,
    NODATA,
    OF_PAGES,
    ORIENTATION,
    PAGE,
    PAGE_NUMBER,
    PHOTOSHOP,
    PLACE,
    SUBFILE,
    TEXTS,
    UNIT,
    X_RESOLUTION,
    XMP,
    Y_RESOLUTION,
)


def from_directory(directory: Directory, size: tuple[int, int]) -> Metadata:
    """Return the metadata, of the picture turned upright, of a page stored as ``size`` (H, W)."""
    orientation = tiff_tags.orientation(directory)
    described = {tag: directory[tag] for tag in (*TEXTS, ifd.EXIF, ifd.GPS) if tag in directory}
    block = exif.block_of(described)
    if orientation != 1 and ifd.EXIF in described:
        turn = {ORIENTATION: ifd.entry(ifd.SHORT, [orientation])}
        _, block = exif.turned(exif.block_of(described | turn), size)
    resolution = {
        tag: directory[tag] for tag in (X_RESOLUTION, Y_RESOLUTION, UNIT) if tag in directory
    }
    dpi = _dpi(directory)
    if orientation >= 5 and X_RESOLUTION in resolution and Y_RESOLUTION in resolution:
        resolution[X_RESOLUTION], resolution[Y_RESOLUTION] = (
            resolution[Y_RESOLUTION],
            resolution[X_RESOLUTION],
        )
        dpi = dpi and (dpi[1], dpi[0])
    kept = resolution | {tag: directory[tag] for tag in (NODATA, *OF_PAGES) if tag in directory}
    if orientation == 1:  # a place tells of rows and columns as stored, not as turned
        kept |= {tag: directory[tag] for tag in PLACE if tag in directory}
    if ifd.number(directory, SUBFILE, 0) == PAGE:
        kept[SUBFILE] = directory[SUBFILE]
    counts = directory.get(IMAGEJ[0])
    if isinstance(counts, Entry):
        data, lengths = imagej.little_endian(_bytes(directory, IMAGEJ[1]), counts.numbers())
        if data:
            kept[IMAGEJ[0]] = ifd.entry(ifd.LONG, lengths)
            kept[IMAGEJ[1]] = ifd.entry(ifd.BYTE, data)
    photoshop = iptc.with_iptc(
        iptc.as_resources(_bytes(directory, PHOTOSHOP)), iptc.iptc_of(_iptc(directory))
    )
    return Metadata(
        icc_profile=_bytes(directory, ICC) or None,
        exif=block or None,
        xmp=xmp.turned(_bytes(directory, XMP), orientation),
        photoshop=iptc.turned(photoshop, orientation),
        dpi=dpi,
        tags=kept,
        placed=size,
    )


def to_directory(metadata: Metadata, size: tuple[int, int]) -> Directory:
    """Return the tags of a page that hold the metadata of a picture of ``size`` (H, W)."""
    directory: Directory = {}
    if metadata.exif:
        described = exif.parts(metadata.exif)
        directory |= {
            tag: described[tag] for tag in (*TEXTS, ifd.EXIF, ifd.GPS) if tag in described
        }
    if metadata.dpi:
        directory[X_RESOLUTION] = ifd.entry(ifd.RATIONAL, metadata.dpi[:1])
        directory[Y_RESOLUTION] = ifd.entry(ifd.RATIONAL, metadata.dpi[1:])
        directory[UNIT] = ifd.entry(ifd.SHORT, [2])  # per inch
    if metadata.icc_profile:
        directory[ICC] = ifd.entry(ifd.UNDEFINED, metadata.icc_profile)
    if metadata.xmp:
        directory[XMP] = ifd.entry(ifd.BYTE, metadata.xmp)
    if metadata.photoshop:
        found = iptc.iptc_of(metadata.photoshop)
        if found:
            directory[IPTC] = ifd.entry(ifd.UNDEFINED, found)
        if metadata.photoshop != iptc.resource(iptc.IPTC, found):
            directory[PHOTOSHOP] = ifd.entry(ifd.BYTE, metadata.photoshop)
    fits = metadata.placed == size
    return directory | {tag: v for tag, v in metadata.tags.items() if fits or tag not in PLACE}


def of_one_page(metadata: Metadata) -> Metadata:
    """Return the metadata of a page that is taken out of several."""
    tags = {tag: v for tag, v in metadata.tags.items() if tag not in (SUBFILE, PAGE_NUMBER)}
    parts = exif.parts(metadata.exif or b"")
    block, described = metadata.exif, parts.get(DESCRIPTION)
    if isinstance(described, Entry):
        text = descriptions.of_one_page(described.text())
        if text != described.text():
            del parts[DESCRIPTION]
            block = exif.block_of(parts | ({DESCRIPTION: ifd.entry(2, text)} if text else {}))
    tags = {tag: v for tag, v in tags.items() if tag not in IMAGEJ}
    return replace(metadata, tags=tags, exif=block or None)


def _dpi(directory: Directory) -> tuple[float, float] | None:
    per_inch = {2: 1.0, 3: 2.54}.get(ifd.number(directory, UNIT, 2))  # inch; centimetre
    sides = [directory.get(tag) for tag in (X_RESOLUTION, Y_RESOLUTION)]
    values = [side.numbers() for side in sides if isinstance(side, Entry)]
    if not per_inch or len(values) < 2 or not all(values):
        return None
    return known_dpi((values[0][0] * per_inch, values[1][0] * per_inch))


def _bytes(directory: Directory, tag: int) -> bytes:
    value = directory.get(tag)
    return value.data if isinstance(value, Entry) else b""


def _iptc(directory: Directory) -> bytes:
    """Return the IPTC of its own tag, as a resource.

    Some files say that it is of LONG, and store the bytes as if it were not.
    """
    data = _bytes(directory, IPTC)
    value = directory.get(IPTC)
    if isinstance(value, Entry) and value.kind == ifd.LONG and data[3:4] == b"\x1c" != data[:1]:
        data = struct.pack(f"<{value.length}I", *struct.unpack(f">{value.length}I", data))
    return iptc.as_resources(data) if data[:1] == bytes([iptc.IPTC_BEGINS]) else b""
