"""HEIC in and out: pixels, colours, what belongs to a picture, and what is left out."""

from __future__ import annotations

import io
import sys

import numpy as np
import pytest
from PIL import Image
from random_inputs import random_net, smooth_samples

from npsrcnn import images
from npsrcnn.errors import UserError
from npsrcnn.images import Picture, formats, heif
from npsrcnn.images.encoding import Encoding
from npsrcnn.images.icc import profile_of
from npsrcnn.images.metadata import Metadata
from npsrcnn.upscaling.choice import Chosen
from npsrcnn.upscaling.files import EnlargeOptions, Job, enlarge_file

pillow_heif = pytest.importorskip("pillow_heif", reason="writes HEIC")
SMOOTH = smooth_samples((40, 48, 4))
P3 = profile_of({b"cICP": bytes([12, 13, 0, 1])}, None, False)
LOSSLESS = {"quality": -1, "chroma": "444", "matrix_coefficients": 0, "full_range_flag": 1}


def write(path, samples, mode, **options):
    """A file by the library alone; 16 bits hold 10."""
    file = io.BytesIO()
    size = samples.shape[1::-1]
    pillow_heif.encode(mode, size, np.ascontiguousarray(samples).tobytes(), file, **options)
    path.write_bytes(file.getvalue())


def exif(orientation):
    block = Image.Exif()
    block[0x0112], block[0x010F] = orientation, "Maker"
    return block.tobytes()


def enlarged(path, name="large.heic", *, fixed=False, **options):
    how = EnlargeOptions(Chosen([random_net("3-1-3")]), 2, **options)
    job = Job(path, path.with_name(name), fixed, None if fixed else path.with_name("large.png"))
    return enlarge_file(job, how)


@pytest.mark.parametrize(("mode", "channels"), [("L", 1), ("RGB", 3), ("RGBA", 4)])
def test_8_bits_are_read_as_they_are(tmp_path, rng, mode, channels):
    samples = rng.integers(0, 256, (31, 45, channels), np.uint8)
    write(tmp_path / "a.heic", samples, mode, **LOSSLESS)
    np.testing.assert_array_equal(images.read(tmp_path / "a.heic").samples(), samples)
    layout = images.read_layout(tmp_path / "a.heic")
    assert (layout.rows, layout.columns, layout.channels, layout.bytes_each) == (
        31,
        45,
        channels,
        1,
    )


@pytest.mark.parametrize(("mode", "channels"), [("I;16", 1), ("RGB;16", 3), ("RGBA;16", 4)])
def test_10_bits_become_16_from_black_to_white(tmp_path, rng, mode, channels):
    stored = rng.integers(0, 1024, (31, 45, channels)).astype(np.uint16)
    stored[0, :2] = [[0], [1023]]
    write(tmp_path / "a.heic", stored << 6, mode, **LOSSLESS)
    found = images.read(tmp_path / "a.heic").samples()
    np.testing.assert_array_equal(found, np.rint(stored * (65535 / 1023)).astype(np.uint16))
    assert images.read_layout(tmp_path / "a.heic").bytes_each == 2


def test_12_bits_become_16(tmp_path, monkeypatch):
    monkeypatch.setattr(pillow_heif.options, "SAVE_HDR_TO_12_BIT", True)
    stored = SMOOTH[..., :3].astype(np.uint16) << 4
    write(tmp_path / "a.heic", stored << 4, "RGB;16", **LOSSLESS)
    found = images.read(tmp_path / "a.heic").pixels
    np.testing.assert_array_equal(found, np.rint(stored * (65535 / 4095)).astype(np.uint16))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_picture_is_turned_once(tmp_path, orientation):
    """The file's own box and EXIF both say how; of JPEG EXIF alone does."""
    stored = SMOOTH[..., :3]
    write(tmp_path / "a.heic", stored, "RGB", exif=exif(orientation), **LOSSLESS)
    Image.fromarray(stored).save(tmp_path / "a.png", exif=exif(orientation))
    found, expected = (images.read(tmp_path / name) for name in ("a.heic", "a.png"))
    np.testing.assert_array_equal(found.pixels, expected.pixels)
    assert found.metadata.exif == expected.metadata.exif
    back = images.read(enlarged(tmp_path / "a.heic").target)
    assert back.pixels.shape[:2] == tuple(2 * n for n in expected.pixels.shape[:2])
    block = Image.Exif()
    block.load(back.metadata.exif)
    assert block.get(0x0112, 1) == 1 and block[0x010F] == "Maker"


