"""The picture that a tab shows, and what a network gets of it."""

from __future__ import annotations

import numpy as np
import pytest
from networks import identity
from PIL import Image

from npsrcnn.app.examples import MOST_SIDE, example, input_of
from npsrcnn.errors import UserError
from npsrcnn.pixels.resize import imresize


def test_of_a_large_picture_the_middle(tmp_path, rng):
    pixels = rng.integers(0, 256, (400, 500, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    image = example(str(tmp_path / "a.png"), 2)
    assert image.picture.shape == (MOST_SIDE, MOST_SIDE, 3)
    np.testing.assert_array_equal(image.picture, pixels[40:360, 90:410])


def test_the_photograph_where_none_was_sent():
    assert example(None, None).scale == 3 and example(None, 1).scale == 3
    assert example(None, 1, jpeg=40).jpeg == 40


def test_what_is_no_picture(tmp_path):
    (tmp_path / "a.png").write_text("text")
    with pytest.raises(UserError, match="not an image"):
        example(str(tmp_path / "a.png"), 2)


@pytest.mark.parametrize("color", ["y", "rgb", "ycbcr"])
def test_a_network_gets_its_colours(color):
    image = example(None, 3)
    given = input_of(identity(1 if color == "y" else 3, color=color), image)
    assert given.dtype == np.float32
    assert given.shape == ((300, 252) if color == "y" else (3, 300, 252))
    if color == "rgb":
        red = imresize(imresize(image.picture[..., 0] / 255, 1 / 3), 3)
        np.testing.assert_allclose(given[0], red, atol=1e-5)
