"""Maps that fall silent in training begin anew, and nothing else changes."""

from __future__ import annotations

import numpy as np
import pytest

from npsrcnn import renewal
from npsrcnn.network import SRCNN
from npsrcnn.optimizers import Adam
from npsrcnn.renewal import WINDOW, Renewal
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


def network(seed=11):
    """5-1-5 whose maps of SILENT are zero whatever the image, and no others."""
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
def window(monkeypatch):
    monkeypatch.setattr(renewal, "WINDOW", 5)


def test_silent_maps_are_found_and_live_again(window, rng):
    x = rng.random((3, 1, 12, 12), np.float32)
    training = trainer()
    assert silent(training.net, x) == SILENT
    list(training.train(4))
    assert silent(training.net, x) == SILENT
    list(training.train(5))
    assert silent(training.net, x) == {0: [], 1: []}
    assert silent(training.averaged(), x) == {0: [], 1: []}


def squared(grads):
    return [(dw * dw, db * db) for dw, db in grads]


def renew(net, networks=None, grads=None):
    """All that :class:`Renewal` does in WINDOW steps with the gradients of one batch."""
    work = Renewal(net.layers, 1.0, seed=0)
    if grads is None:
        _, grads = net.loss_and_grads(*next(Noise().batches(0, 0, 4)))
    found = []
    for step in range(1, WINDOW + 1):
        work.watch(squared(grads))
        found += work.renew(step, networks or [net.layers])
    return found


def test_what_the_network_computes_does_not_change_by_it(rng):
    net, average = network(), network(seed=4)
    x = rng.random((1, 1, 12, 12), np.float32)
    before = net.forward(x), average.forward(x)
    renewed = renew(net, networks=[net.layers, average.layers])
    assert renewed == [(i, k) for i, maps in SILENT.items() for k in maps]
    for result, expected in zip((net.forward(x), average.forward(x)), before, strict=True):
        np.testing.assert_allclose(result, expected, rtol=1e-5, atol=1e-6)  # sums of two parts


def test_a_copy_and_its_original_share_the_work():
    net, old = network(), network()
    renew(net)
    for i, maps in SILENT.items():
        (w, b), (following, _) = net.layers[i], net.layers[i + 1]
        taken = old.layers[i + 1][0]
        originals = []
        for k in maps:
            same = [j for j in range(len(b)) if j not in maps and np.array_equal(w[j], w[k])]
            assert len(same) == 1 and b[same[0]] == b[k]
            originals += same
            together = following[:, k] + following[:, same[0]]
            # Of layer 1's renewed maps the next layer's rows are other filters' copies.
            rows = np.setdiff1d(np.arange(len(together)), SILENT.get(i + 1, []))
            np.testing.assert_allclose(together[rows], taken[rows, same[0]], atol=1e-6)
            shares = following[rows, k] / taken[rows, same[0]]
            assert shares.std() > 0.1, "both would stay alike"
        assert len(set(originals)) == len(originals)


def test_the_busiest_maps_are_divided():
    net = network()
    _, grads = net.loss_and_grads(*next(Noise().batches(0, 0, 4)))
    grads[1][0][:, 3] *= 4  # what layer 1 takes of layer 0's map 3
    grads[1][0][:, 5] *= 12
    first = net.layers[0][0].copy()
    renew(net, grads=grads)
    np.testing.assert_array_equal(net.layers[0][0][SILENT[0]], first[[3, 5]])


def test_nothing_is_renewed_in_the_last_part(window, rng):
    x = rng.random((3, 1, 12, 12), np.float32)
    for part, still in ((0.4, SILENT), (0.6, {0: [], 1: []})):
        training = trainer(renew=part)
        list(training.train(10))  # the fifth step begins when 0.4 of the training is over
        assert silent(training.net, x) == still


def test_a_layer_whose_maps_are_all_silent_is_left_alone():
    net = network()
    net.layers[0][1][:] = -1000
    assert renew(net) == [(1, 2)]  # of the next layer's, which are not


def test_more_silent_maps_than_others_are_copies_of_the_same():
    net = network()
    net.layers[0][1][:5] = -1000
    assert [k for i, k in renew(net) if i == 0] == [0, 1, 2, 3, 4]
    assert all(np.array_equal(w, net.layers[0][0][5]) for w in net.layers[0][0])


def test_a_map_that_has_work_now_and_then_is_not_silent():
    net = network()
    work = Renewal(net.layers, 1.0, seed=0)
    _, grads = net.loss_and_grads(*next(Noise().batches(0, 0, 4)))
    for step in range(1, 2 * WINDOW + 1):
        for i, maps in SILENT.items():
            grads[i + 1][0][:, maps] = np.abs(grads[i + 1][0]).max() * (step % 50 == 0)
        work.watch(squared(grads))
        assert work.renew(step, [net.layers]) == []


def test_it_goes_on_to_the_same_bits(window):
    whole = trainer()
    list(whole.train(9))
    first = trainer()
    list(first.train(3))
    second = trainer(net=SRCNN("5-1-5", n=(6, 5), seed=8))
    second.restore(first.state())
    list(second.train(9))
    for name, array in whole.state().items():
        np.testing.assert_array_equal(array, second.state()[name], name)
