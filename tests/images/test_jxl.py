"""JPEG XL in and out: pixels, colours, what belongs to a picture, and what is left out."""

from __future__ import annotations

import struct
import sys

import numpy as np
import pytest
from PIL import Image
from random_inputs import random_net, smooth_samples

from npsrcnn import images
from npsrcnn.errors import UserError
from npsrcnn.images import Picture, formats, jxl, jxl_header
from npsrcnn.images.encoding import Encoding
from npsrcnn.images.icc import profile_of
from npsrcnn.images.metadata import Metadata
from npsrcnn.upscaling.choice import Chosen
from npsrcnn.upscaling.files import EnlargeOptions, Job, enlarge_file

imagecodecs = pytest.importorskip("imagecodecs", reason="writes JPEG XL")
pillow_jxl = pytest.importorskip("pillow_jxl", reason="reads the profile of JPEG XL")
SMOOTH = smooth_samples((40, 48, 4))
P3 = profile_of({b"cICP": bytes([12, 13, 0, 1])}, None, False)
GREY = profile_of({}, 0.5, True)
SHAPES = [(24, 32), (31, 45, 3), (24, 33, 2), (240, 32, 4), (1, 1, 3)]


def writes_signed():
    """Whether libjxl takes floats of both signs, which 0.12 does not."""
    try:
        imagecodecs.jpegxl_encode(np.array([[-1e-6, 0.25]], np.float32), lossless=True)
    except imagecodecs.JpegxlError:
        return False
    return True


def values(rng, shape, dtype):
    if np.dtype(dtype).kind == "f":
        return (rng.standard_normal if writes_signed() else rng.random)(shape).astype(dtype)
    return rng.integers(0, np.iinfo(dtype).max, shape, dtype, endpoint=True)


def boxed(codestream, *boxes):
    parts = [jxl.TYPE, *boxes, (b"jxlc", codestream)]
    return jxl.CONTAINER + b"".join(struct.pack(">I4s", 8 + len(b), n) + b for n, b in parts)


def enlarged(path, name="large.jxl", **options):
    how = EnlargeOptions(Chosen([random_net("3-1-3")]), 2, **options)
    return enlarge_file(Job(path, path.with_name(name), fallback=path.with_name("large.png")), how)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("shape", SHAPES)
def test_pixels_are_read_as_their_encoder_had_them(tmp_path, rng, shape, dtype):
    samples = values(rng, shape, dtype)
    (tmp_path / "a.jxl").write_bytes(imagecodecs.jpegxl_encode(samples, lossless=True))
    picture = images.read(tmp_path / "a.jxl")
    np.testing.assert_array_equal(picture.samples(), np.atleast_3d(samples))
    assert picture.lossless
    channels = np.atleast_3d(samples).shape[2]
    layout = images.read_layout(tmp_path / "a.jxl")
    assert layout == (*shape[:2], channels, samples.itemsize, 1)


@pytest.mark.parametrize("bits", [10, 12])
def test_10_and_12_bits_become_16_from_black_to_white(tmp_path, rng, bits):
    samples = rng.integers(0, 2**bits, (31, 45, 3)).astype(np.uint16)
    samples[0, :2] = [[0], [2**bits - 1]]
    data = imagecodecs.jpegxl_encode(samples, lossless=True, bitspersample=bits)
    (tmp_path / "a.jxl").write_bytes(data)
    expected = np.rint(samples * (65535 / (2**bits - 1))).astype(np.uint16)
    np.testing.assert_array_equal(images.read(tmp_path / "a.jxl").pixels, expected)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("with_profile", [False, True])
def test_nothing_is_lost_where_that_is_asked_for(tmp_path, rng, shape, dtype, with_profile):
    color = len(shape) > 2 and shape[2] > 2
    metadata = Metadata(icc_profile=(P3 if color else GREY) if with_profile else None)
    picture = Picture.from_samples(values(rng, shape, dtype), metadata)
    images.write(tmp_path / "a.jxl", picture, Encoding(lossless=True))
    back = images.read(tmp_path / "a.jxl")
    np.testing.assert_array_equal(back.samples(), picture.samples())
    assert back.metadata.icc_profile == metadata.icc_profile
    assert back.metadata.color == {}  # no label that was not there
    *_, profile, _ = pillow_jxl.Decoder(num_threads=1)((tmp_path / "a.jxl").read_bytes())
    if with_profile:
        assert profile == metadata.icc_profile
    else:
        assert any(name.encode("utf-16-be") in profile for name in ("sRGB", "Gra_D65_Rel_SRG"))


