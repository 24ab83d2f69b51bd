"""The plain kernels against loops written out, and against each other."""

from __future__ import annotations

import numpy as np
import pytest

from npsrcnn import kernels
from npsrcnn.errors import UserError
from npsrcnn.kernels import cpu, reference
from npsrcnn.runtime.threads import set_num_threads

SHAPES = [  # N, C, O, H, W, K
    (2, 3, 4, 9, 11, 3),  # not square, several of everything
    (1, 1, 1, 7, 5, 5),  # a single channel; filters as wide as the image
    (3, 2, 5, 8, 6, 4),  # an even filter
    (1, 1, 2, 1, 1, 1),  # a single pixel
    (2, 1, 3, 6, 6, 6),  # a filter as large as the image
    (1, 4, 2, 12, 9, 1),  # the second layer of 9-1-5
]
# Sums of up to 75 products, each rounded; relative to the norm of the result.
TOLERANCE = {np.float32: 1e-6, np.float64: 2e-15}


@pytest.fixture(params=[np.float32, np.float64], ids=["float32", "float64"])
def dtype(request):
    return request.param


@pytest.fixture(params=SHAPES, ids=str)
def problem(request, rng, dtype):
    """x, w, b, and a cotangent of the output, all signed."""
    n, c, o, h, w, k = request.param
    shapes = (n, c, h, w), (o, c, k, k), (o,), (n, o, h - k + 1, w - k + 1)
    return [rng.standard_normal(shape).astype(dtype) for shape in shapes]


def close(a, b):
    assert a.shape == b.shape
    assert a.dtype == b.dtype
    difference = np.linalg.norm(a.astype(np.float64) - b)
    assert difference <= TOLERANCE[b.dtype.type] * np.linalg.norm(b)


def loops(x, w, b, u):
    """The convolution and its gradients, as the definition says: y, dx, dw, db."""
    n, o, rows, cols = u.shape
    y, dx, dw = np.zeros_like(u), np.zeros_like(x), np.zeros_like(w)
    size = w.shape[2]
    for i, m, r, s in np.ndindex(n, o, rows, cols):
        window = np.s_[i, :, r : r + size, s : s + size]
        y[i, m, r, s] = np.sum(x[window] * w[m]) + b[m]
        dx[window] += u[i, m, r, s] * w[m]
        dw[m] += u[i, m, r, s] * x[window]
    return y, dx, dw, u.sum(axis=(0, 2, 3))


@pytest.mark.parametrize("module", [reference, cpu], ids=["reference", "cpu"])
def test_convolution_and_gradients_are_what_loops_compute(module, problem):
    x, w, b, u = problem
    y, dx, dw, db = loops(x, w, b, u)
    close(module.conv2d(x, w, b), y)
    for got, expected in zip(module.conv2d_grads(x, w, u), (dx, dw, db), strict=True):
        close(got, expected)


@pytest.mark.parametrize("module", [reference, cpu], ids=["reference", "cpu"])
def test_relu_and_its_gradient_on_both_sides_and_at_zero(module, rng, dtype):
    x = rng.standard_normal((3, 2, 5, 4)).astype(dtype)
    x[0, 0, 0, :3] = [0.0, -0.0, 1e-30]
    dy = rng.standard_normal(x.shape).astype(dtype)
    y, dx = module.relu(x), module.relu_grad(x, dy)
    assert y.dtype == dx.dtype == dtype
    np.testing.assert_array_equal(y, np.where(x > 0, x, 0))
    np.testing.assert_array_equal(dx, np.where(x > 0, dy, 0))
    assert (x < 0).any(), "a test of one side only"


@pytest.mark.parametrize("module", [reference, cpu], ids=["reference", "cpu"])
def test_mse_is_caffes_euclidean_loss(module, rng, dtype):
    y, t = rng.standard_normal((2, 3, 1, 4, 5)).astype(dtype)
    assert module.mse(y, t) == pytest.approx(sum((y - t).ravel().astype(float) ** 2) / 6, rel=1e-6)
    gradient = module.mse_grad(y, t)
    assert gradient.dtype == dtype
    np.testing.assert_allclose(gradient, (y - t) / 3, rtol=2e-7)
    # The loss is quadratic, so that its slope between y - d and y + d is the gradient exactly.
    d = rng.standard_normal(y.shape).astype(dtype)
    slope = (module.mse(y + d, t) - module.mse(y - d, t)) / 2
    scale = np.linalg.norm(gradient) * np.linalg.norm(d)
    assert abs(slope - np.vdot(gradient, d)) <= 10 * TOLERANCE[dtype] * scale


