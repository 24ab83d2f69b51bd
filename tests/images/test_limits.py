"""Pillow's limit of pixels is raised while it is needed, and no longer."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image
from random_inputs import random_net

from npsrcnn import images
from npsrcnn.errors import UserError
from npsrcnn.images import tiff
from npsrcnn.images.limits import pixel_limit
from npsrcnn.upscaling.choice import Chosen
from npsrcnn.upscaling.files import PIXEL, EnlargeOptions, Job, enlarge_file


def test_the_most_that_is_asked_for_counts(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 50)
    large, larger = pixel_limit.at_least(201), pixel_limit.at_least(400)
    with pixel_limit.at_least(7):
        assert Image.MAX_IMAGE_PIXELS == 50
        large.__enter__()
        assert Image.MAX_IMAGE_PIXELS == 101
        larger.__enter__()
        large.__exit__(None, None, None)  # out of order, as threads are
        assert Image.MAX_IMAGE_PIXELS == 200
        larger.__exit__(None, None, None)
    assert Image.MAX_IMAGE_PIXELS == 50
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)  # no limit
    with pixel_limit.at_least(7):
        assert Image.MAX_IMAGE_PIXELS is None
    assert Image.MAX_IMAGE_PIXELS is None


@pytest.mark.parametrize("name", ["a.png", "a.bmp", "a.tif"])
def test_large_pictures_are_taken_where_memory_is_allowed(tmp_path, monkeypatch, name):
    job = Job(tmp_path / name, tmp_path / "b.png")
    images.write(job.source, np.zeros((12, 12, 3), np.uint8))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 50)
    chosen = Chosen([random_net("3-1-3")])
    with pytest.raises(UserError, match="refused as a decompression bomb"):
        enlarge_file(job, EnlargeOptions(chosen, 2, 142 * PIXEL))
    assert not job.target.exists()
    enlarge_file(job, EnlargeOptions(chosen, 2, 144 * PIXEL))
    assert Image.MAX_IMAGE_PIXELS == 50
    with pytest.raises(Image.DecompressionBombError):
        Image.open(job.target)


def test_a_large_strip_is_decompressed_without_a_warning(monkeypatch, recwarn):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    samples = np.arange(40 * 30, dtype=np.uint16).reshape(40, 30)
    file = io.BytesIO()
    Image.fromarray(samples).save(file, "TIFF", compression="tiff_lzw", tiffinfo={278: 40})
    np.testing.assert_array_equal(tiff.decode(file.getvalue())[0][..., 0], samples)
    assert not [str(warning.message) for warning in recwarn]