def test_values_below_zero_that_this_libjxl_cannot_write_are_one_line(tmp_path, monkeypatch):
    def refuse(*args, **options):
        raise imagecodecs.JpegxlError("JxlEncoderProcessOutput", -1)

    monkeypatch.setattr(imagecodecs, "jpegxl_encode", refuse)
    picture = Picture.from_samples(np.array([[[-1e-6], [0.25]]], np.float32))
    with pytest.raises(UserError, match="takes no values below zero: give --for"):
        images.write(tmp_path / "a.jxl", picture, Encoding(lossless=True))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_lossless_file_stays_one_and_a_lossy_one_too(tmp_path, dtype):
    samples = SMOOTH.astype(dtype) * (1 if dtype == np.uint8 else 257)
    images.write(tmp_path / "a.jxl", Picture.from_samples(samples), Encoding(lossless=True))
    assert images.read(enlarged(tmp_path / "a.jxl").target).lossless
    if dtype == np.uint8:
        images.write(tmp_path / "b.jxl", Picture.from_samples(samples))
        assert not images.read(enlarged(tmp_path / "b.jxl").target).lossless
        encoding = Encoding(quality=90)
        assert not images.read(enlarged(tmp_path / "a.jxl", encoding=encoding).target).lossless


@pytest.mark.parametrize("profile", [None, P3])
def test_quality_is_that_of_the_file(tmp_path, rng, profile):
    noise = Picture(rng.integers(0, 256, (64, 64, 3), np.uint8), metadata=Metadata(profile))
    sizes, errors = [], []
    for quality in (20, 60, None, 100):
        images.write(tmp_path / "a.jxl", noise, Encoding(quality=quality))
        sizes.append((tmp_path / "a.jxl").stat().st_size)
        back = images.read(tmp_path / "a.jxl")
        errors.append(np.abs(back.pixels.astype(int) - noise.pixels).mean())
        assert back.metadata.icc_profile == profile
    assert sizes == sorted(sizes) and 1.4 * sizes[0] < sizes[2]
    assert errors == sorted(errors, reverse=True) and errors[3] < 4


def test_more_than_8_bits_and_a_quality_do_not_go_together(tmp_path):
    with pytest.raises(UserError, match="without loss alone: leave out --quality"):
        images.write(tmp_path / "a.jxl", SMOOTH.astype(np.uint16), Encoding(quality=80))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_picture_is_turned_once(tmp_path, orientation):
    """The codestream's header and EXIF both say how; of PNG EXIF alone does."""
    stored = SMOOTH[..., :3]
    block = Image.Exif()
    block[0x0112], block[0x010F] = orientation, "Maker"
    plain = imagecodecs.jpegxl_encode(stored, lossless=True)
    data = boxed(oriented(plain, orientation), (b"Exif", bytes(4) + block.tobytes()[6:]))
    (tmp_path / "a.jxl").write_bytes(data)
    Image.fromarray(stored).save(tmp_path / "a.png", exif=block.tobytes())
    found, expected = (images.read(tmp_path / name) for name in ("a.jxl", "a.png"))
    np.testing.assert_array_equal(found.pixels, expected.pixels)
    assert found.metadata.exif == expected.metadata.exif
    assert images.read_size(tmp_path / "a.jxl") == expected.pixels.shape[:2]


