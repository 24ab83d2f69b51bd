"""Looking inside networks whose inside is known."""

from __future__ import annotations

import numpy as np
import pytest

from npsrcnn import SRCNN
from npsrcnn.errors import UserError
from npsrcnn.model import inspection


def test_dead_filters(rng):
    net = SRCNN("9-1-5", seed=2)
    w, b = net.layers[0]
    w[[3, 40]] *= 1e-3
    b[7] = -100
    assert np.flatnonzero(inspection.dead_filters(net)).tolist() == [3, 40]
    image = rng.random((20, 21)).astype(np.float32)
    dead = np.flatnonzero(inspection.dead_filters(net, image))
    assert {3, 7, 40} <= set(dead.tolist())
    assert np.allclose(inspection.filter_norms(net)[5], np.linalg.norm(w[5]))


def test_activity_by_hand():
    w = np.zeros((2, 1, 1, 1))
    w[0], w[1] = 1, -1
    net = SRCNN.from_layers([(w, np.array([0, 0.5])), (np.ones((1, 2, 1, 1)), np.zeros(1))])
    image = np.array([[0.25, 1.0], [-1.0, 0.0]], np.float32)
    (activity,) = inspection.activity(net, image)
    assert activity.active.tolist() == [0.5, 0.75] and activity.density == 0.625
    assert activity.mean.tolist() == [1.25 / 4, 2.25 / 4]
    (maps,) = inspection.activations(net, image)
    assert np.array_equal(maps[0], np.maximum(image, 0))


@pytest.mark.parametrize("name", ["9-1-5", "9-3-5", "5-1-3"])
def test_the_effective_filter_is_the_network_at_that_pixel(rng, name):
    net = SRCNN(name, seed=5, device="reference")
    for _, b in net.layers:
        b[:] = rng.standard_normal(len(b)) * 0.1
    image = rng.random((31, 29)).astype(np.float32)
    y, x = 14, 15
    weights, constant = inspection.effective_filter(net, image, y, x)
    patch = inspection.receptive_patch(net, image, y, x)
    assert weights.shape == patch.shape == (net.margin + 1, net.margin + 1)
    exact = net.forward(image.astype(np.float64))[y, x]
    assert abs((weights * patch).sum() + constant - exact) < 1e-12
    # A small change moves the output as the filter says: the network is linear around here.
    moved = image.astype(np.float64)
    change = rng.standard_normal(image.shape) * 1e-7
    difference = net.forward(moved + change)[y, x] - exact
    expected = (weights * inspection.receptive_patch(net, change, y, x)).sum()
    assert difference == pytest.approx(expected, rel=1e-5)


def test_what_is_refused():
    image = np.zeros((20, 20), np.float32)
    with pytest.raises(UserError, match="13 x 13 pixels are not all inside"):
        inspection.effective_filter(SRCNN("9-1-5"), image, 5, 10)
    with pytest.raises(UserError, match="one channel"):
        inspection.effective_filter(SRCNN("9-1-5", channels=3), image, 10, 10)
    with pytest.raises(UserError, match="expected floats"):
        inspection.activity(SRCNN("9-1-5"), image.astype(np.uint8))
    with pytest.raises(UserError, match=r"\(3, H, W\)"):
        inspection.activations(SRCNN("9-1-5", channels=3), image)
