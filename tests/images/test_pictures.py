"""Pictures of every kind in and out, and files that are none."""

from __future__ import annotations

import errno
import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms
from random_inputs import random_samples, smooth_samples
from tiff_files import directory_of, tiff_of

from npsrcnn.errors import UserError
from npsrcnn.images import (
    Picture,
    list_images,
    png,
    read,
    read_array,
    read_size,
    tiff_layout,
    tiff_writer,
    writable,
    write,
)

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
LOSSLESS = {  # suffix: dtypes, channels
    ".png": ((np.uint8, np.uint16), (1, 2, 3, 4)),
    ".tif": ((np.uint8, np.uint16, np.float32), (1, 2, 3, 4)),
    ".bmp": ((np.uint8,), (1, 3)),
    ".ppm": ((np.uint8,), (1, 3)),
    ".tga": ((np.uint8,), (1, 3, 4)),
    ".jp2": ((np.uint8,), (1, 2, 3, 4)),
}


@pytest.mark.parametrize(
    ("suffix", "dtype", "channels"),
    [
        (suffix, dtype, channels)
        for suffix, (dtypes, counts) in LOSSLESS.items()
        for dtype in dtypes
        for channels in counts
    ],
)
def test_a_lossless_file_gives_back_what_was_written(tmp_path, rng, suffix, dtype, channels):
    samples = random_samples(rng, (41, 37, channels), dtype)
    write(tmp_path / f"a{suffix}", Picture.from_samples(samples))
    picture = read(tmp_path / f"a{suffix}")
    assert picture.pixels.dtype == dtype
    assert picture.pixels.ndim == (2 if channels < 3 else 3)
    assert (picture.alpha is not None) == (channels in (2, 4))
    np.testing.assert_array_equal(picture.samples(), samples)


@pytest.mark.parametrize(
    ("suffix", "channels"), [(".jpg", 1), (".jpg", 3), (".webp", 3), (".webp", 4), (".jpeg", 3)]
)
def test_a_lossy_file_is_close(tmp_path, suffix, channels):
    samples = smooth_samples((64, 48, channels))
    write(tmp_path / f"a{suffix}", samples)
    result = read(tmp_path / f"a{suffix}").samples()
    assert result.shape == samples.shape
    assert np.abs(result.astype(int) - samples).mean() < 2


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_others_read_what_is_written(tmp_path, rng, suffix, channels):
    samples = random_samples(rng, (300, 411, channels), np.uint8)  # more than one block or strip
    write(tmp_path / f"a{suffix}", samples)
    with Image.open(tmp_path / f"a{suffix}") as image:
        assert image.mode == {1: "L", 3: "RGB", 4: "RGBA"}[channels]
        np.testing.assert_array_equal(np.atleast_3d(image), samples)
    wide = random_samples(rng, (50, 60, channels), np.uint16)
    write(tmp_path / f"b{suffix}", wide)
    with Image.open(tmp_path / f"b{suffix}") as image:  # 16-bit colour as the upper 8 bits
        expected = wide if channels == 1 else wide >> 8
        np.testing.assert_array_equal(np.atleast_3d(image), expected)


