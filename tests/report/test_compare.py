"""Pictures over each other."""

from __future__ import annotations

import base64
import io
import re

import numpy as np
import pytest
from PIL import Image, ImageCms

from npsrcnn.report.compare import Gallery, Panel, as_shown, embedded, slider


def decoded(uri):
    return Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2])))


@pytest.mark.parametrize("channels", [(), (3,), (4,)])
def test_a_picture_in_a_page_is_the_picture(channels, rng):
    pixels = rng.integers(0, 256, (9, 14, *channels), np.uint8)
    image = decoded(embedded(pixels))
    if channels:
        np.testing.assert_array_equal(np.asarray(image.convert("RGBA"))[..., : channels[0]], pixels)
    else:
        np.testing.assert_array_equal(np.asarray(image.convert("RGB")), np.dstack([pixels] * 3))


def test_colours_keep_their_profile():
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    image = decoded(embedded(np.zeros((4, 4, 3), np.uint8), profile))
    assert image.info["icc_profile"] == profile


def test_all_that_can_be_chosen():
    html = slider(
        "a <title>", (30, 20), Panel("SRCNN", "data:r"), [Panel("b & c", "data:b"), Panel("o", "d")]
    )
    assert re.findall(r'class="(zoom-\w+|pick-\w+)"( checked)?', html) == [
        ("zoom-fit", " checked"), ("zoom-1", ""), ("zoom-4", ""),
        ("pick-0", " checked"), ("pick-1", ""),
    ]  # fmt: skip
    assert "a &lt;title&gt;" in html and "b &amp; c" in html and "<title>" not in html
    assert "--w:20;--h:30" in html
    alone = slider("t", (3, 2), Panel("SRCNN", "x"), [Panel("bicubic", "y")])
    assert "pick-0" not in alone and "left only" in alone.replace("left-0 ", "")


def test_16_bits_and_floats_as_a_screen_shows_them():
    words = np.array([[0, 128, 129, 65535]], np.uint16)
    np.testing.assert_array_equal(as_shown(words), [[0, 0, 1, 255]])
    floats = np.array([[-0.5, 0.5, 1.5]], np.float32)
    np.testing.assert_array_equal(as_shown(floats), [[0, 128, 255]])


def test_a_gallery_keeps_the_worst_and_says_how_many_it_left_out():
    drawn = []

    def draw(name):
        return lambda: drawn.append(name) or f"[{name}]"

    gallery = Gallery(most=2)
    for rank in (3, 1, 2, 4):
        gallery.add(rank, draw(str(rank)))
    assert drawn == ["3", "1", "2"]  # the fourth is not among the worst two
    shown = gallery.html()
    assert shown.startswith("[1]\n[2]\n") and "2 more are not shown" in shown


def test_a_gallery_stays_small():
    gallery = Gallery(most_bytes=25)
    for i in range(5):
        gallery.add(i, lambda: "x" * 10)
    assert gallery.html().count("x" * 10) == 2 and "3 more" in gallery.html()
