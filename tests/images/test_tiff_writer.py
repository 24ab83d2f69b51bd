"""TIFF files as they are written: read back here, by Pillow and by tifffile."""

from __future__ import annotations

import io

import numpy as np
import pytest
import tifffile
from PIL import Image
from tiff_files import directory_of

from npsrcnn.images import tiff, tiff_writer


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_what_is_written_reads_back(rng, channels, dtype):
    samples = rng.integers(0, np.iinfo(dtype).max, (900, 150, channels), dtype, endpoint=True)
    data = tiff_writer.encode(samples, directory_of({270: "what it shows"}))
    np.testing.assert_array_equal(tiff.decode(data)[0], samples)
    if dtype == np.uint16 and channels == 2:
        return  # which Pillow does not know
    with Image.open(io.BytesIO(data)) as image:
        assert image.tag_v2[270] == "what it shows"
        assert len(image.tag_v2[273]) > 1 or samples.nbytes < tiff_writer.STRIP_BYTES
        pixels = np.asarray(image).reshape(samples.shape)
    shift = 8 if dtype == np.uint16 and channels > 1 else 0
    np.testing.assert_array_equal(pixels, samples >> shift)


def test_pages_of_different_kinds(rng):
    pages = [
        rng.integers(0, 256, (9, 7, 3), np.uint8),
        rng.integers(-99, 99, (5, 8, 1), np.int16),
        rng.standard_normal((3, 4, 1)).astype(np.float64),
    ]
    encoded = [
        tiff_writer.encode_page(page, directory_of({270: f"page {i}"}))
        for i, page in enumerate(pages)
    ]
    data = b"".join(tiff_writer.assemble(encoded))
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        assert [page.description for page in file.pages] == ["page 0", "page 1", "page 2"]
        for page, expected in zip(file.pages, pages, strict=True):
            np.testing.assert_array_equal(np.atleast_3d(page.asarray()), expected)


def test_a_file_beyond_four_gigabytes_is_bigtiff(rng, monkeypatch):
    monkeypatch.setattr(tiff_writer, "LARGEST", (1 << 24) + 10)
    samples = rng.integers(0, 256, (8, 8, 3), np.uint8)
    data = tiff_writer.encode(samples, directory_of({270: "large", 33550: (1.0, 2.0, 0.0)}))
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        assert file.is_bigtiff
        assert file.pages[0].tags[33550].value == (1.0, 2.0, 0.0)
        np.testing.assert_array_equal(file.asarray(), samples)
    np.testing.assert_array_equal(tiff.decode(data)[0], samples)
