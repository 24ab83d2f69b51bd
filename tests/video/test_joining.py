"""Nothing but the picture changes: what comes out of the whole, stream by stream."""

from __future__ import annotations

import errno
import os
import struct
from fractions import Fraction
from pathlib import Path

import pytest
from moving import INTERLACED, STEP, TICK, av, frames_of, make_clip, packets_of, planes_of, times_of
from networks import identity

from npsrcnn.runtime import files
from npsrcnn.video.clips import look_through
from npsrcnn.video.joining import decoding_times
from npsrcnn.video.making import make_clip as make_from
from npsrcnn.video.plan import Wishes, make_plan

Type = av.sidedata.sidedata.Type
MASTERING = "master-display=G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,50)"
UNEVEN = [0, 700, 900, 2000, 2001, 5000, 5500, 5600, 9000, 9100]


def enlarge(source, name, *, scale=2, **wishes):
    target = source.with_name(name)
    wishes.setdefault("segment_frames", 4)
    plan = make_plan(look_through(source), target, [identity(scale=scale)], scale, Wishes(**wishes))
    made = make_from(plan)
    assert made.damaged == 0 and not plan.parts.exists()
    return target


def described(path):
    """What a file says of itself and its streams, but for who wrote it."""
    with av.open(str(path)) as container:
        streams = [
            (
                stream.type,
                stream.codec_context.name if stream.codec_context else None,
                stream.language,
                int(stream.disposition),
                {key.lower(): text for key, text in stream.metadata.items()
                 if key.lower() not in ("duration", "encoder")},
            )
            for stream in container.streams
        ]  # fmt: skip
        tags = {k: v for k, v in container.metadata.items() if k.lower() != "encoder"}
        chapters = [
            (c["start"] * c["time_base"], c["end"] * c["time_base"], c["metadata"])
            for c in container.chapters()
        ]
        return streams, tags, chapters


def test_all_that_a_matroska_file_may_hold(tmp_path):
    source = make_clip(
        tmp_path / "a.mkv", 20, sound=2, subtitles=True, cover=True, font=True, chapters=True,
        tags={"title": "Waves"}, sample_aspect=Fraction(4, 3),
    )  # fmt: skip
    target = enlarge(source, "b.mkv")
    assert described(target) == described(source)
    for index in (1, 2, 3):
        assert packets_of(target, index) == packets_of(source, index)
    with av.open(str(source)) as a, av.open(str(target)) as b:
        assert a.streams[5].data == b.streams[5].data
        assert b.streams.video[0].sample_aspect_ratio == Fraction(4, 3)
        assert b.streams.video[0].average_rate == 25
        covers = [next(bytes(p) for p in c.demux(c.streams[4]) if p.size) for c in (a, b)]
        assert covers[0] == covers[1]


def test_all_that_a_phone_records(tmp_path):
    tags = {"com.apple.quicktime.location.ISO6709": "+48.1+011.5/", "title": "T"}
    source = make_clip(tmp_path / "a.mov", 20, sound=1, rotation=90, tags=tags, chapters=True)
    target = enlarge(source, "b.mov")
    assert described(target)[1:] == described(source)[1:]
    assert [frame.rotation for frame in frames_of(target)] == [90] * 20
    assert packets_of(target, 1) == packets_of(source, 1)
    with av.open(str(target)) as container:
        assert container.metadata["com.apple.quicktime.location.ISO6709"] == "+48.1+011.5/"


def test_a_picture_that_is_mirrored_stays_so(tmp_path):
    """As cameras that look at who films may have it: by the matrix alone, which is no rotation."""
    source = make_clip(tmp_path / "a.mov", 5, rotation=180)
    data = source.read_bytes()
    one, corner, width = 1 << 16, 1 << 30, 48 << 16
    turned = struct.pack(">9i", -one, 0, 0, 0, -one, 0, 0, 0, corner)
    assert data.count(turned) == 1
    source.write_bytes(
        data.replace(turned, struct.pack(">9i", -one, 0, 0, 0, one, 0, width, 0, corner))
    )
    target = enlarge(source, "b.mov")
    assert struct.pack(">9i", -one, 0, 0, 0, one, 0, 2 * width, 0, corner) in target.read_bytes()


