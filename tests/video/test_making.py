"""A clip is made of runs of segments that are missing, whatever killed the run before."""

from __future__ import annotations

import dataclasses
import sys

import numpy as np
import pytest
from moving import frames_of, make_clip, planes_of, times_of
from networks import identity
from processes import run_python

from npsrcnn.errors import UserError, describe
from npsrcnn.video.clips import look_through
from npsrcnn.video.making import make_clip as make_from
from npsrcnn.video.making import runs_of
from npsrcnn.video.plan import Wishes, make_plan


def test_runs_have_no_gaps():
    assert list(runs_of([0, 1, 4, 6, 7, 8])) == [[0, 1], [4], [6, 7, 8]]
    assert list(runs_of([])) == []


def test_a_clip_of_which_nothing_can_be_decoded(tmp_path):
    source = make_clip(tmp_path / "a.mp4", 6)
    plan = make_plan(
        look_through(source), tmp_path / "b.mp4", [identity(scale=2)], 2, Wishes(segment_frames=4)
    )
    later = tuple(pts + 10**6 for pts in plan.pts)  # as of a file that was cut meanwhile
    plan = dataclasses.replace(plan, pts=later, clip=dataclasses.replace(plan.clip, pts=later))
    with pytest.raises(UserError, match="no frame could be decoded"):
        make_from(plan)


WISHES = Wishes(codec="ffv1", segment_frames=8)
RUN = """
import os, signal, sys
from pathlib import Path
from networks import identity
from npsrcnn.video import joining, making, segments
from npsrcnn.video.clips import look_through
from npsrcnn.video.plan import Wishes, make_plan

folder = Path({folder!r})
wishes = Wishes(codec="ffv1", segment_frames=8)
plan = make_plan(look_through(folder / "a.mkv"), folder / "b.mkv", [identity(scale=2)], 2, wishes)
done = 0

def die(*arguments):
    os.kill(os.getpid(), signal.SIGKILL)

def report(frames):
    global done
    done += frames
    if done == 13 and {place!r} == "segment":
        die()

def decoded(*arguments):
    for number, frame in enumerate(read(*arguments)):
        if number == 19:
            die()
        yield frame

if {place!r} == "decode":
    read, segments.read_frames = segments.read_frames, decoded
if {place!r} == "join":
    joining._copied_packets = die
making.make_clip(plan, report=report)
"""


def pixels(path):
    return [np.concatenate([p.ravel() for p in planes_of(frame)]) for frame in frames_of(path)]


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL")
@pytest.mark.parametrize("place", ["decode", "segment", "join"])
def test_killed_anywhere_it_goes_on_and_nothing_shows(tmp_path, place):
    source = make_clip(tmp_path / "a.mkv", 30, sound=1, options={"g": "11"})
    plan = make_plan(look_through(source), tmp_path / "whole.mkv", [identity(scale=2)], 2, WISHES)
    make_from(plan)
    with pytest.raises(AssertionError) as killed:  # the process is dead, and said nothing
        run_python(RUN.format(folder=str(tmp_path), place=place))
    assert "Traceback" not in str(killed.value)
    target = tmp_path / "b.mkv"
    done = sorted((tmp_path / "b.mkv.parts").glob("0*.json"))
    assert not target.exists() and len(done) >= (4 if place == "join" else 1)
    assert len(frames_of(done[0].with_suffix(".mkv"))) == 8  # what is done plays
    made = make_from(dataclasses.replace(plan, target=target), resume=True)
    assert made.frames == 30 and not (tmp_path / "b.mkv.parts").exists()
    assert times_of(target) == times_of(source)
    for a, b in zip(pixels(target), pixels(plan.target), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.skipif(sys.platform == "win32", reason="needs limits of POSIX")
def test_a_full_disk_is_one_line_and_what_is_done_is_kept(tmp_path):
    import resource

    source = make_clip(tmp_path / "a.mkv", 30, options={"g": "11"})
    plan = make_plan(look_through(source), tmp_path / "b.mkv", [identity(scale=2)], 2, WISHES)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    frames = 0

    def fill(more):
        nonlocal frames
        frames += more
        if frames == 9:  # files hold no more from here on, as where a disk is full
            resource.setrlimit(resource.RLIMIT_FSIZE, (2000, limits[1]))

    try:
        with pytest.raises(OSError, match=r"b\.mkv\.parts/0000[12]") as caught:
            make_from(plan, report=fill)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert "\n" not in describe(caught.value)
    assert sorted(path.name for path in plan.parts.glob("0*")) == ["00000.json", "00000.mkv"]
    assert make_from(plan, resume=True).frames == 30


PEAK = """
import os, resource
from pathlib import Path
from moving import make_clip
from networks import identity
from npsrcnn.video.clips import look_through
from npsrcnn.video.making import make_clip as make_from
from npsrcnn.video.plan import Wishes, make_plan
for frames in (60, 600):
    source = make_clip(Path(os.environ["FOLDER"]) / f"{frames}.mkv", frames, (160, 96))
    target = source.with_name(f"{frames}_x2.mkv")
    wishes = Wishes(preset="ultrafast")
    make_from(make_plan(look_through(source), target, [identity(scale=2)], 2, wishes))
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="counts kilobytes as Linux does")
def test_memory_does_not_grow_with_length(tmp_path):
    """Of 540 frames more, kept as they are decoded or enlarged, it would by 12 or 50 MB."""
    short, long = map(int, run_python(PEAK, FOLDER=str(tmp_path)).split())
    assert long < short + 8_000
