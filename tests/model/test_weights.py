"""The weights that ship keep their promises: names, metadata, and the scores they claim."""

from __future__ import annotations

import pytest

import npsrcnn
from npsrcnn.evaluation.scores import evaluate

MODELS = npsrcnn.models()


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)
def test_the_file_says_how_it_was_made(model):
    facts = model.facts
    for key in ("recipe", "data", "date", "command", "psnr", "psnr_validation", "licence"):
        assert facts.get(key), f"{model.name} does not say its {key}"
    assert facts["command"].startswith(("python -m npsrcnn.train ", "npsrcnn train "))
    assert model.name.startswith(f"{model.network}-x{model.scale}")
    measured_on = " ".join(facts["eval"])
    assert "Set5" not in measured_on and "Set14" not in measured_on


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)
def test_the_scores_on_set5_are_those_in_the_file(model, data_folder):
    net = npsrcnn.load(model.name)
    mean = evaluate(net, data_folder / "Set5", model.scale)["mean"]
    # float32 sums in another order on another processor move PSNR by far less than this.
    assert mean["psnr"] == pytest.approx(model.psnr["Set5"], abs=0.01)
    assert mean["psnr"] > mean["psnr_bicubic"] + 1
