"""Bicubic resampling against MATLAB's definition, written as loops, and against its properties."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from npsrcnn.pixels.resize import (
    Resizer,
    Table,
    _along_columns,
    _along_rows,
    _table,
    degrade,
    imresize,
    modcrop,
)
from npsrcnn.runtime.threads import set_num_threads

DTYPES = (np.uint8, np.uint16, np.float32, np.float64)


def keys(x):
    x = abs(x)
    if x <= 1:
        return 1.5 * x**3 - 2.5 * x**2 + 1
    return -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2 if x <= 2 else 0.0


def naive_axis(image, outputs, scale, edge, antialias):
    """Resample the first axis, output by output and tap by tap, in float64."""
    size, stretch = len(image), min(scale, 1) if antialias else 1
    result = np.zeros((outputs, *image.shape[1:]))
    for i in range(outputs):
        center = (i + 0.5) / scale - 0.5  # pixels are as wide as their distance
        taps = range(math.floor(center - 2 / stretch), math.ceil(center + 2 / stretch) + 1)
        weights = [keys(stretch * (center - j)) for j in taps]
        for j, weight in zip(taps, weights, strict=True):
            if edge == "clamp":
                j = min(max(j, 0), size - 1)
            else:
                while not 0 <= j < size:
                    j = -1 - j if j < 0 else 2 * size - 1 - j
            result[i] += weight / sum(weights) * image[j]
    if image.dtype.kind == "u":
        return np.floor(result + 0.5).clip(0, np.iinfo(image.dtype).max).astype(image.dtype)
    return result


def naive(image, shape, scales, edge, antialias):
    order = (0, 1) if scales[0] <= scales[1] else (1, 0)
    for axis in order:
        turned = image.swapaxes(0, axis)
        image = naive_axis(turned, shape[axis], scales[axis], edge, antialias).swapaxes(0, axis)
    return image


def random_image(rng, shape, dtype):
    if np.dtype(dtype).kind == "u":
        return rng.integers(0, np.iinfo(dtype).max, shape, dtype, endpoint=True)
    return rng.standard_normal(shape).astype(dtype)


CASES = [
    ((7, 12), 2), ((7, 12), 3), ((12, 7), 4), ((12, 18), 1 / 3), ((23, 17), 0.5), ((9, 11), 1.7),
    ((9, 11), 0.37), ((40, 3), 1 / 7), ((1, 1), 3), ((1, 5), 2), ((3, 2), 0.25), ((6, 6), 1),
]  # fmt: skip


@pytest.mark.parametrize("edge", ["clamp", "mirror"])
@pytest.mark.parametrize("antialias", [True, False])
@pytest.mark.parametrize(("size", "scale"), CASES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_by_scale_as_matlab_defines_it(rng, size, scale, dtype, antialias, edge):
    image = random_image(rng, size, dtype)
    result = imresize(image, scale, edge=edge, antialias=antialias)
    shape = tuple(math.ceil(scale * n) for n in size)
    expected = naive(image, shape, (scale, scale), edge, antialias)
    assert result.shape == shape and result.dtype == dtype
    if result.dtype.kind == "u":
        # equal, but where a sum lies within rounding error of half a level (none at this seed)
        np.testing.assert_array_equal(result, expected)
    else:
        eps = np.finfo(dtype).eps  # tens of terms, of size 1 to 3
        np.testing.assert_allclose(result, expected, rtol=0, atol=40 * eps)


@pytest.mark.parametrize("shape", [(5, 30), (30, 5), (7, 7), (1, 1), (13, 11)])
@pytest.mark.parametrize("dtype", [np.uint8, np.float64])
def test_by_shape_the_axis_with_the_smaller_scale_goes_first(rng, shape, dtype):
    image = random_image(rng, (13, 11), dtype)
    scales = (shape[0] / 13, shape[1] / 11)
    expected = naive(image, shape, scales, "clamp", True)
    result = imresize(image, shape=shape)
    np.testing.assert_allclose(result, expected, rtol=0, atol=1e-14 if dtype == np.float64 else 0)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("channels", [(), (1,), (3,), (5,)])
def test_compiled_loops_equal_numpy_bit_for_bit(rng, dtype, channels):
    image = random_image(rng, (37, 53, *channels), dtype)
    real = np.float32 if dtype == np.float32 else np.float64
    for axis, function in enumerate((_along_rows, _along_columns)):
        table = _table(image.shape[axis], 91, 91 / image.shape[axis], "clamp", True)
        expected = np.zeros((91, *image.swapaxes(0, axis).shape[1:]), real)
        for t in range(table.indices.shape[1]):
            weight = table.weights[:, t].astype(real).reshape(-1, *[1] * (image.ndim - 1))
            expected += weight * image.swapaxes(0, axis)[table.indices[:, t]]
        if expected.dtype != dtype:
            expected = np.floor(expected + 0.5).clip(0, np.iinfo(dtype).max).astype(dtype)
        np.testing.assert_array_equal(function(image, table), expected.swapaxes(0, axis))


def test_weights_by_hand():
    impulse = np.zeros((1, 9))
    impulse[0, 4] = 1
    at_two = imresize(impulse, shape=(1, 18))[0, 4:14]  # distances 9/4, 7/4, ... 1/4, 1/4, ...
    half = [0, -0.0234375, -0.0703125, 0.2265625, 0.8671875]
    np.testing.assert_array_equal(at_two, half + half[::-1])
    row = np.zeros((1, 16))
    row[0, 7] = 1  # seen from outputs at 2.5, 4.5, 6.5, 8.5, 10.5, of a kernel twice as wide
    shrunk = imresize(row, shape=(1, 8))[0]
    expected = [0, 0, -0.03515625, 0.43359375, 0.11328125, -0.01171875, 0, 0]
    np.testing.assert_allclose(shrunk, expected, rtol=0, atol=1e-16)


def test_a_parabola_is_reproduced_inside():
    y, x = np.mgrid[:20, :30].astype(float)

    def surface(y, x):
        return 0.3 * y**2 - 0.7 * x * y + 0.1 * x**2 - 2 * x + 5

    large = imresize(surface(y, x), 3)
    y, x = ((np.mgrid[:60, :90] + 0.5) / 3) - 0.5
    inside = np.s_[6:-6, 6:-6]
    np.testing.assert_allclose(large[inside], surface(y, x)[inside], rtol=0, atol=1e-11)


@pytest.mark.parametrize(("edge", "mode"), [("clamp", "edge"), ("mirror", "symmetric")])
def test_beyond_the_edge_lies_what_is_said(rng, edge, mode):
    image = rng.standard_normal((8, 9))
    padded = np.pad(image, 12, mode=mode)
    for scale in (3, 0.5):
        border = int(12 * scale)
        inside = imresize(padded, scale)[border:, border:]
        result = imresize(image, scale, edge=edge)  # 9 / 2: half of the last pixel is beyond
        inside = inside[: result.shape[0], : result.shape[1]]
        np.testing.assert_allclose(result, inside, rtol=0, atol=1e-13)


def test_integers_are_rounded_between_the_axes(rng):
    image = rng.integers(60, 190, (40, 40), np.uint8)  # overshoots stay within the type
    once = np.floor(imresize(image.astype(float), 3) + 0.5).clip(0, 255)
    difference = np.abs(imresize(image, 3) - once)
    assert 0 < difference.max() <= 2


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_flat_image_stays_flat(dtype):
    image = np.full((11, 13), 200, dtype)
    for scale in (3, 1 / 3, 1.234):
        tolerance = 200 * 4e-7 if dtype == np.float32 else 1e-12
        np.testing.assert_allclose(imresize(image, scale), 200, rtol=0, atol=tolerance)


@pytest.mark.parametrize("shape", [(61, 40), (40, 93), (10, 90), (90, 10)])
def test_rows_of_a_result_are_the_same_alone(rng, shape):
    image = rng.standard_normal((30, 31, 3)).astype(np.float32)
    resizer = Resizer((30, 31), shape=shape)
    whole = resizer(image)
    for start in range(0, shape[0], 7):
        stop = min(start + 7, shape[0])
        np.testing.assert_array_equal(resizer(image, (start, stop)), whole[start:stop])


@st.composite
def resizers(draw):
    """Any resizer of small images, and a window of its result."""
    sides = st.integers(1, 40)
    size = draw(st.tuples(sides, sides))
    target = draw(
        st.fixed_dictionaries({"scale": st.floats(0.05, 5)})
        | st.fixed_dictionaries({"shape": st.tuples(st.integers(1, 90), st.integers(1, 90))})
    )
    edge, antialias = draw(st.sampled_from(["clamp", "mirror"])), draw(st.booleans())
    resizer = Resizer(size, edge=edge, antialias=antialias, **target)
    spans = []
    for length in resizer.shape:
        start = draw(st.integers(0, length - 1))
        spans.append((start, draw(st.integers(start + 1, length))))
    return resizer, *spans


@settings(max_examples=150, deadline=None)
@given(
    resizers(),
    st.sampled_from([*DTYPES, np.float16]),
    st.sampled_from([(), (1,), (2,), (3,)]),
    st.integers(0, 99),
)
def test_a_window_is_the_same_part_of_the_whole(case, dtype, channels, seed):
    """Made from nothing but the rows and columns that it needs."""
    resizer, rows, columns = case
    image = random_image(np.random.default_rng(seed), (*resizer.size, *channels), dtype)
    (top, bottom), (left, right) = resizer.needs(rows, columns)
    assert 0 <= top < bottom <= image.shape[0] and 0 <= left < right <= image.shape[1]
    part = image[top:bottom, left:right]
    window = resizer.window(part, (top, left), rows, columns)
    assert window.dtype == dtype
    np.testing.assert_array_equal(window, resizer(image)[slice(*rows), slice(*columns)])


def test_threads_change_no_bit(rng):
    image = rng.standard_normal((101, 97)).astype(np.float32)
    results = []
    for threads in (1, 2, 3):
        set_num_threads(threads)
        results.append(imresize(image, 4.1))
    np.testing.assert_array_equal(results[0], results[1])
    np.testing.assert_array_equal(results[0], results[2])


def test_any_memory_layout(rng):
    image = rng.standard_normal((14, 10, 3))
    expected = imresize(image, 2)
    other_order = image.astype(image.dtype.newbyteorder())
    columns = np.repeat(image, 2, 1)[:, ::2]
    for same in (np.asfortranarray(image), columns, image[::-1][::-1], other_order):
        np.testing.assert_array_equal(imresize(same, 2), expected)
    np.testing.assert_array_equal(
        imresize(image.transpose(1, 0, 2), 2), imresize(image.transpose(1, 0, 2).copy(), 2)
    )


def test_float16_is_kept(rng):
    image = rng.random((6, 5)).astype(np.float16)
    result = imresize(image, 2)
    assert result.dtype == np.float16
    np.testing.assert_allclose(result, imresize(image.astype(np.float64), 2), rtol=0, atol=1e-3)


@pytest.mark.parametrize(
    ("error", "arguments"),
    [
        (TypeError, {}),
        (TypeError, {"scale": 2, "shape": (4, 4)}),
        (ValueError, {"scale": 0}),
        (ValueError, {"scale": -1.5}),
        (ValueError, {"scale": math.nan}),
        (ValueError, {"scale": math.inf}),
        (ValueError, {"shape": (0, 4)}),
        (ValueError, {"shape": (4,)}),
        (ValueError, {"scale": 2, "edge": "zeros"}),
    ],
)
def test_wrong_arguments_are_named(error, arguments):
    with pytest.raises(error):
        imresize(np.zeros((4, 4)), **arguments)


@pytest.mark.parametrize("image", [np.zeros((0, 4)), np.zeros(4), np.zeros((2, 2, 2, 2))])
def test_what_is_no_image_is_refused(image):
    with pytest.raises(ValueError, match=r"two axes|expected an image"):
        imresize(image, 2)


@pytest.mark.parametrize("dtype", [bool, np.int16, np.int64, np.complex64, object])
def test_a_type_that_images_do_not_have_is_refused(dtype):
    with pytest.raises(TypeError, match="use uint8, uint16 or a float type"):
        imresize(np.zeros((4, 4), dtype), 2)


def test_modcrop(rng):
    image = rng.standard_normal((11, 13, 3))
    np.testing.assert_array_equal(modcrop(image, 3), image[:9, :12])
    np.testing.assert_array_equal(modcrop(image, 1), image)
    with pytest.raises(ValueError, match="too small for scale 12"):
        modcrop(image, 12)


def test_degrade_rounds_nothing(rng):
    image = rng.integers(0, 256, (12, 18), np.uint8)
    blurred = degrade(image, 3)
    assert blurred.dtype == np.float32 and blurred.shape == image.shape
    expected = imresize(imresize(image / 255, 1 / 3), 3)
    np.testing.assert_allclose(blurred, expected, rtol=0, atol=1e-6)
    assert degrade(image / 255, 2).dtype == np.float64
    with pytest.raises(ValueError, match="use modcrop"):
        degrade(image, 5)


def test_table_rows_sum_to_one():
    for scale in (3, 1 / 3, 0.123, 2.7):
        table = _table(50, math.ceil(50 * scale), scale, "mirror", True)
        assert isinstance(table, Table)
        np.testing.assert_allclose(table.weights.sum(axis=1), 1, rtol=0, atol=1e-15)
        assert table.indices.min() >= 0 and table.indices.max() < 50
