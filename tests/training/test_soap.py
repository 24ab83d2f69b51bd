"""SOAP against its paper's algorithm in float64, and what it is for: correlated gradients."""

from __future__ import annotations

import numpy as np
import pytest

from npsrcnn import SRCNN
from npsrcnn.training.optimizers import Adam, paper_factors, parameters
from npsrcnn.training.soap import SOAP, Axis, product, turn

FACTORS = [(1.0, 0.5), (2.0, 1.0)]


def layers_and_grads(rng, steps):
    """Return a network's weights, and gradients whose parts correlate along every axis."""
    layers = SRCNN("5-3", n=[6], seed=5).layers
    mixing = [[rng.standard_normal((n, n)) for n in p.shape] for p in parameters(layers)]
    grads = []
    for _ in range(steps):
        mixed = []
        for p, matrices in zip(parameters(layers), mixing, strict=True):
            g = rng.standard_normal(p.shape)
            for axis, matrix in enumerate(matrices):
                g = np.moveaxis(np.tensordot(matrix, g, (1, axis)), 0, axis)
            mixed.append(g.astype(np.float32))
        grads.append(list(zip(mixed[::2], mixed[1::2], strict=True)))
    return layers, grads


def steps_of_the_paper(w, grads, rate, every, beta1=0.9, beta2=0.95):
    """Do algorithm 3 for one tensor (a, b, f, f), the mean kept unturned as it is there."""
    shape = (*w.shape[:2], w.shape[2] * w.shape[3])
    q = [np.eye(n) for n in shape]
    covariance = [np.zeros((n, n)) for n in shape]
    mean, square, w = np.zeros(shape), np.zeros(shape), w.astype(np.float64)
    for t, g in enumerate(grads, 1):
        g = g.astype(np.float64).reshape(shape)
        mean = beta1 * mean + (1 - beta1) * g
        turned = np.einsum("abc,ai,bj,ck->ijk", g, *q)
        square = beta2 * square + (1 - beta2) * turned**2
        step = np.einsum("abc,ai,bj,ck->ijk", mean, *q) / (1 - beta1**t)
        root = np.sqrt(square / (1 - beta2**t))
        step /= root + 1e-6 * root.max()  # the paper has 1e-8 whatever the gradients' size
        step = step.clip(-1, 1)  # and no limit
        w -= rate * np.einsum("ijk,ai,bj,ck->abc", step, *q).reshape(w.shape)
        for axis, n in enumerate(shape):
            flat = np.moveaxis(g, axis, 0).reshape(n, -1)
            covariance[axis] = beta2 * covariance[axis] + (1 - beta2) * flat @ flat.T
        if t % every == 0:
            old, q = q, [np.linalg.qr(c @ v)[0] for c, v in zip(covariance, q, strict=True)]
            turns = [(a.T @ b) ** 2 for a, b in zip(old, q, strict=True)]
            square = np.einsum("abc,ai,bj,ck->ijk", square, *turns)  # the paper leaves it
    return w


def test_it_is_the_papers_algorithm(rng):
    layers, grads = layers_and_grads(rng, steps=12)
    start = [p.copy() for p in parameters(layers)]
    soap = SOAP(layers, FACTORS, beta1=0.9, every=4)
    for g in grads:
        soap.step(layers, g, 0.01)
    for i, rate in ((0, 0.01), (2, 0.02)):
        along = [parameters(g)[i] for g in grads]
        expected = steps_of_the_paper(start[i], along, rate, every=4)
        ours = parameters(layers)[i]
        assert ours.dtype == np.float32
        # float32 roundings, where all steps together are 0.1 long
        assert np.abs(ours - expected).max() < 1e-4


def test_biases_go_as_by_adam(rng):
    layers, grads = layers_and_grads(rng, steps=25)
    other = [(w.copy(), b.copy()) for w, b in layers]
    soap, adam = SOAP(layers, FACTORS), Adam(other, FACTORS, beta1=0.95, beta2=0.95)
    for g in grads:
        soap.step(layers, g, 0.01)
        adam.step(other, g, 0.01)
    for (w, b), (v, c) in zip(layers, other, strict=True):
        assert np.allclose(b, c, atol=1e-6) and not np.allclose(w, v, atol=1e-2)


def test_axes_become_the_eigenvectors(rng):
    mixing = rng.standard_normal((6, 6))
    covariance = mixing @ mixing.T
    axis = Axis(6)
    axis.covariance[...] = covariance
    turned = np.eye(6)
    for _ in range(400):
        turned = turned @ axis.improve()
    _, vectors = np.linalg.eigh(covariance)
    along = np.abs(axis.vectors @ vectors[:, ::-1])  # in descending order, but for signs
    assert np.allclose(along, np.eye(6), atol=1e-6)
    assert np.allclose(axis.vectors @ axis.vectors.T, np.eye(6), atol=1e-14)
    assert np.allclose(turned, axis.to, atol=1e-5)  # all turns together, from no turn


