"""Segments: done or not, of this job or another, and what is kept whatever happens."""

from __future__ import annotations

import errno
import json
import shutil

import numpy as np
import pytest
from moving import frames_of, make_clip, packets_of, planes_of
from networks import identity

from npsrcnn.errors import UserError
from npsrcnn.video.clips import look_through
from npsrcnn.video.making import make_clip as make_from
from npsrcnn.video.plan import Wishes, make_plan
from npsrcnn.video.segments import Parts, write_segments


@pytest.fixture
def source(tmp_path):
    return make_clip(tmp_path / "a.mp4", 20, options={"g": "7", "bf": "2", "preset": "medium"})


def plan_of(source, **wishes):
    wishes = {"codec": "ffv1", "segment_frames": 6, **wishes}
    target = source.with_name("b.mkv")
    return make_plan(look_through(source), target, [identity(scale=2)], 2, Wishes(**wishes))


def pixels(path):
    return [np.concatenate([p.ravel() for p in planes_of(frame)]) for frame in frames_of(path)]


def test_segments_that_are_done_play_and_are_marked(source):
    plan = plan_of(source)
    parts = Parts(plan)
    assert parts.begin(resume=False) == [0, 1, 2, 3]
    write_segments([1, 2], plan)
    assert sorted(parts.finished()) == [1, 2]
    assert len(frames_of(parts.video(1))) == 6
    done = parts.read_mark(2)
    assert (done.frames, done.damaged) == (6, 0)
    assert [pts for pts, _ in done.packets] == list(plan.pts[12:18])
    assert {duration for _, duration in done.packets} == {512}


def test_damage_is_counted_once_and_in_its_segment(tmp_path):
    """Decoding is ahead of what is written, and begins at key frames before a segment."""
    path = make_clip(tmp_path / "a.mkv", 20, codec="mjpeg", pixel_format="yuvj420p",
                     options={"strict": "-1"})  # fmt: skip
    data = path.read_bytes()
    for i in (2, 7, *range(12, 18)):
        packet = packets_of(path, 0)[i][1]
        data = data.replace(packet, bytes(len(packet)))
    path.write_bytes(data)
    plan = plan_of(path)
    for runs in ([[0, 1, 2, 3]], [[0], [1], [2, 3]], [[3], [2], [1], [0]]):
        Parts(plan).begin(resume=False)
        for run in runs:
            write_segments(run, plan)
        done = [Parts(plan).read_mark(number) for number in range(4)]
        assert [(d.frames, d.damaged) for d in done] == [(5, 1), (5, 1), (0, 6), (2, 0)]
        shutil.rmtree(plan.parts)
    assert make_from(plan_of(path, frames=(8, 12))).damaged == 0


def test_a_run_goes_on_and_the_result_is_that_of_one_that_never_stopped(source):
    whole = pixels(make_and_name(source, "whole.mkv"))
    plan = plan_of(source)
    Parts(plan).begin(resume=False)
    write_segments([0], plan)
    write_segments([2], plan)
    (plan.parts / "00001.mkv").write_bytes(b"half of a segment, without a mark")
    made = make_from(plan, resume=True)
    again = pixels(plan.target)
    assert made.frames == len(again) == 20
    assert all((a == b).all() for a, b in zip(whole, again, strict=True))


def make_and_name(source, name):
    plan = plan_of(source, segment_frames=6)
    make_from(plan)
    return plan.target.rename(source.with_name(name))


def test_done_segments_are_not_made_again(source):
    plan = plan_of(source)
    parts = Parts(plan)
    parts.begin(resume=False)
    write_segments([0, 1], plan)
    before = parts.video(1).stat().st_mtime_ns
    assert parts.begin(resume=True) == [2, 3]
    assert parts.video(1).stat().st_mtime_ns == before


def test_without_resume_nothing_is_thrown_away(source):
    plan = plan_of(source)
    Parts(plan).begin(resume=False)
    write_segments([0], plan)
    with pytest.raises(UserError, match=r"holds 1 of 4 segments .*go on with --resume, or delete"):
        make_from(plan)
    assert Parts(plan).mark(0).exists()


def test_segments_of_another_job_are_not_mixed_in(source):
    plan = plan_of(source)
    Parts(plan).begin(resume=False)
    write_segments([0], plan)
    with pytest.raises(UserError, match="was begun with another scale, weights"):
        net = identity(scale=3)
        net.layers[0][0][:] *= 0.5
        make_from(make_plan(plan.clip, plan.target, [net], 3, Wishes(codec="ffv1")), resume=True)
    (plan.parts / "job.json").unlink()
    with pytest.raises(UserError, match="was begun with another job"):
        make_from(plan, resume=True)


def test_a_folder_without_a_done_segment_is_begun_anew(source):
    plan = plan_of(source)
    plan.parts.mkdir()
    (plan.parts / "rest").write_text("of a run that was killed at once")
    assert Parts(plan).begin(resume=False) == [0, 1, 2, 3]
    assert not (plan.parts / "rest").exists()


def test_a_mark_that_is_damaged_is_named(source):
    plan = plan_of(source)
    Parts(plan).begin(resume=False)
    write_segments([0], plan)
    Parts(plan).mark(0).write_text(json.dumps({"frames": 6}))
    with pytest.raises(UserError, match=r"00000\.json: damaged; delete it, and go on"):
        make_from(plan, resume=True)


def test_a_segment_that_is_cut_short_is_named(source):
    plan = plan_of(source)
    parts = Parts(plan)
    parts.begin(resume=False)
    write_segments(range(4), plan)
    path = parts.video(1)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(UserError, match=r"00001\.mkv: damaged; delete it and 00001\.json"):
        make_from(plan, resume=True)
    assert not plan.target.exists()


def test_a_folder_that_goes_away_is_one_line(source):
    plan = plan_of(source)
    Parts(plan).begin(resume=False)
    frames = 0

    def remove(more):
        nonlocal frames
        frames += more
        if frames == 7:
            shutil.rmtree(plan.parts)

    with pytest.raises(OSError, match=r"b\.mkv\.parts") as caught:
        write_segments(range(4), plan, remove)
    assert caught.value.errno == errno.ENOENT


def test_progress_counts_every_frame_once_and_first_those_of_before(source):
    plan = plan_of(source)
    Parts(plan).begin(resume=False)
    write_segments([0], plan)
    counts = []
    make_from(plan, resume=True, report=counts.append)
    assert counts[0] == 6 and counts[1:] == [1] * 14
