"""Optimizers against their equations written out, their state, and rates over time."""

from __future__ import annotations

import numpy as np
import pytest

from npsrcnn import SRCNN
from npsrcnn.training.optimizers import (
    SGD,
    Adam,
    WeightAverage,
    clip_norm,
    paper_factors,
    parameters,
    rate_at,
)
from npsrcnn.training.soap import SOAP


def layers_and_grads(rng, steps=3):
    layers = SRCNN("5-3", n=[3], seed=5).layers
    grads = [
        [tuple(rng.standard_normal(p.shape).astype(np.float32) for p in layer) for layer in layers]
        for _ in range(steps)
    ]
    return layers, grads


def test_sgd_is_caffes(rng):
    layers, grads = layers_and_grads(rng)
    expected = [p.astype(np.float64) for p in parameters(layers)]
    velocity = [0.0] * 4
    sgd = SGD(layers, paper_factors(2), momentum=0.9)
    for g in grads:
        sgd.step(layers, g, 0.01)
        for i, rate in enumerate([0.01, 0.001, 0.001, 0.001]):
            velocity[i] = 0.9 * velocity[i] - rate * parameters(g)[i]
            expected[i] += velocity[i]
    for p, e in zip(parameters(layers), expected, strict=True):
        assert p.dtype == np.float32
        assert np.allclose(p, e, rtol=1e-5, atol=1e-7)  # a few float32 roundings


def test_adam_is_kingma_and_bas(rng):
    layers, grads = layers_and_grads(rng)
    expected = [p.astype(np.float64) for p in parameters(layers)]
    mean, square = [0.0] * 4, [0.0] * 4
    adam = Adam(layers, [(1.0, 0.5), (2.0, 1.0)])
    for t, g in enumerate(grads, 1):
        adam.step(layers, g, 0.01)
        for i, rate in enumerate([0.01, 0.005, 0.02, 0.01]):
            gi = parameters(g)[i].astype(np.float64)
            mean[i] = 0.9 * mean[i] + 0.1 * gi
            square[i] = 0.999 * square[i] + 0.001 * gi**2
            expected[i] -= (
                rate * (mean[i] / (1 - 0.9**t)) / (np.sqrt(square[i] / (1 - 0.999**t)) + 1e-8)
            )
    for p, e in zip(parameters(layers), expected, strict=True):
        assert p.dtype == np.float32
        assert np.allclose(p, e, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", [SGD, Adam, SOAP])
def test_restored_state_goes_on_to_the_same_bits(rng, kind):
    layers, grads = layers_and_grads(rng, steps=24)
    factors = paper_factors(2)
    straight, average = kind(layers, factors), WeightAverage(layers, 0.9)
    for g in grads[:12]:
        straight.step(layers, g, 0.1)
        average.update(layers)
    copy = [(w.copy(), b.copy()) for w, b in layers]
    resumed, resumed_average = kind(copy, factors), WeightAverage(copy, 0.9)
    resumed.restore({k: v.copy() for k, v in straight.state().items()})
    resumed_average.restore({k: v.copy() for k, v in average.state().items()})
    for g in grads[12:]:
        straight.step(layers, g, 0.1)
        resumed.step(copy, g, 0.1)
        average.update(layers)
        resumed_average.update(copy)
    for a, b in zip(parameters(layers), parameters(copy), strict=True):
        assert np.array_equal(a, b)
    pairs = zip(parameters(average.layers), parameters(resumed_average.layers), strict=True)
    assert all(np.array_equal(a, b) for a, b in pairs)


def test_average_of_weights_that_stand_still_is_them_and_follows_them(rng):
    layers, _ = layers_and_grads(rng)
    start = [p.copy() for p in parameters(layers)]
    average = WeightAverage(layers, 0.9)
    for p in parameters(layers):
        p += 1
    for _ in range(100):
        average.update(layers)
    for a, p, s in zip(parameters(average.layers), parameters(layers), start, strict=True):
        assert np.allclose(a, p, atol=1e-3) and not np.shares_memory(a, p)
        assert not np.allclose(a, s, atol=0.5)
    exact = WeightAverage(layers, 0)
    for p in parameters(layers):
        p *= 2
    exact.update(layers)
    pairs = zip(parameters(exact.layers), parameters(layers), strict=True)
    # a + 1 * (p - a) is p but for one rounding of the difference.
    assert all(np.allclose(a, p, rtol=1e-6) for a, p in pairs)


def test_clipping_keeps_the_direction(rng):
    _, (grads, *_) = layers_and_grads(rng)
    before = np.concatenate([g.ravel() for g in parameters(grads)])
    norm = np.linalg.norm(before)
    assert clip_norm(grads, 2 * norm) == pytest.approx(norm, rel=1e-5)
    after = np.concatenate([g.ravel() for g in parameters(grads)])
    assert np.array_equal(before, after)
    clip_norm(grads, norm / 4)
    after = np.concatenate([g.ravel() for g in parameters(grads)])
    assert np.allclose(after, before / 4, rtol=1e-5)


def test_rates_over_time():
    def rate(step, progress, decay="cosine"):
        return rate_at(step, progress, peak=0.8, warmup=4, decay=decay)

    assert [rate(s, 0.0) for s in range(6)] == pytest.approx([0.2, 0.4, 0.6, 0.8, 0.8, 0.8])
    assert rate(100, 0.5) == pytest.approx(0.4) and rate(100, 1.0) == pytest.approx(0, abs=1e-12)
    assert rate(100, 0.9, "none") == 0.8
    assert rate_at(0, 0.0, peak=0.8, warmup=0, decay="none") == 0.8
