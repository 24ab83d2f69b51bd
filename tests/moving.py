"""Clips that tests make: small, moving, each frame different, with all that a file may hold."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

av = pytest.importorskip("av", reason="needs the extra video")
from av.stream import Disposition  # noqa: E402

TICK = Fraction(1, 12800)
RATE = 16000  # samples of sound a second
SOUND_OPTIONS = {"aac_coder": "fast"}
STEP = 512  # ticks of a frame, of 25 a second
INTERLACED = {"flags": "+ildct+ilme", "x264-params": "interlaced=1"}
SRT = "1\n00:00:00,100 --> 00:00:00,500\nFirst\n\n2\n00:00:00,600 --> 00:00:01,000\nSecond\n"


def samples(number: int, plane: int, shape: tuple[int, int], peak: int = 255) -> np.ndarray:
    """A plane of a frame: waves that move, no two frames equal, within video range."""
    y, x = np.mgrid[: shape[0], : shape[1]]
    if plane:
        return ((128 + 30 * np.sin((x + 2 * number * plane) / 9 + y / 7)) * peak / 255).round()
    waves = 60 * np.sin((x + 2 * number) / 2.5) + 35 * np.cos((y + number) / 3)
    return ((125 + waves) * peak / 255).round()


def make_frame(number: int, size: tuple[int, int], pixel_format: str) -> av.VideoFrame:
    """A frame of such planes."""
    frame = av.VideoFrame(*size, pixel_format)
    bits = frame.format.components[0].bits
    for i, plane in enumerate(frame.planes):
        dtype = np.uint16 if bits > 8 else np.uint8
        view = np.frombuffer(memoryview(plane), dtype).reshape(plane.height, -1)
        shape = plane.height, plane.width
        view[:, : plane.width] = samples(number, i, shape, 255 << (bits - 8))
    return frame


def make_clip(
    path: Path,
    frames: int = 12,
    size: tuple[int, int] = (48, 32),
    codec: str = "libx264",
    pixel_format: str = "yuv420p",
    *,
    pts: Sequence[int] | None = None,
    time_base: Fraction = TICK,
    options: dict[str, str] | None = None,
    container: str | None = None,
    rotation: int = 0,
    sample_aspect: Fraction | None = None,
    full_range: bool = False,
    color: tuple[int, int, int] | None = None,
    sound: int = 0,
    sound_codec: str = "aac",
    subtitles: bool = False,
    cover: bool = False,
    font: bool = False,
    chapters: bool = False,
    tags: dict[str, str] | None = None,
    last_duration: int = STEP,
    rate: Fraction = Fraction(25),
) -> Path:
    """Write a clip; ``sound`` is the number of audio tracks."""
    quiet = {"preset": "ultrafast"} if codec in ("libx264", "libx265") else {}
    quiet |= {"x265-params": "log-level=none"} if codec == "libx265" else {}
    own = any(key.startswith("com.") for key in tags or {})
    flags = {"movflags": "use_metadata_tags"} if own else {}
    with av.open(str(path), "w", format=container, options=flags) as out:
        video = out.add_stream(codec, rate=rate, options={**quiet, **(options or {})})
        context = video.codec_context
        context.width, context.height, context.pix_fmt = *size, pixel_format
        context.time_base = video.time_base = time_base
        context.flags |= av.codec.context.Flags.frame_duration
        context.color_range = 2 if full_range else 1
        if color:
            context.colorspace, context.color_primaries, context.color_trc = color
        if sample_aspect:
            context.sample_aspect_ratio = sample_aspect
        if rotation:
            video.set_display_rotation(rotation)
        voices = [
            out.add_stream(sound_codec, rate=RATE, options=SOUND_OPTIONS) for _ in range(sound)
        ]
        for language, voice in zip(("eng", "fra"), voices, strict=False):
            voice.metadata["language"] = language
        extra = []
        if subtitles:
            extra.append(_add_subtitles(out, path))
        if cover:
            extra.append(_add_cover(out))
        if font:
            out.add_attachment("font.ttf", "application/x-truetype-font", b"no real font" * 9)
        if chapters:
            out.set_chapters(
                [
                    {
                        "id": i,
                        "start": 200 * i,
                        "end": 200 * (i + 1),
                        "time_base": Fraction(1, 1000),
                        "metadata": {"title": f"Part {i}"},
                    }
                    for i in range(2)
                ]
            )
        out.metadata.update(tags or {})
        for stream, packets in extra:
            for packet in packets:
                packet.stream = stream
                out.mux(packet)
        times = list(pts) if pts else [i * STEP for i in range(frames)]
        for i, time in enumerate(times):
            frame = make_frame(i, size, pixel_format)
            frame.pts, frame.time_base = time, time_base
            frame.duration = times[i + 1] - time if i + 1 < len(times) else last_duration
            out.mux(video.encode(frame))
        out.mux(video.encode(None))
        seconds = float((times[-1] + last_duration) * time_base)
        for number, voice in enumerate(voices):
            _add_sound(out, voice, seconds, 300 + 200 * number, float(times[0] * time_base))
    return path


def _add_sound(out, voice, seconds: float, hertz: float, start: float) -> None:
    size = 1024
    for i in range(int(RATE * (seconds - start)) // size):
        t = (np.arange(size) + i * size) / RATE
        wave = (0.2 * np.sin(2 * np.pi * hertz * t)).astype(np.float32)
        frame = av.AudioFrame.from_ndarray(np.stack([wave] * 2), "fltp", "stereo")
        frame.sample_rate, frame.time_base = RATE, Fraction(1, RATE)
        frame.pts = round(start * RATE) + i * size
        out.mux(voice.encode(frame))
    out.mux(voice.encode(None))


def _add_subtitles(out, path: Path):
    srt = path.with_suffix(".srt")
    srt.write_text(SRT)
    with av.open(str(srt)) as texts:
        source = texts.streams.subtitles[0]
        stream = out.add_stream_from_template(source, opaque=True)
        stream.metadata["language"] = "eng"
        packets = [packet for packet in texts.demux(source) if packet.size]
    return stream, packets


def _add_cover(out):
    """A still picture, as of an album, which is a stream of video and moves not."""
    encoder = av.CodecContext.create("mjpeg", "w")
    encoder.width, encoder.height, encoder.pix_fmt = 16, 16, "yuvj420p"
    encoder.time_base = Fraction(1, 25)
    frame = make_frame(3, (16, 16), "yuvj420p")
    frame.pts = 0
    packets = [*encoder.encode(frame), *encoder.encode(None)]
    if out.format.name == "matroska":
        out.add_attachment("cover.jpg", "image/jpeg", bytes(packets[0]))
        return None, []
    stream = out.add_stream("mjpeg", rate=25)
    stream.codec_context.width = stream.codec_context.height = 16
    stream.codec_context.pix_fmt = "yuvj420p"
    stream.disposition = Disposition.attached_pic
    return stream, packets


def frames_of(path: Path) -> list[av.VideoFrame]:
    """All frames of the first picture that moves."""
    with av.open(str(path)) as container:
        return list(container.decode(container.streams.video[0]))


def planes_of(frame: av.VideoFrame) -> list[np.ndarray]:
    """Copies of the planes of a frame, without padding."""
    dtype = np.uint16 if frame.format.components[0].bits > 8 else np.uint8
    return [
        np.frombuffer(memoryview(plane), dtype).reshape(plane.height, -1)[:, : plane.width].copy()
        for plane in frame.planes
    ]


def times_of(path: Path) -> list[Fraction]:
    """The times of all frames, in seconds."""
    return [frame.pts * frame.time_base for frame in frames_of(path)]


def packets_of(path: Path, index: int) -> list[tuple[Fraction, bytes]]:
    """Time and content of the packets of a stream."""
    with av.open(str(path)) as container:
        stream = container.streams[index]
        return [
            (packet.pts * packet.time_base, bytes(packet))
            for packet in container.demux(stream)
            if packet.size and packet.pts is not None
        ]