def oriented(codestream, orientation):
    """A codestream whose header says how to turn it: no intrinsic size, preview or animation."""
    header = jxl_header.parse(codestream)
    reader = jxl_header.BitReader(codestream)
    start = header.color_place[0] - 9  # not all usual, no more fields, 8 bits, buffers, no extra
    writer = jxl_header.BitWriter()
    writer.add(reader.between(0, start + 1))
    assert reader.between(start, start + 2) == (0, 2)
    writer.add((1, 1), (orientation - 1, 3), (0, 3))
    writer.add(reader.between(start + 2, header.color_place[1]))
    writer.add((1, 1), reader.between(header.color_place[1], header.end))  # usual tone mapping
    return writer.to_bytes() + codestream[-(-header.end // 8) :]


@pytest.mark.parametrize("packed", [False, True])
def test_what_belongs_to_a_picture_is_kept(tmp_path, packed):
    block = Image.Exif()
    block[0x010F] = "Maker"
    block.get_ifd(0x8769)[0xA002] = 48
    described = b'<x:xmpmeta xmlns:x="adobe:ns:meta/" exif:PixelXDimension="48"/>'
    boxes = [(b"Exif", bytes(4) + block.tobytes()[6:]), (b"xml ", described)]
    if packed:
        boxes = [(b"brob", name + imagecodecs.brotli_encode(body)) for name, body in boxes]
    plain = imagecodecs.jpegxl_encode(SMOOTH, lossless=True)
    (tmp_path / "a.jxl").write_bytes(boxed(jxl_header.with_colors(plain, P3), *boxes))
    back = images.read(enlarged(tmp_path / "a.jxl").target)
    assert back.metadata.icc_profile == P3
    assert b'exif:PixelXDimension="96"' in back.metadata.xmp
    block = Image.Exif()
    block.load(back.metadata.exif)
    assert block[0x010F] == "Maker" and block.get_ifd(0x8769)[0xA002] == 96
    assert back.alpha is not None


def test_colours_by_a_profile_that_come_out_as_light_become_srgb(tmp_path):
    """Lossy files hold absolute colours: the decoder gives light where it knows no profile."""
    plain = imagecodecs.jpegxl_encode(SMOOTH, distance=0.5)
    header = jxl_header.parse(plain)
    (tmp_path / "plain.jxl").write_bytes(plain)
    expected = images.read(tmp_path / "plain.jxl").pixels.astype(int)
    with pytest.raises(ValueError, match="takes no profile"):
        jxl_header.with_colors(plain, P3)
    header.xyb = False
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jxl_header, "parse", lambda _: header)
        data = jxl_header.with_colors(plain, P3)
    (tmp_path / "a.jxl").write_bytes(data)
    picture = images.read(tmp_path / "a.jxl")
    assert np.abs(picture.pixels - expected).mean() < 2
    assert picture.metadata.icc_profile is None and not picture.lossless


def test_light_by_its_number_becomes_a_profile(tmp_path):
    """imagecodecs calls 16 bits light."""
    data = imagecodecs.jpegxl_encode(SMOOTH[..., :3].astype(np.uint16) << 8, lossless=True)
    (tmp_path / "a.jxl").write_bytes(data)
    picture = images.read(tmp_path / "a.jxl")
    assert picture.metadata.color == {b"cICP": bytes([1, 8, 0, 1])}
    back = images.read(enlarged(tmp_path / "a.jxl").target)
    assert back.metadata.icc_profile == profile_of(picture.metadata.color, None, False)


def test_a_profile_of_any_length_goes_in(rng):
    plain = imagecodecs.jpegxl_encode(SMOOTH[..., :3], lossless=True)
    for maker in (b"APPL", b"MSFT", b"SGI ", b"SUNW", b"ADBE", b"\0\0\0\0"):
        profile = P3[:40] + maker + P3[44:]
        data = jxl_header.with_colors(plain, profile)
        assert pillow_jxl.Decoder(num_threads=1)(data)[3] == profile
        np.testing.assert_array_equal(imagecodecs.jpegxl_decode(data), SMOOTH[..., :3])


def test_an_animation_is_refused(tmp_path):
    frames = np.stack([SMOOTH[..., :3], SMOOTH[::-1, :, :3]])
    (tmp_path / "a.jxl").write_bytes(imagecodecs.jpegxl_encode(frames, lossless=True))
    with pytest.raises(UserError, match=r"a.jxl: JPEG XL of several frames \(animated\)"):
        images.read(tmp_path / "a.jxl")


def test_damage_is_told_in_one_line(tmp_path):
    data = imagecodecs.jpegxl_encode(SMOOTH, lossless=True)
    for length in (3, 9, len(data) // 2):
        (tmp_path / "a.jxl").write_bytes(data[:length])
        with pytest.raises(UserError, match=r"a.jxl: damaged or truncated \(") as error:
            images.read(tmp_path / "a.jxl")
        assert "\n" not in str(error.value)


def test_more_pixels_than_are_taken_are_refused_by_the_header(tmp_path, monkeypatch):
    (tmp_path / "a.jxl").write_bytes(imagecodecs.jpegxl_encode(SMOOTH, lossless=True))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 900)
    monkeypatch.setattr(imagecodecs, "jpegxl_decode", None)
    with pytest.raises(UserError, match="refused as a decompression bomb"):
        images.read(tmp_path / "a.jxl")


@pytest.mark.parametrize("package", ["imagecodecs", "pillow_jxl"])
def test_without_the_packages_both_ways_name_them(tmp_path, monkeypatch, package):
    picture = Picture(SMOOTH[..., :3], metadata=Metadata(icc_profile=P3))
    images.write(tmp_path / "a.jxl", picture)
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.setattr(formats.Format, "is_here", lambda format: not format.packages)
    line = r'which takes a package more: pip install "npsrcnn\[formats\]"$'
    with pytest.raises(UserError, match=rf"a.jxl: JPEG XL.*, {line}"):
        images.read(tmp_path / "a.jxl")
    with pytest.raises(UserError, match=rf"cannot write .jxl, {line}"):
        images.write(tmp_path / "b.jxl", SMOOTH)
