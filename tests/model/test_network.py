"""The network: names, shapes, initial weights, padding, and what it refuses."""

from __future__ import annotations

import numpy as np
import pytest

from npsrcnn import SRCNN
from npsrcnn.errors import UserError
from npsrcnn.model.network import parse_name


def test_names_and_shapes_of_the_papers_networks():
    expected = {
        "9-1-5": [(64, 1, 9, 9), (32, 64, 1, 1), (1, 32, 5, 5)],
        "9-3-5": [(64, 1, 9, 9), (32, 64, 3, 3), (1, 32, 5, 5)],
        "9-5-5": [(64, 1, 9, 9), (32, 64, 5, 5), (1, 32, 5, 5)],
        "9-3-1-5": [(64, 1, 9, 9), (32, 64, 3, 3), (16, 32, 1, 1), (1, 16, 5, 5)],
    }
    for name, shapes in expected.items():
        net = SRCNN(name)
        assert [w.shape for w, _ in net.layers] == shapes
        assert [b.shape for _, b in net.layers] == [s[:1] for s in shapes]
        assert all(a.dtype == np.float32 for layer in net.layers for a in layer)
        assert net.name == name
    assert SRCNN("9-1-5").margin == 12 and SRCNN("9-5-5").margin == 16
    # The paper's count of parameters for 9-1-5, without biases: 8,032 (TPAMI section 4.3.2).
    assert sum(w.size for w, _ in SRCNN("9-1-5").layers) == 8032
    assert sum(w.size for w, _ in SRCNN("9-5-5").layers) == 57184


def test_three_channels_and_other_widths():
    net = SRCNN("5-3", channels=3, n=[7])
    assert [w.shape for w, _ in net.layers] == [(7, 3, 5, 5), (3, 7, 3, 3)]
    assert net.n == (7,) and net.channels == 3 and net.color == "rgb"


@pytest.mark.parametrize(("init", "deviation"), [("paper", 0.001), ("he", np.sqrt(2 / 81))])
def test_initial_weights(init, deviation):
    w, b = SRCNN("9-1-5", init=init, seed=3).layers[0]
    # 64 x 81 samples: the deviation of a sample's deviation is 1 / sqrt(2 x 5184), 1 per cent.
    assert w.std() == pytest.approx(deviation, rel=0.05)
    assert not b.any()
    again, _ = SRCNN("9-1-5", init=init, seed=3).layers[0]
    other, _ = SRCNN("9-1-5", init=init, seed=4).layers[0]
    assert np.array_equal(w, again) and not np.array_equal(w, other)


@pytest.mark.parametrize("padding", ["replicate", "zeros"])
def test_an_identity_network_returns_the_image(rng, padding):
    delta = np.zeros((2, 1, 3, 3))
    delta[0, 0, 1, 1], delta[1, 0, 1, 1] = 1, -1  # x = max(0, x) - max(0, -x)
    back = np.zeros((1, 2, 3, 3))
    back[0, 0, 1, 1], back[0, 1, 1, 1] = 1, -1
    net = SRCNN.from_layers(
        [(delta, np.zeros(2)), (back, np.zeros(1))], device="reference", padding=padding
    )
    x = rng.standard_normal((7, 5)).astype(np.float32)
    assert np.array_equal(net.forward(x), x)
    batch = rng.standard_normal((2, 1, 4, 6)).astype(np.float32)
    assert np.array_equal(net.forward(batch), batch)


@pytest.mark.parametrize("padding", ["replicate", "zeros"])
def test_a_grown_network_is_the_same_function(rng, padding):
    small = SRCNN.from_layers(
        SRCNN("5-1-3", n=[4, 3]).layers,
        device="reference",
        dtype=np.float64,
        padding=padding,
        metadata={"scale": 3},
    )
    image = rng.standard_normal((20, 21))
    for name in ("5-1-3", "5-5-3", "9-3-5"):
        large = small.grown(name)
        assert (large.name, large.scale, large.n) == (name, 3, (4, 3))
        assert all(w.dtype == np.float64 for w, _ in large.layers)
        np.testing.assert_allclose(large.forward(image), small.forward(image), atol=1e-12)
    large.layers[0][0][:] = 0
    assert small.layers[0][0].any()  # a copy
    wide = small.grown("5-3-3", (6, 5))
    assert (wide.name, wide.n) == ("5-3-3", (6, 5))
    np.testing.assert_allclose(wide.forward(image), small.forward(image), atol=1e-12)


@pytest.mark.parametrize("name", ["5-1", "5-1-3-3", "3-1-3", "5-3-1"])
def test_a_network_grows_only_around_its_filters(name):
    with pytest.raises(UserError, match=f"5-1-3 does not grow into {name}"):
        SRCNN("5-1-3", n=[4, 3]).grown(name)


