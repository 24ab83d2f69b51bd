"""TPAMI section 3.2 as equalities: sparse coding and convolutions, in float64, edges included."""

from __future__ import annotations

import numpy as np
import pytest

from npsrcnn import SRCNN, datasets, images
from npsrcnn.errors import UserError
from npsrcnn.evaluation.protocol import EvaluationImage
from npsrcnn.kernels import reference
from npsrcnn.pixels.color import luma
from npsrcnn.sparse_coding import as_network, as_srcnn, dictionaries, pursuit, super_resolve
from npsrcnn.sparse_coding.patches import (
    around_each_pixel,
    average_around_each_pixel,
    extract,
    remove_mean,
)

EXACT = 1e-9  # float64: sums of some hundred products of numbers around 1
LAMBDA = 0.05
SHAPE = (61, 70)


@pytest.fixture(scope="module", params=["dead leaves", "butterfly"])
def image(request) -> np.ndarray:
    """(61, 70) float64: a generated image; and one of Set5, where there is one."""
    if request.param == "butterfly":
        folder = request.getfixturevalue("data_folder")
        path = next(p for p in images.list_images(folder / "Set5") if "butterfly" in p.name)
        picture = images.read_array(path)[60:180, 40:160]
    else:
        picture = datasets.dead_leaves(1, (120, 120), seed=4)[0]
    blurred = EvaluationImage.from_array(luma(picture), 3).bicubic
    return np.ascontiguousarray(blurred[: SHAPE[0], : SHAPE[1]])


def convolved(w: np.ndarray, image: np.ndarray, b: np.ndarray | None = None) -> np.ndarray:
    """One layer, edges replicated, as rows of codes: (H * W, O)."""
    b = np.zeros(len(w)) if b is None else b
    maps = reference.conv2d(reference.pad(image[None, None], w.shape[2], "replicate"), w, b)
    return maps[0].reshape(len(w), -1).T


def learned(image: np.ndarray, atoms: int = 30) -> np.ndarray:
    """A dictionary of 9 x 9 atoms from the image itself."""
    centred, _ = remove_mean(extract(image, 9, 2))
    return dictionaries.ksvd(centred, atoms, 3, iterations=2)


@pytest.mark.parametrize("kind", ["pca", "dct", "haar"])
def test_patches_on_a_dictionary_are_a_convolution(image, kind):
    d = {
        "pca": lambda: dictionaries.pca(extract(image, 9)),
        "dct": lambda: dictionaries.dct(9),
        "haar": lambda: dictionaries.haar(9),
    }[kind]()
    patches = around_each_pixel(image, 9)
    plain = convolved(as_network.analysis_filters(d, mean_removed=False), image)
    assert np.abs(plain - patches @ d).max() < EXACT
    centred, _ = remove_mean(patches)
    absorbed = convolved(as_network.analysis_filters(d), image)
    assert np.abs(absorbed - centred @ d).max() < EXACT
    assert np.abs(absorbed - plain).max() > 0.1  # the mean does matter


def test_a_soft_threshold_is_two_relus(image):
    x, t = image - 0.5, 0.1
    two = reference.relu(x - t) - reference.relu(-x - t)
    assert np.array_equal(pursuit.soft_threshold(x, t), two)
    assert np.abs(two - np.sign(x) * np.maximum(np.abs(x) - t, 0)).max() < EXACT


def test_the_first_step_of_ista_is_layer_1(image):
    d = learned(image)
    bound = pursuit.step_bound(d)
    w, b = as_network.first_step(d, LAMBDA, bound)
    assert w.shape == (30, 1, 9, 9) and np.allclose(b, -LAMBDA / bound)
    centred, _ = remove_mean(around_each_pixel(image, 9))
    codes = pursuit.ista(d, centred, LAMBDA, 1, signed=False)
    assert 0 < (codes > 0).mean() < 1
    assert np.abs(reference.relu(convolved(w, image, b)) - codes).max() < EXACT


@pytest.mark.parametrize("signed", [True, False])
def test_steps_of_ista_are_pairs_of_convolution_and_shrinkage(image, signed):
    d = learned(image)
    bound = pursuit.step_bound(d)
    drive = convolved(as_network.analysis_filters(d) / bound, image)
    w = as_network.further_step(d, bound)[..., 0, 0]
    codes = np.zeros_like(drive)
    centred, _ = remove_mean(around_each_pixel(image, 9))
    for steps in range(1, 6):
        moved = np.concatenate([codes, drive], axis=1) @ w.T  # a 1x1 convolution of both
        codes = pursuit.soft_threshold(moved, LAMBDA / bound, signed)
        expected = pursuit.ista(d, centred, LAMBDA, steps, signed=signed)
        assert np.abs(codes - expected).max() < EXACT


