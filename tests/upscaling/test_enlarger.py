"""Windows of a result: the same as in the whole, to the last bit."""

from __future__ import annotations

import math
import pickle

import numpy as np
import pytest
from compressed import random_chroma_net
from networks import identity, near_identity
from random_inputs import random_image, random_net, restored_but_flat

from npsrcnn.model.ensemble import ensemble
from npsrcnn.pixels.color import rgb2ycbcr, to_ycbcr
from npsrcnn.upscaling.enlarger import Enlarger
from npsrcnn.upscaling.strips import enlarge


def random_windows(rng, shape, number):
    for _ in range(number):
        rows, columns = (np.sort(rng.choice(length + 1, 2, replace=False)) for length in shape)
        yield tuple(map(int, rows)), tuple(map(int, columns))


NETS = {
    "9-1-5": lambda: [random_net()],
    "Winograd": lambda: [random_net("9-5-5", n=(16, 16))],
    "3 channels": lambda: [random_net("3-1-3", 3)],
    "x6 in steps": lambda: [random_net("5-1-3"), random_net("5-3-5", scale=3, n=(16, 16))],
    "colour first": lambda: [random_chroma_net(), random_net()],
    "ensemble": lambda: [ensemble(random_net("5-3-3", n=(16, 16)))],
}


@pytest.mark.parametrize("nets", NETS)
@pytest.mark.parametrize("kind", [((), np.uint8), ((3,), np.uint16), ((3,), np.float64)])
def test_windows_are_as_the_whole(rng, nets, kind):
    (channels, dtype), size = kind, (61, 83)
    nets = NETS[nets]()
    pixels = random_image(rng, (*size, *channels), dtype)
    alpha = random_image(rng, size, dtype)
    alpha[:, 20:75] = 0
    alpha[50:54, 22:26] = 1
    scale = math.prod(net.scale for net in nets)
    whole, opacity = enlarge(pixels, alpha, nets, scale)
    enlarger = Enlarger(size, nets, scale)
    hidden = (0, 4), (round(47 * scale), round(48 * scale))  # sees nothing but transparency
    for rows, columns in (hidden, *random_windows(rng, enlarger.shape, 4)):
        part = np.s_[slice(*rows), slice(*columns)]
        (top, bottom), (left, right) = enlarger.needs(rows, columns)
        seen = np.s_[top:bottom, left:right]
        for a in (alpha[seen], None):
            window, clear = enlarger(pixels[seen], a, rows, columns, (top, left))
            if a is not None:
                np.testing.assert_array_equal(window, whole[part])
                np.testing.assert_array_equal(clear, opacity[part])
        np.testing.assert_array_equal(window, enlarge(pixels, None, nets, scale)[0][part])


@pytest.mark.parametrize("scale", [1.5, 2.7])
def test_windows_of_a_last_bicubic_step(rng, scale):
    nets, image = [random_net()], random_image(rng, (40, 50, 3), np.uint8)
    whole, _ = enlarge(image, None, nets, scale)
    enlarger = Enlarger((40, 50), nets, scale)
    for rows, columns in random_windows(rng, enlarger.shape, 5):
        window, _ = enlarger(image, None, rows, columns)
        np.testing.assert_array_equal(window, whole[slice(*rows), slice(*columns)])


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_at_scale_1_only_the_network_changes_anything(rng, dtype):
    """What carries Y through leaves all as it is; another network leaves Cb, Cr and alpha."""
    image, alpha = random_image(rng, (40, 30, 3), dtype), random_image(rng, (40, 30), dtype)
    alpha = alpha.clip(1)  # what nobody sees gets the colour of what is around it
    carrying = identity(scale=1)
    for pixels in (image, image[..., 1]):
        result, opacity = enlarge(pixels, alpha, [carrying], 1)
        np.testing.assert_array_equal(result, pixels)
        np.testing.assert_array_equal(opacity, alpha)
    y = rgb2ycbcr(image.astype(np.float32) / np.iinfo(dtype).max)
    net = near_identity(rng, scale=1)
    restored = enlarge(image / np.iinfo(dtype).max, alpha, [net], 1)[0]
    expected = np.dstack([restored_but_flat(net, y[None, ..., 0])[0], y[..., 1:]])
    np.testing.assert_allclose(rgb2ycbcr_unlimited(restored), expected, atol=1e-5)


def rgb2ycbcr_unlimited(image):
    matrix, offset = to_ycbcr(1.0)
    return image @ matrix.T + offset


def test_a_network_goes_to_another_process(rng):
    for net in (random_net(), ensemble(random_net())):
        same = pickle.loads(pickle.dumps(net))
        x = rng.random((20, 20)).astype(np.float32)
        np.testing.assert_array_equal(same.forward(x), net.forward(x))
        assert same.metadata == net.metadata and type(same) is type(net)


def test_what_restores_colour_leaves_grey_as_it_is(rng):
    """As a page of a file whose other pages are in colour."""
    image = random_image(rng, (20, 30), np.float32)
    np.testing.assert_array_equal(enlarge(image, None, [random_chroma_net()], 1)[0], image)
