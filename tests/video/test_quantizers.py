"""Quantizers out of the headers of H.265, VP9 and AV1."""

from __future__ import annotations

import math

import pytest
from moving import INTERLACED, make_clip

from npsrcnn.video.clips import look_through
from npsrcnn.video.opening import open_clip
from npsrcnn.video.quantizers import OFFSETS, mean_quantizer, quantizer_of_index, read_quantizer

av = pytest.importorskip("av", reason="needs the extra video")

SIZE = 144, 96


@pytest.mark.parametrize("suffix", ["mkv", "mp4"])
@pytest.mark.parametrize("pixel_format", ["yuv420p", "yuv420p10le"])
def test_h265_says_it_in_each_slice(tmp_path, suffix, pixel_format):
    """A fixed QP is that of P frames; x265 takes three less for the key frames."""
    found = []
    for quantizer in (24, 36):
        options = {"x265-params": f"qp={quantizer}:log-level=none", "preset": "ultrafast"}
        path = tmp_path / f"{quantizer}.{suffix}"
        make_clip(path, 3, SIZE, "libx265", pixel_format, options=options)
        found.append(look_through(path).quantizer)
    assert found == [24 - 3 + OFFSETS["hevc"], 36 - 3 + OFFSETS["hevc"]]


@pytest.mark.parametrize(
    ("codec", "name", "options"),
    [
        ("libvpx-vp9", "vp9", lambda q: {"crf": f"{q}", "b": "0", "cpu-used": "8"}),
        ("libsvtav1", "av1", lambda q: {"crf": f"{q}", "preset": "12"}),
    ],
)
def test_vp9_and_av1_say_an_index(tmp_path, codec, name, options):
    if codec not in av.codecs_available:
        pytest.skip(f"this PyAV has no {codec}")
    found = []
    for quality in (20, 40, 60):
        path = tmp_path / f"{quality}.mkv"
        make_clip(path, 3, SIZE, codec, options=options(quality))
        found.append(look_through(path).quantizer - OFFSETS[name])
    assert found[0] + 3 < found[1] < found[2] - 3
    assert 8 < found[0] < found[2] < 45


@pytest.mark.parametrize("options", [{"qp": "30"}, {"crf": "30", "preset": "medium"}])
def test_h264_says_it_in_each_block(tmp_path, options):
    path = make_clip(tmp_path / "a.mp4", 1, SIZE, options=options)
    with open_clip(path) as container:
        stream = container.streams.video[0]
        stream.codec_context.options = {"export_side_data": "venc_params"}
        (frame,) = container.decode(stream)
    told = frame.side_data["VIDEO_ENC_PARAMS"]
    assert mean_quantizer(told, SIZE) == told.qp_map().mean()
    assert look_through(path).quantizer == mean_quantizer(told, SIZE)


def test_h264_may_have_more_blocks_than_its_picture(tmp_path):
    """Interlaced rows of blocks come in pairs: three become four."""
    path = make_clip(tmp_path / "a.mp4", 2, (64, 48), options={**INTERLACED, "qp": "30"})
    assert look_through(path).quantizer == 30 - 3  # a key frame


def test_the_index_is_that_of_a_step():
    """Steps of VP9's table of 8 bits, as the format's specification prints them."""
    for index, step in ((0, 4), (1, 8), (50, 57), (112, 136), (164, 329), (202, 663), (255, 1828)):
        assert quantizer_of_index(index) == pytest.approx(4 + 6 * math.log2(step / 8), abs=0.2)


def test_other_codecs_and_damaged_headers_say_nothing(tmp_path):
    for codec in ("libx264", "ffv1", "libx265"):
        path = make_clip(tmp_path / f"{codec}.mkv", 4, SIZE, codec)
        with open_clip(path) as container:
            stream = container.streams.video[0]
            packet = next(container.demux(stream))
            if codec == "libx265":
                assert read_quantizer(packet, stream) is not None
                packet = av.Packet(bytes(len(bytes(packet))))
            assert read_quantizer(packet, stream) is None


def test_the_log_is_left_as_it_was(tmp_path):
    path = make_clip(tmp_path / "a.mkv", 4, SIZE, "libx265")
    for level in (None, av.logging.ERROR):
        av.logging.set_level(level)
        try:
            look_through(path)
            assert av.logging.get_level() == level
        finally:
            av.logging.set_level(None)