def pillow_cases():
    rng = np.random.default_rng(3)
    rgb = Image.fromarray(rng.integers(0, 256, (20, 30, 3), np.uint8))
    rgba = Image.fromarray(rng.integers(0, 256, (20, 30, 4), np.uint8))
    grey = rgb.convert("L")
    palette = rgb.quantize(16)
    grey_palette = grey.convert("P")
    yield "bits.png", grey.convert("1"), {}, np.asarray(grey.convert("1").convert("L")), None
    yield "bits.tif", grey.convert("1"), {}, np.asarray(grey.convert("1").convert("L")), None
    yield "grey.png", grey, {}, np.asarray(grey), None
    yield "palette.png", palette, {}, np.asarray(palette.convert("RGB")), None
    yield "palette.gif", palette, {}, np.asarray(palette.convert("RGB")), None
    yield "grey_palette.png", grey_palette, {}, np.asarray(grey), None
    hidden = np.where(np.asarray(palette) == 3, 0, 255)
    yield "hole.png", palette, {"transparency": 3}, np.asarray(palette.convert("RGB")), hidden
    levels = bytes(range(0, 160, 10))
    opacity = np.frombuffer(levels, np.uint8)[np.asarray(palette)]
    yield (
        "levels.png",
        palette,
        {"transparency": levels},
        np.asarray(palette.convert("RGB")),
        opacity,
    )
    key = rgb.getpixel((4, 7))
    hidden = np.where((np.asarray(rgb) == key).all(axis=2), 0, 255)
    yield "key.png", rgb, {"transparency": key}, np.asarray(rgb), hidden
    yield "rgba.png", rgba, {}, np.asarray(rgba)[..., :3], np.asarray(rgba)[..., 3]
    yield (
        "rgba.tif",
        rgba,
        {"compression": "tiff_lzw"},
        np.asarray(rgba)[..., :3],
        np.asarray(rgba)[..., 3],
    )
    yield "cmyk.tif", rgb.convert("CMYK"), {}, np.asarray(rgb.convert("CMYK").convert("RGB")), None
    wide = rng.integers(0, 65536, (20, 30), np.uint16)
    for name in ("wide.png", "wide.tif", "wide.pgm"):
        yield name, Image.fromarray(wide), {}, wide, None
    floats = rng.standard_normal((20, 30)).astype(np.float32)
    yield "floats.tif", Image.fromarray(floats), {}, floats, None


@pytest.mark.parametrize("case", list(pillow_cases()), ids=lambda case: case[0])
def test_pictures_of_every_kind(tmp_path, case):
    name, image, options, pixels, alpha = case
    image.save(tmp_path / name, **options)
    picture = read(tmp_path / name)
    assert picture.pixels.dtype == pixels.dtype and picture.pixels.flags.writeable
    np.testing.assert_array_equal(picture.pixels, pixels)
    if alpha is None:
        assert picture.alpha is None
    else:
        np.testing.assert_array_equal(picture.alpha, alpha)


