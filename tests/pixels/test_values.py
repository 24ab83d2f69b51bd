"""What numbers mean: black and white of every type, and what stands for no value."""

from __future__ import annotations

import numpy as np
import pytest

from npsrcnn.pixels.values import DTYPES, Values, keep_missing

MEASURED = [dtype for dtype in DTYPES if dtype not in (np.uint8, np.uint16)]


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_small_integers_say_it_by_their_type(dtype):
    values = Values.measured([], np.dtype(dtype))
    pixels = np.array([[3, 200]], dtype)
    assert (values.black, values.white) == (0, np.iinfo(dtype).max)
    assert (
        values.to_network(pixels) is pixels and values.from_network(pixels, pixels.dtype) is pixels
    )


@pytest.mark.parametrize("dtype", MEASURED, ids=str)
def test_the_least_and_the_largest_are_black_and_white(dtype):
    pixels = np.array([[-5, 7], [90, 2]]).astype(dtype)
    if dtype.kind == "u":
        pixels[0, 0] = 4000
    alpha = np.array([[1, 1], [0, 1]])
    values = Values.measured([(pixels[:1], alpha[:1]), (pixels[1:], alpha[1:])], dtype)
    seen = pixels[alpha > 0].astype(float)
    assert (values.black, values.white) == (seen.min(), seen.max())
    share = values.to_network(pixels)
    assert share.dtype == np.float32 and share[alpha > 0].min() == 0 and share[alpha > 0].max() == 1
    back = values.from_network(share, dtype)
    assert back.dtype == dtype
    np.testing.assert_allclose(back[alpha > 0].astype(float), seen, rtol=1e-3)


def test_a_range_far_from_zero_keeps_its_digits():
    pixels = np.array([[101300.0, 101400.0, 101333.25]])
    values = Values.measured([(pixels, None)], pixels.dtype)
    back = values.from_network(values.to_network(pixels), pixels.dtype)
    np.testing.assert_allclose(back, pixels, atol=1e-4)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_floats_in_0_to_1_stay_as_they_are(dtype):
    pixels = np.array([[0, 0.3, 0.9]], dtype)
    values = Values.measured([(pixels, None)], pixels.dtype)
    assert values.is_usual(pixels.dtype) and values.to_network(pixels) is pixels
    faint = pixels * dtype(1e-3)  # in which rounding would show
    assert Values.measured([(faint, None)], faint.dtype).white == float(faint.max())


def test_flat_and_empty_images():
    flat = np.full((2, 2), 101300.0, np.float32)
    values = Values.measured([(flat, None)], flat.dtype)
    np.testing.assert_array_equal(values.from_network(values.to_network(flat), flat.dtype), flat)
    nothing = np.full((2, 2), np.nan, np.float32)
    assert Values.measured([(nothing, None)], nothing.dtype) == Values(0, 1)


@pytest.mark.parametrize(
    ("dtype", "nodata", "pixels", "missing"),
    [
        (np.uint8, 0, [0, 1, 255], [1, 0, 0]),
        (np.uint8, -9999, [0, 1, 255], [0, 0, 0]),  # which the type does not have
        (np.uint8, 0.5, [0, 1, 255], [0, 0, 0]),
        (np.int16, -32768, [-32768, 0, 5], [1, 0, 0]),
        (np.uint32, 4294967295, [4294967295, 0, 5], [1, 0, 0]),
        (np.int32, float("nan"), [0, 1, 2], [0, 0, 0]),
        (np.float32, None, [np.nan, np.inf, 5], [1, 1, 0]),
        (np.float32, float("nan"), [np.nan, -np.inf, 5], [1, 1, 0]),
        (np.float32, -3.4028234663852886e38, [-3.4028234663852886e38, 0, 5], [1, 0, 0]),
        (np.float32, None, [-3.4028235e38, 0, 5], [1, 0, 0]),  # not declared, and no measurement
        (np.float32, 0.1, [np.float32(0.1), 0, 5], [1, 0, 0]),  # the nearest of the type
        (np.float64, -9999, [-9999, np.nan, 5], [1, 1, 0]),
    ],
)
def test_what_stands_for_no_value(dtype, nodata, pixels, missing):
    pixels = np.array([pixels], dtype)
    values = Values.measured([(pixels, None)], pixels.dtype, nodata)
    found = values.missing(pixels)
    if not any(missing):
        assert found is None
        return
    np.testing.assert_array_equal(found, np.array([missing], bool))
    if not values.is_usual(pixels.dtype):
        assert (values.black, values.white) == (pixels[~found].min(), pixels[~found].max()) or (
            pixels[~found].min() == pixels[~found].max()
        )
    assert np.isfinite(values.to_network(pixels, found)).all()


@pytest.mark.parametrize(
    ("dtype", "nodata", "beside"),
    [
        (np.uint8, 0, 1),
        (np.uint8, 255, 254),
        (np.int16, 7, 8),
        (np.float32, 5, np.nextafter(np.float32(5), 9)),
    ],
)
def test_a_value_never_comes_to_mean_that_there_is_none(dtype, nodata, beside):
    values = Values(0, 255 if dtype == np.uint8 else 100, nodata)
    share = np.array([[nodata / values.white]], np.float32)
    result = share if dtype != np.uint8 else np.array([[nodata]], np.uint8)
    assert values.from_network(result, np.dtype(dtype)) == beside


@pytest.mark.parametrize("scale", [1, 2, 3, 1.5])
def test_what_has_no_value_is_kept_in_any_window(rng, scale):
    pixels = rng.standard_normal((9, 11, 3))
    missing = rng.random((9, 11, 3)) < 0.3
    size = [int(np.ceil(scale * length)) for length in (9, 11)]
    below = [np.minimum(((np.arange(n) + 0.5) / scale).astype(int), end - 1)
             for n, end in zip(size, (9, 11), strict=True)]  # fmt: skip
    expected = np.zeros((*size, 3))
    for y in range(size[0]):
        for x in range(size[1]):
            for c in range(3):
                if missing[below[0][y], below[1][x], c]:
                    expected[y, x, c] = pixels[below[0][y], below[1][x], c]
    result = np.zeros((*size, 3))
    keep_missing(result, pixels, missing, ((0, size[0]), (0, size[1])), (0, 0), (scale, scale))
    np.testing.assert_array_equal(result, expected)
    window, (top, left) = ((4, size[0]), (5, size[1])), (1, 1)
    part = np.zeros((size[0] - 4, size[1] - 5, 3))
    keep_missing(
        part, pixels[top:, left:], missing[top:, left:], window, (top, left), (scale, scale)
    )
    np.testing.assert_array_equal(part, expected[4:, 5:])
