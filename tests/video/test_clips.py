"""What is seen of a clip before anything is written."""

from __future__ import annotations

import io
from fractions import Fraction

import numpy as np
import pytest
from moving import INTERLACED, STEP, TICK, av, make_clip, make_frame
from PIL import Image

from npsrcnn.errors import UserError
from npsrcnn.video.clips import look_through


def test_times_sizes_and_streams_of_a_clip(tmp_path):
    pts = [0, 700, 900, 2000, 2001, 5000, 5500]
    path = make_clip(
        tmp_path / "a.mkv",
        pts=pts,
        time_base=Fraction(1, 1000),
        sound=2,
        subtitles=True,
        cover=True,
        font=True,
        size=(50, 34),
        last_duration=300,
    )
    clip = look_through(path)
    assert (clip.pts, clip.time_base) == (tuple(pts), Fraction(1, 1000))
    assert clip.first.size == (50, 34) and clip.first.pixel_format == "yuv420p"
    assert (clip.codec, clip.changes, clip.interlaced) == ("h264", None, False)
    kinds = [companion.kind for companion in clip.companions]
    assert kinds == ["audio", "audio", "subtitles", "cover", "attachments"]
    assert clip.companions[1].words == "stream 2 (audio, aac, fra)"


def test_frames_without_and_with_b_frames_are_all_counted(tmp_path):
    for name, options in (("no.mp4", {"bf": "0"}), ("b.mp4", {"bf": "3", "preset": "medium"})):
        clip = look_through(make_clip(tmp_path / name, frames=31, options=options))
        assert clip.pts == tuple(range(0, 31 * STEP, STEP))
        assert (clip.rate, clip.seconds) == (25, 31 * STEP * TICK)


def test_a_transport_stream_has_its_own_clock(tmp_path):
    pts = [900000 + 3600 * i for i in range(10)]
    path = make_clip(tmp_path / "a.ts", pts=pts, time_base=Fraction(1, 90000), last_duration=3600)
    clip = look_through(path)
    assert clip.pts == tuple(pts) and clip.start == 10


def test_old_containers_get_their_times(tmp_path):
    clip = look_through(
        make_clip(
            tmp_path / "a.avi",
            codec="mpeg4",
            time_base=Fraction(1, 25),
            pts=range(9),
            last_duration=1,
            options={"bf": "2"},
        )
    )
    assert len(clip.pts) == 9 and len(set(np.diff(clip.pts))) == 1


def test_interlaced_is_seen(tmp_path):
    assert look_through(make_clip(tmp_path / "a.mp4", options=INTERLACED)).interlaced


def test_a_change_of_size_is_seen_and_when(tmp_path):
    parts = []
    for i, size in enumerate([(48, 32), (64, 32)]):
        pts = [90000 * 2 * i + 3600 * j for j in range(50)]
        parts.append(
            make_clip(
                tmp_path / f"{i}.ts",
                pts=pts,
                time_base=Fraction(1, 90000),
                size=size,
                last_duration=3600,
                options={"g": "25"},
            )
        )
    path = tmp_path / "both.ts"
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    clip = look_through(path)
    assert clip.changes == pytest.approx(2, abs=0.2) and clip.first.size == (48, 32)


def ts_pieces(folder, *starts, frames=12, **how):
    """Pieces of transport streams one after the other, each with a clock of its own."""
    found = []
    for i, start in enumerate(starts):
        pts = [start + 3600 * j for j in range(frames)]
        kinds = {name: values[i] for name, values in how.items()}
        piece = make_clip(folder / f"{i}.ts", pts=pts, time_base=Fraction(1, 90000),
                          last_duration=3600, **kinds)  # fmt: skip
        found.append(piece.read_bytes())
    (folder / "all.ts").write_bytes(b"".join(found))
    return folder / "all.ts"


def test_a_change_of_the_shape_of_pixels_is_seen(tmp_path):
    path = ts_pieces(tmp_path, 0, 180000, frames=50, sample_aspect=[Fraction(1), Fraction(4, 3)])
    assert look_through(path).changes == pytest.approx(2, abs=0.2)
    path = ts_pieces(tmp_path, 0, 180000, frames=50, sample_aspect=[None, Fraction(1)])
    assert look_through(path).changes is None  # one that is not known is taken for 1


@pytest.mark.parametrize("start", [900000, 900000 + 3600 * 6 + 1800])
def test_a_clock_that_goes_back_is_seen(tmp_path, start):
    """As where recordings were put one after the other by their bytes."""
    path = ts_pieces(tmp_path, 900000, start)
    with pytest.raises(UserError, match=r"back at 10\.44 s.*-i all\.ts .* -c copy all_times\.ts"):
        look_through(path)


