"""The weights that ship keep their promises: names, metadata, and the scores they claim."""

from __future__ import annotations

import pytest

import npsrcnn
from npsrcnn.evaluation.methods import by_network
from npsrcnn.evaluation.protocol import EvaluationImage
from npsrcnn.evaluation.scores import evaluate
from npsrcnn.model.shipped import CHROMA, CLIPS, FAST, anchors, best_for

MODELS = npsrcnn.models()


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)
def test_the_file_says_how_it_was_made(model):
    facts = model.facts
    scores = "psnr" if model.family != CHROMA else "psnr_chroma"
    for key in ("recipe", "data", "date", "command", scores, "psnr_validation", "licence"):
        assert facts.get(key), f"{model.name} does not say its {key}"
    assert facts["command"].startswith(("python -m npsrcnn.train ", "npsrcnn train "))
    named = f"{model.network}-x{model.scale}", f"{FAST}x{model.scale}", f"{CHROMA}-q"
    assert model.name.startswith(named)
    assert (model.quality is None) == (model.name == model.family)
    assert (model.crf is None) == (not model.name.endswith(CLIPS))
    if model.quality is not None:
        lowest, highest = facts["jpeg"]
        assert model.name.endswith(f"-q{model.quality}") and lowest <= model.quality <= highest
    measured_on = " ".join(facts["eval"])
    assert "Set5" not in measured_on and "Set14" not in measured_on


@pytest.mark.parametrize(
    "model", [m for m in MODELS if m.family != CHROMA], ids=lambda model: model.name
)
def test_the_scores_on_set5_are_those_in_the_file(model, data_folder):
    """On pictures compressed as the weights are for; what is gained is what they are there for."""
    net = npsrcnn.load(model.name)
    if model.crf is not None:
        pytest.importorskip("av", reason="needs the extra video")
    how = {"jpeg": model.quality, "crf": model.crf}
    mean = evaluate(net, data_folder / "Set5", model.scale, **how)["mean"]
    # float32 sums in another order on another processor move PSNR by far less than this.
    assert mean["psnr"] == pytest.approx(model.psnr["Set5"], abs=0.01)
    before = mean["psnr_jpeg" if model.scale == 1 else "psnr_bicubic"]
    assert mean["psnr"] > before + (1 if model.quality is None and model.crf is None else 0.3)


@pytest.mark.parametrize("model", anchors(CHROMA), ids=lambda model: model.name)
def test_the_scores_of_colour_on_set5_are_those_in_the_file(model, data_folder):
    net = npsrcnn.load(model.name)
    mean = evaluate(net, data_folder / "Set5", 1, jpeg=model.quality)["mean"]
    assert mean["psnr"] == mean["psnr_jpeg"]
    for plane, psnr in model.facts["psnr_chroma"]["Set5"].items():
        assert mean[f"psnr_{plane}"] == pytest.approx(psnr, abs=0.01)
        assert psnr > mean[f"psnr_{plane}_jpeg"] + 0.2


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("quality", [100, 96, 92, 82, 50, 25, 15, 5])
def test_any_quality_is_restored_better_than_by_bicubic_and_by_clean_weights(
    scale, quality, data_folder
):
    image = EvaluationImage.from_file(data_folder / "Set5" / "head_GT.bmp", scale, jpeg=quality)
    restored, clean = (
        image.psnr(by_network(npsrcnn.load(name))(image))
        for name in (best_for(scale, quality=quality), best_for(scale))
    )
    assert restored > image.psnr_bicubic
    assert restored > clean - 0.05


def test_all_weights_together_are_small():
    assert sum(model.path.stat().st_size for model in MODELS) < 8_000_000
