"""The table in a JPEG file's header, whatever wrote it, and what is wrong with it."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from npsrcnn.errors import UserError
from npsrcnn.images.compression import strength_of_file
from npsrcnn.pixels.jpeg import LUMINANCE, luminance_table, strength_of_table

TABLE = b"\xff\xdb\x00\x43\x00"  # the marker of a table, its length, and its number


@pytest.fixture
def picture(rng):
    return Image.fromarray(rng.integers(0, 256, (24, 32, 3), np.uint8))


def jpeg_of(picture, **options):
    with io.BytesIO() as file:
        picture.save(file, "JPEG", **options)
        return file.getvalue()


@pytest.mark.parametrize("quality", [1, 10, 50, 74, 95, 100])
@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_libjpegs_tables(tmp_path, picture, quality, mode):
    picture.convert(mode).save(tmp_path / "a.jpg", quality=quality)
    expected = strength_of_table(luminance_table(quality))
    assert strength_of_file(tmp_path / "a.jpg") == expected


@pytest.mark.parametrize("options", [{"progressive": True}, {"subsampling": 2}, {"optimize": True}])
def test_kinds_of_jpeg(tmp_path, picture, options):
    picture.save(tmp_path / "a.jpeg", quality=30, **options)
    assert strength_of_file(tmp_path / "a.jpeg") == strength_of_table(luminance_table(30))


def test_the_luminance_table_of_another_encoder(tmp_path, picture):
    tables = [[7] * 64, [99] * 64]
    picture.save(tmp_path / "a.jpg", qtables=tables)
    expected = 7 * 64 / LUMINANCE.sum() * 100
    assert strength_of_file(str(tmp_path / "a.jpg")) == pytest.approx(expected)


def test_steps_stand_where_their_frequency_does(tmp_path, picture):
    """255 is what a table cannot exceed, and is not counted: not by the order in the file."""
    steps = np.full(64, 255)
    steps[:24] = LUMINANCE.reshape(-1)[:24]  # the three rows of low vertical frequencies
    picture.save(tmp_path / "a.jpg", qtables=[steps.tolist()])
    assert strength_of_file(tmp_path / "a.jpg") == pytest.approx(100)


def test_several_pictures_in_a_file(tmp_path, picture):
    picture.save(tmp_path / "a.mpo", "MPO", save_all=True, append_images=[picture], quality=60)
    with Image.open(tmp_path / "a.mpo") as image:
        assert image.format == "MPO"
    assert strength_of_file(tmp_path / "a.mpo") == strength_of_table(luminance_table(60))


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF", "BMP"])
def test_other_formats_have_none(tmp_path, picture, kind):
    picture.save(tmp_path / "a.jpg", kind)
    assert strength_of_file(tmp_path / "a.jpg") is None


def test_what_is_no_picture_has_none(tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"")
    assert strength_of_file(tmp_path / "a.jpg") is None


@pytest.mark.parametrize("damage", ["zero", "missing", "short", "cut"])
def test_a_damaged_table_is_one_line(tmp_path, picture, damage):
    data = jpeg_of(picture)
    start = data.index(TABLE)
    if damage == "zero":
        data = data[: start + 9] + b"\0" + data[start + 10 :]
    elif damage == "missing":
        data = data[:start] + b"\xff\xfe" + data[start + 2 :]  # a comment
    elif damage == "short":
        data = data[: start + 2] + b"\0\x20" + data[start + 4 :]
    else:
        data = data[: start + 20]
    (tmp_path / "a.jpg").write_bytes(data)
    with pytest.raises(UserError, match=r"a\.jpg: its quantization table is damaged") as caught:
        strength_of_file(tmp_path / "a.jpg")
    assert "\n" not in str(caught.value)


def test_a_missing_file_says_so(tmp_path):
    with pytest.raises(FileNotFoundError):
        strength_of_file(tmp_path / "a.jpg")