def test_what_belongs_to_a_picture_is_kept(tmp_path):
    block = Image.Exif()
    block[0x010F] = "Maker"
    block.get_ifd(0x8769)[0xA002] = 48
    described = b'<x:xmpmeta xmlns:x="adobe:ns:meta/" exif:PixelXDimension="48"/>'
    write(tmp_path / "a.heic", SMOOTH, "RGBA", icc_profile=P3, exif=block.tobytes(), xmp=described)
    back = images.read(enlarged(tmp_path / "a.heic").target)
    assert back.metadata.icc_profile == P3
    assert b'exif:PixelXDimension="96"' in back.metadata.xmp
    block = Image.Exif()
    block.load(back.metadata.exif)
    assert block[0x010F] == "Maker" and block.get_ifd(0x8769)[0xA002] == 96
    assert back.alpha is not None and back.pixels.dtype == np.uint8


def test_xmp_alone_turns_nothing(tmp_path):
    """No reader followed it before, and the encoder must not begin to."""
    pixels = SMOOTH[..., :3]
    metadata = Metadata(xmp=b'<x tiff:Orientation="6"/>')
    images.write(tmp_path / "a.heic", Picture(pixels, metadata=metadata), Encoding(lossless=True))
    np.testing.assert_array_equal(images.read(tmp_path / "a.heic").pixels, pixels)


def test_display_p3_by_numbers_stays_display_p3(tmp_path):
    numbers = {"color_primaries": 12, "transfer_characteristics": 13}
    write(tmp_path / "a.heic", SMOOTH[..., :3], "RGB", **LOSSLESS | numbers)
    assert images.read(tmp_path / "a.heic").metadata.color == {b"cICP": bytes([12, 13, 0, 1])}
    for name in ("large.heic", "large.jpg"):
        metadata = images.read(enlarged(tmp_path / "a.heic", name).target).metadata
        assert metadata.color or b"Display P3" in metadata.icc_profile


@pytest.mark.parametrize(("primaries", "transfer"), [(9, 16), (9, 18)])
def test_hdr_of_10_bits_stays_that(tmp_path, primaries, transfer):
    numbers = {"color_primaries": primaries, "transfer_characteristics": transfer}
    samples = SMOOTH[..., :3].astype(np.uint16) << 8
    write(tmp_path / "a.heic", samples, "RGB;16", chroma="444", full_range_flag=1, **numbers)
    picture = images.read(tmp_path / "a.heic")
    back = images.read(enlarged(tmp_path / "a.heic").target)
    assert back.pixels.dtype == np.uint16
    assert back.metadata.color == {b"cICP": bytes([primaries, transfer, 0, 1])}
    # the numbers are the same to a level of 8 bits: neither was taken for the other's
    np.testing.assert_allclose(picture.pixels.mean((0, 1)), samples.mean((0, 1)), atol=257)
    images.write(tmp_path / "b.heic", picture)
    again = images.read(tmp_path / "b.heic").pixels.astype(int)
    assert np.abs(again - picture.pixels).mean() < 257


@pytest.mark.parametrize("shape", [(24, 32), (24, 32, 3), (24, 32, 2), (24, 32, 4), (1, 1, 3)])
def test_nothing_is_lost_of_8_bits_where_that_is_asked_for(tmp_path, rng, shape):
    picture = Picture.from_samples(rng.integers(0, 256, shape, np.uint8))
    images.write(tmp_path / "a.heic", picture, Encoding(lossless=True))
    back = images.read(tmp_path / "a.heic")
    np.testing.assert_array_equal(back.samples(), picture.samples())


