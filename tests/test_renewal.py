"""Maps that fall silent in training begin anew, and nothing else changes."""

from __future__ import annotations

import numpy as np
import pytest

from npsrcnn import renewal
from npsrcnn.network import SRCNN
from npsrcnn.optimizers import Adam
from npsrcnn.renewal import PATIENCE, Renewal
from npsrcnn.trainer import Trainer

SILENT = {0: [1, 4], 1: [2]}  # maps by layer


class Noise:
    """A few batches, again and again."""

    def steps(self, batch_size):
        return 7

    def batches(self, seed, epoch, batch_size, start=0):
        rng = np.random.default_rng((seed, epoch))
        for batch in [rng.random((2, 4, 1, 12, 12), np.float32) for _ in range(7)][start:]:
            yield batch[0], batch[1][..., 4:8, 4:8]


def network(seed=0):
    """5-1-5 whose maps of SILENT are zero whatever the image."""
    net = SRCNN("5-1-5", n=(6, 5), seed=seed)
    for i, maps in SILENT.items():
        net.layers[i][1][:] = 0.5
        net.layers[i][1][maps] = -1000
    return net


def trainer(renew=1.0, net=None):
    net = net or network()
    optimizer = Adam(net.layers, [(1, 1)] * 3)
    return Trainer(net, Noise(), optimizer, lambda step, progress: 1e-3, batch=4, average=0.9,
                   renew=renew, seed=3)  # fmt: skip


def silent(net, x):
    """The maps that are zero at every pixel."""
    found, y = {}, x
    for i, (w, b) in enumerate(net.layers[:-1]):
        y = net.kernels.relu(net.kernels.conv2d(y, w, b))
        found[i] = np.flatnonzero(~y.any((0, 2, 3))).tolist()
    return found


@pytest.fixture
def patience(monkeypatch):
    monkeypatch.setattr(renewal, "PATIENCE", 5)


def test_silent_maps_are_found_by_their_gradients_and_live_again(patience, rng):
    x = rng.random((3, 1, 12, 12), np.float32)
    training = trainer()
    assert silent(training.net, x) == SILENT
    assert len(list(training.train(4))) == 4
    assert silent(training.net, x) == SILENT
    list(training.train(5))
    assert silent(training.net, x) == {0: [], 1: []}
    assert silent(training.averaged(), x) == {0: [], 1: []}


def test_what_the_network_computes_does_not_change_by_it(rng):
    net, x = network(), rng.random((1, 1, 12, 12), np.float32)
    before, weights = net.forward(x), [(w.copy(), b.copy()) for w, b in net.layers]
    renewed = renew(net)
    assert renewed == [(i, k) for i, maps in SILENT.items() for k in maps]
    np.testing.assert_array_equal(net.forward(x), before)
    for i, (w, b) in enumerate(net.layers):
        others = np.setdiff1d(np.arange(len(b)), SILENT.get(i, []))
        read = np.setdiff1d(np.arange(w.shape[1]), SILENT.get(i - 1, []))
        np.testing.assert_array_equal(w[others][:, read], weights[i][0][others][:, read])
        np.testing.assert_array_equal(b[others], weights[i][1][others])


def renew(net, until=1.0, progress=0.5):
    """All that :class:`Renewal` does in PATIENCE steps with the gradients of one batch."""
    work = Renewal(net.layers, until, seed=0)
    inputs, labels = next(Noise().batches(0, 0, 4))
    _, grads = net.loss_and_grads(inputs, labels)
    return [found for step in range(PATIENCE)
            for found in work.step(step, progress, grads, [net.layers])]  # fmt: skip


def test_renewed_filters_are_of_the_size_of_the_others():
    net = network()
    renew(net)
    for i, maps in SILENT.items():
        w, b = net.layers[i]
        sizes = np.sqrt(np.mean(w**2, axis=(1, 2, 3)))
        others = np.setdiff1d(np.arange(len(b)), maps)
        assert np.all(sizes[maps] > 0.1 * sizes[others].mean())
        assert np.all(sizes[maps] < 4 * sizes[others].max())
        assert np.all(np.abs(b[maps]) < 1)


@pytest.mark.parametrize(("until", "progress"), [(0.0, 0.0), (0.6, 0.6), (0.6, 0.9)])
def test_nothing_is_renewed_later(until, progress):
    assert renew(network(), until, progress) == []


def test_a_layer_whose_maps_are_all_silent_is_left_alone():
    net = network()
    net.layers[0][1][:] = -1000
    assert renew(net) == [(1, 2)]  # of the next layer's, which are not


def test_a_map_that_is_silent_now_and_then_is_not(rng):
    net = network()
    work = Renewal(net.layers, 1.0, seed=0)
    inputs, labels = next(Noise().batches(0, 0, 4))
    _, grads = net.loss_and_grads(inputs, labels)
    for step in range(3 * PATIENCE):
        for i, maps in SILENT.items():
            grads[i][1][maps] = step % (PATIENCE - 1) == 0
        assert work.step(step, 0.0, grads, [net.layers]) == []


def test_it_goes_on_to_the_same_bits(patience):
    whole = trainer()
    list(whole.train(9))
    first = trainer()
    list(first.train(3))
    second = trainer(net=SRCNN("5-1-5", n=(6, 5), seed=8))
    second.restore(first.state())
    list(second.train(9))
    for name, array in whole.state().items():
        np.testing.assert_array_equal(array, second.state()[name], name)
