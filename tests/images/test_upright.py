"""Windows of pages that are stored turned: as they are cut from the whole picture."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile

from npsrcnn import images
from npsrcnn.images.tiff import TiffReader
from npsrcnn.images.upright import UprightReader

LAYOUTS = {
    "plain": {"rowsperstrip": 5},
    "strips": {"rowsperstrip": 7, "compression": "zlib"},
    "tiles": {"tile": (16, 32), "compression": "zlib"},
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("orientation", range(1, 9))
def test_any_window_is_that_of_the_whole(tmp_path, rng, layout, orientation):
    samples = rng.integers(0, 65536, (37, 53, 4), np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", samples, photometric="rgb", extrasamples=["unassalpha"],
                     extratags=[(274, 3, 1, orientation, True)], metadata=None,
                     **LAYOUTS[layout])  # fmt: skip
    whole = images.read(tmp_path / "a.tif")
    page = UprightReader(TiffReader(tmp_path / "a.tif"))
    height, width = page.kind.size
    assert (height, width) == whole.pixels.shape[:2] == ((37, 53), (53, 37))[orientation > 4]
    for _ in range(20):
        top, left = rng.integers(0, (height, width))
        bottom, right = (
            top + rng.integers(1, height - top + 1),
            left + rng.integers(1, width - left + 1),
        )
        pixels, alpha = page.read((top, bottom), (left, right))
        part = np.s_[top:bottom, left:right]
        np.testing.assert_array_equal(pixels, whole.pixels[part])
        np.testing.assert_array_equal(alpha, whole.alpha[part])
        assert pixels.flags.c_contiguous or orientation == 1  # as kernels take it


@pytest.mark.parametrize("orientation", range(1, 9))
def test_each_strip_is_decoded_once(tmp_path, rng, monkeypatch, orientation):
    samples = rng.integers(0, 256, (64, 64), np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", samples, extratags=[(274, 3, 1, orientation, True)],
                     metadata=None, rowsperstrip=8, compression="zlib")  # fmt: skip
    page, decoded = UprightReader(TiffReader(tmp_path / "a.tif")), []
    decode = TiffReader._decode
    monkeypatch.setattr(
        TiffReader, "_decode", lambda self, n: (decoded.extend(n), decode(self, n))[1]
    )
    spans = [(start, start + 16) for start in range(0, 64, 16)]
    windows = page.in_order_of_rows((rows, columns) for rows in spans for columns in spans)
    assert len(set(windows)) == 16
    for window in windows:
        page.read(*window)
    assert sorted(decoded) == list(range(8))


@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_an_unknown_orientation_is_none(tmp_path, rng, orientation):
    samples = rng.integers(0, 256, (5, 7), np.uint8)
    tags = [(274, 3, 1, orientation, True), (33550, 12, 3, (10.0, 20.0, 0.0), True)]
    tifffile.imwrite(tmp_path / "a.tif", samples, extratags=tags, metadata=None,
                     resolution=(100, 200), resolutionunit=2)  # fmt: skip
    picture = images.read(tmp_path / "a.tif")
    np.testing.assert_array_equal(picture.pixels, samples)
    assert picture.metadata.dpi == (100, 200) and 33550 in picture.metadata.tags


def test_what_is_held_follows_the_rows_of_the_file(tmp_path):
    for orientation in (1, 6):
        tifffile.imwrite(tmp_path / "a.tif", np.zeros((1000, 30), np.uint8), metadata=None,
                         extratags=[(274, 3, 1, orientation, True)], rowsperstrip=10,
                         compression="zlib")  # fmt: skip
        page = UprightReader(TiffReader(tmp_path / "a.tif"))
        few, many = page.held_bytes(20, 400), page.held_bytes(400, 20)
        assert few < 30 * 60 < many if orientation == 1 else many < 30 * 60 < few
