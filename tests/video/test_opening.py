"""Clips of any name, and files that are no clips."""

from __future__ import annotations

import re
import sys

import pytest
from moving import frames_of, make_clip
from networks import identity
from PIL import Image

from npsrcnn.errors import UserError
from npsrcnn.video.clips import look_through
from npsrcnn.video.making import make_clip as make_from
from npsrcnn.video.opening import open_clip
from npsrcnn.video.plan import Wishes, make_plan


def test_files_that_are_no_clips(tmp_path):
    whole = make_clip(tmp_path / "whole.mp4", sound=1).read_bytes()
    moov = whole.index(b"moov") - 4
    cases = {
        "empty.mp4": (b"", "empty"),
        "text.mp4": (b"no clip at all" * 99, "not a clip"),
        "cut.mp4": (whole[:moov], r"has no index \(moov\)"),
        "head.mp4": (b"\0\0\0\1ftypisom", r"has no index \(moov\)"),
    }
    for name, (content, reason) in cases.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(UserError, match=rf"{name}: {reason}"):
            open_clip(tmp_path / name)
    with pytest.raises(FileNotFoundError) as missing:
        open_clip(tmp_path / "missing.mp4")
    assert missing.value.filename == str(tmp_path / "missing.mp4")


@pytest.mark.parametrize("kind", ["jpeg", "png", "gif", "webp", "tiff", "bmp"])
def test_a_picture_that_is_called_a_clip(tmp_path, kind):
    """FFmpeg makes clips of one frame of them."""
    Image.new("RGB", (32, 20), "teal").save(tmp_path / "a.mp4", kind)
    line = f"{tmp_path / 'a.mp4'}: holds a picture, and no clip: name it a.{kind}"
    with pytest.raises(UserError, match=f"^{re.escape(line)}$"):
        open_clip(tmp_path / "a.mp4")


def test_a_list_of_other_files_is_no_clip(tmp_path):
    make_clip(tmp_path / "other.mkv", 3)
    (tmp_path / "a.mp4").write_text("ffconcat version 1.0\nfile other.mkv\n")
    with pytest.raises(UserError, match="names other files"):
        open_clip(tmp_path / "a.mp4")


@pytest.mark.skipif(sys.platform == "win32", reason="names have no colon there")
@pytest.mark.parametrize("name", ["http:a.mkv", "concat:a.mkv", "pipe:1.mkv", "%03d 'a\".mkv"])
def test_what_comes_before_a_colon_is_no_protocol(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    source = make_clip(tmp_path / "a.mkv", 5).rename(name)
    target = source.with_name(f"out {name}")
    plan = make_plan(look_through(source), target, [identity(scale=2)], 2, Wishes())
    assert make_from(plan).frames == len(frames_of(target.absolute())) == 5
