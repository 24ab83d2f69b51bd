"""Scenes that are not taken: one line each."""

from __future__ import annotations

import importlib
import struct

import numpy as np
import pytest
import tifffile

from npsrcnn.commands.upscale import main
from npsrcnn.errors import UserError
from npsrcnn.images.layout import read_tiff_layout
from npsrcnn.images.tiff import TiffReader


def refusal(path):
    """The one line of a scene that is not taken."""
    with pytest.raises(UserError) as caught:
        scene = TiffReader(path)
        scene.read(*((0, length) for length in scene.kind.size))
    assert str(caught.value).startswith(f"{path}: ") and "\n" not in str(caught.value)
    return str(caught.value)


def test_scenes_that_are_not_taken(tmp_path, rng, monkeypatch):
    path, grey = tmp_path / "a.tif", rng.integers(0, 256, (40, 50), np.uint8)
    path.write_bytes(b"no picture at all")
    assert "no TIFF file" in refusal(path)
    tifffile.imwrite(path, grey.astype(np.int64), metadata=None)
    assert "a TIFF of grey, 1 channel of int64: in blocks go grey" in refusal(path)
    tifffile.imwrite(path, grey, photometric="palette", metadata=None,
                     colormap=np.zeros((3, 256), np.uint16))  # fmt: skip
    assert "a TIFF of palette" in refusal(path) and "give more --memory" in refusal(path)
    five = np.dstack([grey] * 5)
    tifffile.imwrite(path, five, photometric="rgb", metadata=None)
    assert "5 channels" in refusal(path)
    for options in ({}, {"compression": "zlib"}):
        tifffile.imwrite(path, rng.integers(0, 256, (90, 90), np.uint8), metadata=None, **options)
        path.write_bytes(path.read_bytes()[:-200])
        assert "truncated" in refusal(path)


def test_a_tile_of_two_heights(tmp_path):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, np.zeros((40, 50), np.uint8), tile=(16, 16), metadata=None)
    data = path.read_bytes()
    heights = [struct.pack("<HHI", 323, 4, count) for count in (1, 2)]
    assert heights[0] in data
    path.write_bytes(data.replace(*heights))
    assert "a damaged one" in refusal(path)


def test_a_picture_of_two_widths(tmp_path):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, np.zeros((40, 50), np.uint8), metadata=None)
    data = path.read_bytes().replace(struct.pack("<HH", 258, 3), struct.pack("<HH", 258, 117))
    path.write_bytes(data.replace(*(struct.pack("<HHI", 256, 4, count) for count in (1, 2))))
    assert read_tiff_layout(path) is None
    assert "a damaged one" in refusal(path)
    assert main([str(path), "-o", str(tmp_path / "b.tif")]) == 1


def test_a_compression_without_a_decoder_says_what_to_install(tmp_path, monkeypatch):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, np.zeros((40, 50), np.uint8), metadata=None)
    with tifffile.TiffFile(path, mode="r+") as file:
        file.pages.first.tags[259].overwrite(34887)
    own = importlib.import_module("tifffile._imagecodecs")  # what it has without the package
    monkeypatch.setattr(tifffile.tifffile, "imagecodecs", own)
    assert "compressed by LERC, which needs a package more: pip install imagecodecs" in refusal(
        path
    )


@pytest.mark.parametrize("text", ["0", "big", "3X", "G"])
def test_memory_is_a_number_of_bytes(text, capsys):
    assert main(["a.tif", "--scale", "2", "--memory", text]) == 2
    assert "is not a number above 0" in capsys.readouterr().err
