"""Weights by the quantizer of H.264."""

from __future__ import annotations

import pytest
from moving import make_clip

from npsrcnn.errors import UserError
from npsrcnn.video.clips import look_through
from npsrcnn.video.restoring import Weights, choose_for, comment_on, quality_of_quantizer


def test_a_clip_of_h264_says_its_quantizer(tmp_path):
    for quantizer in (20, 35):
        path = make_clip(tmp_path / f"{quantizer}.mp4", 3, options={"qp": f"{quantizer}"})
        assert look_through(path).quantizer == pytest.approx(quantizer, abs=4)
    assert look_through(make_clip(tmp_path / "a.mkv", 2, codec="ffv1")).quantizer is None


def test_six_more_of_the_quantizer_are_twice_the_strength():
    assert [quality_of_quantizer(quantizer) for quantizer in (0, 26, 28, 34, 51)] == [
        99, 77, 71, 43, 6
    ]  # fmt: skip


def test_stronger_compression_gets_weights_for_it():
    assert choose_for(None, 2).names == ("9-5-5-x2",)
    strong = choose_for(34, 2)
    assert strong.names == ("9-5-5-x2-q43",)
    assert comment_on(34, strong).startswith("H.264 of quantizer 34, about as JPEG of quality 43: ")
    assert comment_on(None, strong) == ""
    assert choose_for(34, 1).names == ("9-5-5-x1-q43",)


def test_where_no_others_fit_it_is_those_for_clean_clips_and_at_scale_1_an_error(monkeypatch):
    def choose(model, scale, quality, **how):
        if quality != "clean":
            raise UserError("none ship")
        return found, scale

    found = choose_for(None, 2)
    monkeypatch.setattr("npsrcnn.video.restoring.choose", choose)
    assert choose_for(34, 2) == found
    with pytest.raises(UserError, match="none ship"):
        choose_for(34, 1)
    with pytest.raises(UserError, match="nothing says how it was compressed"):
        choose_for(None, 1)


def test_each_clip_has_weights_of_its_own_unless_one_kind_is_asked_for():
    chosen, scale, comment = Weights(None, 2).for_clip(34)
    assert (chosen.names, scale) == (("9-5-5-x2-q43",), 2)
    assert comment == comment_on(34, chosen) != ""
    clean, scale, comment = Weights(None, 2, "clean").for_clip(34)
    assert (clean.names, scale, comment) == (("9-5-5-x2",), 2, "")
    assert Weights(None, 2, 43).for_clip(None)[0].names == ("9-5-5-x2-q43",)
    assert Weights("9-1-5-x3", None).for_clip(34)[1] == 3
    assert Weights(None, 2, fast=True).for_all()[0].names == ("fast-x2",)