def test_vectors_stay_orthonormal_where_eigenvalues_are_far_apart(rng):
    basis = np.linalg.qr(rng.standard_normal((40, 40)))[0]
    axis = Axis(40)
    axis.covariance[...] = basis @ np.diag(np.logspace(0, -8, 40)) @ basis.T
    for _ in range(3):
        axis.improve()
        assert np.allclose(axis.vectors @ axis.vectors.T, np.eye(40), atol=1e-13)


def test_turning_there_and_back_changes_nothing(rng):
    tensor = rng.standard_normal((4, 3, 5, 5)).astype(np.float32)
    axes = [Axis(n) for n in (4, 3, 25)]
    for axis in axes:
        axis.take(np.linalg.qr(rng.standard_normal(axis.vectors.shape))[0])
    turned = turn(tensor, [axis.to for axis in axes])
    vectors = [axis.vectors for axis in axes]
    expected = np.einsum("abc,ia,jb,kc->ijk", tensor.reshape(4, 3, 25), *vectors)
    assert np.allclose(turned.reshape(4, 3, 25), expected, atol=1e-5)
    assert np.allclose(turn(turned, [axis.back for axis in axes]), tensor, atol=1e-5)


@pytest.mark.parametrize("shape", [(1, 1, 1), (3, 5, 7), (8, 300, 4), (81, 513, 2)])
def test_products(rng, shape):
    n, rows, columns = shape
    a, b = rng.standard_normal((n, rows)), rng.standard_normal((n, columns))
    assert np.allclose(product(a, b), a.T @ b, atol=1e-12)
    single = product(a.astype(np.float32), b.astype(np.float32))
    assert single.dtype == np.float32 and np.allclose(single, a.T @ b, atol=1e-4)


def test_a_map_that_is_always_zero_is_left_alone(rng):
    layers, grads = layers_and_grads(rng, steps=25)
    start = layers[0][0].copy()
    soap = SOAP(layers, FACTORS)
    for (w, b), last in grads:
        w[2], b[2] = 0, 0
        soap.step(layers, [(w, b), last], 0.01)
    assert np.isfinite(layers[0][0]).all()
    assert np.abs(layers[0][0][2] - start[2]).max() < 1e-6
    assert np.abs(layers[0][0][3] - start[3]).max() > 1e-2


def test_no_gradient_at_all_moves_nothing(rng):
    layers, grads = layers_and_grads(rng, steps=1)
    start = [p.copy() for p in parameters(layers)]
    nothing = [(np.zeros_like(w), np.zeros_like(b)) for w, b in grads[0]]
    soap = SOAP(layers, FACTORS)
    for _ in range(11):
        soap.step(layers, nothing, 0.01)
    assert all(np.array_equal(p, s) for p, s in zip(parameters(layers), start, strict=True))


def test_no_step_is_above_the_rate_where_a_mean_met_squares_of_other_axes(rng):
    layers, _ = layers_and_grads(rng, steps=0)
    nothing = [(np.zeros_like(w), np.zeros_like(b)) for w, b in layers]
    start = layers[0][0].copy()
    soap = SOAP(layers, FACTORS)
    state = soap.state() | {"steps": np.array(1000)}
    for name, value in (("mean0", 1.0), ("square0", 1e-4)):
        state[name] = np.zeros_like(start)
        state[name][3, 0, 2, 2] = value  # after new axes: a mean a hundred times the root
    soap.restore(state)
    soap.step(layers, nothing, 0.01)
    assert np.isclose(np.abs(layers[0][0] - start).max(), 0.01, rtol=1e-3)


def test_where_inputs_correlate_it_is_far_ahead_of_adam(rng):
    """One filter that is to find itself in smooth patches, as those of photographs are."""
    patches = rng.standard_normal((2000, 9 * 9)) @ _smoothing(9)
    target = rng.standard_normal(81)
    losses = []
    for kind in (SOAP, Adam):
        layers = [(np.zeros((1, 1, 9, 9), np.float32), np.zeros(1, np.float32))]
        optimizer = kind(layers, paper_factors(2)[:1])
        for step in range(400):
            some = patches[rng.integers(0, len(patches), 64)]
            gradient = some.T @ (some @ (layers[0][0].ravel() - target)) / 64
            grads = [(gradient.reshape(1, 1, 9, 9).astype(np.float32), np.zeros(1, np.float32))]
            optimizer.step(layers, grads, 0.1 * (1 - step / 400))
        losses.append(np.mean((patches @ (layers[0][0].ravel() - target)) ** 2))
    soap, adam = losses
    assert soap < adam / 10


def _smoothing(size):
    """Return a matrix that makes neighbours of noise alike: a blur of a pixel and a half."""
    place = np.stack(np.divmod(np.arange(size * size), size), axis=1)
    distance = ((place[:, None] - place[None]) ** 2).sum(axis=2)
    return np.exp(-distance / 4.5)
