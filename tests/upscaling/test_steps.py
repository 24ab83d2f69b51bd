"""Scales that no weights were trained for: through those there are, and a bicubic step."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from PIL import Image
from random_inputs import restored_but_flat

import npsrcnn
from npsrcnn import SRCNN, images
from npsrcnn.commands.upscale import main
from npsrcnn.errors import UserError
from npsrcnn.model import shipped
from npsrcnn.model.ensemble import ensemble
from npsrcnn.model.shipped import chain_for
from npsrcnn.pixels.resize import imresize
from npsrcnn.upscaling.choice import choose, choose_models
from npsrcnn.upscaling.enlarger import steps_of
from npsrcnn.upscaling.strips import enlarge

SCALES = (2, 3, 4)


@pytest.fixture
def weights(tmp_path, monkeypatch):
    """Small random networks for x2, x3 and x4, and one of three channels that is no step."""
    path = tmp_path / "weights"
    path.mkdir()
    monkeypatch.setattr(shipped, "FOLDER", path)
    for scale in SCALES:
        net = SRCNN("3-1-3", n=[4, 3], seed=scale, metadata={"scale": scale})
        net.save(path / f"y{scale}.npz")
    net = SRCNN("3-1-3", 3, n=[4, 3], metadata={"scale": 5, "color": "rgb", "psnr_validation": 99})
    net.save(path / "rgb5.npz")
    return path


@pytest.mark.parametrize(
    ("scale", "chain"),
    [
        (2, [2]), (3, [3]), (4, [4]), (1.5, [2]), (1.01, [2]), (2.5, [3]), (3.5, [4]), (6, [2, 3]),
        (8, [2, 4]), (9, [3, 3]), (7, [2, 4]), (12, [3, 4]), (16, [4, 4]), (18, [2, 3, 3]),
        (64, [4, 4, 4]), (100, [4, 4, 4]), (4.5, [2, 3]), (4.0, [4]),
    ],
)  # fmt: skip
def test_the_nearest_combination(scale, chain, weights):
    assert chain_for(scale) == [f"y{step}" for step in chain]


def test_less_too_much_comes_before_fewer_steps(weights):
    (weights / "y4.npz").unlink()
    assert chain_for(7) == ["y2", "y2", "y2"]  # x8, and not x3 twice, x9


def test_colour_networks_are_for_their_scale_only(weights):
    assert chain_for(5) == ["y2", "y3"]
    (weights / "y2.npz").unlink()
    assert chain_for(2) == ["y3"]


@pytest.mark.parametrize("scale", [1, 0.5, -2, math.nan, math.inf])
def test_no_steps_lead_to_scales_that_do_not_enlarge(scale, weights):
    with pytest.raises(UserError, match="larger scale" if scale == 1 else "at least 1"):
        chain_for(scale)


def test_a_model_that_was_named_takes_no_steps(weights):
    with pytest.raises(UserError, match="trained for scale 3, not 6"):
        choose_models("y3", 6)


@pytest.mark.parametrize(
    ("scale", "steps"), [(3, [3]), (6, [2, 3]), (1.5, [2, 0.75]), (5, [2, 3, 5 / 6])]
)
def test_steps(scale, steps, weights):
    choice, same = choose(None, scale)
    assert same == scale
    assert steps_of(choice.nets, scale) == steps


def test_a_model_of_unknown_scale_is_one_step(rng):
    net = SRCNN("3-1-3", n=[4, 3])
    assert steps_of([net], 2.5) == [2.5]


@pytest.mark.parametrize("scale", [6, 1.5, 5, 130])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32, np.float64])
def test_grey_step_by_step(scale, dtype, weights, rng):
    """The same by hand: bicubic, network, bicubic, network, and bicubic to the size."""
    image = rng.random((7, 5))
    white = 1 if np.dtype(dtype).kind == "f" else np.iinfo(dtype).max
    image = (image * white).astype(dtype)
    y = (16 + 219 * (image.astype(np.float32) / np.float32(white))) / np.float32(255)
    nets = choose(None, scale)[0].nets
    for net in nets:
        y = restored_but_flat(net, imresize(y, net.scale)[None])[0]
    shape = (math.ceil(scale * 7), math.ceil(scale * 5))
    y = (imresize(y, shape=shape) * 255 - 16) / 219 * np.float32(white)
    expected = y if white == 1 else np.floor(y + 0.5).clip(0, white)
    result = npsrcnn.upscale(image, scale)
    assert result.dtype == dtype and result.shape == shape
    # One level where rounding falls the other way; floats are float32 inside.
    np.testing.assert_allclose(
        result.astype(float), expected.astype(float), atol=1 if white > 1 else 1e-5
    )
    assert np.mean(result != expected) < (0.03 if white > 1 else 1.1)


def test_colour_and_transparency(weights, rng):
    image = rng.integers(0, 256, (9, 8, 4), dtype=np.uint8)
    image[3:6, 2:5, 3] = 0
    result = npsrcnn.upscale(image, 2.5)
    assert result.shape == (23, 20, 4) and result.dtype == np.uint8
    other = image.copy()
    other[4, 3, :3] = 255 - other[4, 3, :3]  # nobody sees it
    np.testing.assert_array_equal(result, npsrcnn.upscale(other, 2.5))
    np.testing.assert_array_equal(result[..., 3], imresize(image[..., 3], 2.5))


def test_strips_do_not_show_in_an_ensemble(rng, monkeypatch):
    net = ensemble(SRCNN("5-1-3", n=[3, 2], metadata={"scale": 2}))
    image = rng.random((150, 9)).astype(np.float32)
    blurred = imresize((16 + 219 * image) / np.float32(255), 2)
    whole = (restored_but_flat(net, blurred[None])[0] * 255 - 16) / 219
    monkeypatch.setitem(enlarge.__globals__, "STRIP", 1)
    result, _ = enlarge(image, None, [net], 2)
    np.testing.assert_allclose(result, whole, rtol=0, atol=2e-6)


def test_the_command_says_so(weights, tmp_path, capsys):
    Image.new("RGB", (12, 8), "red").save(tmp_path / "a.png")
    out = tmp_path / "b.png"
    assert main([str(tmp_path / "a.png"), "--scale", "1.5", "-o", str(out)]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0] == (
        "x1.5, for which no weights ship, in steps: x2 by 3-1-3, x0.75 by bicubic interpolation"
    )
    assert images.read_array(out).shape == (12, 18, 3)
    arguments = [str(tmp_path / "a.png"), "--scale", "6", "-o", str(out), "--ensemble", "--json"]
    assert main([*arguments, "-"]) == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out)["steps"] == [2, 3]
    assert "in steps: x2 by 3-1-3, x3 by 3-1-3" in captured.err
    assert main([str(tmp_path / "a.png"), "--scale", "3", "-o", str(out)]) == 0
    assert "steps" not in capsys.readouterr().out
    assert main([str(tmp_path / "a.png"), "--scale", "1", "-o", str(out)]) == 1
