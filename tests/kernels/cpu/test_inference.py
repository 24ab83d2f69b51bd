"""Fused inference against the reference in float64: every pixel, every size, every edge."""

from __future__ import annotations

import numpy as np
import pytest
from processes import run_python

from npsrcnn.kernels import reference
from npsrcnn.kernels.cpu import inference, winograd
from npsrcnn.kernels.cpu import inference_plan as plan
from npsrcnn.runtime import threads

NETWORKS = {
    "9-1-5": ((9, 1, 5), (64, 32), 1),
    "9-1-5 of three channels": ((9, 1, 5), (64, 32), 3),
    "9-3-5": ((9, 3, 5), (64, 32), 1),
    "9-5-5": ((9, 5, 5), (64, 32), 1),
    "9-5-5 of three channels": ((9, 5, 5), (32, 16), 3),
    "9-3-1-5": ((9, 3, 1, 5), (64, 32, 16), 1),
    "9-1-1-5": ((9, 1, 1, 5), (19, 18, 17), 1),
    "Winograd twice, last layer 3": ((5, 5, 3, 3), (16, 24, 17), 2),
    "groups and phases, 1x1": ((9, 1, 5, 3), (24, 16, 17), 1),
    "groups, nothing between": ((6, 4, 5), (9, 5), 2),
    "even sizes, few maps": ((4, 3, 2), (7, 5), 3),
    "no groups, 1x1": ((5, 1, 3), (9, 5), 2),
    "one layer": ((6,), (), 2),
    "all 1x1": ((1, 1), (3,), 1),
}
SIZES = ((1, 1), (1, 17), (13, 1), (2, 3), (7, 5), (31, 29), (64, 48))


def network(name, seed=0):
    """Random signed layers whose maps stay about as large as the image."""
    rng = np.random.default_rng(seed)
    sizes, maps, c = NETWORKS[name]
    layers = []
    for k, i, o in zip(sizes, (c, *maps), (*maps, c), strict=True):
        w = rng.standard_normal((o, i, k, k)) * np.sqrt(2 / (i * k * k))
        layers.append((w.astype(np.float32), rng.standard_normal(o).astype(np.float32) / 10))
    return layers


def image(layers, height, width, count=1, seed=1):
    shape = (count, layers[0][0].shape[1], height, width)
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def exact(layers, images, padding):
    return reference.forward([(w.astype(float), b.astype(float)) for w, b in layers],
                             images.astype(float), padding)  # fmt: skip


@pytest.mark.parametrize("padding", ["replicate", "zeros"])
@pytest.mark.parametrize("name", NETWORKS)
def test_every_pixel_is_the_references(name, padding):
    layers = network(name)
    for height, width in SIZES:
        x = image(layers, height, width, count=2)
        y, right = inference.forward(layers, x, padding), exact(layers, x, padding)
        assert y.dtype == np.float32
        # Sums of up to 1,600 products; Winograd's float32 transforms add as much again.
        atol = 1e-5 * np.abs(right).max()
        np.testing.assert_allclose(y, right, rtol=0, atol=atol, err_msg=f"{height} x {width}")


@pytest.mark.parametrize(("k", "step"), [(3, 4), (3, 5), (3, 6), (5, 4), (5, 5)])
def test_winograds_matrices_are_exact(k, step):
    at, g, bt = winograd.cook_toom(k, step)
    points = range(k + step - 1)
    for output in range(step):
        for tap in range(k):
            for pixel in points:
                found = sum(at[output][j] * g[j][tap] * bt[j][pixel] for j in points)
                assert found == (pixel == output + tap)
    for row in (*at, *bt):
        assert all(float(np.float32(float(c))) == c for c in row), "not a float32"


@pytest.mark.parametrize("name", ["9-1-5", "9-3-5", "9-5-5", "Winograd twice, last layer 3"])
def test_winograd_errs_not_much_more_than_the_direct_layer(name):
    layers = network(name)
    x = image(layers, 60, 70)
    right = exact(layers, x, "replicate")
    scale = np.sqrt(np.mean(right**2))
    direct, winograds = (
        np.sqrt(np.mean((inference.forward(layers, x, use_winograd=on) - right) ** 2)) / scale
        for on in (False, True)
    )
    assert direct < 1e-6  # sums of 1,600 products, each rounded to 24 bits: 6e-8 of the sum
    assert winograds != direct, "the same code ran twice"
    assert winograds < 8 * direct  # white noise is the worst case: on photographs it is 1.2 times


def run_with(count, layers, x, **options):
    threads.set_num_threads(count)
    return inference.forward(layers, x, **options)


@pytest.mark.parametrize(
    "name", ["9-1-5", "9-5-5", "groups, nothing between", "even sizes, few maps"]
)
def test_same_bits_on_any_number_of_threads_and_pieces(name, monkeypatch):
    layers = network(name)
    x = image(layers, 131, 149)
    once = run_with(1, layers, x)
    for count in (2, 3, 4, 64):
        np.testing.assert_array_equal(run_with(count, layers, x), once)
    for columns in (4, 52):
        strips = [(start, min(start + columns, 149)) for start in range(0, 149, columns)]
        parts = [(0, 64), (64, 131)], strips
        monkeypatch.setattr(plan, "cut", lambda *_, parts=parts: parts)
        np.testing.assert_array_equal(run_with(2, layers, x), once)


