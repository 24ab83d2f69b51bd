"""Frames from any time on: the same as from the first one on."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from moving import INTERLACED, STEP, av, frames_of, make_clip, packets_of, planes_of

from npsrcnn.errors import UserError
from npsrcnn.video import reading
from npsrcnn.video.clips import look_through
from npsrcnn.video.opening import video_stream
from npsrcnn.video.reading import Damage, read_frames


def content(frames):
    return [(frame.pts, [plane.tobytes() for plane in planes_of(frame)]) for frame in frames]


@pytest.mark.parametrize(
    ("name", "codec", "options"),
    [
        ("closed.mp4", "libx264", {"g": "10", "bf": "3", "preset": "medium"}),
        (
            "open.mkv",
            "libx264",
            {"g": "10", "bf": "3", "preset": "medium", "x264-params": "open-gop=1"},
        ),
        ("refresh.mp4", "libx264", {"g": "10", "intra-refresh": "1", "preset": "veryfast"}),
        ("all.mov", "prores_ks", {}),
        ("a.ts", "libx264", {"g": "10"}),
    ],
)
def test_any_part_is_as_in_the_whole(tmp_path, name, codec, options):
    pixel_format = "yuv422p10le" if codec == "prores_ks" else "yuv420p"
    path = make_clip(tmp_path / name, 45, codec=codec, options=options, pixel_format=pixel_format)
    clip, whole = look_through(path), content(frames_of(path))
    assert [pts for pts, _ in whole] == list(clip.pts)
    for first, stop in ((0, 45), (1, 2), (9, 12), (10, 30), (25, 45), (44, 45)):
        end = clip.pts[stop] if stop < 45 else None
        part = content(read_frames(clip, clip.pts[first], end, False, Damage()))
        assert part == whole[first:stop]


def test_deinterlaced_parts_are_as_in_the_whole(tmp_path):
    path = make_clip(tmp_path / "a.mp4", 24, options={**INTERLACED, "g": "6"})
    clip = look_through(path)
    whole = content(read_frames(clip, 0, None, True, Damage()))
    assert [pts for pts, _ in whole] == list(range(0, 24 * STEP, STEP))
    assert whole != content(frames_of(path))
    part = content(read_frames(clip, clip.pts[13], clip.pts[20], True, Damage()))
    assert part == whole[13:20]


@pytest.mark.parametrize("place", [0, 7])  # of the first one nothing is known but by the next
def test_what_is_damaged_is_left_out_and_counted(tmp_path, place):
    path = make_clip(
        tmp_path / "a.mkv", 20, codec="mjpeg", pixel_format="yuvj420p", options={"strict": "-1"}
    )
    with av.open(str(path)) as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
    data = bytearray(path.read_bytes())
    broken = bytes(packets[place])
    start = data.index(broken)
    data[start : start + len(broken)] = bytes(len(broken))
    path.write_bytes(data)
    damage = Damage()
    frames = list(read_frames(look_through(path), 0, None, False, damage))
    assert (len(frames), damage.times) == (19, [40 * place])


@pytest.mark.parametrize("places", [[4], [16], [17], [18], [19], [17, 19], range(20)])
def test_on_several_cores_no_frame_after_damage_is_lost(tmp_path, places, monkeypatch):
    """A decoder gives an error three frames late, and PyAV at the end what is before it alone."""
    path = make_clip(tmp_path / "a.mkv", 20, options={"g": "1"})
    clip, whole = look_through(path), content(frames_of(path))
    data = path.read_bytes()
    for place in places:
        _, packet = packets_of(path, 0)[place]
        data = data.replace(packet, bytes(len(packet)))
    path.write_bytes(data)

    def on_four_cores(*arguments):
        stream = video_stream(*arguments)
        stream.codec_context.thread_count = 4
        return stream

    monkeypatch.setattr(reading, "video_stream", on_four_cores)
    damage = Damage()
    frames = content(read_frames(clip, 0, None, False, damage))
    assert frames == [frame for i, frame in enumerate(whole) if i not in places]
    assert len(damage.times) == len(places)


def test_another_size_ends_it_in_one_line(tmp_path):
    clip = look_through(make_clip(tmp_path / "a.mp4"))
    other = look_through(make_clip(tmp_path / "b.mp4", size=(64, 48)))
    mixed = clip.__class__(**{**vars(clip), "path": other.path})
    with pytest.raises(UserError, match=r"changes to 64 x 48 yuv420p at 0\.00 s"):
        list(read_frames(mixed, 0, None, False, Damage()))


def test_the_planes_read_are_of_the_frame(tmp_path):
    path = make_clip(
        tmp_path / "a.mkv",
        3,
        codec="ffv1",
        time_base=Fraction(1, 1000),
        pts=[0, 40, 80],
        last_duration=40,
    )
    frames = list(read_frames(look_through(path), 40, None, False, Damage()))
    np.testing.assert_array_equal(planes_of(frames[0])[0], planes_of(frames_of(path)[1])[0])
