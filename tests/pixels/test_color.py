"""YCbCr as MATLAB's, against its definition in NumPy and its documented corners."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from npsrcnn.pixels.color import luma, rgb2ycbcr, to_pixels, to_planes, ycbcr2rgb

FORWARD = np.array(
    [[65.481, 128.553, 24.966], [-37.797, -74.203, 112.0], [112.0, -93.786, -18.214]]
)
ZERO = np.array([16.0, 128.0, 128.0])
CORNERS = {  # RGB of 8 bits: Y, Cb, Cr as ITU-R BT.601 has them
    (0, 0, 0): (16, 128, 128),
    (255, 255, 255): (235, 128, 128),
    (255, 0, 0): (81, 90, 240),
    (0, 255, 0): (145, 54, 34),
    (0, 0, 255): (41, 240, 110),
}


def white(dtype):
    return np.iinfo(dtype).max if np.dtype(dtype).kind == "u" else 1


def random_image(rng, dtype, shape=(37, 1100, 3)):
    """Several pieces of rows, and values beyond the range for floats."""
    if np.dtype(dtype).kind == "u":
        return rng.integers(0, white(dtype), shape, dtype, endpoint=True)
    return rng.standard_normal(shape).astype(dtype)


def stored(exact, dtype):
    if np.dtype(dtype).kind == "u":
        return np.floor(exact + 0.5).clip(0, white(dtype))
    return exact


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32, np.float64])
def test_both_ways_as_defined(rng, dtype):
    image = random_image(rng, dtype)
    unit = white(dtype) / 255
    large = np.float64(image)
    expected = stored(large @ FORWARD.T / 255 + ZERO * unit, dtype)
    back = stored((large - ZERO * unit) @ np.linalg.inv(FORWARD / 255).T, dtype)
    if np.dtype(dtype).kind == "u":
        # equal, but for sums within the last bits of half a level, added up in another order
        difference = np.abs(rgb2ycbcr(image) - expected)
        assert difference.max() <= 1 and np.count_nonzero(difference) <= 5
        difference = np.abs(ycbcr2rgb(image) - back)
        assert difference.max() <= 1 and np.count_nonzero(difference) <= 5
    else:
        tolerance = 8 * np.finfo(dtype).eps  # one rounding of values up to 4
        np.testing.assert_allclose(rgb2ycbcr(image), expected, rtol=0, atol=tolerance)
        np.testing.assert_allclose(ycbcr2rgb(image), back.clip(0, 1), rtol=0, atol=tolerance)
    assert rgb2ycbcr(image).dtype == ycbcr2rgb(image).dtype == dtype
    np.testing.assert_array_equal(luma(image), rgb2ycbcr(image)[..., 0])


@pytest.mark.parametrize(("rgb", "ycbcr"), CORNERS.items())
def test_corners(rgb, ycbcr):
    pixel = np.array([[rgb]], np.uint8)
    assert tuple(rgb2ycbcr(pixel)[0, 0]) == ycbcr
    assert np.abs(ycbcr2rgb(rgb2ycbcr(pixel)).astype(int) - pixel).max() <= 1
    wide = rgb2ycbcr(pixel * np.uint16(257))[0, 0] / 257
    np.testing.assert_allclose(wide, ycbcr, rtol=0, atol=0.5)
    np.testing.assert_allclose(rgb2ycbcr(pixel / 255)[0, 0] * 255, wide, rtol=0, atol=0.01)


def test_there_and_back(rng):
    image = rng.random((9, 11, 3))
    np.testing.assert_allclose(ycbcr2rgb(rgb2ycbcr(image)), image, rtol=0, atol=1e-14)
    image = rng.integers(0, 256, (50, 60, 3), np.uint8)
    assert np.abs(ycbcr2rgb(rgb2ycbcr(image)).astype(int) - image).max() <= 2


@settings(max_examples=80, deadline=None)
@given(
    st.sampled_from([np.uint8, np.uint16, np.float32, np.float64]),
    st.integers(1, 40),
    st.integers(1, 40),
    st.integers(0, 99),
)
def test_any_colour_there_and_back(dtype, height, width, seed):
    image = random_image(np.random.default_rng(seed), dtype, (height, width, 3))
    image = image.clip(0, None if image.dtype.kind == "u" else 1)
    there = rgb2ycbcr(image)
    assert there.dtype == dtype
    np.testing.assert_array_equal(luma(image), there[..., 0])
    # rounding moves Y, Cb and Cr by half a level each: B by (1.164 + 2.017) / 2, and it is rounded
    tolerance = {np.float32: 1e-6, np.float64: 1e-14}.get(dtype, 2)
    error = np.abs(ycbcr2rgb(there).astype(np.float64) - image)
    assert error.max() <= tolerance


def test_a_grey_image_is_its_own_luma(rng):
    image = random_image(rng, np.uint8, (5, 6))
    assert luma(image) is image


@pytest.mark.parametrize("dtype", [np.uint16, np.float32])
def test_the_other_byte_order_changes_nothing(rng, dtype):
    image = random_image(rng, dtype)
    swapped = image.astype(image.dtype.newbyteorder())
    for function in (rgb2ycbcr, ycbcr2rgb, luma):
        result = function(swapped)
        assert result.dtype == dtype
        np.testing.assert_array_equal(result, function(image))


def test_convert_between_planes_and_pixels(rng):
    planes = rng.standard_normal((3, 8, 9)).astype(np.float32)
    matrix, offset = rng.standard_normal((3, 3)), rng.standard_normal(3)
    result = np.empty((8, 9, 3), np.float32)
    to_pixels(planes, matrix, offset, result)
    expected = np.einsum("oc,cyx->yxo", matrix, planes) + offset
    np.testing.assert_allclose(result, expected, rtol=0, atol=1e-6)
    back = np.empty_like(planes)
    inverse = np.linalg.inv(matrix)
    to_planes(result, inverse, -inverse @ offset, back)
    np.testing.assert_allclose(back, planes, rtol=0, atol=1e-4)


@pytest.mark.parametrize("function", [rgb2ycbcr, ycbcr2rgb])
def test_what_is_no_colour_image_is_refused(function):
    for shape in ((4, 4), (4, 4, 4), (0, 4, 3)):
        with pytest.raises(ValueError, match="expected an image"):
            function(np.zeros(shape, np.uint8))
    with pytest.raises(TypeError, match="use uint8"):
        function(np.zeros((4, 4, 3), np.int64))
