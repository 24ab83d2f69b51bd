"""The fused training step against the float64 reference, and its promises."""

from __future__ import annotations

import re

import numpy as np
import pytest
from processes import run_python
from rounding import assert_right

from npsrcnn.kernels import reference
from npsrcnn.kernels.cpu import training
from npsrcnn.kernels.cpu.tiles import LANES, ROWS
from npsrcnn.kernels.cpu.training_plan import make_plan
from npsrcnn.runtime import threads
from npsrcnn.runtime.threads import set_num_threads

MAPS = max(LANES, ROWS)  # the fewest that are whole vectors and whole tiles
CASES = {  # sizes, filters, channels, N, H, W
    "9-3-1-5": ((9, 3, 1, 5), (64, 32, 16), 1, 4, 21, 22),
    "9-1-5, of maps that fill no vector": ((9, 1, 5), (LANES + 1, 8), 1, 3, 16, 18),
    "colour": ((5, 1, 5), (64, 32), 3, 5, 17, 19),
    "odd counts": ((3, 2, 4), (5, 3), 3, 17, 9, 10),
    "even filters": ((4, 2, 6), (6, 7), 1, 2, 14, 12),
    "single filters": ((3, 3, 3), (1, 1), 1, 10, 9, 8),
    "one layer": ((5,), (), 1, 2, 6, 7),
    "one pixel": ((1, 1), (3,), 1, 1, 1, 1),
    "filters as large as the maps": ((7, 3, 2), (6, 9), 3, 2, 10, 11),
    "long and flat": ((3, 3), (8,), 1, 2, 5, 90),
}
WINOGRAD = {  # the same, of layers that run by Winograd's method
    "5x5": ((3, 5, 3), (16, 24), 1, 9, 16, 19),
    "5x5 in whole tiles": ((1, 5, 1), (16, 16), 1, LANES, 12, 16),
    "5x5 in one tile of one pixel": ((1, 5, 1), (16, 16), 1, 1, 5, 5),
    "5x5, of maps that fill no vector": ((1, 5, 1), (5 * ROWS, 3 * ROWS), 1, 2, 8, 9),
    "3x3, colour": ((2, 3, 2), (24, 16), 3, LANES - 1, 9, 14),
    "3x3, then 5x5, then 1x1": ((1, 3, 5, 1, 2), (16, 16, 16, 3), 1, LANES + 1, 13, 12),
    "apart": ((3, 3, 1, 5, 3), (16, 16, 16, 16), 1, 2, 18, 15),
    "last": ((1, 3), (16,), 1, 2, 6, 7),  # of one map: direct
    "last, of many maps": ((1, 5), (16,), 16, 2, 9, 10),
}

GROUPS = {  # the same, of a first layer in groups, with maps in whole vectors
    "9-1-5": ((9, 1, 5), (64, 32), 1, 8, 33, 33),
    "9-3-5": ((9, 3, 5), (64, 32), 1, 3, 24, 20),
    "9-5-5": ((9, 5, 5), (64, 32), 1, 9, 25, 33),
    "9-1-5 in whole tiles": ((9, 1, 5), (MAPS, 8), 1, LANES, 20, 24),
    "9-1 of one pixel": ((9, 1), (MAPS,), 1, 1, 9, 9),
    "9-1-5, colour": ((9, 1, 5), (2 * LANES, 32), 3, LANES + 1, 17, 19),
}


def make(sizes, filters, channels, batch, height, width, seed=5):
    """Layers, inputs and labels: signed, biases too, float32."""
    rng = np.random.default_rng(seed)
    widths = [channels, *filters, channels]
    layers = []
    for c, o, k in zip(widths[:-1], widths[1:], sizes, strict=True):
        w = rng.standard_normal((o, c, k, k)) / np.sqrt(c * k * k)
        layers.append((w.astype(np.float32), rng.standard_normal(o).astype(np.float32)))
    margin = sum(k - 1 for k in sizes)
    inputs = rng.standard_normal((batch, channels, height, width)).astype(np.float32)
    labels = rng.standard_normal((batch, channels, height - margin, width - margin))
    return layers, inputs, labels.astype(np.float32)


