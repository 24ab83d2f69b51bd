"""What is kept with a network follows its weights."""

from __future__ import annotations

import copy
import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from random_inputs import random_net

from npsrcnn.kernels.cpu import inference
from npsrcnn.model.kept import Kept


def counted():
    """A function of layers, and the list of what it was called with."""
    calls = []

    def total(layers):
        calls.append(layers)
        return sum(float(w.sum()) for w, _ in layers)

    return total, calls


def test_a_result_is_computed_once():
    net = random_net("3-1-3")
    total, calls = counted()
    assert net.derived(total) == net.derived(total) == total(net.layers)
    assert len(calls) == 2  # once by the network, once here


def test_functions_do_not_share_results():
    net = random_net("3-1-3")
    assert net.derived(len) == 3
    assert net.derived(counted()[0]) != 3


def test_results_follow_every_change_of_the_layers():
    net = random_net("3-1-3")
    total, calls = counted()

    def bits():
        """Weights that differ in the sign of a zero are not the same."""
        net.layers[0][0][0, 0, 0, 0] *= -1

    def replace():
        net.layers = random_net("5-1-3", seed=7).layers

    for change in (
        lambda: net.layers[1][0].__imul__(2),
        lambda: net.layers[2][1].__iadd__(1),
        lambda: net.layers[0][0].fill(0),
        bits,
        replace,
    ):
        before = len(calls)
        change()
        net.derived(total)
        assert len(calls) == before + 1
        assert net.derived(total) == total(net.layers)
        calls.pop()


def test_forward_follows_layers_that_are_edited_in_place(rng):
    net = random_net("9-1-5")
    x = rng.random((20, 30)).astype(np.float32)
    first = net.forward(x)
    for w, _ in net.layers[1:]:
        w *= 0.5
    changed = net.forward(x)
    assert not np.array_equal(changed, first)
    expected = inference.forward(net.layers, x[None, None])[0, 0]
    np.testing.assert_array_equal(changed, expected)


def test_forward_has_the_same_bits_for_sizes_and_origins_in_any_order(rng):
    net = random_net("9-1-5")
    cases = [
        (rng.random((1, 1, height, width)).astype(np.float32), origin)
        for height, width in ((5, 7), (31, 40), (16, 16))
        for origin in ((0, 0), (3, 2), (6, 1))
    ]
    expected = [inference.forward(net.layers, x, origin=origin) for x, origin in cases]
    for i in (*range(9), *reversed(range(9)), 0, 0):  # more than are kept
        x, origin = cases[i]
        np.testing.assert_array_equal(net.forward(x, origin=origin), expected[i])


def test_layouts_that_are_kept_are_few():
    net = random_net("3-1-3")
    prepared = net.derived(net.kernels.prepare)
    for side in range(1, 2 * inference.KEPT_JOBS):
        net.forward(np.zeros((side, 4), np.float32))
    assert prepared is net.derived(net.kernels.prepare)
    assert prepared.kept_jobs == inference.KEPT_JOBS


def test_threads_share_a_network(rng):
    net = random_net("9-1-5")
    images = [rng.random((12 + i, 20)).astype(np.float32) for i in range(6)]
    expected = [net.forward(x) for x in images]
    fresh = copy.deepcopy(net)
    with ThreadPoolExecutor(4) as pool:
        for y, right in zip(pool.map(fresh.forward, images * 5), expected * 5, strict=True):
            np.testing.assert_array_equal(y, right)


def test_copies_keep_results_of_their_own():
    net = random_net("3-1-3")
    total, calls = counted()
    net.derived(total)
    for copied in (copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        copied.derived(total)
    assert len(calls) == 3


def test_an_error_is_not_kept():
    kept = Kept()
    layers = random_net("3-1-3").layers

    def fails_once(layers):
        if not attempts:
            attempts.append(1)
            raise MemoryError
        return 1

    attempts = []
    with pytest.raises(MemoryError):
        kept.result(fails_once, layers)
    assert kept.result(fails_once, layers) == 1
