"""Test what every GPU kernel must do, on tiny shapes.

test_passes.py runs this file on the simulator, in processes of their own; test_gpu.py on a GPU.

In the simulator the tiles are patched small, so that even tiny shapes have several blocks and
ragged ends. Memory begins as NaN: what is read before it is written spoils the result.
"""

from __future__ import annotations

import functools
import sys
import threading

import numpy as np
import pytest

from npsrcnn import SRCNN, datasets
from npsrcnn.errors import UserError
from npsrcnn.kernels import cuda as kernels
from npsrcnn.kernels import reference
from npsrcnn.kernels.cuda import (
    backpropagation,
    blocks,
    convolution,
    device,
    fused,
    gradients,
    inference,
    passes,
    planes,
    soap,
    steps,
    training,
    weights,
)
from npsrcnn.training import optimizers
from npsrcnn.training.device_trainer import DeviceTrainer
from npsrcnn.training.optimizers import SGD, Adam
from npsrcnn.training.soap import SOAP
from npsrcnn.training.trainer import Trainer

# Sums of up to some hundred float32 products of standard normal numbers, in another order than
# the reference's in float64: about sqrt(n) roundings of 6e-8 each, of values around sqrt(n).
TOLERANCE = {"rtol": 1e-4, "atol": 2e-5}


class Allocations(dict):
    """The simulator's shared arrays, by the line that asks for them: NaN to begin with, and made
    by one thread at a time. (Left alone, two threads of a block sometimes get two arrays.)"""

    def __init__(self):
        super().__init__()
        self.making = threading.Lock()

    def get(self, line):
        self.making.acquire()
        array = super().get(line)
        if array is not None:
            self.making.release()
        return array

    def __setitem__(self, line, array):
        array.view(np.uint8).fill(255)
        super().__setitem__(line, array)
        self.making.release()


@pytest.fixture(autouse=True)
def simulator(monkeypatch):
    """Threads that take turns more often than 200 times a second, and clean shared memory."""
    if device.SIMULATED:
        from numba.cuda.simulator.kernelapi import FakeCUDAShared

        def begin(self, size):
            self._allocations, self._dynshared_size = Allocations(), size

        monkeypatch.setattr(FakeCUDAShared, "__init__", begin)
        sys.setswitchinterval(1e-5)


@pytest.fixture(autouse=True)
def small_tiles(monkeypatch):
    """Blocks of a few threads, so that a handful of pixels makes several of them."""
    if not device.SIMULATED:
        return
    for module, name, value in [
        (blocks, "WARP", 4), (convolution, "LANES", 8), (convolution, "THREADS", 8),
        (convolution, "MAPS", 2), (convolution, "STAGE_BYTES", 1200),
        (fused, "BLOCK_ROWS", 4), (fused, "BLOCK_COLUMNS", 8), (fused, "MAPS", 2),
        (gradients, "THREADS", 8), (gradients, "BAND_COLUMNS", 8), (gradients, "SUMS", 12),
        (gradients, "SAMPLE_GROUPS", 2), (steps, "THREADS", 8), (steps, "SLICES", 2),
        (soap, "THREADS", 8), (soap, "SLICES", 2), (soap, "PARTS", 2),
    ]:  # fmt: skip
        monkeypatch.setattr(module, name, value)
    # How work was cut for other sizes of tiles.
    for module in (convolution, fused, gradients):
        module.blocking.cache_clear()


@pytest.fixture(autouse=True)
def poisoned(monkeypatch):
    """Device memory that was never written is NaN."""

    def floats(count):
        return device.cuda.to_device(np.full(count, np.nan, np.float32))

    for module in (backpropagation, passes, planes, soap, training):
        monkeypatch.setattr(module, "floats", floats)


@pytest.fixture
def rng():
    return np.random.default_rng(20161)


def normal(rng, *shape):
    return rng.standard_normal(shape).astype(np.float32)


def layers_of(rng, channels, widths, sizes):
    """Random signed layers [(w, b), ...] whose outputs stay around 1."""
    layers = []
    for c, o, k in zip([channels, *widths], [*widths, channels], sizes, strict=True):
        layers.append((normal(rng, o, c, k, k) / np.float32(k * c**0.5), normal(rng, o)))
    return layers


def exact(layers):
    return [(w.astype(np.float64), b.astype(np.float64)) for w, b in layers]


CONVOLUTIONS = [  # n, channels, maps, height, width, size
    (2, 3, 5, 9, 11, 3),
    (1, 1, 1, 1, 1, 1),
    (1, 2, 3, 5, 7, 1),
    (1, 1, 4, 6, 13, 4),
    (1, 2, 1, 5, 5, 5),
    (3, 1, 2, 3, 10, 2),
]