@pytest.mark.parametrize("size", [1, 4, 5])
def test_a_dictionary_and_averaging_are_the_last_convolution(rng, image, size):
    d, codes = rng.standard_normal((size**2, 6)), rng.standard_normal((image.size, 6))
    averaged = average_around_each_pixel(codes @ d.T, image.shape)
    maps = codes.T.reshape(1, 6, *image.shape)
    w = as_network.synthesis_filters(d)
    by_convolution = reference.conv2d(reference.pad(maps, size, "replicate"), w, np.zeros(1))
    assert np.abs(by_convolution[0, 0] - averaged).max() < EXACT
    around = ((size, size), (size, size), (0, 0))
    grid = np.pad((codes @ d.T).reshape(*image.shape, -1), around, mode="edge")
    before, after = (size - 1) // 2, size // 2
    for y, x in ((0, 0), (7, 13), (image.shape[0] - 1, image.shape[1] - 1)):
        total = 0.0
        for v in range(-before, after + 1):  # the patch of the pixel v rows below covers this one
            for u in range(-before, after + 1):
                patch = grid[size + y + v, size + x + u].reshape(size, size)
                total += patch[after - v, after - u]
        assert abs(total / size**2 - averaged[y, x]) < EXACT


@pytest.mark.parametrize("signed", [True, False])
@pytest.mark.parametrize("steps", [1, 2, 3])
def test_the_whole_is_an_srcnn(rng, image, steps, signed):
    d_low, d_high = learned(image), rng.standard_normal((25, 30))
    net = as_srcnn(d_low, d_high, LAMBDA, steps=steps, signed=signed, device="reference")
    assert isinstance(net, SRCNN) and net.name == "9-" + "1-" * (steps - 1) + "5"
    expected = super_resolve(image, d_low, d_high, LAMBDA, steps=steps, signed=signed)
    assert np.abs(expected - image).max() > 0.01  # the codes are not all zero
    assert np.abs(net.forward(image) - expected).max() < EXACT
    fast = as_srcnn(d_low, d_high, LAMBDA, steps=steps, signed=signed)
    # float32 has 1e-7 for each of some hundred terms.
    assert np.abs(fast.forward(image.astype(np.float32)) - expected).max() < 1e-4


def test_two_steps_with_30_atoms_have_the_papers_size(image, rng):
    net = as_srcnn(learned(image), rng.standard_normal((25, 30)), LAMBDA)
    assert net.name == "9-1-5" and net.n == (62, 32)


def test_an_image_below_zero(rng, image):
    d_low, d_high = dictionaries.unit(rng.standard_normal((49, 7))), rng.standard_normal((9, 7))
    net = as_srcnn(d_low, d_high, LAMBDA, device="reference")
    x = image - 0.5
    assert np.abs(net.forward(x) - super_resolve(x, d_low, d_high, LAMBDA)).max() < EXACT


@pytest.mark.parametrize("sizes", [(6, 4), (7, 5)])
def test_layers_of_even_and_odd_filters_on_an_image_below_zero(rng, image, sizes):
    d_low, d_high = (rng.standard_normal((size**2, 7)) for size in sizes)
    d_low, x = dictionaries.unit(d_low), image - 0.5
    maps = x[None, None]
    *hidden, last = as_network.as_layers(d_low, d_high, LAMBDA)
    for w, b in hidden:
        maps = reference.relu(reference.conv2d(reference.pad(maps, w.shape[2], "replicate"), w, b))
    restored = reference.conv2d(reference.pad(maps, sizes[1], "replicate"), *last)[0, 0]
    assert np.abs(restored - super_resolve(x, d_low, d_high, LAMBDA)).max() < EXACT


@pytest.mark.parametrize(("name", "channels"), [("9-1-5", 1), ("5-3-1-3", 3), ("5", 1)])
def test_residual_adds_the_input_to_the_output_of_a_network(rng, name, channels):
    sizes = [int(size) for size in name.split("-")]
    widths = [channels, *[6, 5, 4][: len(sizes) - 1], channels]
    layers = [
        (rng.standard_normal((o, c, f, f)) * 0.1, rng.standard_normal(o))
        for f, c, o in zip(sizes, widths[:-1], widths[1:], strict=True)
    ]
    net = SRCNN.from_layers(layers, device="reference", dtype=np.float64)
    made = as_network.residual(net)
    x = rng.standard_normal((2, channels, 17, 14))  # signed: both halves of the image carry it
    assert made.n == tuple(n + 2 * channels for n in net.n)
    assert np.abs(made.forward(x) - (x + net.forward(x))).max() < EXACT


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((np.eye(9), np.zeros((25, 8)), 0.1), "9 low- and 8 high"),
        ((np.eye(8), np.zeros((25, 8)), 0.1), "square patches"),
        ((np.eye(9), np.zeros((24, 9)), 0.1), "square patches"),
        ((2 * np.eye(9), np.zeros((25, 9)), 0.1), "norm 2"),
        ((np.eye(9)[:, :0], np.zeros((25, 0)), 0.1), "expected a dictionary"),
        ((np.eye(9), np.zeros((25, 9)), -1), "lambda must be"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(arguments, message):
    with pytest.raises(UserError, match=message):
        as_srcnn(*arguments)
