"""Commands of other programs that errors and notes print: each does what it says."""

from __future__ import annotations

import re
import shutil
import subprocess
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from moving import av, frames_of, make_clip, planes_of
from networks import identity

from npsrcnn.errors import UserError
from npsrcnn.video import advice
from npsrcnn.video.clips import look_through
from npsrcnn.video.making import make_clip as make_from
from npsrcnn.video.plan import Wishes, make_plan

B_FRAMES = {"bf": "2", "preset": "medium", "g": "12"}
EACH_FRAME = {"time_base": Fraction(1, 25), "pts": range(30), "last_duration": 1}


def said_of(path):
    """Return the lines that are said of a clip, or why it is refused."""
    try:
        plan = make_plan(
            look_through(path), path.with_name("out.mkv"), [identity(scale=2)], 2, Wishes()
        )
        make_from(plan)
    except UserError as error:
        return str(error)
    return "\n".join(plan.notes)


def follow(path):
    """Do what is said of a clip; return what comes of it."""
    command = re.search(r"((?:ffmpeg|mkvmerge) .*?)(?:\)$| closes)", said_of(path))[1]
    program = command.split()[0]
    if shutil.which(program) is None:
        pytest.skip(f"needs {program}")
    before = set(path.parent.iterdir())
    done = subprocess.run(
        command.replace("ffmpeg", "ffmpeg -v error -nostdin"), shell=True, cwd=path.parent,
        capture_output=True, text=True,
    )  # fmt: skip
    if "Unrecognized option 'fps_mode'" in done.stderr:
        pytest.skip("needs ffmpeg 5.1")
    assert done.returncode == 0, done.stderr + done.stdout
    (made,) = set(path.parent.iterdir()) - before
    assert said_of(made) == ""
    return made


def lumas(path):
    return [planes_of(frame)[0] for frame in frames_of(path)]


def same(some, others):
    return len(some) == len(others) and all(map(np.array_equal, some, others))


@pytest.mark.parametrize(
    ("name", "codec", "options"),
    [
        ("a b.h264", "libx264", B_FRAMES),
        ("a.hevc", "libx265", {"x265-params": "log-level=none:bframes=2"}),
        ("a.m2v", "mpeg2video", {"bf": "2"}),
        ("a.m4v", "mpeg4", {"bf": "2"}),
    ],
)
def test_a_raw_stream_gets_times_in_the_order_in_which_it_is_shown(tmp_path, name, codec, options):
    container = "m4v" if codec == "mpeg4" else None
    path = make_clip(tmp_path / name, codec=codec, size=(64, 64), options=options,
                     container=container, **EACH_FRAME)  # fmt: skip
    made = follow(path)
    clip = look_through(made)
    assert clip.pts == tuple(range(0, 1200, 40)) and same(lumas(made), lumas(path))


def test_what_mkvmerge_does_not_know_is_decoded():
    assert advice.contained(Path("a.vvc"), "vvc") == "ffmpeg -r 25 -i a.vvc -c:v ffv1 a.mkv"


@pytest.mark.parametrize("starts", [(900000, 90000), (900000, 9000000)], ids=["back", "jump"])
def test_a_clock_that_jumps_goes_on_and_all_sound_stays(tmp_path, starts):
    for i, start in enumerate(starts):
        make_clip(tmp_path / f"{i}.ts", pts=[start + 3600 * j for j in range(30)], sound=2,
                  time_base=Fraction(1, 90000), last_duration=3600)  # fmt: skip
    parts = [tmp_path / "0.ts", tmp_path / "1.ts"]
    frames = [frame for part in parts for frame in lumas(part)]
    (tmp_path / "both.ts").write_bytes(b"".join(part.read_bytes() for part in parts))
    made = follow(tmp_path / "both.ts")
    clip = look_through(made)
    assert float(clip.seconds) == pytest.approx(2.4, abs=0.1)
    assert [companion.kind for companion in clip.companions] == ["audio", "audio"]
    assert same(lumas(made), frames)


def test_what_changes_is_cut_before(tmp_path):
    for i, size in enumerate([(48, 32), (64, 32)]):
        make_clip(tmp_path / f"{i}.ts", pts=[180000 * i + 3600 * j for j in range(50)], size=size,
                  time_base=Fraction(1, 90000), last_duration=3600)  # fmt: skip
    first, second = tmp_path / "0.ts", tmp_path / "1.ts"
    (tmp_path / "both.ts").write_bytes(first.read_bytes() + second.read_bytes())
    assert same(lumas(follow(tmp_path / "both.ts")), lumas(first))


def test_two_frames_of_one_time_are_parted_without_loss(tmp_path):
    path = make_clip(tmp_path / "a.mkv", 30, sound=2, cover=True, options={"bf": "0"})
    with av.open(str(path)) as source, av.open(str(tmp_path / "twice.mkv"), "w") as out:
        kept = [stream for stream in source.streams if stream.type in ("video", "audio")][:3]
        copies = {stream.index: out.add_stream_from_template(stream) for stream in kept}
        for packet in source.demux(kept):
            if packet.size:
                if packet.stream_index == 0 and packet.pts == 800:
                    packet.pts = packet.dts = 760
                packet.stream = copies[packet.stream_index]
                out.mux(packet)
    made = follow(tmp_path / "twice.mkv")
    clip, found = look_through(made), lumas(made)
    assert set(np.diff(clip.pts)) == {40} and len(clip.companions) == 2
    assert all(any(np.array_equal(a, b) for b in found) for a in lumas(path))


def test_h264_with_b_frames_in_avi_is_put_in_order(tmp_path):
    """AVI has no times; FFmpeg takes the order in which frames are decoded."""
    raw = make_clip(tmp_path / "a.h264", options=B_FRAMES, **EACH_FRAME)
    with av.open(str(raw)) as source, av.open(str(tmp_path / "b.avi"), "w") as out:
        stream = out.add_stream_from_template(source.streams.video[0])
        for i, packet in enumerate(source.demux(video=0)):
            if packet.size:
                packet.pts = packet.dts = i
                packet.time_base, packet.stream = Fraction(1, 25), stream
                out.mux(packet)
    path = tmp_path / "b.avi"
    assert re.match(r".*b\.avi: its frames are out of order at 0\.\d\d s: repair", said_of(path))
    shutil.rmtree(tmp_path / "out.mkv.parts")
    assert same(lumas(follow(path)), lumas(raw))


@pytest.mark.parametrize("name", ["a.mkv", "a.avi"])
def test_rgb_becomes_ycbcr_in_another_file(tmp_path, name):
    with av.open(str(tmp_path / name), "w") as out:
        stream = out.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = 48, 32, "bgr0"
        red = np.zeros((32, 48, 3), np.uint8)
        red[..., 0] = 255
        frame = av.VideoFrame.from_ndarray(red, "rgb24").reformat(format="bgr0")
        frame.pts = 0
        out.mux([*stream.encode(frame), *stream.encode(None)])
    made = follow(tmp_path / name)
    assert look_through(made).first.pixel_format == "yuv444p"
    with av.open(str(made)) as container:
        assert container.streams.video[0].codec_context.colorspace == 1
    assert abs(int(lumas(made)[0][0, 0]) - 63) <= 1  # 16 + 219 * 0.2126: BT.709
