"""What is asked for is in the file: quality, no loss, a background."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from npsrcnn.errors import UserError
from npsrcnn.images import Picture, read, write
from npsrcnn.images.encoding import Encoding
from npsrcnn.images.icc import profile_of


@pytest.fixture
def noise(rng):
    """A picture that no lossy format keeps, with every transparency."""
    pixels = rng.integers(0, 256, (24, 32, 3), np.uint8)
    return Picture(pixels, rng.integers(0, 256, (24, 32), np.uint8))


def table_of(path):
    """The sum of a JPEG file's tables: larger is worse."""
    with Image.open(path) as image:
        return sum(map(sum, image.quantization.values()))


def test_quality_is_that_of_the_file(tmp_path, noise):
    opaque = Picture(noise.pixels)
    write(tmp_path / "usual.jpg", opaque)
    write(tmp_path / "worse.jpg", opaque, Encoding(quality=60))
    Image.fromarray(noise.pixels).save(tmp_path / "pillow.jpg", quality=60)
    assert table_of(tmp_path / "worse.jpg") == table_of(tmp_path / "pillow.jpg")
    assert table_of(tmp_path / "worse.jpg") > table_of(tmp_path / "usual.jpg")
    for suffix in (".webp", ".avif"):
        sizes = []
        for quality in (20, 100):
            write(tmp_path / f"a{suffix}", opaque, Encoding(quality=quality))
            sizes.append((tmp_path / f"a{suffix}").stat().st_size)
        assert sizes[0] < sizes[1] / 2, suffix


@pytest.mark.parametrize("suffix", [".png", ".tif", ".webp", ".jp2", ".tga"])
def test_nothing_is_lost_where_that_is_asked_for(tmp_path, noise, suffix):
    write(tmp_path / f"a{suffix}", noise, Encoding(lossless=True))
    back = read(tmp_path / f"a{suffix}")
    np.testing.assert_array_equal(back.samples(), noise.samples())  # under alpha 0 too


def test_a_lossless_webp_stays_one_unless_a_quality_is_given(tmp_path, noise):
    write(tmp_path / "a.webp", noise, Encoding(lossless=True))
    picture = read(tmp_path / "a.webp")
    assert picture.lossless
    write(tmp_path / "b.webp", picture)
    again = read(tmp_path / "b.webp")
    np.testing.assert_array_equal(again.samples(), noise.samples())
    assert again.lossless
    write(tmp_path / "c.webp", picture, Encoding(quality=95))
    write(tmp_path / "d.webp", noise)
    assert not read(tmp_path / "c.webp").lossless and not read(tmp_path / "d.webp").lossless


@pytest.mark.parametrize("suffix", [".jpg", ".avif"])
def test_what_always_loses_something_is_refused(tmp_path, noise, suffix):
    with pytest.raises(UserError, match="loses something: write PNG, TIFF or WebP"):
        write(tmp_path / f"a{suffix}", Picture(noise.pixels), Encoding(lossless=True))


@pytest.mark.parametrize("background", [(255, 255, 255), (0, 0, 0), (30, 144, 255)])
@pytest.mark.parametrize("grey", [False, True])
def test_a_background_shows_through(tmp_path, noise, background, grey):
    if grey:
        noise.pixels = noise.pixels[..., 0]
    write(tmp_path / "a.bmp", noise, Encoding(background=background))
    result = read(tmp_path / "a.bmp").pixels
    share = noise.alpha[..., None] / 255
    expected = np.atleast_3d(noise.pixels) * share + np.array(background) * (1 - share)
    assert np.abs(np.atleast_3d(result) - expected).max() <= 0.5 + 1e-9
    assert result.ndim == (2 if grey and len(set(background)) == 1 else 3)


def test_a_background_leaves_formats_with_transparency_alone(tmp_path, noise):
    write(tmp_path / "a.png", noise, Encoding(background=(9, 9, 9)))
    np.testing.assert_array_equal(read(tmp_path / "a.png").samples(), noise.samples())


def test_no_colour_under_the_profile_of_a_grey_picture(tmp_path, noise):
    noise.pixels = noise.pixels[..., 0]
    noise.metadata.icc_profile = profile_of({}, 0.5, True)
    with pytest.raises(UserError, match="needs a grey background"):
        write(tmp_path / "a.jpg", noise, Encoding(background=(255, 0, 0)))
    write(tmp_path / "a.jpg", noise, Encoding(background=(255, 255, 255)))
    assert read(tmp_path / "a.jpg").metadata.icc_profile == noise.metadata.icc_profile
