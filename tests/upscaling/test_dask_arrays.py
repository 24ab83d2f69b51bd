"""Lazy arrays of Dask: the same bits as arrays, however they are chunked."""

from __future__ import annotations

from itertools import accumulate

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from random_inputs import random_image, random_net

import npsrcnn
from npsrcnn.errors import UserError
from npsrcnn.model.ensemble import ensemble

dask = pytest.importorskip("dask", reason="needs the extra dask")
da = pytest.importorskip("dask.array", reason="needs the extra dask")


@pytest.fixture(autouse=True)
def on_threads():
    """Compute here, whatever cluster another test of this process has known: it may be gone."""
    with dask.config.set(scheduler="threads"):
        yield


def with_holes(rng, image):
    """The same with transparent pixels, some farther from others than anything can see."""
    if image.ndim == 3 and image.shape[2] in (2, 4):
        image[rng.random(image.shape[:2]) < 0.3, -1] = 0
        image[: len(image) // 2, : image.shape[1] // 2, -1] = 0
    return image


DTYPES = np.uint8, np.uint16, np.float16, np.float32, np.float64


@pytest.mark.parametrize(
    ("dtype", "channels"),
    [
        *((dtype, channels) for dtype in DTYPES for channels in ((), (4,))),
        *((np.uint8, channels) for channels in ((1,), (2,), (3,))), (np.float32, (3,)),
    ],
)  # fmt: skip
def test_lazily_the_same_bits(rng, dtype, channels):
    image = with_holes(rng, random_image(rng, (150, 137, *channels), dtype))
    expected = npsrcnn.upscale(image, 2, random_net())
    for chunks in ((64, 70, 2), (149, 1, 1)):
        lazy = npsrcnn.upscale(da.from_array(image, chunks[: image.ndim]), 2, random_net())
        assert isinstance(lazy, da.Array)
        assert lazy.shape == expected.shape and lazy.dtype == dtype
        result = lazy.compute()
        assert result.dtype == dtype
        np.testing.assert_array_equal(result, expected)


def test_the_other_byte_order_changes_nothing(rng):
    image = random_image(rng, (80, 70), np.uint16)
    swapped = da.from_array(image.astype(image.dtype.newbyteorder()), 40)
    lazy = npsrcnn.upscale(swapped, 2, random_net())
    assert lazy.dtype == np.uint16
    np.testing.assert_array_equal(lazy.compute(), npsrcnn.upscale(image, 2, random_net()))


MODELS = {
    "9-1-5": lambda: (2, random_net()),
    "9-1-5 x3": lambda: (3, random_net(scale=3)),
    "9-1-5 x4": lambda: (4, random_net(scale=4)),
    "Winograd 3": lambda: (3, random_net("9-3-5", scale=3, n=(16, 16))),
    "Winograd 5": lambda: (2, random_net("9-5-5", scale=2, n=(16, 16))),
    "a broken scale": lambda: (2.7, random_net("7-3-5", scale=None)),
    "ensemble": lambda: (2, ensemble(random_net("5-5-3", scale=2, n=(16, 16)))),
    "a step and bicubic": lambda: (1.5, None),
    "two steps": lambda: (6, None),
}


@pytest.mark.parametrize("model", MODELS)
def test_any_model_and_scale(rng, model):
    scale, net = MODELS[model]()
    image = random_image(rng, (131, 139, 3), np.uint8)
    expected = npsrcnn.upscale(image, scale, net)
    for chunks in ((66, 69, 3), ((1, 2, 128), (33,) * 4 + (7,), 1)):
        lazy = npsrcnn.upscale(da.from_array(image, chunks), scale, net)
        assert lazy.npartitions > 1
        np.testing.assert_array_equal(lazy.compute(), expected)


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (5, 1), (2, 3), (13, 90)])
def test_images_smaller_than_what_a_pixel_sees(rng, size):
    image = random_image(rng, size, np.uint8)
    for chunks in (1, -1):
        lazy = npsrcnn.upscale(da.from_array(image, chunks), 3, random_net(scale=3))
        expected = npsrcnn.upscale(image, 3, random_net(scale=3))
        np.testing.assert_array_equal(lazy.compute(), expected)


