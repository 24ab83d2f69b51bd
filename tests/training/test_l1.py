"""Training with a penalty on the maps between layers: sparse coding's l1 norm."""

from __future__ import annotations

import numpy as np
import pytest
from rounding import assert_right

from npsrcnn import SRCNN, datasets
from npsrcnn.errors import UserError
from npsrcnn.evaluation.protocol import EvaluationImage
from npsrcnn.kernels import reference
from npsrcnn.kernels.cpu.tiles import LANES
from npsrcnn.model import inspection
from npsrcnn.runtime.threads import set_num_threads
from npsrcnn.training.optimizers import Adam, paper_factors
from npsrcnn.training.trainer import Trainer


def problem(rng, name: str, batch: int, dtype=np.float32):
    net = SRCNN(name, seed=3)
    for _, b in net.layers:
        b[:] = rng.standard_normal(len(b)) * 0.1
    size = net.margin + 6
    inputs = rng.standard_normal((batch, 1, size, size)).astype(dtype)
    return net, inputs, rng.standard_normal((batch, 1, 6, 6)).astype(dtype)


def test_the_penalty_is_the_sum_of_the_maps(rng):
    net, inputs, labels = problem(rng, "9-1-5", 3, np.float64)
    layers = [(w.astype(np.float64), b.astype(np.float64)) for w, b in net.layers]
    plain, _ = reference.loss_and_grads(layers, inputs, labels)
    loss, grads = reference.loss_and_grads(layers, inputs, labels, 0.7)
    first = reference.relu(reference.conv2d(inputs, *layers[0]))
    second = reference.relu(reference.conv2d(first, *layers[1]))
    assert loss == pytest.approx(plain + 0.7 * (first.sum() + second.sum()) / 3, rel=1e-12)
    for depth, (w, _) in enumerate(layers):  # centred differences; a kink so near is unlikely
        direction = rng.standard_normal(w.shape)
        sides = []
        for sign in (1, -1):
            moved = [*layers]
            moved[depth] = (w + sign * 1e-6 * direction, layers[depth][1])
            sides.append(reference.loss_and_grads(moved, inputs, labels, 0.7)[0])
        slope = (sides[0] - sides[1]) / 2e-6
        assert slope == pytest.approx((grads[depth][0] * direction).sum(), rel=1e-6)


@pytest.mark.parametrize("batch", [LANES, 3 * LANES, LANES + 3])  # the last: plain kernels
@pytest.mark.parametrize("name", ["9-1-5", "3-5-3"])
def test_the_fast_kernels_agree(rng, name, batch):
    net, inputs, labels = problem(rng, name, batch)
    result = net.loss_and_grads(inputs, labels, 0.7)
    assert_right(result, net.layers, inputs, labels, 0.7, winograd=batch % LANES == 0)


def test_same_bits_for_any_number_of_threads(rng):
    net, inputs, labels = problem(rng, "9-1-5", 4 * LANES)
    results = []
    for threads in (1, 3):
        set_num_threads(threads)
        loss, grads = net.loss_and_grads(inputs, labels, 0.1)
        results.append((loss, b"".join(a.tobytes() for pair in grads for a in pair)))
    assert results[0] == results[1]


def test_codes_get_sparser():
    source = datasets.sub_images(datasets.dead_leaves(4, (120, 120)), 3, 33, 21)
    image = EvaluationImage.from_array(datasets.dead_leaves(1, (99, 99), seed=7)[0], 3).bicubic
    density = []
    for l1 in (0.0, 0.05):
        net = SRCNN("9-1-5", n=[16, 8], seed=1)
        optimizer = Adam(net.layers, paper_factors(3))
        trainer = Trainer(net, source, optimizer, lambda step, _: 3e-3, batch=32, l1=l1)
        for _ in range(3):
            list(trainer.run_epoch(lambda step: 0.0))
        density.append([a.density for a in inspection.activity(net, image.astype(np.float32))])
    assert density[1][0] < 0.8 * density[0][0] and density[1][1] < density[0][1]


def test_what_is_refused(rng):
    net, inputs, labels = problem(rng, "9-1-5", 2)
    for l1 in (-1.0, np.nan):
        with pytest.raises(UserError, match="l1 must be"):
            net.loss_and_grads(inputs, labels, l1)