@pytest.mark.parametrize("case", CONVOLUTIONS)
def test_convolution_equals_the_reference(rng, case):
    n, channels, maps, height, width, size = case
    x, w = normal(rng, n, channels, height, width), normal(rng, maps, channels, size, size)
    b = normal(rng, maps)
    expected = reference.conv2d(*(a.astype(np.float64) for a in (x, w, b)))
    result = kernels.conv2d(x, w, b)
    assert result.dtype == np.float32
    np.testing.assert_allclose(result, expected, **TOLERANCE)


@pytest.mark.parametrize("case", CONVOLUTIONS)
def test_gradients_of_a_convolution_equal_the_reference(rng, case):
    n, channels, maps, height, width, size = case
    x, w = normal(rng, n, channels, height, width), normal(rng, maps, channels, size, size)
    dy = normal(rng, n, maps, height - size + 1, width - size + 1)
    expected = reference.conv2d_grads(*(a.astype(np.float64) for a in (x, w, dy)))
    for result, wanted in zip(kernels.conv2d_grads(x, w, dy), expected, strict=True):
        np.testing.assert_allclose(result, wanted, **TOLERANCE)


def test_too_large_a_filter_is_refused(rng):
    w = normal(rng, 1, 1, 33, 33)
    with pytest.raises(ValueError, match="31 at most"):
        kernels.conv2d(normal(rng, 1, 1, 40, 40), w, normal(rng, 1))


def test_relu_and_loss_equal_the_reference(rng):
    x, dy = normal(rng, 2, 1, 3, 5), normal(rng, 2, 1, 3, 5)
    x[0, 0, 0, 0] = 0
    assert np.array_equal(kernels.relu(x), reference.relu(x))
    assert np.array_equal(kernels.relu_grad(x, dy), reference.relu_grad(x, dy))
    assert kernels.mse(x, dy) == pytest.approx(reference.mse(x, dy), rel=1e-6)
    np.testing.assert_allclose(kernels.mse_grad(x, dy), reference.mse_grad(x, dy), rtol=1e-6)


NETWORKS = [  # channels, widths, sizes: the first with one pass for its first two layers
    (1, (6, 3), (5, 1, 3)),
    (3, (4, 5), (3, 3, 3)),
    (1, (5, 2), (3, 2, 4)),
    (1, (3, 4, 2), (3, 3, 1, 3)),
    (1, (3,), (3, 3)),
]


@pytest.mark.parametrize("padding", ["replicate", "zeros"])
@pytest.mark.parametrize("network", NETWORKS)
def test_forward_equals_the_reference(rng, network, padding):
    layers = layers_of(rng, *network)
    image = normal(rng, 1, network[0], 11, 13)
    expected = reference.forward(exact(layers), image.astype(np.float64), padding)
    result = kernels.forward(layers, image, padding)
    assert result.dtype == np.float32 and result.flags.c_contiguous
    np.testing.assert_allclose(result, expected, **TOLERANCE)


def test_forward_of_a_batch_and_of_a_pixel_equals_the_reference(rng):
    layers = layers_of(rng, *NETWORKS[0])
    for shape in ((2, 1, 3, 5), (1, 1, 1, 1)):
        images = normal(rng, *shape)
        expected = reference.forward(exact(layers), images.astype(np.float64))
        np.testing.assert_allclose(kernels.forward(layers, images), expected, **TOLERANCE)


def test_forward_of_a_part_with_its_halo_is_that_of_the_whole(rng):
    layers = layers_of(rng, *NETWORKS[0])
    image, halo = normal(rng, 1, 1, 13, 21), kernels.halo(layers)
    part = kernels.forward(layers, image[:, :, 2:, 3:], origin=(2, 3))
    whole = kernels.forward(layers, image)
    assert halo == 3
    assert np.array_equal(part[:, :, halo:, halo:], whole[:, :, 2 + halo :, 3 + halo :])


@pytest.mark.parametrize("padding", ["replicate", "zeros"])
def test_strips_are_identical_to_one_piece(rng, padding):
    layers = layers_of(rng, 1, (4, 2), (3, 3, 3))
    height = 2 * fused.BLOCK_ROWS + 3
    image = normal(rng, 1, 1, height, 9)
    network = inference.Network(layers, padding)
    row = 4 * (1 + 2 + 1) * 16  # bytes of a row of pixels, maps and result, 16 wide
    memory = row * (fused.BLOCK_ROWS + 6 + 2 * planes.ALIGNED)
    strips = list(network.strips(image, memory))
    assert [rows for rows, _ in strips] == [
        (top, min(height, top + fused.BLOCK_ROWS)) for top in range(0, height, fused.BLOCK_ROWS)
    ]
    result = np.concatenate([strip for _, strip in strips], axis=2)
    assert np.array_equal(result, kernels.forward(layers, image, padding))
    with pytest.raises(UserError, match="too little free memory"):
        next(network.strips(image, 1000))


