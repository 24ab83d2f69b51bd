"""Weights by the quantizer of a clip."""

from __future__ import annotations

import pytest
from compressed import clean_picture
from moving import make_clip
from PIL import Image

from npsrcnn.errors import UserError
from npsrcnn.images.webp import read_strength
from npsrcnn.pixels.jpeg import compress
from npsrcnn.upscaling.source_quality import BY_HEADER, BY_PIXELS, decide
from npsrcnn.video.clips import look_through
from npsrcnn.video.restoring import Weights, choose_for, comment_on, quality_of_quantizer


def test_a_clip_of_h264_says_its_quantizer(tmp_path):
    for quantizer in (20, 35):
        path = make_clip(tmp_path / f"{quantizer}.mp4", 3, options={"qp": f"{quantizer}"})
        assert look_through(path).quantizer == pytest.approx(quantizer, abs=4)
    assert look_through(make_clip(tmp_path / "a.mkv", 2, codec="ffv1")).quantizer is None


def test_a_larger_quantizer_gets_weights_for_stronger_compression():
    found = [quality_of_quantizer(quantizer) for quantizer in (0, 16, 20, 26, 30, 36, 51)]
    assert found == [100, 97, 94, 84, 72, 45, 6]
    every = [quality_of_quantizer(quantizer / 4) for quantizer in range(4 * 51 + 1)]
    assert every == sorted(every, reverse=True)


def test_stronger_compression_gets_weights_for_it():
    assert choose_for(None, 2).names == ("9-5-5-x2",)
    strong = choose_for(34, 2)
    assert strong.names == ("9-5-5-x2-q54",)
    said = (
        "compressed as H.264 at quantizer 34, about as JPEG of quality 54: restored with 9-5-5-x2-"
    )
    assert comment_on(34, strong).startswith(said)
    assert comment_on(None, strong) == ""
    assert choose_for(34, 1).names == ("9-5-5-x1-q54",)


def test_weights_for_clips_are_taken_where_they_are_ahead():
    found = {q: choose_for(q, 2, fast=True) for q in (15, 18.9, 19, 27, 33, 34)}
    assert [choice.names[0] for choice in found.values()] == [
        "fast-x2-q98", "fast-x2-q95", *["fast-x2-clips"] * 3, "fast-x2-q54"
    ]  # fmt: skip
    said = comment_on(27, found[27])
    assert said == "compressed as H.264 at quantizer 27: restored with fast-x2-clips"
    assert choose_for(27, 3, fast=True).names == ("fast-x3-q82",)  # none ship for x3
    orientations = choose_for(27, 2, fast=True, orientations=True)
    assert orientations.names == ("fast-x2-clips",) and len(orientations.nets[0].layers) == 3


def test_where_no_others_fit_it_is_those_for_clean_clips_and_at_scale_1_an_error(monkeypatch):
    def choose(model, scale, source_quality, **how):
        if source_quality != "clean":
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
    assert (chosen.names, scale) == (("9-5-5-x2-q54",), 2)
    assert comment == comment_on(34, chosen) != ""
    clean, scale, comment = Weights(None, 2, "clean").for_clip(34)
    assert (clean.names, scale, comment) == (("9-5-5-x2",), 2, "")
    assert Weights(None, 2, 43).for_clip(None)[0].names == ("9-5-5-x2-q43",)
    assert Weights("9-1-5-x3", None).for_clip(34)[1] == 3
    assert Weights(None, 2, "clean", fast=True).for_all()[0].names == ("fast-x2",)


def animated(path, first, **options):
    Image.fromarray(first).save(
        path, save_all=True, append_images=[Image.fromarray(first[::-1])], **options
    )
    return path


def test_an_animated_picture_is_restored_by_its_first_frame(tmp_path):
    picture = clean_picture()
    lossy = animated(tmp_path / "a.webp", picture, quality=30)
    strong, scale = Weights(None, 2).for_animation(lossy)
    Image.fromarray(picture).save(tmp_path / "still.webp", quality=30)
    quality = decide(picture, read_strength(tmp_path / "still.webp"), BY_HEADER).quality
    assert (strong.names, scale) == ((f"chroma-q{quality}", f"9-5-5-x2-q{quality}"), 2)
    assert strong.comment.startswith(f"WebP, about as JPEG of quality {quality}: restored with ")
    assert Weights(None, 1).for_animation(lossy)[0].names[-1] == f"9-5-5-x1-q{quality}"
    lossless = animated(tmp_path / "b.webp", picture, lossless=True)
    assert Weights(None, 2).for_animation(lossless)[0].names == ("9-5-5-x2",)
    pixels = animated(tmp_path / "c.png", compress(picture, 40))
    found = Weights(None, 2).for_animation(pixels)[0].decision
    assert found.decided_by == BY_PIXELS and abs(found.quality - 40) < 3
    assert Weights(None, 2, 60).for_animation(lossless)[0].decision.quality == 60
    assert Weights("9-1-5-x3", None).for_animation(lossy)[1] == 3


def test_why_an_animated_picture_has_no_weights_names_it(tmp_path):
    lossless = animated(tmp_path / "b.webp", clean_picture(), lossless=True)
    with pytest.raises(UserError, match=r"b\.webp: scale 1 restores compressed pictures"):
        Weights(None, 1).for_animation(lossless)
    whole = lossless.read_bytes()
    lossless.write_bytes(whole[: len(whole) // 4])
    with pytest.raises(UserError, match=r"b\.webp: damaged \("):
        Weights(None, 2).for_animation(lossless)
