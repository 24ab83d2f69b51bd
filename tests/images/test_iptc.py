"""IPTC in JPEG, TIFF and PNG."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
import tifffile
from PIL import Image
from random_inputs import smooth_samples

from npsrcnn.images import Picture, iptc, png, read, write

IPTC = b"\x1c\x02\x05\x00\x05Title" + b"\x1c\x02\x19\x00\x07keyword"
RESOLUTION = struct.pack(">HH", 0x0425, 0)  # another resource, of an unnamed kind
BLOCKS = b"8BIM" + RESOLUTION + struct.pack(">I", 3) + b"abc\0" + (
    b"8BIM\x04\x04\x03abc" + struct.pack(">I", len(IPTC)) + IPTC + bytes(len(IPTC) % 2)
)  # fmt: skip
THUMBNAIL = b"8BIM\x04\x0c\0\0" + struct.pack(">I", 4) + b"jpeg"


def jpeg(path, blocks=BLOCKS, **options):
    file = io.BytesIO()
    Image.fromarray(smooth_samples((20, 30, 3))).save(file, "JPEG", **options)
    data, body = file.getvalue(), iptc.NAME + blocks
    segment = b"\xff\xed" + struct.pack(">H", len(body) + 2) + body
    path.write_bytes(data[:2] + segment + data[2:])


def tiff(path, tag, kind, data, order="<"):
    count = len(data) // (4 if kind == 4 else 1)
    value = struct.unpack(f"{order}{count}I", data) if kind == 4 else data
    tifffile.imwrite(path, smooth_samples((20, 30, 3)), photometric="rgb", metadata=None,
                     byteorder=order, extratags=[(tag, kind, count, value, True)])  # fmt: skip


def png_file(path, name, body):
    text = f"\n{name}\n{len(body):8}\n{body.hex()}\n".encode()
    chunk = f"Raw profile type {name}".encode() + b"\0\0" + zlib.compress(text)
    path.write_bytes(png.encode(smooth_samples((20, 30, 3)), [(b"zTXt", chunk)]))


PADDED = IPTC + bytes(-len(IPTC) % 4)
SOURCES = {
    "jpeg": lambda path: jpeg(path),
    "tiff 33723": lambda path: tiff(path, 33723, 7, IPTC),
    "tiff 33723 of long, big-endian": lambda path: tiff(path, 33723, 4, PADDED, ">"),
    "tiff 33723 of long": lambda path: tiff(path, 33723, 4, PADDED),
    "tiff 34377": lambda path: tiff(path, 34377, 1, BLOCKS),
    "png, iptc": lambda path: png_file(path, "iptc", BLOCKS),
    "png, iptc alone": lambda path: png_file(path, "iptc", IPTC),
    "png, 8bim": lambda path: png_file(path, "8bim", iptc.NAME + BLOCKS),
}


@pytest.mark.parametrize("source", SOURCES)
def test_it_is_kept_in_every_format_that_has_a_place(tmp_path, source):
    SOURCES[source](tmp_path / "a")
    metadata = read(tmp_path / "a").metadata.enlarged(2, (40, 60))
    assert iptc.iptc_of(metadata.photoshop).startswith(IPTC)
    larger = Picture(smooth_samples((40, 60, 3)), None, metadata)
    for suffix in (".jpg", ".tif", ".png"):
        write(tmp_path / f"b{suffix}", larger)
        found = read(tmp_path / f"b{suffix}").metadata.photoshop
        assert iptc.iptc_of(found).startswith(IPTC)
    with Image.open(tmp_path / "b.jpg") as image:
        assert image.info["photoshop"][0x0404].startswith(IPTC)
    with tifffile.TiffFile(tmp_path / "b.tif") as file:
        assert file.pages[0].tags[33723].value.startswith(IPTC)


def test_thumbnails_of_a_turned_picture_are_dropped(tmp_path):
    for orientation in (1, 6):
        exif = Image.Exif()
        exif[274] = orientation
        jpeg(tmp_path / "a.jpg", BLOCKS + THUMBNAIL, exif=exif)
        kept = read(tmp_path / "a.jpg").metadata.photoshop
        assert kept == BLOCKS + (THUMBNAIL if orientation == 1 else b"")


def test_what_is_too_long_for_jpeg(tmp_path):
    long = b"8BIM\x04\x0c\0\0" + struct.pack(">I", 70000) + bytes(70000)
    assert iptc.iptc_of(iptc.segments(BLOCKS + long)[4 + len(iptc.NAME) :]) == IPTC
    assert iptc.segments(iptc.resource(iptc.IPTC, bytes(70000))) == iptc.segments(b"") == b""


def test_damaged_resources_do_no_harm(rng):
    for _ in range(300):
        bad = bytearray(BLOCKS[: rng.integers(0, len(BLOCKS))])
        for place in rng.integers(0, max(1, len(bad)), 3 if bad else 0):
            bad[place] = rng.integers(256)
        whole = iptc.as_resources(bytes(bad))
        assert iptc.as_resources(whole) == whole
        iptc.iptc_of(whole)
    assert np.array_equal(list(iptc.resources(b"8BIM")), [])
