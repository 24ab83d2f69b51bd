"""What is said of a picture beside its pixels: read, turned upright, written again."""

from __future__ import annotations

import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageCms, ImageOps
from random_inputs import random_samples, smooth_samples
from tiff_files import tiff_of

from npsrcnn.images import Picture, png, read, write
from npsrcnn.images.formats import FORMATS
from npsrcnn.images.metadata import Metadata

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.webp", "wide.png", "wide.tif"])
def test_the_picture_is_upright(tmp_path, rng, name, orientation):
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = orientation, "Maker"
    samples = random_samples(rng, (5, 7, 3), np.uint8)
    path = tmp_path / name
    if name.startswith("wide"):
        write(path, Picture.from_samples(np.uint16(257) * samples))
        turn_16_bit(path, exif, orientation)
    else:
        Image.fromarray(samples).save(path, exif=exif, lossless=True)
    with Image.open(path) as image:
        expected = np.asarray(ImageOps.exif_transpose(image))
    picture = read(path)
    np.testing.assert_array_equal(
        picture.pixels // (257 if name.startswith("wide") else 1), expected
    )
    write(tmp_path / "b.png", picture)  # and says so
    with Image.open(tmp_path / "b.png") as image:
        np.testing.assert_array_equal(np.asarray(ImageOps.exif_transpose(image)), expected)
        assert image.getexif().get(0x0112, 1) == 1
        assert name == "wide.tif" or image.getexif()[0x010F] == "Maker"


@pytest.mark.parametrize("order", ["<", ">"])
def test_nothing_else_in_exif_is_touched(tmp_path, order):
    mark = {"<": b"II", ">": b"MM"}[order]
    entries = [(0x010F, 2, 4, b"abc\0"), (0x0112, 3, 1, struct.pack(order + "HH", 3, 0))]
    exif = mark + struct.pack(order + "HIH", 42, 8, len(entries))
    exif += b"".join(struct.pack(order + "HHI", *entry[:3]) + entry[3] for entry in entries)
    exif += b"\0\0\0\0" + b"a maker's own bytes"
    samples = smooth_samples((4, 5, 3))
    Image.fromarray(samples).save(tmp_path / "a.png", exif=exif)
    picture = read(tmp_path / "a.png")
    np.testing.assert_array_equal(picture.pixels, samples[::-1, ::-1])
    upright = struct.pack(order + "HHIHH", 0x0112, 3, 1, 1, 0)
    turned = struct.pack(order + "HHIHH", 0x0112, 3, 1, 3, 0)
    assert picture.metadata.exif == exif.replace(turned, upright) != exif


def turn_16_bit(path, exif, orientation):
    """Say in a 16-bit file how it is turned."""
    picture = read(path)
    if path.suffix == ".png":
        picture.metadata.exif = exif.tobytes().removeprefix(b"Exif\0\0")
        write(path, picture)
        return
    path.write_bytes(tiff_of(picture.samples(), {0x0112: orientation}))


def full_metadata():
    exif = Image.Exif()
    exif[0x010F] = "Maker"
    exif.get_ifd(0x8769)[0x9003] = "2020:01:02 03:04:05"
    exif.get_ifd(0x8825)[1] = "N"
    return Metadata(
        SRGB, exif.tobytes().removeprefix(b"Exif\0\0"), XMP, {"Comment": "a täxt"}, (300.0, 300.0)
    )


@pytest.mark.parametrize(
    ("suffix", "kept"),
    [
        (".png", {"icc_profile", "exif", "xmp", "text", "dpi"}),
        (".tif", {"icc_profile", "exif", "xmp", "dpi"}),
        (".jpg", {"icc_profile", "exif", "xmp", "dpi"}),
        (".webp", {"icc_profile", "exif", "xmp"}),
        (".bmp", {"dpi"}),
    ],
)
def test_profile_and_metadata_are_kept(tmp_path, suffix, kept):
    metadata = full_metadata()
    write(tmp_path / f"a{suffix}", Picture(smooth_samples((9, 9, 3)), None, metadata))
    found = read(tmp_path / f"a{suffix}").metadata
    if "icc_profile" in kept:
        assert found.icc_profile == SRGB
    if "exif" in kept:
        exif = Image.Exif()
        exif.load(b"Exif\0\0" + found.exif)
        assert exif[0x010F] == "Maker"
        assert exif.get_ifd(0x8769)[0x9003] == "2020:01:02 03:04:05"
        assert exif.get_ifd(0x8825)[1] == "N"
    if "xmp" in kept:
        assert found.xmp == XMP
    if "text" in kept:
        assert found.text == {"Comment": "a täxt"}
    if "dpi" in kept:
        assert found.dpi == pytest.approx((300, 300), abs=0.05)


