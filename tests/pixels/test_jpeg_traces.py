"""What pixels tell of a compression that no file tells of."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from npsrcnn.datasets import dead_leaves
from npsrcnn.images import list_images, read_array
from npsrcnn.pixels.jpeg import compress, strength_of_quality
from npsrcnn.pixels.jpeg_traces import find_trace


@pytest.fixture(scope="module")
def leaves():
    """Generated pictures that no JPEG has touched, with a little noise of a camera."""
    rng = np.random.default_rng(0)
    pictures = dead_leaves(6, (200, 216), seed=5)
    return [
        np.clip(picture + rng.normal(0, 2, picture.shape), 0, 255).round().astype(np.uint8)
        for picture in pictures
    ]


def assert_found(image, quality, corner=(0, 0)):
    trace = find_trace(image)
    assert trace is not None
    assert trace.strength == pytest.approx(strength_of_quality(quality), rel=0.2)
    assert trace.corner == corner


@pytest.mark.parametrize("quality", [85, 75, 50, 20, 10])
def test_the_quality_is_found_in_grey_and_in_colour(leaves, quality):
    for picture in leaves:
        assert_found(compress(picture, quality), quality)
        assert_found(compress(picture[..., 1], quality), quality)


def page(mode, size=(300, 200)):
    """Letters and lines, of two greys or smoothed."""
    image = Image.new("L", size, 240)
    draw = ImageDraw.Draw(image)
    draw.fontmode = mode
    words = "the quick brown fox jumps over the lazy dog " * 3
    for line in range(size[1] // 18):
        draw.text((8, 4 + 18 * line), words[line:], fill=20, font=ImageFont.load_default(13))
    draw.line((5, 150, 290, 190), fill=20, width=2)
    return image


@pytest.mark.parametrize("mode", ["1", "L"])
def test_drawings_and_drawings_made_larger_have_no_trace(mode):
    small = page(mode)
    assert find_trace(np.asarray(small)) is None
    for times, kind in ((2, "NEAREST"), (3, "NEAREST"), (8, "NEAREST"), (2, "BILINEAR"),
                        (2, "BICUBIC")):  # fmt: skip
        larger = small.resize((300 * times, 200 * times), Image.Resampling[kind])
        assert find_trace(np.asarray(larger)) is None, (times, kind)


def test_a_flat_table_leaves_a_trace(leaves):
    for picture in leaves[:3]:
        for step in (12, 30):
            with io.BytesIO() as memory:
                Image.fromarray(picture).save(memory, "JPEG", qtables=[[step] * 64] * 2)
                trace = find_trace(np.asarray(Image.open(memory)))
            assert trace is not None and 0.6 < trace.strength / (100 * step / 15) < 1.2


def test_what_was_never_compressed_has_no_trace(leaves):
    for picture in leaves:
        assert find_trace(picture) is None
        assert find_trace(picture[..., 1]) is None


def test_a_crop_is_found_where_its_blocks_begin(leaves):
    for picture in leaves:
        assert_found(compress(picture, 60)[3:, 5:], 60, (5, 3))


@pytest.mark.parametrize("cropped", [False, True])
def test_a_worse_first_compression_shows_through_a_better_second(leaves, cropped):
    for picture in leaves:
        first = compress(picture, 40)
        first = np.ascontiguousarray(first[3:, 5:]) if cropped else first
        assert_found(compress(first, 88), 40, (5, 3) if cropped else (0, 0))


@pytest.mark.parametrize("quality", [10, 20])
@pytest.mark.parametrize("corner", [(0, 0), (3, 5)])
def test_few_blocks_are_found_by_their_table(leaves, quality, corner):
    """Of such crops frequencies one by one show nothing; of flat ones there is nothing to show."""
    places = [(leaf, top, left) for leaf in leaves for top in (0, 128) for left in (0, 128)]
    found = []
    for leaf, top, left in places:
        crop = leaf[top : top + 53, left : left + 53]
        trace = find_trace(compress(crop, quality)[corner[0] :, corner[1] :])
        found.append(trace is not None)
        if trace is not None:
            assert trace.strength == pytest.approx(strength_of_quality(quality), rel=0.2)
            assert trace.corner == tuple(-place % 8 for place in corner)
    assert np.mean(found) > 0.8


def test_small_crops_that_were_never_compressed_have_no_trace(leaves):
    drawn = [np.asarray(page(mode)) for mode in "1L"]
    for picture in [*leaves, *drawn]:
        for top in (0, 50, 128):
            for left in (0, 60, 128):
                assert find_trace(picture[top : top + 64, left : left + 64]) is None


def test_types_of_sixteen_bits_and_floats_are_read_alike(leaves):
    picture = compress(leaves[0], 60)
    trace = find_trace(picture)
    assert find_trace(picture * np.uint16(257)) == trace
    assert find_trace(picture / np.float64(255)) == trace


@pytest.mark.parametrize("shape", [(1, 1), (7, 200), (8, 8), (9, 300, 3)])
def test_too_small_an_image_tells_nothing(shape):
    assert find_trace(np.full(shape, 90, np.uint8)) is None


def test_photographs_at_every_quality(data_folder):
    """Of LIVE1's 29 photographs none is called compressed, and all are told right."""
    folder = data_folder / "LIVE1"
    if not folder.is_dir():
        pytest.skip("no LIVE1 there")
    photographs = [read_array(path) for path in list_images(folder)]
    assert not any(find_trace(photograph) for photograph in photographs)
    for quality, photograph in zip((85, 75, 60, 40, 20, 10) * 5, photographs, strict=False):
        assert_found(compress(photograph, quality), quality)