def test_a_cover_is_no_second_picture(tmp_path):
    source = make_clip(tmp_path / "a.mp4", 8, sound=2, cover=True, chapters=True)
    for name in ("b.mp4", "b.mkv"):
        streams = described(enlarge(source, name))[0]
        assert [stream[1] for stream in streams if stream[3] & 1024] == ["mjpeg"]
        assert [stream[0] for stream in streams].count("audio") == 2


@pytest.mark.parametrize("name", ["b.mkv", "b.mp4"])
@pytest.mark.parametrize("options", [{"bf": "0"}, {"bf": "3", "preset": "medium"}])
def test_uneven_times_are_exact(tmp_path, name, options):
    source = make_clip(
        tmp_path / "a.mkv", pts=UNEVEN, time_base=Fraction(1, 1000), options=options,
        last_duration=400,
    )  # fmt: skip
    target = enlarge(source, name)
    assert times_of(target) == times_of(source) == [Fraction(t, 1000) for t in UNEVEN]
    with av.open(str(target)) as container:
        assert container.duration == pytest.approx(9_500_000, abs=2000)  # to the last frame's end


def test_a_start_that_is_late_stays_late_beside_the_sound(tmp_path):
    source = make_clip(tmp_path / "a.mp4", pts=[(10 + i) * STEP for i in range(12)], sound=1)
    target = enlarge(source, "b.mp4")
    assert times_of(target) == times_of(source) and times_of(source)[0] == Fraction(10, 25)
    assert packets_of(target, 1) == packets_of(source, 1)


@pytest.mark.parametrize(("name", "offset"), [("b.ts", 0), ("b.mkv", None)])
def test_the_clock_of_a_transport_stream(tmp_path, name, offset):
    pts = [900000 + 3600 * i for i in range(20)]
    source = make_clip(
        tmp_path / "a.ts", pts=pts, time_base=Fraction(1, 90000), sound=1, last_duration=3600
    )
    target = enlarge(source, name)
    (a, sound_a), (b, sound_b) = (
        (times_of(path), [time for time, _ in packets_of(path, 1)]) for path in (source, target)
    )
    offset = Fraction(0) if offset == 0 else a[0] - b[0]
    assert max(abs(x - offset - y) for x, y in zip(a, b, strict=True)) < Fraction(1, 999)
    assert max(abs(x - offset - y) for x, y in zip(sound_a, sound_b, strict=True)) < Fraction(
        1, 999
    )
    assert b[0] < 1 or offset == 0


def test_ten_bits_hdr_and_its_tags_stay(tmp_path):
    params = f"log-level=none:hdr10=1:repeat-headers=1:{MASTERING}:max-cll=1000,400"
    source = make_clip(
        tmp_path / "a.mkv", 6, (64, 64), "libx265", "yuv420p10le", color=(9, 9, 16),
        options={"x265-params": params},
    )  # fmt: skip
    target = enlarge(source, "b.mp4", preset="ultrafast")
    with av.open(str(target)) as container:
        assert container.streams.video[0].codec_tag == "hvc1"
    for a, b in zip(frames_of(source)[:2], frames_of(target)[:2], strict=True):
        assert b.format.name == "yuv420p10le"
        assert (b.color_range, b.colorspace, b.color_primaries, b.color_trc) == (1, 9, 9, 16)
        for kind in (Type.MASTERING_DISPLAY_METADATA, Type.CONTENT_LIGHT_LEVEL):
            assert bytes(a.side_data[kind]) == bytes(b.side_data[kind])


