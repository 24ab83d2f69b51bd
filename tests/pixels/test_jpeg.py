"""JPEG: what is compressed, and how strong a table is."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from npsrcnn.errors import UserError
from npsrcnn.pixels import jpeg


def table_in(image, quality):
    """The luminance table that libjpeg writes."""
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=quality)
    return np.array(Image.open(file).quantization[0])


@pytest.mark.parametrize("quality", [1, 2, 10, 33, 50, 75, 90, 95, 100])
def test_the_table_is_libjpegs(quality):
    written = table_in(np.zeros((8, 8), np.uint8), quality)
    np.testing.assert_array_equal(jpeg.luminance_table(quality).ravel(), written)


@pytest.mark.parametrize("quality", range(2, 100))
def test_a_table_tells_its_quality(quality):
    strength = jpeg.strength_of_table(jpeg.luminance_table(quality))
    assert jpeg.quality_of_strength(strength) == pytest.approx(quality, abs=0.75)


@pytest.mark.parametrize("quality", [1, 10, 49.5, 50, 75, 99])
def test_strength_and_quality_are_inverse(quality):
    strength = jpeg.strength_of_quality(quality)
    assert jpeg.quality_of_strength(strength) == pytest.approx(quality)


def test_a_table_of_another_encoder_has_a_strength_too():
    flat = np.full(64, 20)
    assert 20 < jpeg.strength_of_table(flat) < 60
    assert jpeg.strength_of_table(2 * flat) == 2 * jpeg.strength_of_table(flat)


@pytest.mark.parametrize("table", [[], [1] * 63, [0] * 64, [-1] * 64])
def test_a_damaged_table_is_refused(table):
    with pytest.raises(UserError, match="damaged"):
        jpeg.strength_of_table(table)


def test_compressing_keeps_size_and_type_and_depends_on_quality_and_subsampling(rng):
    noise = rng.integers(0, 256, (33, 50, 3)).astype(np.uint8)
    results = [
        jpeg.compress(noise, quality, subsampling)
        for quality in (20, 90)
        for subsampling in jpeg.SUBSAMPLINGS
    ]
    for result in results:
        assert result.shape == noise.shape and result.dtype == np.uint8
    assert len({result.tobytes() for result in results}) == 4
    assert jpeg.compress(noise[..., 0], 20).shape == (33, 50)