@st.composite
def chunked(draw, length):
    """Sizes of chunks that add up to ``length``, many small ones among them."""
    sizes = draw(st.lists(st.integers(1, length), max_size=12))
    ends = sorted({min(end, length) for end in accumulate(sizes)} | {length})
    return tuple(np.diff([0, *ends]).tolist())


@settings(max_examples=25, deadline=None)
@given(rows=chunked(170), columns=chunked(140), channels=chunked(4))
def test_any_chunks_give_the_same_bits(rgba_and_result, rows, columns, channels):
    image, expected = rgba_and_result
    lazy = npsrcnn.upscale(da.from_array(image, (rows, columns, channels)), 2, random_net())
    np.testing.assert_array_equal(lazy.compute(), expected)


@pytest.fixture(scope="module")
def rgba_and_result():
    rng = np.random.default_rng(5)
    image = with_holes(rng, random_image(rng, (170, 140, 4), np.uint8))
    return image, npsrcnn.upscale(image, 2, random_net())


def test_any_part(rng):
    image = random_image(rng, (200, 130), np.float32)
    lazy = npsrcnn.upscale(da.from_array(image, (70, 65)), 2, random_net())
    expected = npsrcnn.upscale(image, 2, random_net())
    np.testing.assert_array_equal(lazy.compute(scheduler="synchronous"), expected)
    np.testing.assert_array_equal(lazy[133:271:3, 5].compute(), expected[133:271:3, 5])


def test_chunks_are_the_images_enlarged_and_small_ones_are_joined():
    def chunks(*axes):
        zeros = da.zeros([sum(axis) for axis in axes], chunks=axes, dtype=np.uint8)
        return npsrcnn.upscale(zeros, 3, random_net(scale=3)).chunks

    assert chunks((100, 64, 70), (80,)) == ((300, 192, 210), (240,))
    assert chunks((1,) * 150, (63, 64, 65)) == ((192, 258), (381, 195))
    assert chunks((9,), (1, 0, 0, 1)) == ((27,), (6,))


def test_the_same_call_has_the_same_name():
    zeros = da.zeros((70, 70), chunks=64, dtype=np.uint8)
    names = {npsrcnn.upscale(zeros, 2, random_net(seed=seed)).name for seed in (1, 1, 2)}
    assert len(names) == 2


def test_nothing_is_computed_before_it_is_asked_for():
    def fail(block):
        raise AssertionError("computed")

    zeros = da.zeros((10**5, 10**5), chunks=10**4, dtype=np.uint8).map_blocks(fail, dtype=np.uint8)
    lazy = npsrcnn.upscale(zeros, 4, random_net(scale=4))
    assert lazy.shape == (4 * 10**5,) * 2 and lazy.npartitions == 100


def test_what_a_lazy_array_cannot_be(rng):
    image = da.from_array(random_image(rng, (80, 70), np.uint8), 40)
    with pytest.raises(UserError, match="compute_chunk_sizes"):
        npsrcnn.upscale(image[image[:, 0] > 9], 2, random_net())
    with pytest.raises(ValueError, match="expected an image"):
        npsrcnn.upscale(da.zeros((4, 4, 5), dtype=np.uint8), 2, random_net())
    with pytest.raises(TypeError, match="uint8"):
        npsrcnn.upscale(da.zeros((4, 4), dtype=np.int64), 2, random_net())
    with pytest.raises(TypeError, match="lose its mask"):
        npsrcnn.upscale(da.ma.masked_greater(da.zeros((4, 4)), 0), 2, random_net())
    with pytest.raises(UserError, match="trained for scale 2, not 3"):
        npsrcnn.upscale(da.zeros((4, 4)), 3, random_net())


def test_pixels_without_a_value(rng):
    samples = random_image(rng, (150, 140), np.float32)
    samples[60:75, 50:90] = np.nan
    samples[120:, 100:] = np.inf
    expected = npsrcnn.upscale(samples, 2, random_net())
    lazy = npsrcnn.upscale(da.from_array(samples, 64), 2, random_net())
    np.testing.assert_array_equal(lazy.compute(), expected)
    np.testing.assert_array_equal(np.isfinite(expected)[::2, ::2], np.isfinite(samples))
