"""Encoders: names, defaults, and options that they do not have."""

from __future__ import annotations

import pytest
from moving import make_clip

from npsrcnn.errors import UsageError
from npsrcnn.video.clips import look_through
from npsrcnn.video.encoders import codec_named, default_codec, options_of, pixel_format_for


def test_codecs_have_the_names_that_people_use():
    names = ["libx264", "x265", "H265", "libvpx-vp9", "libsvtav1", "prores_ks", "FFV1"]
    assert [codec_named(name) for name in names] == [
        "h264", "hevc", "hevc", "vp9", "av1", "prores", "ffv1"
    ]  # fmt: skip
    with pytest.raises(UsageError, match="no codec 'theora'; there are h264, hevc"):
        codec_named("theora")


def test_the_codec_of_a_clip_where_nobody_says(tmp_path):
    eight = look_through(make_clip(tmp_path / "a.mkv", 2))
    ten = look_through(make_clip(tmp_path / "b.mkv", 2, pixel_format="yuv420p10le"))
    lossless = look_through(make_clip(tmp_path / "c.mkv", 2, codec="ffv1"))
    assert default_codec(eight, "mp4") == "h264" and default_codec(eight, "webm") == "vp9"
    assert default_codec(ten, "mp4") == "hevc"
    assert (
        default_codec(lossless, "matroska") == "ffv1" and default_codec(lossless, "mp4") == "h264"
    )


def test_prores_keeps_its_profile(tmp_path):
    clip = look_through(
        make_clip(
            tmp_path / "a.mov", 2, codec="prores_ks", pixel_format="yuv422p10le",
            options={"profile": "1"},
        )
    )  # fmt: skip
    assert default_codec(clip, "mov") == "prores"
    assert options_of("prores", clip, None, None) == {"profile": "1"}


def test_quality_and_speed_go_to_encoders_that_have_them(tmp_path):
    clip = look_through(make_clip(tmp_path / "a.mkv", 2))
    assert options_of("h264", clip, None, None) == {"crf": "17", "preset": "medium"}
    assert options_of("h264", clip, 23, "slow") == {"crf": "23", "preset": "slow"}
    assert options_of("vp9", clip, 30, "1")["cpu-used"] == "1"
    with pytest.raises(UsageError, match="--crf: ffv1 has none; h264, hevc, vp9, av1 have"):
        options_of("ffv1", clip, 20, None)
    with pytest.raises(UsageError, match="--preset: prores has none"):
        options_of("prores", clip, None, "slow")


def test_the_format_of_frames_stays_where_the_encoder_has_it():
    assert pixel_format_for("h264", "yuvj420p") == "yuvj420p"
    assert pixel_format_for("av1", "yuvj420p") == "yuv420p"  # full range by its tag
    assert pixel_format_for("prores", "yuv420p") == "yuv422p10le"
    assert pixel_format_for("prores", "yuva444p12le") == "yuva444p10le"
    assert pixel_format_for("hevc", "p010le") == "yuv420p10le"
    assert pixel_format_for("h264", "yuv444p12le") is None


def test_the_format_of_dv_becomes_the_next_that_holds_its_colour():
    assert pixel_format_for("h264", "yuv411p") == "yuv422p"
    assert pixel_format_for("h264", "yuvj411p") == "yuvj422p"
    assert pixel_format_for("vp9", "yuvj411p") == "yuv422p"
    assert pixel_format_for("h264", "yuv410p") == "yuv420p"
    assert pixel_format_for("ffv1", "yuv411p") == "yuv411p"
    assert pixel_format_for("av1", "yuv411p") is None  # it has 4:2:0 alone