@pytest.mark.parametrize("depth", [1, 2, 4])
def test_a_transparent_grey_of_few_bits(tmp_path, depth):
    """Its key (PNG specification, 11.3.1) counts in the file's levels, not in ours."""
    levels = np.arange(2**depth, dtype=np.uint8)[None]
    bits = levels[..., None] >> np.arange(depth)[::-1] & 1
    parts = [
        (b"IHDR", struct.pack(">IIBBBBB", levels.size, 1, depth, 0, 0, 0, 0)),
        (b"tRNS", struct.pack(">H", 1)),
        (b"IDAT", zlib.compress(b"\0" + np.packbits(bits).tobytes())),
        (b"IEND", b""),
    ]
    (tmp_path / "a.png").write_bytes(png.SIGNATURE + b"".join(png._chunk(*p) for p in parts))
    picture = read(tmp_path / "a.png")
    np.testing.assert_array_equal(picture.pixels, levels * np.uint8(255 // (2**depth - 1)))
    np.testing.assert_array_equal(picture.alpha, np.where(levels == 1, 0, 255))


def test_cmyk_becomes_srgb(tmp_path):
    image = Image.fromarray(smooth_samples((32, 32, 3))).convert("CMYK")
    image.save(tmp_path / "plain.jpg", quality=95)
    plain = read(tmp_path / "plain.jpg")
    assert plain.pixels.shape == (32, 32, 3) and plain.metadata.icc_profile is None
    assert np.abs(plain.pixels.astype(int) - np.asarray(image.convert("RGB"))).mean() < 3
    image.save(tmp_path / "profile.jpg", quality=95, icc_profile=SRGB)  # one that is not of CMYK
    assert read(tmp_path / "profile.jpg").metadata.icc_profile is None


def animation(path, count=3):
    frames = [Image.new("RGB", (8, 8), (80 * i, 0, 0)) for i in range(count)]
    frames[0].save(path, save_all=True, append_images=frames[1:])


@pytest.mark.parametrize("suffix", [".gif", ".png", ".webp"])
def test_animations_are_refused(tmp_path, suffix):
    animation(tmp_path / f"a{suffix}")
    with pytest.raises(UserError, match=r"a\.\w+: \w+ of 3 frames \(animated\)"):
        read(tmp_path / f"a{suffix}")


def test_pages_are_refused_but_not_a_picture_that_comes_with_others(tmp_path):
    animation(tmp_path / "a.tif")
    with pytest.raises(UserError, match=r"a\.tif: TIFF of 3 pages"):
        read(tmp_path / "a.tif")
    animation(tmp_path / "a.mpo", 2)
    assert read(tmp_path / "a.mpo").pixels.shape == (8, 8, 3)


@pytest.mark.parametrize(
    "dtype", [np.int8, np.int16, np.uint32, np.int32, np.float16, np.float32, np.float64]
)
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_every_type_of_tiff(tmp_path, rng, dtype, channels):
    if np.dtype(dtype).kind == "f":
        samples = (50 * rng.standard_normal((31, 23, channels))).astype(dtype)
    else:
        info = np.iinfo(dtype)
        samples = rng.integers(info.min, info.max, (31, 23, channels), dtype, endpoint=True)
    write(tmp_path / "a.tif", samples)
    np.testing.assert_array_equal(read(tmp_path / "a.tif").samples(), samples)
    if channels in (1, 3):
        stored = tifffile.imread(tmp_path / "a.tif")
        np.testing.assert_array_equal(np.atleast_3d(stored), samples)


def test_measured_values_become_training_images_of_16_bits(tmp_path):
    """Black and white are the least and the largest value; what has none is like its neighbours."""
    heights = np.full((9, 9), -20, np.int16)
    heights[:, 5:], heights[0, 0] = 80, -32768
    directory = directory_of({42113: "-32768"})
    (tmp_path / "a.tif").write_bytes(tiff_writer.encode(heights[..., None], directory))
    expected = np.where(heights == 80, 65535, 0)
    np.testing.assert_array_equal(read_array(tmp_path / "a.tif"), expected)
    write(tmp_path / "b.tif", np.array([[0, 0.25, 1, np.nan]], np.float32))
    found = read_array(tmp_path / "b.tif")
    np.testing.assert_array_equal(found, [[0, 16384, 65535, 65535]])
    assert found.dtype == np.uint16


def test_integers_of_32_bits(tmp_path):
    Image.fromarray(np.array([[0, 65536]], np.int32)).save(tmp_path / "b.tif")
    np.testing.assert_array_equal(read(tmp_path / "b.tif").pixels, [[0, 65536]])
    Image.fromarray(np.array([[-5, 7]], np.int32)).save(tmp_path / "c.tif")
    np.testing.assert_array_equal(read(tmp_path / "c.tif").pixels, [[-5, 7]])


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        (np.zeros((9, 9, 5), np.uint16), "RGB, 5 channels of uint16"),
        (np.zeros((9, 9), np.int64), "grey, 1 channel of int64"),
    ],
)
def test_a_tiff_that_is_not_taken_is_told_what_it_is(tmp_path, samples, message):
    kind = "rgb" if samples.ndim == 3 else "minisblack"
    tifffile.imwrite(tmp_path / "a.tif", samples, photometric=kind)
    with pytest.raises(UserError, match=f"a TIFF of {message}: taken are grey and RGB of 8, 16"):
        read(tmp_path / "a.tif")


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_fourth_band_is_no_transparency(tmp_path, dtype):
    """Infrared, say: ExtraSamples is 0 instead of 2."""
    data = tiff_of(np.zeros((9, 9, 4), dtype))
    entry = struct.pack("<HHI", tiff_layout.EXTRA, 3, 1)
    assert entry in data
    (tmp_path / "a.tif").write_bytes(data.replace(entry + b"\2", entry + b"\0"))
    with pytest.raises(UserError, match="its last channel is not alpha as TIFF has it"):
        read(tmp_path / "a.tif")


@pytest.mark.parametrize(
    ("name", "dtype", "shape", "message"),
    [
        ("a.jpg", np.uint16, (4, 4, 3), "JPEG holds no 16 bits a channel: write PNG or TIFF"),
        ("a.png", np.float32, (4, 4, 3), "PNG holds no 32 bits a channel: write TIFF"),
        ("a.png", np.int16, (4, 4), "PNG holds no int16: write TIFF"),
        ("a.jpg", np.uint8, (4, 4, 4), "JPEG holds no transparency"),
        ("a.webp", np.uint8, (1, 16384), "at most 16383 pixels a side"),
        ("a.gif", np.uint8, (4, 4), r"cannot write \.gif: use \.png, "),
        ("a", np.uint8, (4, 4), "a file without suffix"),
    ],
)
def test_what_a_format_cannot_hold_is_refused(tmp_path, name, dtype, shape, message):
    with pytest.raises(UserError, match=message):
        write(tmp_path / name, np.zeros(shape, dtype))
    assert not list(tmp_path.iterdir())


