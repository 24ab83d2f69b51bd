"""Test GPU kernels on a GPU: `python -m pytest -m cuda`. Skipped where there is none.

All of the contract on tiny shapes, with the tiles as they are; then the paper's networks on
images and batches of real size.
"""

from __future__ import annotations

import os
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from cuda_contract import *  # noqa: F403
from cuda_contract import after, exact, normal, trainers

from npsrcnn import SRCNN
from npsrcnn.errors import UserError
from npsrcnn.kernels import cuda as kernels
from npsrcnn.kernels import reference
from npsrcnn.kernels.cuda import device, inference

HERE = device.cuda is not None and not device.SIMULATED and device.cuda.is_available()
pytestmark = [pytest.mark.cuda, pytest.mark.skipif(not HERE, reason="no CUDA GPU here")]
NETWORKS = [(name, channels) for name in ("9-1-5", "9-3-5", "9-5-5") for channels in (1, 3)]
# Sums of up to 1,600 products in float32: a relative error of sqrt(1600) x 6e-8 of their size.
ERROR = 3e-6


@pytest.fixture(autouse=True)
def the_gpu_is_well():
    """Once a kernel has done what it may not, all that comes after fails in this process: end it,
    so that pytest names this test, and with -n starts another."""
    yield
    try:
        device.cuda.synchronize()
    except Exception as error:
        print(f"the GPU is in error: {error}", file=sys.stderr, flush=True)
        os._exit(3)


def distance(result, expected):
    """Return the norm of their difference, as a part of that of the expected."""
    return np.linalg.norm(np.asarray(result, float) - expected) / np.linalg.norm(expected)


def network(name, channels):
    return SRCNN(name, channels, seed=3).layers


@pytest.mark.parametrize("padding", ["replicate", "zeros"])
@pytest.mark.parametrize(("name", "channels"), NETWORKS)
def test_the_papers_networks_on_an_image(rng, name, channels, padding):
    layers = network(name, channels)
    image = normal(rng, 1, channels, 123, 157)
    expected = reference.forward(exact(layers), image.astype(np.float64), padding)
    result = kernels.forward(layers, image, padding)
    assert distance(result, expected) < ERROR
    assert np.array_equal(kernels.forward(layers, image, padding), result)
    row = 4 * 200 * 160  # bytes: enough for strips of a few dozen rows
    strips = list(inference.Network(layers, padding).strips(image, row * 60))
    assert len(strips) > 1
    assert np.array_equal(np.concatenate([strip for _, strip in strips], axis=2), result)


def test_threads_take_turns(rng):
    layers, images = network("9-1-5", 1), [normal(rng, 1, 1, 40 + i, 50) for i in range(8)]
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda image: kernels.forward(layers, image), images))
    for image, result in zip(images, results, strict=True):
        assert np.array_equal(kernels.forward(layers, image), result)


@pytest.mark.parametrize("batch", [128, 131, 1024])
@pytest.mark.parametrize(("name", "channels"), NETWORKS)
def test_loss_and_gradients_of_a_batch(rng, name, channels, batch):
    layers = network(name, channels)
    margin = sum(w.shape[2] - 1 for w, _ in layers)
    inputs = normal(rng, batch, channels, 33, 33)
    labels = normal(rng, batch, channels, 33 - margin, 33 - margin)
    loss, grads = kernels.loss_and_grads(layers, inputs, labels)
    again, repeated = kernels.loss_and_grads(layers, inputs, labels)
    assert loss == again
    part = slice(0, batch if batch < 200 else 0)
    if part.stop:
        expected_loss, expected = reference.loss_and_grads(
            exact(layers), inputs.astype(np.float64), labels.astype(np.float64)
        )
    else:  # the reference takes long: the CPU's kernels, tested against it, in its place
        expected_loss, expected = SRCNN.from_layers(layers).loss_and_grads(inputs, labels)
    assert loss == pytest.approx(expected_loss, rel=1e-5)
    for pair, same, wanted in zip(grads, repeated, expected, strict=True):
        for result, copy, value in zip(pair, same, wanted, strict=True):
            assert np.array_equal(result, copy), "two runs differ"
            assert distance(result, value) < 1e-4  # a sum over 80,000 pixels that nearly cancels


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "soap"])
def test_two_trainings_give_the_same_bits(rng, optimizer):
    from npsrcnn.training.device_trainer import DeviceTrainer

    kinds = [(DeviceTrainer, "cuda")] * 2
    (_, one), (_, two) = (after(t, 40) for t in trainers(rng, optimizer, lambda s: s, kinds))
    assert all(np.array_equal(two[name], array) for name, array in one.items())


def test_out_of_memory_is_one_line():
    total = device.cuda.current_context().get_memory_info()[1]
    with pytest.raises(UserError, match="out of memory"), device.one_line_errors():
        device.floats(total)  # of four bytes each