@pytest.mark.parametrize("name", ["9-1-5", "9-5-5", "even sizes, few maps"])
def test_strips_join_and_compute_no_more_than_equal_ones(name):
    one = plan.make_plan(network(name))
    for width in (1, 5, 149, 256, 1000, 1920, 4001):
        _, strips = plan.cut(one, (1, 1, 64, width), 1)
        assert [strip[0] for strip in strips] == [0, *(stop for _, stop in strips[:-1])]
        assert strips[-1][1] == width
        assert all(start % plan.winograd.STEP == 0 for start, _ in strips)
        columns = plan.round_up(-(-width // len(strips)), plan.winograd.STEP)
        equal = [(x, min(x + columns, width)) for x in range(0, width, columns)]
        work, at_most = (
            sum(plan._work(one, plan._strip(one, 0, width, *strip)) for strip in some)
            for some in (strips, equal)
        )
        assert work <= at_most


@pytest.mark.parametrize("padding", ["replicate", "zeros"])
@pytest.mark.parametrize(
    "name", ["9-1-5", "9-5-5", "9-3-1-5", "groups, nothing between", "even sizes, few maps"]
)
def test_strips_of_an_image_have_its_bits(name, padding):
    layers = network(name)
    x = image(layers, 90, 83)
    whole = inference.forward(layers, x, padding)
    margin = inference.halo(layers)
    for y0, y1, x0, x1 in ((0, 30, 0, 83), (30, 61, 5, 37), (61, 90, 37, 83), (42, 43, 41, 42)):
        top, left = max(0, y0 - margin), max(0, x0 - margin)
        strip = x[:, :, top : y1 + margin, left : x1 + margin]
        y = inference.forward(layers, strip, padding, origin=(top, left))
        np.testing.assert_array_equal(
            y[:, :, y0 - top : y1 - top, x0 - left : x1 - left], whole[:, :, y0:y1, x0:x1]
        )


def test_images_of_a_batch_are_computed_each_for_itself():
    layers = network("9-3-5")
    x = image(layers, 20, 33, count=5)
    y = inference.forward(layers, x)
    for n in range(5):
        np.testing.assert_array_equal(inference.forward(layers, x[n : n + 1])[0], y[n])


def test_views_and_other_types_are_converted():
    layers = network("9-1-5")
    x = image(layers, 40, 50)
    y = inference.forward(layers, x)
    np.testing.assert_array_equal(inference.forward(layers, x.astype(np.float64)), y)
    view = np.repeat(x, 2, axis=3)[:, :, :, ::2]
    view.flags.writeable = False
    np.testing.assert_array_equal(inference.forward(layers, view), y)
    double = [(w.astype(np.float64), b.astype(np.float64)) for w, b in layers]
    np.testing.assert_array_equal(inference.forward(double, x), y)


def test_nothing_in_nothing_out_and_wrong_channels_are_refused():
    layers = network("9-1-5")
    assert inference.forward(layers, np.zeros((0, 1, 5, 5), np.float32)).shape == (0, 1, 5, 5)
    assert inference.forward(layers, np.zeros((2, 1, 0, 5), np.float32)).shape == (2, 1, 0, 5)
    with pytest.raises(ValueError, match="3 channels"):
        inference.forward(layers, np.zeros((1, 3, 5, 5), np.float32))


def test_memory_beyond_input_and_output_does_not_grow_with_the_image():
    code = """
import numpy as np
from npsrcnn.runtime import memory, threads
import test_inference as t
layers = t.network("9-5-5")
threads.set_num_threads(4)
t.inference.forward(layers, t.image(layers, 300, 300))  # compiled, and threads started
x = np.zeros((1, 1, 300, 8_000), np.float32)
x[:] = 0.5
before = memory.peak_resident_bytes()
y = t.inference.forward(layers, x)
print(memory.peak_resident_bytes() - before - y.nbytes)
"""
    assert int(run_python(code, beside=__file__)) < 64 * 2**20


@pytest.mark.slow  # compiles all kernels anew, with bounds checked
def test_no_tile_reaches_outside_its_arrays_and_float32_is_kept():
    code = """
import re
from npsrcnn.kernels.cpu import inference_stages as stages
import test_inference as t
for name in t.NETWORKS:
    layers = t.network(name)
    for height, width in t.SIZES[:-1]:
        for padding in ("replicate", "zeros"):
            x = t.image(layers, height, width)
            y = t.inference.forward(layers, x, padding, origin=(3, 2))
            t.np.testing.assert_allclose(y, t.exact(layers, x, padding), atol=1e-4)
for kernel in (t.inference._run, *stages.KERNELS.values()):
    (code,) = kernel.inspect_llvm().values()  # each was called
    assert "float" in code and not re.search(r"\\bdouble\\b", code), "computes in float64"
"""
    run_python(code, beside=__file__, NPSRCNN_BOUNDSCHECK="1")