@pytest.mark.parametrize("n", [(4, 2), (3, 3), (4,), (4, 3, 3)])
def test_a_network_does_not_lose_maps(n):
    with pytest.raises(UserError, match=r"maps \(4, 3\) do not grow into"):
        SRCNN("5-1-3", n=[4, 3]).grown("5-1-3", n)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", ["9-1-5", "5-3", "3-1-1-5"])
def test_a_network_that_begins_as_bicubic_interpolation(rng, name, channels):
    net = SRCNN(name, channels, init="bicubic", seed=3)
    image = rng.random((2, channels, 12, 13)).astype(np.float32)
    np.testing.assert_allclose(net.forward(image), image, rtol=0, atol=1e-6)
    random = SRCNN(name, channels, seed=3).layers
    for (w, _), (other, _) in zip(net.layers[:-1], random[:-1], strict=True):
        np.testing.assert_array_equal(w[channels:], other[channels:])  # He's


def test_padding_differs_only_near_the_border(rng):
    x = rng.standard_normal((30, 31)).astype(np.float32)
    edge, zero = (
        SRCNN("9-1-5", device="reference", padding=p, seed=1).forward(x)
        for p in ("replicate", "zeros")
    )
    half = SRCNN("9-1-5").margin // 2
    inner = (slice(half, -half), slice(half, -half))
    assert np.allclose(edge[inner], zero[inner], atol=1e-6)
    assert not np.allclose(edge, zero, atol=1e-3)


def test_forward_away_from_the_border_is_the_training_forward(rng):
    net = SRCNN("9-3-5", channels=3, device="reference")
    x = rng.standard_normal((2, 3, 25, 28))
    half = net.margin // 2
    centre = net.forward(x)[:, :, half:-half, half:-half]
    t = rng.standard_normal(centre.shape)
    loss, grads = net.loss_and_grads(x, t)
    assert loss == pytest.approx(((centre - t) ** 2).sum() / (2 * len(x)), rel=1e-12)
    assert [(dw.shape, db.shape) for dw, db in grads] == [(w.shape, b.shape) for w, b in net.layers]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("9", "joined by hyphens"),
        ("9-x-5", "joined"),
        ("9-0-5", "1 to 31"),
        ("99-1-5", "1 to 31"),
        ("6-4-5", r"no network '6-4-5': filters have odd sides; .* no middle pixel"),
    ],
)
def test_a_name_that_is_none(name, message):
    with pytest.raises(UserError, match=message):
        parse_name(name)


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (np.zeros((0, 5), np.float32), "not empty"),
        (np.zeros((4, 4, 3), np.float32), "expected"),
        (np.zeros((1, 3, 4, 4), np.float32), "expected"),
        (np.zeros((4, 4), np.uint8), "uint8"),
        (np.full((4, 4), np.nan, np.float32), "not finite"),
        (np.full((4, 4), np.inf, np.float32), "not finite"),
    ],
)
def test_images_that_are_refused(x, message):
    with pytest.raises(UserError, match=message):
        SRCNN("9-1-5", device="reference").forward(x)


def test_labels_that_do_not_fit():
    net = SRCNN("9-1-5", device="reference")
    inputs = np.zeros((2, 1, 33, 33), np.float32)
    with pytest.raises(UserError, match=r"makes \(2, 1, 21, 21\)"):
        net.loss_and_grads(inputs, inputs)


@pytest.mark.parametrize(
    "arguments",
    [
        {"channels": 2},
        {"init": "zero"},
        {"n": [64]},
        {"n": [0, 1]},
        {"padding": "mirror"},
        {"device": "tpu"},
    ],
)
def test_arguments_that_are_refused(arguments):
    with pytest.raises(UserError):
        SRCNN("9-1-5", **arguments)


def test_layers_that_do_not_fit_each_other():
    w1, w2 = np.zeros((4, 1, 3, 3)), np.zeros((1, 5, 3, 3))
    with pytest.raises(UserError, match="layer 2 takes 5 channels"):
        SRCNN.from_layers([(w1, np.zeros(4)), (w2, np.zeros(1))])
    with pytest.raises(UserError, match="layer 1 has weights that are not finite"):
        SRCNN.from_layers([(w1 * np.nan, np.zeros(4))])
    with pytest.raises(UserError, match="layer 1 has weights"):
        SRCNN.from_layers([(w1, np.zeros(3))])
    with pytest.raises(UserError, match="layer 1 has filters 4 pixels wide: filters have odd"):
        SRCNN.from_layers([(np.zeros((1, 1, 4, 4)), np.zeros(1))])
