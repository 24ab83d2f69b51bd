"""What a file is called that cannot be opened."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from npsrcnn.errors import UserError
from npsrcnn.images import read
from npsrcnn.images.recognized import UNKNOWN, described_file

OTHERS = {
    "JPEG XR": b"II\xbc\x01\x08\0\0\0",
    "a camera's raw file": b"\0\0\0\x18ftypcrx \0\0\0\1",
    "PDF": b"%PDF-1.7\n",
    "a web page": b"<!DOCTYPE html>\n<html>404</html>",
    "PSD of 16 bits a channel": b"8BPS\0\1" + bytes(6) + b"\0\3\0\0\0\1\0\0\0\1\0\x10\0\3",
}
APP0 = b"\xff\xe0\0\4\xff\xc0"  # which holds what looks like a frame
KINDS = {"JPEG of 12 bits a channel": b"\xc1\0\x0b\x0c", "lossless JPEG": b"\xc3\0\x0b\x08"}
KINDS |= {"JPEG-LS": b"\xf7\0\x0b\x08"}
OTHERS |= {name: b"\xff\xd8" + APP0 + b"\xff" + frame for name, frame in KINDS.items()}


@pytest.mark.parametrize("name", list(OTHERS))
def test_another_format_is_named_whatever_its_suffix_says(tmp_path, name):
    path = tmp_path / "a.jpg"
    path.write_bytes(OTHERS[name] + bytes(100))
    with pytest.raises(UserError, match=rf"a.jpg: {name}.*, which is not read: save it as PNG"):
        read(path)


def test_jpeg_xr_as_its_encoder_writes_it(tmp_path, rng):
    imagecodecs = pytest.importorskip("imagecodecs", reason="writes JPEG XR")
    pixels = rng.integers(0, 256, (16, 24, 3), np.uint8)
    (tmp_path / "a").write_bytes(imagecodecs.jpegxr_encode(pixels))
    assert described_file(tmp_path / "a") == "JPEG XR, which is not read: save it as PNG or TIFF"


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".gif", ".webp", ".jp2"])
def test_a_format_that_is_read_is_called_damaged(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    Image.fromarray(np.zeros((9, 9), np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[:16])
    assert described_file(path).endswith("but its headers are damaged or truncated")
    with pytest.raises(UserError, match=r"damaged|truncated"):
        read(path)


@pytest.mark.parametrize("data", [b"", b"text\n", b"RIFF\x10\0\0\0WAVEfmt ", b"\0\0\0\x18ftypisom"])
def test_what_is_no_picture_stays_unknown(tmp_path, data):
    (tmp_path / "a").write_bytes(data)
    assert described_file(tmp_path / "a") == UNKNOWN