def test_full_opacity_is_no_transparency(tmp_path):
    samples = smooth_samples((16, 16, 4))
    samples[..., 3] = 255
    write(tmp_path / "a.jpg", samples)
    assert read(tmp_path / "a.jpg").alpha is None


def test_a_format_that_this_pillow_cannot_write(monkeypatch):
    monkeypatch.delitem(Image.SAVE, "WEBP", raising=False)
    monkeypatch.setattr(Image, "init", lambda: None)
    with pytest.raises(UserError, match="built without WEBP"):
        writable(".webp")


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EACCES, errno.EROFS])
def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch, code):
    path = tmp_path / "a.png"
    write(path, np.zeros((4, 4), np.uint8))
    before = path.read_bytes()

    def fail(self, data):
        raise OSError(code, os.strerror(code), str(self))

    monkeypatch.setattr(Path, "write_bytes", fail)
    with pytest.raises(OSError, match=os.strerror(code)) as caught:
        write(path, np.ones((4, 4), np.uint8))
    assert caught.value.filename == str(path)
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]


def test_no_such_folder(tmp_path):
    with pytest.raises(FileNotFoundError) as caught:
        write(tmp_path / "no" / "a.png", np.zeros((4, 4), np.uint8))
    assert caught.value.filename == str(tmp_path / "no" / "a.png")


@pytest.mark.parametrize("samples", [np.zeros((4, 4, 5), np.uint8), np.zeros(4, np.uint8),
                                     np.zeros((0, 4), np.uint8)])  # fmt: skip
def test_arrays_that_are_no_picture(samples):
    with pytest.raises(ValueError, match="no image"):
        Picture.from_samples(samples)


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_arrays_of_the_other_byte_order(tmp_path, rng, suffix):
    samples = rng.integers(0, 65536, (5, 6, 3), np.uint16)
    write(tmp_path / f"a{suffix}", samples.astype(samples.dtype.newbyteorder()))
    np.testing.assert_array_equal(read(tmp_path / f"a{suffix}").pixels, samples)


def test_array_types_that_are_no_picture():
    with pytest.raises(TypeError, match="int64"):
        Picture.from_samples(np.zeros((4, 4), np.int64))


def test_list_images(tmp_path):
    for name in ("b.PNG", "a.jpg", "c.txt", ".hidden.png", "d.tiff"):
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "folder.png").mkdir()
    assert [path.name for path in list_images(tmp_path)] == ["a.jpg", "b.PNG", "d.tiff"]
    with pytest.raises(UserError, match="no such folder"):
        list_images(tmp_path / "missing")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="no image files"):
        list_images(tmp_path / "empty")


def test_the_size_is_read_without_the_pixels(tmp_path, rng):
    image = Image.fromarray(rng.integers(0, 255, (31, 47, 3), np.uint8))
    for suffix in (".png", ".jpg", ".tif", ".gif", ".jp2"):
        path = tmp_path / f"image{suffix}"
        image.save(path)
        assert read_size(path) == (31, 47)
        path.write_bytes(path.read_bytes()[:-50])  # its end is not looked at
        assert read_size(path) == (31, 47)
    path.write_text("no picture")
    for bad, error in ((path, UserError), (tmp_path, UserError), (tmp_path / "no", OSError)):
        with pytest.raises(error):
            read_size(bad)


def test_causes_of_an_error_come_to_an_end(tmp_path):
    """Who collects them, as Dask does on a worker, would never return from a circle."""
    (tmp_path / "none.jpg").write_bytes(b"this is no picture")
    with pytest.raises(UserError) as caught:
        read(tmp_path / "none.jpg")
    causes = [caught.value]
    while causes[-1].__cause__ is not None:
        causes.append(causes[-1].__cause__)
        assert len(causes) < 10
