"""Clips and animated pictures in a process of their own: the command's bits, and an end at once."""

from __future__ import annotations

import json
import os
import subprocess
import zipfile

import numpy as np
import pytest
from networks import waves
from PIL import Image

from npsrcnn.app import clips
from npsrcnn.app.clips import Frames, Wanted
from npsrcnn.app.enlarging import bundle, enlarge_uploads, played
from npsrcnn.app.limits import check_moving
from npsrcnn.commands import upscale
from npsrcnn.errors import UserError


@pytest.fixture
def processes(monkeypatch):
    """The processes that are started for clips."""
    started, start = [], subprocess.Popen

    def remembered(*arguments, **options):
        started.append(start(*arguments, **options))
        return started[-1]

    monkeypatch.setattr(clips.subprocess, "Popen", remembered)
    return started


def gif(path, frames=5):
    pictures = [
        Image.fromarray(np.roll(waves(np.random.default_rng(1)), 4 * i, 1)) for i in range(frames)
    ]
    pictures[0].save(path, save_all=True, append_images=pictures[1:], duration=1000)
    return path


def last_of(progress):
    *_, last = progress
    return last


def test_a_clip_is_that_of_the_command_and_comes_with_the_pictures(session, model, tmp_path, rng):
    moving = pytest.importorskip("moving", reason="needs the extra video")
    clip = moving.make_clip(tmp_path / "clip.mp4", 30, sound=1)
    Image.fromarray(waves(rng)).save(tmp_path / "a.png")
    (tmp_path / "none.mkv").write_text("no clip")
    uploads = [str(tmp_path / "none.mkv"), str(clip), str(tmp_path / "a.png")]
    told = []
    for progress in enlarge_uploads(session, uploads, scale=2, model=model):
        told.append(progress.text())
    assert "clip.mp4: frame 30 of 30" in "".join(told)
    assert [one.target.name for one in progress.done] == ["a_x2.png", "clip_x2.mp4"]
    assert "clip_x2.mp4: 48 x 32 → 96 x 64, 30 frames in " in told[-1]
    assert progress.refused == ["none.mkv: not a clip, or of an unknown format"]
    assert upscale.main([str(clip), "--model", model, "-o", str(tmp_path / "c.mp4")]) == 0
    expected = (tmp_path / "c.mp4").read_bytes()
    with zipfile.ZipFile(bundle(progress.done)) as archive:
        assert archive.read("clip_x2.mp4") == expected
    left = sorted(path.name for path in session.folder.glob("enlarge-*/*/*"))
    assert left == ["a.png", "a_x2.png", "clip.mp4", "clip_x2.mp4", "enlarged.zip", "none.mkv"]
    html = played(progress.done[1], "/file=")
    assert f'<video src="/file={progress.done[1].target}" controls' in html


def test_a_preview_shows_the_first_seconds_beside_bicubic(session, model, tmp_path):
    moving = pytest.importorskip("moving", reason="needs the extra video")
    clip = moving.make_clip(tmp_path / "clip.mkv", 100, sound=1)
    one = last_of(enlarge_uploads(session, [str(clip)], scale=2, model=model, preview=True)).done[0]
    assert one.target.name == "clip_mkv_x2_preview.webm" and one.frames == 75
    frames = moving.frames_of(one.target)
    assert len(frames) == 75 and (frames[0].width, frames[0].height) == (96, 64)
    assert frames[0].to_ndarray()[10:50, 47:49].min() > 200  # the line between both halves


def test_an_animated_picture_and_its_preview(session, model, tmp_path, rng):
    path = gif(tmp_path / "a.gif")
    Image.fromarray(waves(rng)).save(tmp_path / "a.png")
    uploads = [str(path), str(tmp_path / "a.png")]
    (one,) = last_of(enlarge_uploads(session, uploads[:1], scale=2, model=model)).done
    assert upscale.main([str(path), "--model", model, "-o", str(tmp_path / "c.gif")]) == 0
    assert one.target.read_bytes() == (tmp_path / "c.gif").read_bytes() and one.frames == 5
    html = played(one, "/file=")
    assert f"/file={one.target}" in html and f"/file={one.source}" in html
    progress = last_of(enlarge_uploads(session, uploads, scale=2, model=model, preview=True))
    assert [(one.target.name, one.frames) for one in progress.done] == [("a_x2_preview.gif", 3)]
    with pytest.raises(UserError, match="no clip to preview"):
        last_of(enlarge_uploads(session, uploads[1:], scale=2, model=model, preview=True))


@pytest.mark.parametrize("end", ["cancel", "close"])
def test_a_cancel_ends_the_process_and_leaves_no_file(end, session, model, tmp_path, processes):
    path = gif(tmp_path / "a.gif", 4)
    steps = enlarge_uploads(session, [str(path), str(path)], scale=2, model=model)
    while not processes:
        next(steps)
    if end == "cancel":
        session.cancel()
        progress = last_of(steps)
        assert progress.cancelled and "then cancelled; 2 were not" in progress.text()
        assert [path.name for path in session.folder.glob("enlarge-*/*")] == ["in"]
    else:
        session.close()
        assert not session.folder.exists()
    assert [process.poll() is not None for process in processes] == [True]


def test_a_process_that_dies_is_told_of(session, model, tmp_path, monkeypatch):
    monkeypatch.setattr(clips.sys, "executable", "false")
    progress = last_of(enlarge_uploads(session, [str(gif(tmp_path / "a.gif"))], scale=2))
    assert progress.refused == ["a.gif: the process that enlarged it ended early (1)"]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="Windows has no such files")
def test_the_process_ends_with_the_app(tmp_path):
    pytest.importorskip("av", reason="needs the extra video")
    os.mkfifo(tmp_path / "a.mp4")  # from which nothing ever comes
    asked = {"source": str(tmp_path / "a.mp4"), "target": str(tmp_path / "b.mp4"), "scale": 2}
    with open(tmp_path / "said", "wb") as said, clips._process(said) as process:
        process.stdin.write(json.dumps(asked).encode() + b"\n")
        process.stdin.close()
        assert process.wait(60) == 1
    assert (tmp_path / "said").read_bytes() == b""


def test_too_large_a_clip(session, model, tmp_path):
    frames = [Image.new("1", (6000, 1700), i % 2) for i in range(5)]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    progress = last_of(enlarge_uploads(session, [str(tmp_path / "a.gif")], scale=2, model=model))
    assert progress.refused == [
        "a.gif: 5 frames of 6000 x 1700 at x2: too large here; the command npsrcnn upscale takes "
        "larger ones"
    ]
    with pytest.raises(UserError, match="at most 20000 here"):
        check_moving(tmp_path / "a.mp4", (640, 360), 20001, 2)
    check_moving(tmp_path / "a.mp4", (640, 360), 20000, 2)


def test_how_far_it_is_in_words(tmp_path):
    assert Frames(tmp_path / "a.mp4", 1, 100, 0.0).text() == "a.mp4: frame 1 of 100"
    words = Frames(tmp_path / "a.mp4", 25, 100, 0.5).text()
    assert words == "a.mp4: frame 25 of 100, 0.50 a second, 2:30 left"


def test_targets_are_named_as_the_command_does(tmp_path):
    names = {"a.mp4": "a_x3.mp4", "a.avi": "a_avi_x3.mkv", "a.gif": "a_x3.gif"}
    for source, target in names.items():
        assert Wanted(3).target(tmp_path / source, tmp_path).name == target
