"""Methods to be measured: which networks, in which steps, under which title."""

from __future__ import annotations

import numpy as np
import pytest
from networks import identity, waves

from npsrcnn.errors import UserError
from npsrcnn.evaluation.methods import srcnn
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