def test_xmp_says_upright_as_well(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(smooth_samples((9, 8, 3))).save(tmp_path / "a.webp", exif=exif, xmp=XMP)
    assert read(tmp_path / "a.webp").metadata.xmp == XMP.replace(b'"6"', b'"1"')


KEYS = (1, 1, 0, 2, 1024, 0, 1, 1, 1025, 0, 1, 2)  # GTRasterType: a pixel is its centre
PLACE = {
    33550: (10.0, 20.0, 0.0), 33922: (0.0, 0.0, 0.0, 500.0, 900.0, 0.0), 34735: KEYS,
    34736: (6378137.0, 0.5), 34737: "WGS 84|", 42112: "<GDALMetadata>u</GDALMetadata>",
    42113: "-9999",
}  # fmt: skip


def tags_of(path):
    with Image.open(path) as image:
        return {tag: image.tag_v2[tag] for tag in PLACE if tag in image.tag_v2}


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_place_on_earth_goes_with_the_pixels(tmp_path, dtype):
    small, large = np.zeros((9, 7, 3), dtype), np.zeros((18, 14, 3), dtype)
    (tmp_path / "a.tif").write_bytes(tiff_of(small, PLACE))
    picture = read(tmp_path / "a.tif")
    write(tmp_path / "b.tif", picture)
    assert tags_of(tmp_path / "b.tif") == PLACE
    write(tmp_path / "c.tif", Picture(large, None, picture.metadata.enlarged(2, (18, 14))))
    assert tags_of(tmp_path / "c.tif") == PLACE | {
        33550: (5.0, 10.0, 0.0), 33922: (0.5, 0.5, 0.0, 500.0, 900.0, 0.0)
    }  # fmt: skip
    write(tmp_path / "d.tif", Picture(large, None, picture.metadata))  # nobody said where it lies
    assert tags_of(tmp_path / "d.tif") == {42113: "-9999"}  # which holds anywhere


def test_a_place_that_does_not_hold_is_dropped(tmp_path):
    samples = np.zeros((9, 9, 3), np.uint8)
    (tmp_path / "a.tif").write_bytes(tiff_of(samples, PLACE | {274: 3}))  # rows are turned
    assert set(read(tmp_path / "a.tif").metadata.tags) == {42113}
    for damage in ({33550: (10.0,)}, {33922: (1.0, 2.0)}, {34735: (1, 2, 3)}, {34264: (1.0,)}):
        (tmp_path / "a.tif").write_bytes(tiff_of(samples, PLACE | damage))
        tags = read(tmp_path / "a.tif").metadata.enlarged(2, (18, 18)).tags
        assert set(tags) == {42113}


@pytest.mark.parametrize("name", ["exif", "APP1"])
@pytest.mark.parametrize("prefix", [b"", b"Exif\0\0"])
def test_exif_in_a_text_of_png(tmp_path, name, prefix):
    """As ImageMagick and ExifTool have written it."""
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "Maker"
    body = prefix + exif.tobytes().removeprefix(b"Exif\0\0")
    text = f"\n{name}\n{len(body):8}\n{body.hex()}\n".encode()
    chunk = f"Raw profile type {name}".encode() + b"\0\0" + zlib.compress(text)
    samples = smooth_samples((9, 8, 3))
    (tmp_path / "a.png").write_bytes(png.encode(samples, [(b"zTXt", chunk)]))
    picture = read(tmp_path / "a.png")
    np.testing.assert_array_equal(picture.pixels, np.rot90(samples, -1))
    write(tmp_path / "b.png", picture)
    with Image.open(tmp_path / "b.png") as image:
        assert image.getexif()[0x010F] == "Maker" and image.getexif()[0x0112] == 1
        assert not any(key.startswith("Raw profile") for key in image.text)


def test_xmp_in_a_text_of_png(tmp_path):
    body = b"http://ns.adobe.com/xap/1.0/\0" + XMP
    text = f"\nAPP1\n{len(body):8}\n{body.hex()}\n".encode()
    chunk = b"Raw profile type APP1\0\0" + zlib.compress(text)
    (tmp_path / "a.png").write_bytes(png.encode(smooth_samples((9, 8, 3)), [(b"zTXt", chunk)]))
    assert read(tmp_path / "a.png").metadata.xmp == XMP


def test_gamma_and_texts_of_png(tmp_path):
    picture = Picture(np.zeros((2, 2), np.uint8), None, Metadata(gamma=0.5, text={"Title": "x"}))
    write(tmp_path / "a.png", picture)
    found = read(tmp_path / "a.png").metadata
    assert found.gamma == 0.5 and found.text == {"Title": "x"}


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1"])
def test_a_comment_stays_as_it_is(tmp_path, encoding):
    comment = "a täxt".encode(encoding)
    Image.fromarray(smooth_samples((9, 9, 3))).save(tmp_path / "a.jpg", comment=comment)
    picture = read(tmp_path / "a.jpg")
    write(tmp_path / "b.jpg", picture)
    assert read(tmp_path / "b.jpg").metadata.comment == comment
    write(tmp_path / "b.png", picture)  # whose texts say how they are encoded
    assert read(tmp_path / "b.png").metadata.text == {"Comment": "a täxt"}
    write(tmp_path / "c.jpg", read(tmp_path / "b.png"))
    assert read(tmp_path / "c.jpg").metadata.comment == "a täxt".encode()


@pytest.mark.parametrize("suffix", [".jpg", ".jp2"])
@pytest.mark.parametrize("more", [0, 1])
def test_metadata_too_long_for_a_format_costs_no_picture(tmp_path, suffix, more):
    limits = FORMATS[suffix].limits
    long = {key: bytes([65]) * (limit + more) for key, limit in limits.items()}
    exif = long.get("exif", b"")[len(b"Exif\0\0") :]
    metadata = Metadata(SRGB, exif, long.get("xmp"), comment=long["comment"])
    write(tmp_path / f"a{suffix}", Picture(smooth_samples((9, 9, 3)), None, metadata))
    with Image.open(tmp_path / f"a{suffix}") as image:
        for key, limit in limits.items():
            length = len(image.info.get(key, b""))  # that of OpenJPEG's own comment, if no other
            assert length < limit if more else length == limit


@pytest.mark.parametrize("exif", [b"Exif\0\0", b"Exif\0\0MM\0*\0\0\xff\0", b"Exif\0\0junk" * 9])
def test_damaged_exif_costs_no_picture(tmp_path, exif):
    samples = smooth_samples((9, 9, 3))
    Image.fromarray(samples).save(tmp_path / "a.webp", exif=exif, lossless=True)
    np.testing.assert_array_equal(read(tmp_path / "a.webp").pixels, samples)