@pytest.mark.parametrize("padding", ["replicate", "zeros"])
@pytest.mark.parametrize("sizes", [(3, 1, 5), (2, 4)], ids=str)
def test_plain_forward_is_the_references_with_any_filters(rng, sizes, padding):
    widths = [1, *[4, 3][: len(sizes) - 1], 1]
    layers = [
        (rng.standard_normal((o, c, k, k)), rng.standard_normal(o))
        for c, o, k in zip(widths[:-1], widths[1:], sizes, strict=True)
    ]
    x = rng.standard_normal((2, 1, 4, 7))
    close(cpu.forward(layers, x, padding), reference.forward(layers, x, padding))


def test_reference_pads_each_layer_with_the_nearest_pixel(rng):
    x = rng.standard_normal((1, 1, 2, 3))
    w = np.zeros((1, 1, 5, 5))
    w[0, 0, 0, 4] = 1  # looks two rows up and two columns right
    y = reference.forward([(w, np.zeros(1))], x)
    rows, cols = np.clip(np.arange(2) - 2, 0, 1), np.clip(np.arange(3) + 2, 0, 2)
    np.testing.assert_array_equal(y[0, 0], x[0, 0][np.ix_(rows, cols)])


def test_views_and_read_only_arrays_are_taken(rng):
    x = rng.standard_normal((2, 6, 5, 3)).transpose(0, 3, 2, 1)
    w, b = rng.standard_normal((3, 3, 2, 4))[:, :, :, ::2], rng.standard_normal(3)
    b.flags.writeable = False
    close(cpu.conv2d(x, w, b), reference.conv2d(x, w, b))


def test_wrong_arrays_are_refused_by_name(rng):
    x, w, b = rng.standard_normal((1, 2, 5, 5)), rng.standard_normal((3, 2, 3, 3)), np.zeros(3)
    with pytest.raises(TypeError, match="float32, float64"):
        cpu.conv2d(x.astype(np.float32), w, b)
    with pytest.raises(TypeError, match="int64"):
        cpu.relu(np.arange(4))
    with pytest.raises(ValueError, match="larger than the image"):
        cpu.conv2d(x[:, :, :2], w, b)
    with pytest.raises(ValueError, match=r"b is \(2,\)"):
        cpu.conv2d(x, w, b[:2])
    with pytest.raises(ValueError, match="C, H, W"):
        cpu.conv2d(x[:, :1], w, b)
    with pytest.raises(ValueError, match=r"dy is \(1, 3, 5, 5\)"):
        cpu.conv2d_grads(x, w, np.zeros((1, 3, 5, 5)))
    with pytest.raises(ValueError, match="differ"):
        cpu.mse(x, x[:, :1])


def test_same_bits_on_any_number_of_threads(rng):
    x, w, b = (
        rng.standard_normal(s).astype(np.float32) for s in ((3, 2, 9, 8), (5, 2, 3, 3), (5,))
    )
    u = rng.standard_normal((3, 5, 7, 6)).astype(np.float32)
    results = []
    for threads in (1, 2, 3, 4):
        set_num_threads(threads)
        arrays = [cpu.conv2d(x, w, b), *cpu.conv2d_grads(x, w, u)]
        results.append(b"".join(a.tobytes() for a in arrays))
    assert len(set(results)) == 1


def test_every_device_has_every_kernel_of_the_protocol():
    names = [name for name in vars(kernels.Kernels) if not name.startswith("_")]
    assert {"conv2d", "forward", "halo", "loss_and_grads"} <= set(names)
    for device in ("reference", "cpu"):
        module = kernels.choose(device)
        for name in names:
            assert callable(getattr(module, name, None)), f"{device} has no {name}"


def test_a_device_that_does_not_exist_is_refused_by_name():
    with pytest.raises(UserError, match="no device 'tpu'; there are reference, cpu, cuda"):
        kernels.choose("tpu")
