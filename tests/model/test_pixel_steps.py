"""One pixel followed through a network: equal to ``forward``, everywhere."""

from __future__ import annotations

import numpy as np
import pytest
from networks import asymmetric

from npsrcnn import SRCNN, load
from npsrcnn.errors import UserError
from npsrcnn.model.inspection import activations
from npsrcnn.model.pixel_steps import pixel_steps

PLACES = [(0, 0), (0, 9), (7, 21), (3, 4), (11, 13), (15, 0)]


def exact(net, padding):
    layers = [(w.astype(np.float64), b.astype(np.float64)) for w, b in net.layers]
    return SRCNN.from_layers(layers, device="reference", padding=padding, dtype=np.float64)


@pytest.mark.parametrize("padding", ["replicate", "zeros"])
@pytest.mark.parametrize(("name", "channels"), [("9-1-5", 1), ("5-3-3", 3), ("3-1-1-5", 1)])
def test_it_is_forward_to_the_last_digits_at_the_edge_too(rng, name, channels, padding):
    net = exact(asymmetric(rng, name, channels), padding)
    image = rng.standard_normal((channels, 16, 22))
    whole = net.forward(image[None])[0]
    maps = activations(net, image)
    for y, x in PLACES:
        steps = pixel_steps(net, image, y, x)
        np.testing.assert_allclose(steps.output, whole[:, y, x], rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(steps.forward, whole[:, y, x], rtol=1e-12, atol=1e-12)
        for layer, responses in zip(maps, steps.responses, strict=True):
            np.testing.assert_allclose(responses, layer[:, y, x], rtol=1e-12, atol=1e-12)
        order, sums = steps.running_sum(channels - 1)
        assert sums[0] == net.layers[-1][1][-1] and len(order) == net.n[-1]
        assert sums[-1] == pytest.approx(whole[-1, y, x], abs=1e-12)
        parts = np.abs(steps.contributions[channels - 1][order])
        assert (np.diff(parts) <= 0).all()


def test_first_layer_is_filters_times_patch(rng):
    net = exact(asymmetric(rng, "5-1-3"), "replicate")
    steps = pixel_steps(net, rng.standard_normal((16, 22)), 0, 21)
    w, b = net.layers[0]
    expected = np.maximum(0, np.tensordot(w, steps.patch, 3) + b)
    np.testing.assert_allclose(steps.responses[0], expected, rtol=1e-12)


def test_what_all_pixels_paint_is_the_image(rng):
    net = exact(asymmetric(rng, "3-1-3"), "zeros")
    image = rng.standard_normal((6, 7))
    painted = np.zeros((8, 9)) + net.layers[-1][1]
    for y in range(6):
        for x in range(7):
            painted[y : y + 3, x : x + 3] += pixel_steps(net, image, y, x).painted[0]
    np.testing.assert_allclose(painted[1:-1, 1:-1], net.forward(image), rtol=1e-11, atol=1e-11)


def test_of_shipped_weights_within_float32(rng):
    net = load("9-1-5-x3")
    image = rng.uniform(0, 1, (30, 40)).astype(np.float32)
    whole = net.forward(image)
    for y, x in [(0, 0), (14, 20), (29, 39)]:
        assert pixel_steps(net, image, y, x).output[0] == pytest.approx(whole[y, x], abs=2e-6)


def test_what_is_refused(rng):
    net = asymmetric(rng)
    for place in [(-1, 0), (0, 22), (16, 0)]:
        with pytest.raises(UserError, match="no pixel"):
            pixel_steps(net, np.zeros((16, 22)), *place)
    with pytest.raises(UserError, match="expected floats"):
        pixel_steps(net, np.zeros((3, 16, 22)), 0, 0)
    with pytest.raises(UserError, match="nothing inside"):
        alone = SRCNN.from_layers([(np.zeros((1, 1, 3, 3)), np.zeros(1))])
        pixel_steps(alone, np.zeros((9, 9)), 4, 4)
