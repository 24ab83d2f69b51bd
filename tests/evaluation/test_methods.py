"""Methods to be measured: which networks, in which steps, under which title."""

from __future__ import annotations

import numpy as np
import pytest
from networks import identity, near_identity, waves

from npsrcnn.errors import UserError
from npsrcnn.evaluation import methods
from npsrcnn.evaluation.methods import by_network, by_steps, srcnn
from npsrcnn.evaluation.protocol import EvaluationImage


def test_a_model_is_measured_at_its_own_scale(rng, tmp_path):
    identity(1, scale=3).save(tmp_path / "net.npz")
    for orientations in (False, True):
        candidate = srcnn(str(tmp_path / "net.npz"), None, orientations=orientations)
        assert candidate.scale == 3 and not candidate.in_color
        assert ("mean over 8 orientations" in candidate.title) == orientations
        image = EvaluationImage.from_array(waves(rng), candidate.scale)
        np.testing.assert_allclose(candidate.method(image), image.bicubic, atol=1e-6)


def test_what_cannot_be_measured_is_refused(tmp_path):
    identity(1, scale=2.5).save(tmp_path / "net.npz")
    with pytest.raises(UserError, match=r"is for x2\.5: the protocol is for whole scales"):
        srcnn(str(tmp_path / "net.npz"), None)
    with pytest.raises(UserError, match="name a model, a scale, or both"):
        srcnn(None, None)


@pytest.mark.parametrize("color", ["y", "rgb", "ycbcr"])
@pytest.mark.parametrize("scale", [1, 2])
def test_compressed_grey_goes_through_networks_and_comes_back(color, scale, rng):
    image = EvaluationImage.from_array(waves(rng)[..., 0], scale, jpeg=40)
    net = identity(1 if color == "y" else 3, color=color)
    np.testing.assert_allclose(by_network(net)(image), image.bicubic, atol=1e-6)


@pytest.mark.parametrize("color", ["y", "ycbcr"])
def test_networks_see_compressed_grey_in_16_to_235(color):
    """A network that limits Y to that range changes no grey; as it is, black would be 16."""
    net = identity(1 if color == "y" else 3, color=color)
    net.layers[0][1][0] = -16 / 255  # max(0, y - 16 / 255) + 16 / 255
    net.layers[0][0][len(net.layers[0][0]) // 2] = 0
    net.layers[1][1][0] = 16 / 255
    grey = np.repeat(np.arange(0, 256, 8, dtype=np.uint8)[:, None], 32, axis=1)
    image = EvaluationImage.from_array(grey, 1, jpeg=100)
    np.testing.assert_allclose(by_network(net)(image), image.bicubic, atol=1e-6)
    clean = EvaluationImage.from_array(np.zeros((32, 32), np.uint8), 2)
    restored = by_network(net)(clean)
    luma = restored if color == "y" else restored[..., 0]
    np.testing.assert_allclose(luma, 16 / 255, atol=1e-6)


def test_in_steps_compressed_grey_is_mapped_once(rng):
    net = near_identity(rng, scale=2)
    image = EvaluationImage.from_array(waves(rng)[..., 0], 2, jpeg=40)
    np.testing.assert_allclose(by_steps([net])(image), by_network(net)(image), atol=1e-5)


def test_without_a_model_the_quality_chooses(monkeypatch, tmp_path):
    asked = []

    def chain_for(scale, quality=None):
        asked.append((scale, quality))
        return [str(tmp_path / "net.npz")]

    identity(1, scale=2).save(tmp_path / "net.npz")
    monkeypatch.setattr(methods, "chain_for", chain_for)
    srcnn(None, 2, jpeg=62)
    srcnn(None, 2)
    srcnn(str(tmp_path / "net.npz"), 2, jpeg=62)
    assert asked == [(2, 62), (2, None)]