def test_loss_and_gradients_equal_the_reference_and_repeat_to_the_bit(rng):
    layers = layers_of(rng, 1, (3, 2), (3, 1, 3))
    inputs, labels = normal(rng, 3, 1, 8, 8), normal(rng, 3, 1, 4, 4)
    loss, grads = kernels.loss_and_grads(layers, inputs, labels)
    expected_loss, expected = reference.loss_and_grads(
        exact(layers), inputs.astype(np.float64), labels.astype(np.float64)
    )
    assert loss == pytest.approx(expected_loss, rel=1e-5)
    for pair, wanted in zip(grads, expected, strict=True):
        for result, value in zip(pair, wanted, strict=True):
            np.testing.assert_allclose(result, value, **TOLERANCE)
    again_loss, again = kernels.loss_and_grads(layers, inputs, labels)
    assert again_loss == loss
    for pair, repeated in zip(grads, again, strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(pair, repeated, strict=True))


def test_loss_and_gradients_are_refused_with_a_penalty(rng):
    batch = normal(rng, 1, 1, 5, 5), normal(rng, 1, 1, 1, 1)
    with pytest.raises(UserError, match="for the CPU: the GPU kernels have none"):
        kernels.loss_and_grads(layers_of(rng, 1, (2,), (3, 3)), *batch, l1=0.1)


OPTIMIZERS = {"sgd": SGD, "adam": Adam, "soap": functools.partial(SOAP, every=2)}


class Kept:
    """Batches from main memory, as a source that does not hold its sub-images gives them."""

    size, label_size = 5, 3

    def __init__(self, source):
        self.source = source
        self.batches, self.steps = source.batches, source.steps


def trainers(rng, optimizer, source_of, kinds, rate=0.05):
    """One trainer of each kind, all of the same network and source."""
    images = [(rng.random(shape) * 255).astype(np.uint8) for shape in ((12, 16, 3), (18, 10, 3))]
    for kind, where in kinds:
        # In color: the gradients of two steps have full rank along every axis, as SOAP's must.
        net = SRCNN("3-1-1", 3, n=[2, 2], seed=1, device=where)
        source = datasets.sub_images(images, 2, 5, 3, 4, color="rgb", orientations=True)
        factors = [(1.0, 0.1), (1.0, 0.1), (0.1, 0.1)]
        yield kind(
            net, source_of(source), OPTIMIZERS[optimizer](net.layers, factors),
            lambda step, progress: rate / (step + 1), batch=2, seed=5, clip=0.5, average=0.9,
        )  # fmt: skip


def after(trainer, number):
    """The losses of the first ``number`` steps, and the state then."""
    epoch = trainer.run_epoch(lambda step: 0.0)
    losses = [loss for _, loss in zip(range(number), epoch, strict=False)]
    epoch.close()
    return losses, trainer.state()


@pytest.mark.parametrize(
    ("optimizer", "source_of"),
    [("sgd", lambda s: s), ("adam", Kept), ("soap", lambda s: s)],
    ids=["drawn", "put", "SOAP"],
)
def test_training_follows_the_cpus(rng, monkeypatch, optimizer, source_of):
    monkeypatch.setattr("npsrcnn.training.device_trainer.STEPS_PER_REPORT", 3)
    kinds = [(Trainer, "reference"), (DeviceTrainer, "cuda")]
    ours, theirs = (after(t, 3) for t in trainers(rng, optimizer, source_of, kinds))
    np.testing.assert_allclose(theirs[0], ours[0], rtol=1e-5)
    assert ours[1].keys() == theirs[1].keys()
    for name, array in ours[1].items():
        # After two steps the least eigenvalues are a ten-thousandth of the largest, or less.
        least = 5e-3 if "vectors" in name else 1e-6
        np.testing.assert_allclose(theirs[1][name], array, rtol=1e-3, atol=least, err_msg=name)


