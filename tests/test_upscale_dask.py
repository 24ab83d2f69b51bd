"""Dask: lazy arrays, and the command on a scheduler and workers in processes of their own."""

from __future__ import annotations

import numpy as np
import pytest

import npsrcnn
from npsrcnn import SRCNN
from npsrcnn.ensemble import ensemble
from npsrcnn.errors import UserError

da = pytest.importorskip("dask.array", reason="needs the extra dask")


def random_net(name="9-1-5", scale=2, n=(8, 4), seed=1):
    net = SRCNN(name, n=n, seed=seed, metadata={"scale": scale} if scale else None)
    rng = np.random.default_rng(seed)
    for _, b in net.layers:
        b[:] = 0.1 * rng.standard_normal(len(b))
    return net


def random_image(rng, shape, dtype):
    top = np.iinfo(dtype).max if np.dtype(dtype).kind == "u" else 1
    image = (rng.random(shape) * top).astype(dtype)
    if len(shape) == 3 and shape[2] in (2, 4):
        image[rng.random(shape[:2]) < 0.3, -1] = 0
        image[: shape[0] // 2, : shape[1] // 2, -1] = 0  # farther than anything can see
    return image


# Lazy arrays


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float16, np.float32, np.float64])
@pytest.mark.parametrize("channels", [(), (1,), (2,), (3,), (4,)])
def test_lazily_the_same_bits(rng, dtype, channels):
    image = random_image(rng, (150, 137, *channels), dtype)
    expected = npsrcnn.upscale(image, 2, random_net())
    for chunks in ((64, 70, 2), (149, 1, 1)):
        lazy = npsrcnn.upscale(da.from_array(image, chunks[: image.ndim]), 2, random_net())
        assert isinstance(lazy, da.Array)
        assert lazy.shape == expected.shape and lazy.dtype == dtype
        result = lazy.compute()
        assert result.dtype == dtype
        np.testing.assert_array_equal(result, expected)


MODELS = {
    "9-1-5": lambda: (2, random_net()),
    "9-1-5 x3": lambda: (3, random_net(scale=3)),
    "9-1-5 x4": lambda: (4, random_net(scale=4)),
    "Winograd 3": lambda: (3, random_net("9-3-5", 3, (16, 16))),
    "Winograd 5": lambda: (2, random_net("9-5-5", 2, (16, 16))),
    "even sizes": lambda: (2.7, random_net("8-2-4", None)),
    "ensemble": lambda: (2, ensemble(random_net("5-5-3", 2, (16, 16)))),
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
    with pytest.raises(UserError, match="trained for scale 2, not 3"):
        npsrcnn.upscale(da.zeros((4, 4)), 3, random_net())
    lazy = npsrcnn.upscale(da.full((4, 4), np.nan), 2, random_net())
    with pytest.raises(UserError, match="not finite"):
        lazy.compute()
