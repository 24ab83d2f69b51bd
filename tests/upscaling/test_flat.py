"""Flat pictures come out as they went in, and grey is grey."""

from __future__ import annotations

import numpy as np
import pytest
from random_inputs import random_image, random_net

import npsrcnn
from npsrcnn.model.ensemble import ensemble
from npsrcnn.pixels.color import Y_BLACK, Y_RANGE
from npsrcnn.upscaling.enlarger import Enlarger
from npsrcnn.upscaling.flat import subtract_flat_error

MODELS = npsrcnn.models()
NAMES = [model.name for model in MODELS]
LEVELS = {np.uint8: range(256), np.uint16: (0, 1, 682, 20001, 32768, 50000, 65534, 65535)}
COLORS = ((0, 0, 0), (1, 1, 1), (1, 0, 0), (0.2, 0.5, 0.9), (0.01, 0.99, 0.5))


def assert_flat(result, value):
    np.testing.assert_array_equal(result, np.broadcast_to(value, result.shape))


@pytest.mark.parametrize("model", MODELS, ids=NAMES)
def test_every_grey_stays_what_it_is(model):
    """Every one, and of the many weights for compressed pictures every fifth."""
    net = npsrcnn.load(model.name)
    for dtype, levels in LEVELS.items():
        for level in levels[:: 1 if model.quality is None else 5]:
            assert_flat(npsrcnn.upscale(np.full((2, 3), level, dtype), model=net), level)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", LEVELS)
def test_colours_stay_what_they_are(name, dtype):
    net = npsrcnn.load(name)
    for color in COLORS:
        value = np.round(np.multiply(color, np.iinfo(dtype).max)).astype(dtype)
        assert_flat(npsrcnn.upscale(np.full((3, 4, 3), value), model=net), value)


@pytest.mark.parametrize("scale", [1.5, 2, 3, 4, 6])
@pytest.mark.parametrize("dtype", LEVELS)
def test_by_the_weights_for_a_scale(scale, dtype):
    for level in LEVELS[np.uint16]:
        level = level * np.iinfo(dtype).max // 65535
        assert_flat(npsrcnn.upscale(np.full((5, 4), level, dtype), scale), level)


def test_by_an_ensemble():
    for name in ("9-1-5-x2", "9-1-5-x3-rgb"):
        net = ensemble(npsrcnn.load(name))
        for level in LEVELS[np.uint16]:
            assert_flat(npsrcnn.upscale(np.full((6, 5), level, np.uint16), model=net), level)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_floats_by_weights_that_were_never_trained(channels, dtype):
    net = random_net("5-3-3", channels)
    for value in (0, 0.3, 1):
        image = np.full((4, 4), value, dtype)
        np.testing.assert_allclose(npsrcnn.upscale(image, model=net), value, rtol=0, atol=1e-5)


def test_beyond_black_and_white_what_is_subtracted_is_theirs(rng):
    net, ends = random_net(), np.array([[Y_BLACK, Y_BLACK + Y_RANGE]], np.float32)
    beyond = ends + np.array([[-0.2, 0.2]], np.float32)
    at_ends, further = (
        subtract_flat_error(net, blurred[None], np.zeros((1, 1, 2), np.float32))
        for blurred in (ends, beyond)
    )
    np.testing.assert_allclose(further, at_ends, rtol=0, atol=1e-6)


def test_what_is_subtracted_follows_the_weights(rng):
    net = random_net("3-1-3")
    x = (Y_BLACK + Y_RANGE * rng.random((1, 1, 1))).astype(np.float32)
    for _ in range(2):
        result = subtract_flat_error(net, x, net.forward(x[None])[0])
        np.testing.assert_allclose(result, x, rtol=0, atol=1e-5)
        net.layers[0][0][:] *= -2  # as training does, in place


@pytest.mark.parametrize("channels", [1, 3])
def test_any_part_of_it_is_the_same(rng, channels):
    net = random_net("3-1-3", channels)
    blurred, restored = rng.random((2, channels, 90, 70)).astype(np.float32) * 1.4 - 0.2
    whole = subtract_flat_error(net, blurred, restored.copy())
    for rows, columns in ((slice(3, 50), slice(1, 69)), (slice(40, 41), slice(5, 9))):
        part = np.s_[:, rows, columns]
        seen = np.ascontiguousarray(blurred[part])
        np.testing.assert_array_equal(subtract_flat_error(net, seen, restored[part]), whole[part])


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_a_grey_picture_is_enlarged_as_its_colours_are(rng, scale):
    grey = random_image(rng, (20, 30), np.uint8)
    grey[5:15, 5:25] = np.linspace(0, 255, 20)
    color = npsrcnn.upscale(np.dstack([grey] * 3), scale)
    difference = np.abs(npsrcnn.upscale(grey, scale).astype(int)[..., None] - color)
    assert difference.max() <= 1


def test_grey_of_sixteen_bits_and_floats_is_as_of_eight(rng):
    grey = random_image(rng, (20, 30), np.uint8)
    expected = npsrcnn.upscale(grey, 2)
    wide = npsrcnn.upscale(grey.astype(np.uint16) * 257, 2)
    np.testing.assert_allclose(wide / 257, expected, atol=0.51)
    floats = npsrcnn.upscale(grey / 255, 2).clip(0, 1)
    np.testing.assert_allclose(floats * 255, expected, atol=0.51)


def test_windows_of_flat_pictures_are_flat():
    enlarger = Enlarger((300, 40), [npsrcnn.load("9-1-5-x4")], 4)
    pixels = np.full((300, 40), 682, np.uint16)
    window, _ = enlarger(pixels, None, (100, 900), (7, 150))
    assert_flat(window, 682)
