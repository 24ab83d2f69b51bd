"""Dictionaries fitted to images, and the networks made of them."""

from __future__ import annotations

import numpy as np
import pytest

from npsrcnn import datasets
from npsrcnn.errors import UserError
from npsrcnn.evaluation import protocol
from npsrcnn.sparse_coding import fitting, ista, super_resolve
from npsrcnn.sparse_coding.patches import extract, remove_mean

SCALE, LAMBDA = 3, 0.01


@pytest.fixture(scope="module")
def leaves() -> list[protocol.EvaluationImage]:
    return [
        protocol.EvaluationImage.from_array(x, SCALE)
        for x in datasets.dead_leaves(5, (96, 90), seed=3)
    ]


@pytest.fixture(scope="module")
def sharp(leaves) -> list[np.ndarray]:
    return [picture.truth / np.float32(255) for picture in leaves[:4]]


def pairs(leaves, sharp):
    """Blurred patches and what their middles lack, cut by slices: all that there are."""
    low, high = [], []
    for picture, truth in zip(leaves, sharp, strict=False):
        blurred = picture.bicubic.astype(np.float32)
        low.append(remove_mean(extract(blurred, 9))[0])
        high.append(extract((truth - blurred)[2:-2, 2:-2], 5))
    return np.concatenate(low), np.concatenate(high)


@pytest.mark.parametrize("kind", fitting.KINDS)
def test_a_dictionary_network_beats_bicubic_on_another_image(leaves, sharp, kind):
    low, high = fitting.fit_dictionaries(sharp, SCALE, kind)
    assert low.shape == (81, 30) and high.shape == (25, 30)
    assert low.dtype == high.dtype == np.float32
    assert np.allclose(np.linalg.norm(low, axis=0), 1, atol=1e-5)
    assert np.abs(low.mean(axis=0)).max() < 0.01  # of patches less their means
    if kind != "learned":
        assert np.array_equal(low[:, 15:], -low[:, :15])  # both signs, for codes >= 0
    net = fitting.fit_srcnn(sharp, SCALE, kind)
    assert net.name == "9-1-5" and net.n == (62, 32)
    assert net.scale == SCALE and net.color == "y"
    image = leaves[4].bicubic.astype(np.float32)
    restored = net.forward(image)
    assert np.allclose(restored, super_resolve(image, low, high, LAMBDA), atol=1e-4)  # float32
    assert leaves[4].psnr(restored) > leaves[4].psnr_bicubic + 0.3


def test_the_high_resolution_dictionary_is_the_best_for_its_codes(leaves, sharp, rng):
    low, high = fitting.fit_dictionaries(sharp, SCALE, "pca")
    patches, missing = pairs(leaves, sharp)
    codes = ista(low, patches, LAMBDA, 2, signed=False).astype(np.float64)

    def error(d):
        return np.square(missing - codes @ d.T).sum()

    # On all patches, where it was fitted to every fourth: no small change of it is of use.
    assert error(high) < 0.95 * np.square(missing).sum()
    for _ in range(5):
        change = rng.standard_normal(high.shape) * np.abs(high).mean()
        assert error(high) < error(high + 0.5 * change)


def test_more_steps_are_more_layers_and_fit_other_codes(sharp):
    net = fitting.fit_srcnn(sharp, SCALE, "dct", atoms=8, steps=3)
    assert net.name == "9-1-1-5" and net.n == (18, 26, 10)
    one, three = (
        fitting.fit_dictionaries(sharp, SCALE, "learned", atoms=9, steps=steps) for steps in (1, 3)
    )
    assert np.array_equal(one[0], three[0])
    assert np.abs(one[1] - three[1]).max() > 0.1 * np.abs(one[1]).max()


def test_one_seed_gives_one_network(sharp):
    first, again, other = (
        fitting.fit_dictionaries(sharp, SCALE, atoms=12, seed=seed) for seed in (1, 1, 2)
    )
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not np.array_equal(first[0], other[0])


SQUARE = [np.zeros((12, 12), np.float32)]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: fitting.fit_srcnn(SQUARE, SCALE, "wavelet"), "no dictionary 'wavelet'"),
        (lambda: fitting.fit_srcnn(SQUARE, SCALE, "dct", atoms=7), "7 atoms"),
        (lambda: fitting.fit_srcnn(SQUARE, SCALE, "haar", atoms=162), "2, 4, ..., 160"),
        (lambda: fitting.fit_srcnn(SQUARE, SCALE, "dct", lam=-1), "lambda must be"),
        (lambda: fitting.fit_srcnn(SQUARE, SCALE, "dct", steps=-1), "steps must be"),
        (lambda: fitting.fit_srcnn([x[:6] for x in SQUARE], SCALE), "room for a patch of 9 x 9"),
        (lambda: fitting.fit_srcnn(SQUARE, SCALE), "too few patches that are not flat, 0"),
        (lambda: fitting.fit_srcnn([x * np.nan for x in SQUARE], SCALE), "not finite"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(call, message):
    with pytest.raises(UserError, match=message):
        call()
