"""The weights that ship: how they are listed and chosen."""

from __future__ import annotations

import importlib
import inspect
import pkgutil

import pytest
from networks import (
    asymmetric,
)
from random_inputs import random_net

import npsrcnn
from npsrcnn.errors import UserError
from npsrcnn.model import shipped


def test_models_are_listed_by_name_and_number(weights):
    there = npsrcnn.models()
    assert [m.name for m in there] == [
        "9-1-5-x2",
        "9-1-5-x3",
        "9-1-5-x3-rgb",
        "9-1-5-x10",
        "9-5-5-x3",
    ]
    model = there[4]
    assert (model.network, model.scale, model.color, model.licence) == ("9-5-5", 3, "y", "mixed")
    assert model.data == "2 x T91, BSDS"
    assert model.weights == 81 * 5 + 5 + 25 * 15 + 3 + 25 * 3 + 1
    assert model.psnr == {"Set5": 33.0, "Set14": 29.4}
    lines = repr(there).splitlines()
    assert lines[0].split() == [
        "name",
        "network",
        "scale",
        "for",
        "color",
        "weights",
        "Set5",
        "Set14",
        "data",
        "licence",
    ]
    assert lines[2].split() == [
        "9-1-5-x3",
        "9-1-5",
        "x3",
        "-",
        "y",
        "504",
        "32.64",
        "29.15",
        "T91",
        "none",
        "stated",
    ]
    assert lines[1].split()[6:8] == ["36.70", "-"]


def test_the_best_is_chosen_by_validation_not_by_set5(weights, rng):
    assert shipped.best_for(3) == "9-5-5-x3"
    assert shipped.best_for(3, color="rgb") == "9-1-5-x3-rgb"
    assert shipped.best_for(2) == "9-1-5-x2"
    assert shipped.clips_for(2) is None
    for name, psnr in (("9-1-5-x2-clips", 40.0), ("fast-x2-clips", 41.0), ("9-3-5-x2-clips", 39.0)):
        net = random_net("9-1-5", scale=2, seed=8)
        net.metadata |= {"crf": 28, "psnr_validation": psnr}
        net.save(shipped.FOLDER / f"{name}.npz")
    assert shipped.best_for(2) == "9-1-5-x2" and shipped.anchors("9-1-5-x2")[-1].crf is None
    assert shipped.clips_for(2) == "9-1-5-x2-clips"
    assert shipped.clips_for(2, fast=True) == "fast-x2-clips"
    assert shipped.clips_for(3) is None
    assert "9-1-5-x2-clips  9-1-5    x2     clips  y" in repr(npsrcnn.models())
    boast = asymmetric(rng, scale=3, psnr={"Set5": 40.0})  # says nothing of validation
    boast.save(weights / "boast.npz")
    assert shipped.best_for(3) == "9-5-5-x3"
    with pytest.raises(UserError, match=r"no weights for x4 ship \(only for x2, x3, x10\).*train"):
        shipped.best_for(4)


def test_with_no_weights_the_way_to_some_is_shown(tmp_path, monkeypatch):
    monkeypatch.setattr(shipped, "FOLDER", tmp_path)
    assert "npsrcnn train" in repr(npsrcnn.models())
    for function, argument in ((shipped.best_for, 3), (npsrcnn.load, "9-1-5-x3")):
        with pytest.raises(UserError, match=r"npsrcnn train"):
            function(argument)


def test_a_damaged_file_among_them_is_named(weights):
    (weights / "broken.npz").write_bytes(b"PK no")
    with pytest.raises(UserError, match=r"broken\.npz: not an \.npz file"):
        npsrcnn.models()


def test_no_module_hides_the_functions_of_the_package():
    """Importing npsrcnn.a.b sets npsrcnn.a: no room may be named as a function is."""
    for module in pkgutil.iter_modules(npsrcnn.__path__):
        assert module.name not in npsrcnn.__all__
    for command in ("models", "upscale"):
        importlib.import_module(f"npsrcnn.commands.{command}")
        assert inspect.isfunction(getattr(npsrcnn, command))
