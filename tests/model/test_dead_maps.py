"""Dead maps get a share of others' work, and the network computes what it did."""

from __future__ import annotations

import numpy as np
import pytest

from npsrcnn.kernels import reference
from npsrcnn.model.dead_maps import count_dead_maps, maps_of, revive_dead_maps
from npsrcnn.model.network import SRCNN

DEAD, LINEAR = {0: [1, 4], 1: [2]}, {0: [3], 1: [0]}  # maps by layer: never, always above zero


@pytest.fixture
def inputs(rng):
    return rng.random((4, 1, 12, 12), np.float32)


def network(inputs, dead=DEAD, linear=LINEAR):
    """Make a 5-1-5 of 6 and 5 maps; those not named are above zero at half of the pixels."""
    net, maps = SRCNN("5-1-5", n=(6, 5), seed=11), inputs
    for i, (w, b) in enumerate(net.layers[:-1]):
        b[:] = -np.median(reference.conv2d(maps, w, b), axis=(0, 2, 3))
        b[list(dead.get(i, []))] = -1000
        b[list(linear.get(i, []))] = 100
        maps = reference.relu(reference.conv2d(maps, w, b))
    return net


def activity(net, inputs):
    """Return the part of pixels at which each map is above zero."""
    return [(maps > 0).mean(axis=(0, 2, 3)) for maps in maps_of(net, inputs)]


def test_what_the_network_computes_stays_and_no_map_is_dead(inputs):
    net = network(inputs)
    for i, part in enumerate(activity(net, inputs)):
        assert np.flatnonzero(part == 0).tolist() == DEAD[i]
        assert np.flatnonzero(part == 1).tolist() == LINEAR[i]
    assert count_dead_maps(net, inputs) == [2, 1]
    result = revive_dead_maps(net, inputs)
    assert count_dead_maps(result, inputs) == [0, 0]
    # Of numbers up to a hundred, sums of two shares: roundings of 6e-8.
    np.testing.assert_allclose(result.forward(inputs), net.forward(inputs), atol=1e-4)
    assert all(part.all() for part in activity(result, inputs))
    assert result.metadata == net.metadata


def test_a_copy_and_its_original_share_what_the_next_layer_takes(inputs):
    net = network(inputs)
    result = revive_dead_maps(net, inputs)
    for i, dead in DEAD.items():
        (w, b), (following, _), (old, _) = result.layers[i], result.layers[i + 1], net.layers[i + 1]
        rows = np.setdiff1d(np.arange(len(old)), DEAD.get(i + 1, []))  # those are others' copies
        originals = []
        for copy in dead:
            same = [j for j in range(len(b)) if j not in dead and np.array_equal(w[j], w[copy])]
            assert len(same) == 1 and b[same[0]] == b[copy]
            assert same[0] not in LINEAR[i]
            shares = following[rows, copy] / old[rows, same[0]]
            assert (shares >= 0).all() and (shares < 1).all()
            assert shares.std() > 0.1, "both would stay alike"
            originals += same
        assert len(set(originals)) == len(originals)


def test_those_that_contribute_most_are_divided(inputs):
    net = network(inputs)
    net.layers[1][0][:, 5] *= 20  # what layer 1 takes of layer 0's map 5
    net.layers[1][0][:, 0] *= 5
    copies = revive_dead_maps(net, inputs).layers[0][0][DEAD[0]]
    np.testing.assert_array_equal(copies, net.layers[0][0][[5, 0]])


def test_other_seeds_give_other_shares(inputs):
    one, same, other = (revive_dead_maps(network(inputs), inputs, seed) for seed in (0, 0, 1))
    for (w, b), (v, a) in zip(one.layers, same.layers, strict=True):
        assert np.array_equal(w, v) and np.array_equal(b, a)
    assert not np.array_equal(one.layers[1][0], other.layers[1][0])


def test_more_dead_maps_than_others_are_copies_of_the_same(inputs):
    net = network(inputs, {0: [0, 1, 2, 3, 4]}, {})
    result = revive_dead_maps(net, inputs)
    assert all(np.array_equal(w, net.layers[0][0][5]) for w in result.layers[0][0])
    np.testing.assert_allclose(result.forward(inputs), net.forward(inputs), rtol=1e-4, atol=1e-4)


def test_a_map_above_zero_at_a_thousandth_of_the_pixels_lives():
    inputs = np.zeros((1, 1, 40, 50), np.float32)  # two thousand pixels
    net = SRCNN.from_layers([(np.ones((1, 1, 1, 1), np.float32), np.zeros(1, np.float32))] * 2)
    inputs.flat[7] = 1
    assert count_dead_maps(net, inputs) == [1]
    inputs.flat[11] = 1
    assert count_dead_maps(net, inputs) == [0]


@pytest.mark.parametrize("maps", [
    ({}, LINEAR), ({0: range(6), 1: range(5)}, {}), ({0: [0, 1, 2]}, {0: [3, 4, 5]}),
], ids=["none is dead", "all are", "nothing to divide"])  # fmt: skip
def test_weights_stay_where_there_is_nothing_to_do(inputs, maps):
    net = network(inputs, *maps)
    result = revive_dead_maps(net, inputs)
    for (w, b), (v, a) in zip(net.layers, result.layers, strict=True):
        assert np.array_equal(w, v) and np.array_equal(b, a)
        assert w is not v