@pytest.mark.parametrize(
    ("name", "codec", "pixel_format", "full"),
    [
        ("a.mkv", "libx264", "yuvj420p", True),
        ("a.mkv", "libx264", "yuv444p", False),
        ("a.mkv", "libx264", "gray", False),
        ("a.mov", "prores_ks", "yuv422p10le", False),
        ("a.mkv", "ffv1", "yuv422p10le", False),
        ("a.webm", "libvpx-vp9", "yuv420p", False),
    ],
)
def test_pixel_formats_and_ranges_stay(tmp_path, name, codec, pixel_format, full):
    source = make_clip(tmp_path / name, 5, (48, 32), codec, pixel_format, full_range=full)
    before, after = frames_of(source), frames_of(enlarge(source, f"b{source.suffix}"))
    assert len(after) == 5 and after[0].width == 96
    assert after[0].format.name == before[0].format.name
    assert (after[0].color_range == 2) == full == (before[0].color_range == 2)
    for a, b in zip(before, after, strict=True):
        assert abs(planes_of(a)[0].mean() - planes_of(b)[0].mean()) < 2


def test_odd_sizes_go_where_they_can(tmp_path):
    source = make_clip(tmp_path / "a.mkv", 3, (49, 33), "ffv1")
    after = frames_of(enlarge(source, "b.mkv", scale=3))
    assert (after[0].width, after[0].height) == (147, 99)
    assert frames_of(enlarge(source, "c.mp4", codec="h264"))[0].width == 98


def test_every_frame_arrives_the_last_ones_too(tmp_path):
    source = make_clip(tmp_path / "a.mp4", 41, options={"bf": "3", "preset": "medium", "g": "12"})
    target = enlarge(source, "b.mkv", codec="ffv1", segment_frames=10)
    after = frames_of(target)
    assert len(after) == 41
    for i, frame in enumerate(frames_of(source)):  # each is itself: what moves has moved as far
        mean = abs(planes_of(frame)[0].astype(int) - planes_of(after[i])[0][::2, ::2]).mean()
        other = abs(planes_of(frame)[0].astype(int) - planes_of(after[i - 1])[0][::2, ::2]).mean()
        assert mean < other


def test_a_player_that_has_the_target_open_is_waited_for(tmp_path, monkeypatch):
    """On Windows it cannot be replaced meanwhile."""
    source, rename, slept = make_clip(tmp_path / "a.mp4", 4), os.replace, []

    def refuse(part, target):
        if Path(target).name == "b.mkv" and not slept:
            error = PermissionError(errno.EACCES, "Access is denied", str(part))
            error.winerror = 5
            raise error
        rename(part, target)

    monkeypatch.setattr(files.os, "replace", refuse)
    monkeypatch.setattr(files.time, "sleep", slept.append)
    assert len(frames_of(enlarge(source, "b.mkv"))) == 4
    assert slept == [files.PAUSES[0]]


def test_an_excerpt_begins_at_zero_with_its_own_sound(tmp_path):
    source = make_clip(tmp_path / "a.mkv", 50, sound=1, subtitles=True, chapters=True)
    target = enlarge(source, "b.mkv", frames=(25, 35))
    assert times_of(target) == [Fraction(i, 25) for i in range(10)]
    sound, whole = packets_of(target, 1), packets_of(source, 1)
    inside = [(time - 1, data) for time, data in whole if 1 <= time < Fraction(35, 25)]
    assert sound == inside and len(sound) > 4
    assert described(target)[2] == []


def test_deinterlaced_frames_keep_their_times(tmp_path):
    source = make_clip(tmp_path / "a.mp4", 12, options=INTERLACED)
    target = enlarge(source, "b.mp4", deinterlace=True)
    assert times_of(target) == [i * STEP * TICK for i in range(12)]
    assert not any(frame.interlaced_frame for frame in frames_of(target))
    with av.open(str(target)) as container:
        assert container.duration == pytest.approx(480_000, abs=2000)  # to the last frame's end


def test_decoding_times_rise_and_come_before_showing():
    order = [0, 400, 200, 100, 300, 500, 900, 700]
    times = decoding_times(order)
    assert times == sorted(set(times))
    assert all(dts <= pts for dts, pts in zip(times, order, strict=True))
    assert decoding_times([5, 6, 9]) == [5, 6, 9]
