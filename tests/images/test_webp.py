"""How strongly a WebP file was compressed, by its header."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from npsrcnn.images.webp import read_strength


@pytest.fixture
def picture(rng):
    """Smooth shapes and a little noise, RGB."""
    coarse = rng.integers(0, 256, (8, 10, 3)).astype(np.uint8)
    smooth = np.asarray(Image.fromarray(coarse).resize((80, 64), Image.Resampling.BICUBIC))
    return (smooth + rng.normal(0, 4, smooth.shape)).clip(0, 255).astype(np.uint8)


def strength(picture, path, **options):
    Image.fromarray(picture).save(path, **options)
    return read_strength(path)


def test_the_strength_falls_as_the_quality_rises(picture, tmp_path):
    found = [strength(picture, tmp_path / "a.webp", quality=q) for q in range(0, 101, 10)]
    assert found[0] > 130 and found[-1] < 5
    assert (np.diff(found) < 0).all()


def test_segments_alpha_and_metadata_change_nothing(picture, tmp_path):
    plain = strength(picture, tmp_path / "a.webp", quality=60)
    rgba = np.dstack([picture, picture[..., :1]])
    exif = Image.Exif()
    exif[0x010E] = "a description"
    assert strength(rgba, tmp_path / "b.webp", quality=60, exif=exif) == pytest.approx(
        plain, rel=0.2
    )
    assert strength(picture, tmp_path / "c.webp", quality=60, method=0) == pytest.approx(
        plain, rel=0.2
    )


def test_other_files_have_none(picture, tmp_path):
    assert strength(picture, tmp_path / "a.webp", lossless=True) is None
    assert strength(picture, tmp_path / "a.png") is None
    Image.fromarray(picture).save(tmp_path / "b.webp", quality=50)
    whole = (tmp_path / "b.webp").read_bytes()
    for length in range(0, 40):
        (tmp_path / "c.webp").write_bytes(whole[:length])
        assert read_strength(tmp_path / "c.webp") is None or length > 36