def check(problem, l1=0.0, **options):
    """Assert that what the kernels compute is the reference's, but for rounding."""
    shapes = tuple(w.shape for w, _ in problem[0])
    plan = make_plan(shapes, *problem[1].shape[2:], *options.values())
    result = training.loss_and_grads(*problem, l1, **options)
    assert_right(result, *problem, l1, winograd=bool(plan.winograd or plan.groups))


@pytest.mark.parametrize("case", CASES)
def test_loss_and_gradients_are_the_references(case):
    check(make(*CASES[case]))


@pytest.mark.parametrize("case", WINOGRAD)
def test_with_winograds_method_they_are_too(case):
    problem = make(*WINOGRAD[case])
    shapes = tuple(w.shape for w, _ in problem[0])
    assert make_plan(shapes, *problem[1].shape[2:]).winograd == (None if case == "last" else True)
    check(problem)
    check(problem, use_winograd=False)


@pytest.mark.parametrize("case", GROUPS)
def test_with_a_first_layer_in_groups_they_are_too(case):
    problem = make(*GROUPS[case])
    shapes = tuple(w.shape for w, _ in problem[0])
    assert make_plan(shapes, *problem[1].shape[2:]).groups
    assert not make_plan(shapes, *problem[1].shape[2:], use_winograd=False).groups
    check(problem)
    check(problem, use_winograd=False)


@pytest.mark.parametrize("seed", range(10, 18))
@pytest.mark.parametrize(
    "case", ["odd counts", "filters as large as the maps", "3x3, colour", "9-1-5, colour"]
)
def test_they_are_whatever_the_numbers(case, seed):
    check(make(*{**CASES, **WINOGRAD, **GROUPS}[case], seed=seed))


def test_a_single_product_is_seen_missing():
    layers, inputs, labels = problem = make(*CASES["colour"])
    result = training.loss_and_grads(*problem)
    maps = inputs
    for w, b in layers[:-1]:
        maps = reference.relu(reference.conv2d(maps, w, b))
    slope = (reference.conv2d(maps, *layers[-1]) - labels) / len(inputs)
    height, width = labels.shape[2:]
    products = slope[:, 0] * maps[:, 3, 2 : 2 + height, 1 : 1 + width]  # of w[0, 3, 2, 1]
    result[1][-1][0][0, 3, 2, 1] -= np.median(abs(products[products != 0]))
    with pytest.raises(AssertionError, match="dw of layer 3"):
        assert_right(result, *problem)


@pytest.mark.parametrize("case", ["5x5", "3x3, then 5x5, then 1x1", "9-3-5", "9-1-5, colour"])
def test_a_penalty_on_the_maps_with_winograds_method(case):
    sizes, filters, channels, _, height, width = {**WINOGRAD, **GROUPS}[case]
    check(make(sizes, filters, channels, 2 * LANES, height, width), l1=0.3)


@pytest.mark.parametrize("batch", [1, 2, 7, 8, 9, 15, 16, 127, 128, 130, 600])
def test_batches_of_any_size(batch):
    check(make((3, 1, 2), (6, 5), 1, batch, 7, 8))


def test_the_loss_of_a_batch_is_the_mean_of_its_parts():
    layers, inputs, labels = make((3, 2), (5,), 1, 11, 8, 9)
    loss, grads = training.loss_and_grads(layers, inputs, labels)
    parts = [
        training.loss_and_grads(layers, inputs[i : i + 1], labels[i : i + 1]) for i in range(11)
    ]
    assert loss == pytest.approx(np.mean([part[0] for part in parts]), rel=1e-6)
    for depth, pair in enumerate(grads):
        for i, gradient in enumerate(pair):
            mean = np.mean([part[1][depth][i] for part in parts], axis=0)
            np.testing.assert_allclose(gradient, mean, rtol=1e-4, atol=1e-5)


def train(threads, sizes=(5, 1, 3), filters=(12, 6), steps=50):
    """Weights after some steps of plain SGD, as bytes."""
    layers, inputs, labels = make(sizes, filters, 1, 43, 13, 14)
    set_num_threads(threads)
    for _ in range(steps):
        _, grads = training.loss_and_grads(layers, inputs, labels)
        for pair, gradients in zip(layers, grads, strict=True):
            for array, gradient in zip(pair, gradients, strict=True):
                array -= np.float32(0.001) * gradient
    return b"".join(array.tobytes() for pair in layers for array in pair)


