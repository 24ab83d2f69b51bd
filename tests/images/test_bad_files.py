"""Files that are no picture: one clear line each."""

from __future__ import annotations

import io
import os
import struct
import threading
import tracemalloc
import warnings
import zlib

import numpy as np
import pytest
import tifffile
from PIL import Image
from processes import run_python
from random_inputs import random_samples
from tiff_files import tiff_of

from npsrcnn.errors import UserError
from npsrcnn.images import (
    png,
    read,
    read_layout,
)


def encoded(suffix, dtype=np.uint8):
    samples = random_samples(np.random.default_rng(5), (60, 60, 3), dtype)
    if np.dtype(dtype) == np.uint8:
        file = io.BytesIO()
        Image.fromarray(samples).save(file, Image.registered_extensions()[suffix])
        return file.getvalue()
    return png.encode(samples, []) if suffix == ".png" else tiff_of(samples)


def giant_png():
    """Says 100000 x 100000 pixels, holds none."""
    data = encoded(".png")
    size = (100_000).to_bytes(4, "big")
    header = b"IHDR" + size + size + data[24:29]
    return data[:12] + header + zlib.crc32(header).to_bytes(4, "big") + data[33:]


def png_without_palette():
    """Says that its samples are places in one."""
    file = io.BytesIO()
    Image.fromarray(np.zeros((8, 8), np.uint8)).convert("P").save(file, "PNG")
    data = file.getvalue()
    start = data.index(b"PLTE") - 4
    length = int.from_bytes(data[start : start + 4], "big")
    return data[:start] + data[start + 12 + length :]


BAD = {
    "text.png": (lambda: b"this is no picture\n", "not an image, or of an unknown format"),
    "empty.png": (lambda: b"", "empty"),
    "cut.jpg": (lambda: encoded(".jpg")[:-2000], "damaged or truncated"),
    "cut.png": (lambda: encoded(".png")[:-2000], "damaged or truncated"),
    "cut16.png": (lambda: encoded(".png", np.uint16)[:-2000], "damaged|truncated"),
    "cut.tif": (lambda: encoded(".tif")[:4000], "damaged|truncated|not an image"),
    "cut16.tif": (lambda: encoded(".tif", np.uint16)[:4000], "damaged|truncated|not an image"),
    "cut.webp": (lambda: encoded(".webp")[:1000], "damaged or truncated|not an image"),
    "head.png": (lambda: encoded(".png")[:20], "damaged|not an image"),
    "head.bmp": (lambda: encoded(".bmp")[:20], "damaged|not an image"),
    "no_palette.png": (png_without_palette, r"damaged or truncated \(AssertionError"),
    "giant.png": (giant_png, "decompression bomb"),
    "program.eps": (lambda: b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not an image"),
}


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", list(BAD))
def test_a_bad_file_is_one_clear_line(tmp_path, name):
    content, message = BAD[name]
    path = tmp_path / name
    path.write_bytes(content())
    with pytest.raises(UserError, match=message) as caught:
        read(path)
    assert str(caught.value).startswith(f"{path}: ") and "\n" not in str(caught.value)


def test_a_flipped_byte_does_no_harm(tmp_path, rng):
    """Whatever a damaged file holds: a picture, or one line."""
    for suffix, dtype in ((".png", np.uint8), (".png", np.uint16), (".tif", np.uint16),
                          (".jpg", np.uint8), (".webp", np.uint8), (".gif", np.uint8)):  # fmt: skip
        good = encoded(suffix, dtype)
        for _ in range(40):
            data = bytearray(good)
            for place in rng.integers(0, min(len(data), 400), 3):
                data[place] = rng.integers(256)
            (tmp_path / "a").write_bytes(data)
            try:
                assert read(tmp_path / "a").pixels.size > 0
            except UserError as error:
                assert "\n" not in str(error)


@pytest.mark.skipif(os.name == "nt", reason="there libtiff is a part of Pillow's own module")
@pytest.mark.parametrize("mode", ["RGB", "CMYK"])  # read strip by strip, and by Pillow
def test_libtiff_prints_nothing_of_a_damaged_file(tmp_path, capfd, mode):
    path = tmp_path / "a.tif"
    Image.new(mode, (60, 60), "red").save(path, compression="tiff_lzw")
    with Image.open(path) as image:
        place = image.tag_v2[273][0]
    data = bytearray(path.read_bytes())
    data[place + 8 : place + 30] = bytes(22)
    path.write_bytes(data)
    with pytest.raises(UserError, match="damaged or truncated"):
        read(path)
    assert capfd.readouterr().err == ""


def test_what_pillow_logs_is_not_printed(tmp_path):
    """Where no program has set up logging it goes to stderr."""
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, np.zeros((8, 9, 3), np.uint8), photometric="rgb", metadata=None)
    entries = [struct.pack("<HHIH", 277, 3, 1, count) for count in (3, 40)]
    assert entries[0] in path.read_bytes()
    path.write_bytes(path.read_bytes().replace(*entries))
    code = f"""
import sys
from npsrcnn import images
from npsrcnn.errors import UserError
sys.stderr = sys.stdout
try:
    images.read({str(path)!r})
except UserError as error:
    print(error)
"""
    said = run_python(code)
    assert "40 channels" in said and said.count("\n") == 1


@pytest.mark.parametrize("suffix", [".jp2", ".psd"])
def test_no_memory_is_taken_for_what_a_file_says_it_holds(tmp_path, suffix):
    path, size = tmp_path / f"a{suffix}", (2**32 - 16).to_bytes(4, "big")
    if suffix == ".jp2":
        data = encoded(suffix)
        place = data.index(b"jp2h") - 4
        path.write_bytes(data[:place] + size + data[place + 4 :])
    else:  # of many colours
        head = struct.pack(">4sH6xHIIHH", b"8BPS", 1, 3, 8, 9, 8, 3)
        path.write_bytes(head + size + bytes(500))
    tracemalloc.start()
    try:
        with pytest.raises(UserError, match="damaged or truncated"):
            read_layout(path)
        assert tracemalloc.get_traced_memory()[1] < 1 << 24
    finally:
        tracemalloc.stop()


def test_what_is_no_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError):
        read(tmp_path / "missing.png")
    with pytest.raises(UserError, match="a folder, not an image"):
        read(tmp_path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes in the file system")
def test_a_pipe_is_named_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(UserError, match="not a regular file"):
        read(tmp_path / "pipe.png")


def test_warnings_are_as_before_after_many_threads(tmp_path):
    (tmp_path / "a.tif").write_bytes(encoded(".tif")[:4000])
    (tmp_path / "b.png").write_bytes(encoded(".png"))
    before = list(warnings.filters)

    def work():
        for _ in range(20):
            for name in ("a.tif", "b.png"):
                try:
                    read(tmp_path / name)
                except UserError:
                    continue

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert warnings.filters == before
