"""What is decided before the first frame, and what is refused then, each in one line."""

from __future__ import annotations

import dataclasses
from fractions import Fraction

import pytest
from moving import INTERLACED, STEP, make_clip
from networks import identity
from random_inputs import random_net

from npsrcnn.errors import UsageError, UserError
from npsrcnn.video.clips import look_through
from npsrcnn.video.kinds import target_suffix
from npsrcnn.video.plan import Wishes, make_plan


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clips")
    make_clip(folder / "plain.mp4", 20, sound=1)
    make_clip(folder / "srt.mkv", 5, sound=1, subtitles=True, font=True, cover=True)
    make_clip(folder / "odd.mkv", 3, size=(49, 33), codec="ffv1")
    make_clip(folder / "interlaced.mp4", 6, options=INTERLACED)
    make_clip(folder / "rgb.mov", 2, codec="png", pixel_format="rgb24")
    make_clip(folder / "rgba64.mov", 2, codec="png", pixel_format="rgba64be")
    make_clip(
        folder / "a.ts",
        10,
        time_base=Fraction(1, 90000),
        pts=[900000 + 3600 * i for i in range(10)],
        last_duration=3600,
    )
    return folder


def plan_of(folder, name, target, wishes=None, scale=2.0, **changes):
    clip = dataclasses.replace(look_through(folder / name), **changes)
    return make_plan(clip, folder / target, [identity(scale=int(scale))], scale, wishes or Wishes())


