"""What browsers may send."""

from __future__ import annotations

import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from npsrcnn.app import limits
from npsrcnn.app.limits import check_picture, take_pictures
from npsrcnn.errors import UserError


@pytest.fixture
def picture(tmp_path, rng):
    path = tmp_path / "up" / "photo.jpg"
    path.parent.mkdir()
    Image.fromarray(rng.integers(0, 256, (40, 50, 3), np.uint8)).save(path)
    return path


def bomb(path, width, height):
    """Write a PNG file whose header promises many pixels."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(bytes(1000))), (b"IEND", b"")]
    data = b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        for name, body in chunks
    )
    path.write_bytes(data)
    return path


def test_pictures_of_one_name_stay_apart(picture, tmp_path):
    other = tmp_path / "other" / "photo.jpg"
    other.parent.mkdir()
    other.write_bytes(picture.read_bytes())
    (tmp_path / "taken").mkdir()
    taken, refused = take_pictures([str(picture), str(other)], tmp_path / "taken", 2)
    assert [path.name for path in taken] == ["photo.jpg", "photo-2.jpg"] and refused == []
    assert taken[1].read_bytes() == picture.read_bytes()


def test_a_name_cannot_lead_elsewhere(picture, tmp_path):
    odd = picture.with_name("..\\ $(x);.jpg")
    picture.rename(odd)
    (tmp_path / "taken").mkdir()
    (path,), _ = take_pictures([str(odd)], tmp_path / "taken", 2)
    assert path.parent == tmp_path / "taken" and path.name == "_ _(x)_.jpg"


def test_refusals_name_the_file_and_not_the_folder(picture, tmp_path):
    text = picture.with_name("text.png")
    text.write_text("hello")
    empty = picture.with_name("empty.png")
    empty.write_bytes(b"")
    many = bomb(picture.with_name("bomb.png"), 60_000, 60_000)
    (tmp_path / "taken").mkdir()
    sent = [str(path) for path in (text, empty, many, picture)]
    taken, refused = take_pictures(sent, tmp_path / "taken", 2)
    assert [path.name for path in taken] == ["photo.jpg"]
    assert refused[0].startswith("text.png: not an image")
    assert refused[1].startswith("empty.png: empty")
    assert refused[2].startswith("bomb.png: ") and "million" in refused[2]
    assert not any(str(tmp_path) in line for line in refused)


def test_too_many_and_none(tmp_path):
    with pytest.raises(UserError, match="201 files: at most 200"):
        take_pictures(["x"] * 201, tmp_path, 2)
    with pytest.raises(UserError, match="no picture yet"):
        take_pictures([], tmp_path, 2)


def test_too_large(picture, monkeypatch, tmp_path):
    large = bomb(tmp_path / "large.png", 7000, 6000)
    with pytest.raises(UserError, match=r"7000 x 6000 pixels: at most 40 million"):
        check_picture(large)
    with pytest.raises(UserError, match="choose a smaller scale"):
        check_picture(bomb(tmp_path / "fits.png", 6000, 6000), 3)
    monkeypatch.setattr(limits, "MOST_FILE_BYTES", 100)
    with pytest.raises(UserError, match="more than 0 MB"):
        check_picture(picture)
