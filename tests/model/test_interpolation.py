"""Networks for any quality, between those that ship."""

from __future__ import annotations

import numpy as np
import pytest
from networks import asymmetric

import npsrcnn
from npsrcnn.errors import UserError
from npsrcnn.model import shipped
from npsrcnn.model.interpolation import flat_response, keep_brightness, share_of
from npsrcnn.pixels.jpeg import strength_of_quality


@pytest.fixture
def weights(rng, tmp_path, monkeypatch):
    """A family with weights for clean pictures and two qualities, and two without one of these."""
    monkeypatch.setattr(shipped, "FOLDER", tmp_path)
    for name, scale, quality in (
        ("9-1-5-x2", 2, None),
        ("9-1-5-x2-q75", 2, 75),
        ("9-1-5-x2-q20", 2, 20),
        ("9-1-5-x1-q40", 1, 40),
        ("9-1-5-x3", 3, None),
    ):
        facts = {} if quality is None else {"quality": quality, "jpeg": [quality, quality]}
        facts |= {"mixes_with": ["9-1-5-x2-q20"]} if quality == 75 else {}
        net = asymmetric(rng, scale=scale, psnr_validation=30.0, **facts)
        net.save(tmp_path / f"{name}.npz")
    return tmp_path


def mean_of(a, b, share):
    return [
        ((1 - share) * w + share * v, (1 - share) * b + share * c)
        for (w, b), (v, c) in zip(a.layers, b.layers, strict=True)
    ]


def assert_equal_layers(layers, others):
    for (w, b), (v, c) in zip(layers, others, strict=True):
        np.testing.assert_array_equal(w, v)
        np.testing.assert_array_equal(b, c)


@pytest.mark.parametrize(("quality", "nearest"), [(1, 20), (20, 20), (75, 75), (76, 75), (88, 75)])
def test_at_and_beyond_a_quality_that_ships_it_is_that(weights, quality, nearest):
    there = npsrcnn.load(f"9-1-5-x2-q{nearest}")
    net = npsrcnn.load(f"9-1-5-x2-q{quality}")
    assert_equal_layers(net.layers, there.layers)


def test_quality_100_is_as_good_as_never_compressed(weights):
    assert_equal_layers(npsrcnn.load("9-1-5-x2-q100").layers, npsrcnn.load("9-1-5-x2").layers)


@pytest.mark.parametrize("quality", [21, 50, 74])
def test_between_two_it_is_their_mean(weights, quality):
    neighbours = ("9-1-5-x2-q75", "9-1-5-x2-q20")
    net = npsrcnn.load(f"9-1-5-x2-q{quality}")
    weaker, stronger = map(npsrcnn.load, neighbours)
    share = net.metadata["share"]
    assert 0 < share < 1 and net.metadata["between"] == list(neighbours)
    assert net.metadata["quality"] == quality and net.scale == 2
    mean = mean_of(weaker, stronger, share)
    assert_equal_layers(net.layers[:-1], mean[:-1])
    assert_equal_layers(net.layers, keep_brightness(mean))


def test_where_means_are_not_known_to_be_networks_it_is_the_nearer_one(weights, rng):
    asymmetric(rng, scale=2, quality=5).save(weights / "9-1-5-x2-q5.npz")
    for quality, nearer in ((19, 20), (11, 20), (9, 5), (6, 5)):
        net = npsrcnn.load(f"9-1-5-x2-q{quality}")
        assert_equal_layers(net.layers, npsrcnn.load(f"9-1-5-x2-q{nearer}").layers)


@pytest.mark.parametrize("channels", [1, 3])
def test_the_flat_response_is_that_of_flat_areas(rng, channels):
    net = asymmetric(rng, "5-3-3", channels)
    levels = np.linspace(-0.1, 1.1, 7, dtype=np.float32)
    areas = np.broadcast_to(levels[:, None, None, None], (7, channels, 11, 11))
    expected = net.forward(np.ascontiguousarray(areas))[:, :, 5, 5].T
    np.testing.assert_allclose(flat_response(net.layers, levels), expected, rtol=1e-4, atol=1e-5)


def test_brightness_is_kept_where_the_error_is_linear():
    """A network that makes 0.9 v + 0.02 of v, and an edge steeper by as much."""
    w = np.zeros((1, 1, 3, 3), np.float32)
    w[0, 0, 1, 1] = 0.9
    one = np.ones((1, 1, 1, 1), np.float32)
    layers = [(one, np.zeros(1, np.float32)), (w, np.full(1, 0.02, np.float32))]
    kept = keep_brightness(layers)
    levels = np.linspace(16, 235, 9) / 255
    np.testing.assert_allclose(flat_response(kept, levels)[0], levels, atol=1e-6)
    np.testing.assert_allclose(kept[-1][0], w / 0.9, rtol=1e-6)
    assert_equal_layers(kept[:-1], layers[:-1])


def test_the_share_rises_with_the_strength_from_0_to_1():
    strengths = [strength_of_quality(quality) for quality in range(75, 19, -1)]
    shares = [share_of(strength, strengths[0], strengths[-1]) for strength in strengths]
    assert shares[0] == 0 and shares[-1] == 1 and (np.diff(shares) > 0).all()
    assert share_of(100, 50, 200) == pytest.approx(0.5)  # halfway by ratio
    assert share_of(9, 0, 20) == 0 and share_of(10, 0, 20) == 1  # never between clean and others


@pytest.mark.parametrize(
    "name", ["9-1-5-x3-q50", "9-1-5-x2-q0", "9-1-5-x2-q101", "9-1-5-x2-q", "9-1-5-x4-q50"]
)
def test_what_no_quality_ships_for_is_refused(weights, name):
    with pytest.raises(UserError, match="no file and no model"):
        npsrcnn.load(name)


def test_the_best_for_a_quality_is_named_with_it(weights):
    assert shipped.best_for(2, quality=61.6) == "9-1-5-x2-q62"
    assert shipped.best_for(2) == "9-1-5-x2"
    assert shipped.best_for(1, quality=90) == "9-1-5-x1-q90"
    with pytest.raises(UserError, match=r"compressed pictures ship \(only for x1, x2\)"):
        shipped.best_for(3, quality=50)


def test_a_chain_restores_once_and_then_enlarges_what_is_clean(weights):
    assert shipped.chain_for(6, quality=50) == ["9-1-5-x2-q50", "9-1-5-x3"]
    assert shipped.chain_for(1, quality=50) == ["9-1-5-x1-q50"]
    with pytest.raises(UserError, match="not compressed"):
        shipped.chain_for(1)


def test_at_scale_1_what_lost_little_is_left_alone(weights):
    assert shipped.chain_for(1, quality=71) == ["9-1-5-x1-q71"]
    with pytest.raises(UserError, match="compressed at quality 72 only"):
        shipped.chain_for(1, quality=72)


def test_fast_weights_are_chosen_only_where_asked_for(weights, rng):
    asymmetric(rng, scale=2, psnr_validation=99.0).save(weights / "fast-x2.npz")
    assert shipped.best_for(2) == "9-1-5-x2"
    assert shipped.best_for(2, fast=True) == "fast-x2"
    assert shipped.chain_for(4, fast=True) == ["fast-x2", "fast-x2"]
    with pytest.raises(UserError, match="no fast weights for x2 and compressed pictures"):
        shipped.best_for(2, quality=50, fast=True)
