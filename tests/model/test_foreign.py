"""Weights of other programs: what they look like, and residual networks made whole."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from networks import asymmetric
from scipy.io import savemat

from npsrcnn import SRCNN, load
from npsrcnn.commands import convert, upscale
from npsrcnn.model.foreign import ModelWarning, added_to_input, fault_of


def residual():
    """A network that makes next to nothing of a flat grey."""
    rng = np.random.default_rng(3)
    layers = [
        (0.02 * rng.standard_normal((o, c, 3, 3)), np.zeros(o)) for o, c in ((4, 1), (3, 4), (1, 3))
    ]
    return SRCNN.from_layers(layers, device="reference")


def write_foreign(net, path):
    """Write the authors' layout, without what npsrcnn adds to it."""
    from scipy.io import loadmat

    net.save(path)
    variables = {k: v for k, v in loadmat(path).items() if k.startswith(("weights", "biases"))}
    savemat(path, variables)


def test_good_weights_have_no_fault(data_folder):
    assert fault_of(load("9-1-5-x3")) == ""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load(data_folder / "authors" / "9-5-5_ImageNet_x3.mat")


def test_faults_are_called_what_they_are(data_folder):
    net = load(data_folder / "authors" / "9-5-5_ImageNet_x3.mat", device="reference")
    levels = [(w, b * 255) for w, b in net.layers]  # N(255 x) = 255 N(x)
    assert "values from 0 to 255" in fault_of(SRCNN.from_layers(levels, device="reference"))
    sums = SRCNN.from_layers([(np.full((1, 1, 1, 1), 1.0), np.zeros(1))], device="reference")
    assert fault_of(sums) == ""
    half = SRCNN.from_layers([(np.full((1, 1, 1, 1), 0.5), np.zeros(1))], device="reference")
    assert "makes 64 of a flat grey of 128: it is not trained, or no SRCNN" in fault_of(half)
    assert "residual network" in fault_of(residual())
    zeros = SRCNN.from_layers(net.layers, device="reference", padding="zeros")
    assert "at edges, around which it puts zeros" in fault_of(zeros)


@pytest.mark.parametrize(("name", "channels"), [("3", 1), ("3-5", 1), ("5-1-3", 3), ("3-1-3-3", 1)])
def test_a_residual_network_becomes_one_that_makes_the_sum(name, channels, rng):
    if "-" in name:
        net = asymmetric(rng, name, channels)
    else:
        net = SRCNN.from_layers([(rng.standard_normal((1, 1, 3, 3)), np.ones(1))])
    net = SRCNN.from_layers(net.layers, device="reference", padding="zeros")
    whole = SRCNN.from_layers(added_to_input(net.layers), device="reference", padding="zeros")
    x = rng.standard_normal((2, channels, 12, 14))
    expected = x + net.forward(x)
    np.testing.assert_allclose(whole.forward(x), expected, rtol=0, atol=1e-11)


def test_foreign_files_warn_and_ours_do_not(tmp_path):
    net = residual()
    net.save(tmp_path / "ours.npz")
    load(tmp_path / "ours.npz")  # warnings are errors here
    write_foreign(net, tmp_path / "theirs.mat")
    with pytest.warns(ModelWarning, match=r"theirs\.mat: makes \d of a flat .* residual network"):
        load(tmp_path / "theirs.mat")
    assert load(tmp_path / "theirs.mat", residual=True).n == (6, 5)


def test_the_commands_add_what_is_residual(tmp_path, rng):
    write_foreign(residual(), tmp_path / "theirs_x2.mat")
    from npsrcnn import images

    picture = rng.integers(0, 256, (9, 11, 3), np.uint8)
    images.write(tmp_path / "a.png", picture)
    model = str(tmp_path / "theirs_x2.mat")
    assert convert.main([model, str(tmp_path / "whole.npz"), "--residual"]) == 0
    argv = [str(tmp_path / "a.png"), "--device", "reference"]
    assert upscale.main([*argv, "--model", model, "--residual", "--suffix", "_a"]) == 0
    assert upscale.main([*argv, "--model", str(tmp_path / "whole.npz"), "--suffix", "_b"]) == 0
    a, b = (images.read_array(tmp_path / f"a_{name}.png") for name in "ab")
    np.testing.assert_array_equal(a, b)
    assert abs(a.mean() - picture.mean()) < 10
    assert upscale.main([*argv, "--residual"]) == 2