def test_training_by_soap_takes_the_cpus_steps(rng):
    layers = layers_of(rng, 1, (3, 2), (2, 1, 2))
    grads = [layers_of(rng, 1, (3, 2), (2, 1, 2)) for _ in range(7)]
    for (w, b), *_ in grads:
        w[1], b[1] = 0, 0  # as of a map that is always zero
    factors, scale, rate = [(1.0, 0.1), (1.0, 0.1), (0.1, 0.1)], 0.5, 0.01
    network, count = weights.Weights(layers), weights.Weights(layers).count
    rates = [
        (np.full(w.shape, f), np.full(b.shape, g))
        for (w, b), (f, g) in zip(layers, factors, strict=True)
    ]
    kept = {name: device.to_device(np.zeros(count, np.float32)) for name in ("first", "second")}
    kept |= {"average": device.floats(count), "factors": device.to_device(weights.pack(rates))}
    gpu, cpu = soap.SOAP(network.shapes, count), SOAP(layers, factors, every=3)
    step_ok = device.to_device(np.array([1, scale], np.float32))
    for number, g in enumerate(grads, 1):
        cpu.step(layers, [(scale * w, scale * b) for w, b in g], rate)
        plan = steps.Step(
            rate, forget_mean=1 - cpu.beta1, forget_square=1 - cpu.beta2,
            correct_mean=1 / (1 - cpu.beta1**number), correct_square=1 / (1 - cpu.beta2**number),
            epsilon=cpu.epsilon,
        )  # fmt: skip
        arrays = weights.pack(g), np.array(plan, np.float32), np.array([1, 0])
        gpu.step(network.flat, kept, *map(device.to_device, arrays), step_ok, number % 3 == 0)
    for part, expected in (
        ("weights", optimizers.parameters(layers)), ("first", cpu.mean), ("second", cpu.square)
    ):  # fmt: skip
        flat = network.flat if part == "weights" else kept[part]
        found = optimizers.parameters(weights.unpack(flat.copy_to_host(), network.shapes))
        for result, value in zip(found, expected, strict=True):
            np.testing.assert_allclose(result, value, **TOLERANCE, err_msg=part)
    covariances, vectors = (gpu.unpack(a.copy_to_host()) for a in (gpu.covariances, gpu.vectors))
    found = zip(covariances, vectors, strict=True)
    for ours, theirs in zip(cpu.axes_of_all(), found, strict=True):
        for expected, result in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(result, expected, **TOLERANCE)


@pytest.mark.parametrize("optimizer", ["sgd", "soap"])
def test_training_goes_on_to_the_same_bits(rng, monkeypatch, optimizer):
    monkeypatch.setattr("npsrcnn.training.device_trainer.STEPS_PER_REPORT", 1)
    kinds = [(DeviceTrainer, "cuda")] * 3
    whole, first, second = trainers(rng, optimizer, lambda s: s, kinds)
    _, expected = after(whole, 3)
    _, checkpoint = after(first, 2)
    second.restore(checkpoint)
    _, result = after(second, 1)
    for name, array in expected.items():
        assert np.array_equal(result[name], array), name


def test_a_recorded_step_goes_on_with_what_is_there_then(rng):
    layers = layers_of(rng, 1, (2, 2), (2, 1, 2))
    session = training.Session(layers, [(1.0, 1.0)] * 3, steps.SGD, 1, 5, 3)
    image, corners = rng.random((6, 9), np.float32), [(0, 0), (1, 4), (0, 3)]
    places = [(9 * row + column, 9, 54) for row, column in corners]
    session.hold(image.ravel(), 1 - image.ravel(), np.array(places))
    for order in ([0, 1, 2], [2, 0, 1]):  # the first step of all is recorded
        session.order(np.array(order), np.zeros(3, np.uint8))
        session.begin([steps.Step(rate=0.0)] * 3)
        for number in order:
            session.step()
            row, column = corners[number]
            inputs, labels = session.inputs.download(), session.labels.download()
            part = image[row : row + 5, column : column + 5]
            assert np.array_equal(inputs[0, 0], part)
            assert np.array_equal(labels[0, 0], 1 - part[1:4, 1:4])
        losses, diverged = session.losses()
        assert not diverged and len(set(losses)) == 3


@pytest.mark.filterwarnings("ignore:.*encountered in:RuntimeWarning")
@pytest.mark.parametrize("optimizer", ["sgd", "soap"])
def test_divergence_leaves_the_last_good_weights(rng, monkeypatch, optimizer):
    kinds = [(DeviceTrainer, "cuda")] * 2
    good, bad = trainers(rng, optimizer, lambda s: s, kinds)
    good.rate = bad.rate = lambda step, progress: 0.0 if step == 0 else 1e38
    monkeypatch.setattr("npsrcnn.training.device_trainer.STEPS_PER_REPORT", 1)
    _, expected = after(good, 2)
    monkeypatch.setattr("npsrcnn.training.device_trainer.STEPS_PER_REPORT", 4)
    with pytest.raises(UserError, match="not finite after 2 steps"):
        list(bad.run_epoch(lambda step: 0.0))
    state = bad.state()
    assert bad.step == bad.position == bad.average.steps == 2
    assert all(np.array_equal(state[name], array) for name, array in expected.items())