@pytest.mark.parametrize(
    ("name", "target", "wishes", "changes", "words"),
    [
        ("srt.mkv", "o.mp4", {}, {}, r"stream 2 \(subtitles, srt, eng\) does not go into \.mp4: "
         r"give -o \S*o\.mkv, or --drop subtitles"),
        ("srt.mkv", "o.mp4", {"drop": {"subtitles"}}, {}, r"stream 4 \(attachments\) .*"
         r"--drop attachments"),
        ("plain.mp4", "o.webm", {}, {}, r"stream 1 \(audio, aac, eng\).*o\.mkv, or --drop a"),
        ("srt.mkv", "o.ts", {}, {}, r"subtitles, srt, eng\) does not go into \.ts"),
        ("odd.mkv", "o.mkv", {"codec": "h264"}, {"scale": 3}, r"147 x 99 is odd, which h264 "),
        ("odd.mkv", "o.mkv", {"codec": "hevc"}, {"size": (20, 20)}, "too small for x265"),
        ("interlaced.mp4", "o.mp4", {}, {}, r"stream 0 \(video\) is interlaced: give --d"),
        ("rgb.mov", "o.mkv", {}, {}, r"is rgb24, and taken are Y'CbCr and grey"),
        ("rgba64.mov", "o.mkv", {}, {}, r"-pix_fmt yuva444p10le "),
        ("plain.mp4", "o.mp4", {}, {"changes": 1.5}, r"changes its size.* at 1\.50 s: cut it"),
        ("plain.mp4", "o.mp4", {}, {"has_alpha": True}, r"alpha channel .*--drop alpha"),
        ("plain.mp4", "o.mp4", {}, {"has_dolby_vision": True}, r"Dolby Vision.*--drop dolby-"),
        ("plain.mp4", "o.ts", {"codec": "ffv1"}, {}, r"ffv1, 96 x 64 yuv420p, into \.ts: refused"),
        ("plain.mp4", "o.mkv", {"preset": "no-such"}, {}, r"preset no-such, into"),
        ("plain.mp4", "o.webm", {"codec": "h264"}, {}, r"preset medium, into \.webm: refused"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_said_at_once(folder, name, target, wishes, changes, words):
    changes = dict(changes)
    scale = changes.pop("scale", 2)
    clip = look_through(folder / name)
    if "size" in changes:
        changes["first"] = dataclasses.replace(clip.first, size=changes.pop("size"))
    clip = dataclasses.replace(clip, **changes)
    with pytest.raises(UserError, match=words) as caught:
        make_plan(clip, folder / target, [identity(scale=scale)], scale, Wishes(**wishes))
    assert "\n" not in str(caught.value)
    assert sorted(path.name for path in folder.iterdir() if path.stem == "o") == []


def test_and_with_the_way_out_it_goes(folder):
    drop = frozenset({"subtitles", "attachments"})
    plan = plan_of(folder, "srt.mkv", "o.mp4", Wishes(drop=drop))
    assert plan.copied == (1, 3)
    assert plan_of(folder, "srt.mkv", "o.mkv").copied == (1, 2, 3, 4)
    assert plan_of(folder, "interlaced.mp4", "o.mp4", Wishes(deinterlace=True)).deinterlace
    assert not plan_of(folder, "plain.mp4", "o.mp4", Wishes(deinterlace=True)).deinterlace
    assert plan_of(folder, "odd.mkv", "o.mkv", scale=3.0).encoding.size == (147, 99)
    plan_of(folder, "plain.mp4", "o.mp4", Wishes(drop=frozenset({"alpha"})), has_alpha=True)


def test_a_model_of_three_channels_is_refused(folder):
    clip = look_through(folder / "plain.mp4")
    with pytest.raises(UserError, match="the model restores RGB, and of clips Y"):
        make_plan(clip, folder / "o.mp4", [random_net(channels=3)], 2, Wishes())


def test_segments_and_the_times_between_which_their_frames_lie(folder):
    plan = plan_of(folder, "plain.mp4", "o.mp4", Wishes(segment_frames=8))
    assert (plan.segments, len(plan.pts)) == (3, 20)
    assert plan.span([0]) == (0, 8 * STEP) and plan.span([1, 2]) == (8 * STEP, None)
    assert [plan.segment_of(i * STEP) for i in (0, 7, 8, 19)] == [0, 0, 1, 2]
    assert plan.parts == folder / "o.mp4.parts"


def test_an_excerpt_by_frames_and_by_seconds(folder):
    plan = plan_of(folder, "plain.mp4", "o.mp4", Wishes(frames=(3, 9)))
    assert (plan.pts[0], plan.end, len(plan.pts)) == (3 * STEP, 9 * STEP, 6)
    assert plan.excerpt and plan.offset == Fraction(3, 25)
    plan = plan_of(folder, "plain.mp4", "o.mp4", Wishes(preview=Fraction(2, 5)))
    assert len(plan.pts) == 10 and plan.pts[0] == 5 * STEP  # the middle of 20 frames
    whole = plan_of(folder, "plain.mp4", "o.mp4", Wishes(preview=Fraction(60)))
    assert not whole.excerpt
    with pytest.raises(UsageError, match=r"--frames 30:: .* has 20 frames, 0 to 19"):
        plan_of(folder, "plain.mp4", "o.mp4", Wishes(frames=(30, None)))
    with pytest.raises(UsageError, match=r"--frames 9:3: .*, and B must be above A"):
        plan_of(folder, "plain.mp4", "o.mp4", Wishes(frames=(9, 3)))


def test_only_a_clock_that_means_nothing_is_set_to_zero(folder):
    assert plan_of(folder, "a.ts", "o.mp4").offset == 10
    assert plan_of(folder, "a.ts", "o.ts").offset == 0
    assert plan_of(folder, "plain.mp4", "o.mkv").offset == 0


def test_a_job_is_another_if_anything_that_shows_is(folder):
    def job(**wishes):
        return plan_of(folder, "plain.mp4", "o.mkv", Wishes(**wishes)).job()

    assert job() == job(codec="h264", crf=17)
    for other in ({"crf": 18}, {"codec": "ffv1"}, {"frames": (0, 5)}, {"compare": "split"}):
        assert job(**other) != job()


def test_the_container_stays_where_it_can_be_written(folder):
    names = ["a.mp4", "a.MOV", "a.avi", "a.wmv", "clip", "a.gif"]
    suffixes = [target_suffix(folder / name) for name in names]
    assert suffixes == [".mp4", ".MOV", ".mkv", ".mkv", ".mkv", ".gif"]
    with pytest.raises(UsageError, match=r"cannot write o\.avi: clips are \.mp4"):
        plan_of(folder, "plain.mp4", "o.avi")