def test_what_it_cannot_hold_is_refused(tmp_path):
    wide = Picture(SMOOTH[..., :3].astype(np.uint16) << 8)
    with pytest.raises(UserError, match="holds 10 bits, which loses some of 16: write PNG"):
        images.write(tmp_path / "a.heic", wide, Encoding(lossless=True))
    with pytest.raises(UserError, match="HEIC holds no 32 bits a channel: write TIFF"):
        images.write(tmp_path / "a.heic", Picture(SMOOTH[..., 0] / np.float32(255)))


def test_16_bits_are_rounded_to_10(tmp_path):
    wide = np.linspace(0, 65535, 40 * 48).reshape(40, 48).astype(np.uint16)
    images.write(tmp_path / "a.heic", wide, Encoding(quality=100))
    found = images.read(tmp_path / "a.heic").pixels.astype(int)
    assert np.abs(found - wide).mean() < 65535 / 1023 and len(np.unique(found)) > 512


def test_quality_is_that_of_the_file(tmp_path, rng):
    noise = rng.integers(0, 256, (64, 64, 3), np.uint8)
    sizes = []
    for quality in (20, None, 100):
        images.write(tmp_path / "a.heic", noise, Encoding(quality=quality))
        sizes.append((tmp_path / "a.heic").stat().st_size)
    assert 2 * sizes[0] < sizes[1] < sizes[2]


def test_further_pictures_are_named_as_lost(tmp_path):
    file = pillow_heif.HeifFile()
    for level in (50, 200):
        file.add_frombytes("L", (48, 40), np.full((40, 48), level, np.uint8).tobytes())
    file.save(tmp_path / "a.heic", primary_index=1)
    done = enlarged(tmp_path / "a.heic")
    assert done.lost == ("other picture",)
    assert images.read(tmp_path / "a.heic").pixels.mean() == pytest.approx(200, abs=2)


def test_damage_is_told_in_one_line(tmp_path):
    write(tmp_path / "a.heic", SMOOTH, "RGBA")
    data = (tmp_path / "a.heic").read_bytes()
    (tmp_path / "a.heic").write_bytes(data[: len(data) // 2])
    with pytest.raises(UserError, match=r"a.heic: damaged or truncated \(") as error:
        images.read(tmp_path / "a.heic")
    assert "\n" not in str(error.value)


def test_more_pixels_than_are_taken_are_refused(tmp_path, monkeypatch):
    write(tmp_path / "a.heic", SMOOTH, "RGBA")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 900)
    with pytest.raises(UserError, match="refused as a decompression bomb"):
        images.read(tmp_path / "a.heic")


def test_without_the_package_both_ways_name_it(tmp_path, monkeypatch):
    write(tmp_path / "a.heic", SMOOTH, "RGBA")
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    monkeypatch.setattr(formats.Format, "is_here", lambda format: not format.packages)
    line = r'which takes a package more: pip install "npsrcnn\[formats\]"$'
    with pytest.raises(UserError, match=rf"a.heic: HEIC, {line}"):
        images.read(tmp_path / "a.heic")
    with pytest.raises(UserError, match=rf"cannot write .heif, {line}"):
        images.write(tmp_path / "b.heif", SMOOTH)


@pytest.mark.parametrize(
    ("begin", "expected"),
    [
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", True),
        (b"\0\0\0\x18ftypmif1\0\0\0\0heixmif1", True),
        (b"\0\0\0\x1cftypmif1\0\0\0\0avifmif1miaf", False),
        (b"\0\0\0\x1cftypavif\0\0\0\0avifmif1miaf", False),
        (b"\0\0\0\x14ftypisom\0\0\0\0mp42", False),
    ],
)
def test_heic_is_told_from_avif_and_clips(begin, expected):
    assert heif.is_heif(begin + bytes(100)) == expected