@pytest.mark.parametrize(
    "network", [((5, 1, 3), (12, 6)), ((3, 5, 3), (16, 16)), ((9, 1, 3), (16, 6))]
)
def test_weights_after_fifty_steps_have_the_same_bits_on_any_number_of_threads(network):
    results = {train(threads, *network) for threads in (1, 2, 3, 4, 1)}
    assert len(results) == 1
    assert train(2, *network, steps=49) not in results


@pytest.mark.parametrize("network", [((3, 3, 2), (6, 5)), ((3, 5, 2), (16, 16))])
def test_what_an_earlier_network_left_behind_does_not_matter(network):
    set_num_threads(1)  # so that this thread's work space is the one that is used
    problem = make(*network, 1, 3, 13, 11)
    loss, grads = training.loss_and_grads(*problem)
    plan = make_plan(tuple(w.shape for w, _ in problem[0]), *problem[1].shape[2:])
    threads.work_space(plan.work)[:] = np.nan
    again, grads_again = training.loss_and_grads(*problem)
    assert again == loss
    for pair, pair_again in zip(grads, grads_again, strict=True):
        for a, b in zip(pair, pair_again, strict=True):
            np.testing.assert_array_equal(a, b)


def test_gradients_are_the_callers_own():
    problem = make((3, 2), (5,), 1, 3, 8, 9)
    _, first = training.loss_and_grads(*problem)
    kept = [array.copy() for pair in first for array in pair]
    training.loss_and_grads(problem[0], problem[1] + 1, problem[2])
    for array, copy in zip((a for pair in first for a in pair), kept, strict=True):
        np.testing.assert_array_equal(array, copy)


def test_views_and_read_only_arrays_are_taken():
    layers, inputs, labels = make((3, 2), (5,), 1, 3, 8, 8)
    flipped = inputs[:, :, ::-1].transpose(0, 1, 3, 2)
    flipped.flags.writeable = False
    for array in (a for pair in layers for a in pair):
        array.flags.writeable = False
    check((layers, flipped, labels))


def test_wrong_arrays_are_refused_by_name():
    layers, inputs, labels = make((3, 2), (5,), 1, 3, 8, 9)
    with pytest.raises(TypeError, match="float64"):
        training.loss_and_grads(layers, inputs, labels.astype(np.float64))
    with pytest.raises(ValueError, match="labels are"):
        training.loss_and_grads(layers, inputs, labels[:, :, 1:])
    with pytest.raises(ValueError, match="do not fit"):
        training.loss_and_grads(layers[1:], inputs, labels)
    with pytest.raises(ValueError, match="do not fit"):
        training.loss_and_grads([(layers[0][0], layers[0][1][1:]), layers[1]], inputs, labels)
    with pytest.raises(ValueError, match="labels are"):
        training.loss_and_grads(layers, inputs[:, :, :2], labels[:, :, :0])


def functions_in_float64(kernel):
    """The compiled functions of a kernel, but its wrappers for Python, that know float64."""
    found = []
    for signature in kernel.signatures:
        for text in kernel.inspect_llvm(signature).split("\ndefine ")[1:]:
            head, body = text.split("{\n", 1)
            name = re.search(r'@"?([^"(]+)', head)[1]
            wrapper = "cpython" in name or name.startswith("cfunc.")
            if not wrapper and re.search(r"\bdouble\b", body.split("\n}")[0]):
                found.append(name)
    return found


def check_freshly_compiled_kernels():
    """All cases with every tile's bounds checked, then the compiled code. In its own process."""
    for case, what in {**CASES, **WINOGRAD}.items():
        if not case.startswith("9-"):  # large, and no other code
            check(make(*what))
    kernels = [training._slot, training._pack, training._add_up, training.transform_filters]
    assert all(kernel.signatures for kernel in kernels)
    print([name for kernel in kernels for name in functions_in_float64(kernel)])


@pytest.mark.slow  # compiles all kernels anew, with bounds checked
def test_no_tile_reaches_outside_its_arrays_and_nothing_is_computed_in_float64():
    """Code from the cache cannot be looked into; with bounds checked there is no cache."""
    code = "import test_training; test_training.check_freshly_compiled_kernels()"
    assert run_python(code, beside=__file__, NPSRCNN_BOUNDSCHECK="1").strip() == "[]"
