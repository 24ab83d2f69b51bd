"""Encoders: which one, how good and how slow, and how it is opened."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from fractions import Fraction

import av
from av.codec.context import Flags
from av.container import OutputContainer
from av.video.stream import VideoStream

from npsrcnn.errors import UsageError
from npsrcnn.video.clips import FULL_RANGE, Clip
from npsrcnn.video.planes import bits_of, planar


@dataclass(frozen=True)
class Codec:
    """An encoder, and what it is told where the user says nothing else.

    Attributes
    ----------
    encoder : str
        FFmpeg's name.
    crf : int or None
        Lower is better and larger; None: it has no such setting.
    preset : str or None
        How slow; ``preset_option`` is its name for the encoder.
    options : dict
        All else.
    """

    encoder: str
    crf: int | None = None
    preset: str | None = None
    preset_option: str = "preset"
    options: dict[str, str] = field(default_factory=dict)


CODECS = {
    "h264": Codec("libx264", 17, "medium"),
    "hevc": Codec("libx265", 17, "medium"),
    "vp9": Codec("libvpx-vp9", 22, "4", "cpu-used", {"b": "0", "row-mt": "1"}),
    "av1": Codec("libsvtav1", 22, "8"),
    "prores": Codec("prores_ks"),
    "ffv1": Codec("ffv1", options={"level": "3", "g": "1", "slicecrc": "1"}),
}
"""What ``--codec`` takes. CRF 17 of H.264 cannot be told from what was encoded by most eyes."""
ALIASES = {"x264": "h264", "x265": "hevc", "h265": "hevc", "svtav1": "av1", "prores_ks": "prores"}
PRORES_PROFILES = ["Proxy", "LT", "Standard", "HQ", "4444", "XQ"]
STAY_THEMSELVES = {"prores", "ffv1"}
WIDER = {"yuv410p": "yuv420p", "yuv411p": "yuv422p", "yuv440p": "yuv444p"}
WIDER |= {f"yuvj{name[3:]}": f"yuvj{wider[3:]}" for name, wider in WIDER.items()}
"""Formats that few encoders take, as that of DV, and the next that hold as much of the colour."""


@dataclass(frozen=True)
class Encoding:
    """An encoder with all that it is told, equal for all segments of a clip.

    Attributes
    ----------
    name : str
        One of :data:`CODECS`.
    size : (width, height)
    pixel_format : str
    options : dict
    time_base, rate, sample_aspect : Fraction
        ``sample_aspect`` is 0 where it is not known.
    color : tuple of int
        Range, matrix, primaries and transfer, in FFmpeg's numbers.
    """

    name: str
    size: tuple[int, int]
    pixel_format: str
    options: dict[str, str]
    time_base: Fraction
    rate: Fraction
    sample_aspect: Fraction
    color: tuple[int, int, int, int]

    @property
    def encoder(self) -> str:
        """FFmpeg's name of the encoder."""
        return CODECS[self.name].encoder


def codec_named(name: str) -> str:
    """Return the name in :data:`CODECS` of a codec or an encoder.

    Raises
    ------
    UsageError
        There is none.
    """
    short = name.lower().removeprefix("lib").removeprefix("vpx-")
    short = ALIASES.get(short, short)
    if short not in CODECS:
        raise UsageError(f"no codec {name!r}; there are {', '.join(CODECS)}")
    return short


def default_codec(clip: Clip, container: str) -> str:
    """Return the codec for a clip where the user names none."""
    if container == "webm":
        return "vp9"
    if clip.codec in STAY_THEMSELVES and container in ("mov", "matroska"):
        return clip.codec
    return "hevc" if bits_of(clip.first.pixel_format) > 8 else "h264"


def options_of(name: str, clip: Clip, crf: int | None, preset: str | None) -> dict[str, str]:
    """Return the options of an encoder for a clip.

    Raises
    ------
    UsageError
        A CRF or a preset for an encoder that has none.
    """
    codec = CODECS[name]
    options = dict(codec.options)
    for what, value, default in (("crf", crf, codec.crf), ("preset", preset, codec.preset)):
        if value is not None and default is None:
            others = [other for other, kind in CODECS.items() if getattr(kind, what) is not None]
            raise UsageError(f"--{what}: {name} has none; {', '.join(others)} have")
    if codec.crf is not None:
        options["crf"] = str(codec.crf if crf is None else crf)
    if codec.preset is not None:
        options[codec.preset_option] = preset or codec.preset
    if name == "hevc":
        options["x265-params"] = ":".join(filter(None, ["log-level=none", clip.hdr]))
    if name == "prores" and clip.profile in PRORES_PROFILES:
        options["profile"] = str(PRORES_PROFILES.index(clip.profile))
    return options


def pixel_format_for(name: str, source: str) -> str | None:
    """Return the format in which an encoder takes the frames of a source; None if it does not.

    ProRes has 10 bits, whatever is decoded from it; full range may be said by a tag alone.
    """
    same = planar(source)
    taken = {kind.name for kind in av.Codec(CODECS[name].encoder, "w").video_formats or ()}
    candidates = [same, (same or "").replace("yuvj", "yuv")]
    candidates += [WIDER.get(kind or "") for kind in candidates]
    if name == "prores" and same is not None:
        alpha = "a" if same.startswith("yuva") else ""
        candidates.append(f"yuv{alpha}444p10le" if alpha or "444" in same else "yuv422p10le")
    return next((kind for kind in candidates if kind in taken), None)


def color_of(clip: Clip, stream: VideoStream) -> tuple[int, int, int, int]:
    """Return range, matrix, primaries and transfer of a clip's stream."""
    context = stream.codec_context
    color_range = FULL_RANGE if clip.first.full_range else context.color_range
    return color_range, context.colorspace, context.color_primaries, context.color_trc


def add_video(container: OutputContainer, encoding: Encoding) -> VideoStream:
    """Add a stream for encoded frames to a container that is not begun."""
    if encoding.name == "av1":
        os.environ.setdefault("SVT_LOG", "1")  # errors alone; it knows no other place for that
    stream = container.add_stream(
        encoding.encoder, rate=encoding.rate, options=dict(encoding.options)
    )
    assert isinstance(stream, VideoStream)
    context = stream.codec_context
    context.width, context.height = encoding.size
    context.pix_fmt = encoding.pixel_format
    context.time_base = stream.time_base = encoding.time_base
    context.flags |= Flags.frame_duration
    (
        context.color_range,
        context.colorspace,
        context.color_primaries,
        context.color_trc,
    ) = encoding.color
    if encoding.sample_aspect:
        context.sample_aspect_ratio = encoding.sample_aspect
    return stream
