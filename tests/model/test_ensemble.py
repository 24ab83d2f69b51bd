"""The mean over eight orientations: each of them once, and turned back the right way."""

from __future__ import annotations

import numpy as np
import pytest

from npsrcnn import SRCNN
from npsrcnn.errors import UserError
from npsrcnn.model.ensemble import Ensemble, ensemble, turned, turned_back


def test_eight_orientations_all_different_and_back(rng):
    x = rng.standard_normal((2, 3, 4, 5))
    seen = [turned(x, turn) for turn in range(8)]
    assert sorted(view.shape for view in seen) == [(2, 3, 4, 5)] * 4 + [(2, 3, 5, 4)] * 4
    for i, view in enumerate(seen):
        np.testing.assert_array_equal(turned_back(view, i), x)
        for other in seen[:i]:
            assert view.shape != other.shape or not np.array_equal(view, other)


@pytest.mark.parametrize("name", ["5-1-3", "5-3"])
@pytest.mark.parametrize("padding", ["replicate", "zeros"])
def test_it_is_the_mean_over_flips_and_rotations(name, padding, rng):
    depth = name.count("-")
    net = SRCNN(name, n=[4, 3][:depth], device="reference", padding=padding, metadata={"scale": 3})
    x = rng.standard_normal((13, 17))
    expected = np.zeros_like(x)
    for quarters in range(4):
        for mirror in (False, True):
            view = np.rot90(x[:, ::-1] if mirror else x, quarters)
            y = np.rot90(net.forward(view), -quarters)
            expected += (y[:, ::-1] if mirror else y) / 8
    both = ensemble(net)
    np.testing.assert_allclose(both.forward(x), expected, rtol=0, atol=1e-12)
    assert both.scale == 3 and both.padding == padding and isinstance(both, Ensemble)
    assert not np.allclose(net.forward(x), expected, atol=1e-3)


@pytest.mark.parametrize("channels", [1, 3])
def test_turning_the_picture_turns_the_result(channels, rng):
    net = ensemble(SRCNN("3-1-3", channels, n=[4, 3], device="cpu"))
    x = rng.standard_normal((2, channels, 9, 12)).astype(np.float32)
    y = net.forward(x)
    assert y.dtype == np.float32 and y.shape == x.shape
    for turn in range(8):
        # the same eight terms, added in another order
        np.testing.assert_allclose(net.forward(turned(x, turn)), turned(y, turn), atol=2e-6)


def test_errors_are_those_of_the_network():
    with pytest.raises(UserError, match="not finite"):
        ensemble(SRCNN("3-3", n=[2])).forward(np.full((4, 4), np.nan, np.float32))