@pytest.mark.parametrize("open_gop", [0, 1])
def test_a_clock_of_frames_that_are_reordered_does_not_go_back(tmp_path, open_gop):
    options = {"g": "8", "bf": "3", "preset": "medium", "x264-params": f"open-gop={open_gop}"}
    for name in ("a.ts", "a.mkv", "a.mp4"):
        assert len(look_through(make_clip(tmp_path / name, 40, options=options)).pts) == 40


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv"])
def test_a_file_that_was_cut_off_says_how_much_is_missing(tmp_path, name):
    whole = make_clip(tmp_path / name, 100, sound=1, options={"g": "10"})
    assert look_through(whole).cut_off == 0
    moved = tmp_path / f"moved_{name}"
    with (
        av.open(str(whole)) as source,
        av.open(str(moved), "w", options={"movflags": "faststart"}) as out,
    ):
        copies = [out.add_stream_from_template(stream) for stream in source.streams]
        for packet in source.demux():
            if packet.size:
                packet.stream = copies[packet.stream_index]
                out.mux(packet)
    data = moved.read_bytes()
    moved.write_bytes(data[: len(data) // 2])
    clip = look_through(moved)
    assert clip.cut_off == pytest.approx(4 - float(clip.seconds), abs=0.5) and clip.cut_off > 1


def test_a_timecode_is_no_stream_that_is_lost(tmp_path):
    with av.open(str(tmp_path / "a.mov"), "w") as out:
        stream = out.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = 48, 32, "yuv420p"
        stream.metadata["timecode"] = "01:00:00:00"
        frame = make_frame(0, (48, 32), "yuv420p")
        frame.pts = 0
        out.mux([*stream.encode(frame), *stream.encode(None)])
    with av.open(str(tmp_path / "a.mov")) as made:
        assert [stream.type for stream in made.streams] == ["video", "data"]
    assert look_through(tmp_path / "a.mov").companions == ()


def test_hdr10_in_the_words_of_x265(tmp_path):
    words = "master-display=G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,50)"
    path = make_clip(
        tmp_path / "a.mkv",
        codec="libx265",
        size=(64, 64),
        pixel_format="yuv420p10le",
        color=(9, 9, 16),
        options={
            "x265-params": f"log-level=none:hdr10=1:repeat-headers=1:{words}:max-cll=1000,400"
        },
    )
    assert look_through(path).hdr == f"hdr10=1:repeat-headers=1:{words}:max-cll=1000,400"


def test_alpha_beside_vp9_is_seen(tmp_path):
    path = make_clip(
        tmp_path / "a.webm",
        codec="libvpx-vp9",
        pixel_format="yuva420p",
        options={"auto-alt-ref": "0"},
        frames=3,
    )
    assert look_through(path).has_alpha
    plain = make_clip(tmp_path / "b.webm", codec="libvpx-vp9", frames=3)
    assert not look_through(plain).has_alpha


def test_what_lies_beside_the_planes_may_have_no_name(tmp_path):
    """PyAV 18 knows no EXIF, which cameras write into each frame of their MJPEG."""
    exif, picture = Image.Exif(), io.BytesIO()
    exif[0x0110] = "Camera"
    exif[0x0112] = 6  # to be turned by 90 degrees
    Image.new("RGB", (48, 32), "gray").save(picture, "JPEG", exif=exif)
    with av.open(str(tmp_path / "a.avi"), "w") as out:
        stream = out.add_stream("mjpeg", rate=25)
        stream.width, stream.height, stream.pix_fmt = 48, 32, "yuvj420p"
        for i in range(3):
            packet = av.Packet(picture.getvalue())
            packet.pts = packet.dts = i
            packet.time_base, packet.stream = Fraction(1, 25), stream
            packet.is_keyframe = True
            out.mux(packet)
    clip = look_through(tmp_path / "a.avi")
    assert (len(clip.pts), clip.first.full_range, clip.hdr) == (3, True, "")
    assert clip.display_matrix == (0, 1 << 16, 0, -(1 << 16), 0, 0, 0, 0, 1 << 30)


def test_sound_alone_is_no_clip(tmp_path):
    with av.open(str(tmp_path / "a.m4a"), "w", format="mp4") as out:
        voice = out.add_stream("aac", rate=48000)
        frame = av.AudioFrame.from_ndarray(np.zeros((2, 1024), np.float32), "fltp", "stereo")
        frame.sample_rate, frame.pts = 48000, 0
        out.mux(voice.encode(frame))
        out.mux(voice.encode(None))
    with pytest.raises(UserError, match="holds no moving picture"):
        look_through(tmp_path / "a.m4a")


def test_a_raw_stream_has_no_times(tmp_path):
    path = make_clip(tmp_path / "a.h264")
    with pytest.raises(UserError, match=r"raw stream says no times.*mkvmerge -o a\.mkv .* a\.h264"):
        look_through(path)
