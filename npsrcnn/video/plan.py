"""Decide everything about a clip before its first frame is enlarged.

What cannot be done is said at once, in one line that names the stream and a way out: each stream
is tried in the target's container, and the encoder is opened once, on nothing.
"""

from __future__ import annotations

import bisect
import hashlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
from av.stream import Stream
from av.video.format import VideoFormat

from npsrcnn.errors import UsageError, UserError
from npsrcnn.model.network import SRCNN
from npsrcnn.pixels.resize import Resizer
from npsrcnn.runtime.files import beside, quoted
from npsrcnn.version import __version__
from npsrcnn.video import advice
from npsrcnn.video.clips import OWN_CLOCK, Clip
from npsrcnn.video.encoders import (
    CODECS,
    Encoding,
    add_video,
    codec_named,
    color_of,
    default_codec,
    options_of,
    pixel_format_for,
)
from npsrcnn.video.enlarging import SIDE
from npsrcnn.video.kinds import container_of
from npsrcnn.video.notes import notes_on
from npsrcnn.video.opening import open_clip, video_stream
from npsrcnn.video.planes import bits_of, has_half_planes, planar
from npsrcnn.words import counted

SEGMENT_FRAMES = 240
DROPPABLE = ("audio", "subtitles", "attachments", "cover", "video", "alpha", "dolby-vision")
"""What ``--drop`` takes: kinds of streams, and what is lost of the picture itself."""
TS_CODECS = {"aac", "aac_latm", "ac3", "eac3", "mp2", "mp3", "mp3float", "truehd", "dca", "opus"}
TS_CODECS |= {"dvbsub", "libzvbi_teletextdec", "h264", "hevc", "mpeg1video", "mpeg2video"}
"""FFmpeg's names of the decoders of what MPEG-TS has stream types for."""
X265_LEAST_SIDE = 64  # x265 4.1 of 10 bits ends the process at 48 x 32
EVEN_ONLY = {"h264", "hevc", "av1", "prores"}  # codecs that have no odd sizes of halved planes


@dataclass(frozen=True)
class Wishes:
    """What the user asks for beyond a scale and a model.

    Attributes
    ----------
    codec, crf, preset
        See :mod:`npsrcnn.video.encoders`; None: the default.
    drop : set of str
        Of :data:`DROPPABLE`.
    deinterlace : bool
    frames : (first, stop) or None
        In the order in which they are shown; ``stop`` may be None.
    preview : Fraction or None
        Seconds from the middle of the clip.
    compare : str or None
        See :class:`npsrcnn.video.enlarging.FrameEnlarger`.
    segment_frames : int
    """

    codec: str | None = None
    crf: int | None = None
    preset: str | None = None
    drop: frozenset[str] = frozenset()
    deinterlace: bool = False
    frames: tuple[int, int | None] | None = None
    preview: Fraction | None = None
    compare: str | None = None
    segment_frames: int = SEGMENT_FRAMES


@dataclass(frozen=True)
class Plan:
    """All that is decided about a clip; goes to other processes as it is.

    Attributes
    ----------
    clip : Clip
    target : Path
    nets : sequence of SRCNN
    scale : float
    encoding : Encoding
    container : str
        FFmpeg's name of the target's.
    copied : tuple of int
        Indices of the streams that go into the target as they are.
    pts : tuple of int
        Times of the frames to enlarge.
    end : int or None
        The time of the first frame after them.
    offset : Fraction
        Seconds taken off all times.
    deinterlace : bool
    compare : str or None
    segment_frames : int
    notes : tuple of str
        What the user should know, a line each.
    """

    clip: Clip
    target: Path
    nets: Sequence[SRCNN]
    scale: float
    encoding: Encoding
    container: str
    copied: tuple[int, ...]
    pts: tuple[int, ...]
    end: int | None
    offset: Fraction
    deinterlace: bool
    compare: str | None
    segment_frames: int
    notes: tuple[str, ...]

    @property
    def parts(self) -> Path:
        """The folder of the segments, beside the target."""
        return beside(self.target, ".parts")

    @property
    def segments(self) -> int:
        """How many segments there are."""
        return -(-len(self.pts) // self.segment_frames)

    @property
    def excerpt(self) -> bool:
        """Whether a part of the clip is enlarged, and not all."""
        return len(self.pts) < len(self.clip.pts)

    def span(self, numbers: Sequence[int]) -> tuple[int, int | None]:
        """Return the times from which on, and before which, frames of neighbouring segments lie."""
        stop = (numbers[-1] + 1) * self.segment_frames
        return (
            self.pts[numbers[0] * self.segment_frames],
            self.pts[stop] if stop < len(self.pts) else self.end,
        )

    def segment_of(self, pts: int) -> int:
        """Return the number of the segment in which a frame of that time lies."""
        return max(0, bisect.bisect_right(self.pts, pts) - 1) // self.segment_frames

    def job(self) -> dict[str, object]:
        """Return what must be the same for a run to go on with another's segments."""
        state = self.clip.path.stat()
        weights = hashlib.sha256()
        for array in (array for net in self.nets for layer in net.layers for array in layer):
            weights.update(array.tobytes())
        return {
            "source": str(self.clip.path.resolve()),
            "bytes": state.st_size,
            "changed": state.st_mtime_ns,
            "frames": [self.pts[0], self.end, len(self.pts)],
            "scale": self.scale,
            "weights": weights.hexdigest(),
            "codec": self.encoding.name,
            "options": self.encoding.options,
            "size": list(self.encoding.size),
            "pixel_format": self.encoding.pixel_format,
            "deinterlace": self.deinterlace,
            "compare": self.compare,
            "segment_frames": self.segment_frames,
            "versions": [__version__, av.__version__],
        }


def make_plan(
    clip: Clip, target: Path, nets: Sequence[SRCNN], scale: float, wishes: Wishes
) -> Plan:
    """Decide, or say what is in the way.

    Raises
    ------
    UserError
        Something that cannot be done, or not without a word from the user.
    UsageError
        Options that do not fit.
    """
    _check_picture(clip, wishes)
    _check_nets(nets)
    container = container_of(target)
    pts, end = _chosen_frames(clip, wishes)
    encoding = _encoding(clip, target, container, nets, scale, wishes)
    elsewhere = "" if container == "matroska" else f"-o {_matroska(clip, target, scale)}, or "
    copied, notes = _copied_streams(clip, target, container, encoding, wishes.drop, elsewhere)
    offset = Fraction(0)
    if clip.container in OWN_CLOCK and container != "mpegts":
        offset = clip.start
    if len(pts) < len(clip.pts):
        offset = pts[0] * clip.time_base
    notes += notes_on(clip, encoding)
    return Plan(
        clip=clip,
        target=target,
        nets=nets,
        scale=scale,
        encoding=encoding,
        container=container,
        copied=copied,
        pts=pts,
        end=end,
        offset=offset,
        deinterlace=wishes.deinterlace and clip.interlaced,
        compare=wishes.compare,
        segment_frames=wishes.segment_frames,
        notes=tuple(notes),
    )


def _check_picture(clip: Clip, wishes: Wishes) -> None:
    """Raise UserError for a picture that would not be enlarged as it should."""
    path, first = clip.path, clip.first
    stream = f"{path}: stream {clip.index}"
    if clip.changes is not None:
        raise UserError(
            f"{stream} (video) changes its size, shape of pixels, format or range at "
            f"{clip.changes:.2f} s: cut it there ({advice.cut_off(path, clip.changes)})"
        )
    if planar(first.pixel_format) is None:
        kind = VideoFormat(first.pixel_format)
        alpha = "a" if any(component.is_alpha for component in kind.components) else ""
        bits = "10le" if bits_of(kind.name) > 8 else ""
        raise UserError(
            f"{stream} (video) is {kind.name}, and taken are Y'CbCr and grey: convert it "
            f"({advice.as_ycbcr(path, f'yuv{alpha}444p{bits}')})"
        )
    if clip.interlaced and not wishes.deinterlace:
        raise UserError(f"{stream} (video) is interlaced: give --deinterlace")
    if clip.has_alpha and "alpha" not in wishes.drop:
        raise UserError(
            f"{stream} (video) has an alpha channel beside {clip.codec}, which would be lost: "
            "give --drop alpha to go on without it"
        )
    if clip.has_dolby_vision and "dolby-vision" not in wishes.drop:
        raise UserError(
            f"{stream} (video) is Dolby Vision, whose data per frame would be lost: give "
            "--drop dolby-vision where its base layer is HDR10, SDR or HLG (profile 8, not 5)"
        )


def _check_nets(nets: Sequence[SRCNN]) -> None:
    for net in nets:
        if net.channels != 1:
            raise UserError(
                f"the model restores {net.color.upper()}, and of clips Y is restored: "
                "give a model of one channel"
            )


def _chosen_frames(clip: Clip, wishes: Wishes) -> tuple[tuple[int, ...], int | None]:
    """Return the times of the frames to enlarge, and of the first one after them."""
    total = len(clip.pts)
    first, stop = wishes.frames or (0, None)
    if wishes.preview is not None:
        ticks = wishes.preview / clip.time_base
        middle = Fraction(clip.pts[0] + clip.pts[-1], 2)
        first = bisect.bisect_left(clip.pts, max(clip.pts[0], middle - ticks / 2))
        stop = bisect.bisect_left(clip.pts, clip.pts[first] + ticks)
        stop = max(stop, first + 1)
    stop = total if stop is None else min(stop, total)
    if first >= stop:
        asked = ":".join("" if end is None else str(end) for end in wishes.frames or ())
        raise UsageError(
            f"--frames {asked}: {clip.path} has {counted(total, 'frame')}, 0 to {total - 1}, and B "
            "must be above A"
        )
    return clip.pts[first:stop], clip.pts[stop] if stop < total else None


def _encoding(
    clip: Clip,
    target: Path,
    container: str,
    nets: Sequence[SRCNN],
    scale: float,
    wishes: Wishes,
) -> Encoding:
    """Choose the encoder, and open it once.

    Raises
    ------
    UserError
        It does not take such frames, or does not go into the container.
    """
    default = default_codec(clip, container)
    name = codec_named(wishes.codec) if wishes.codec else default
    width, height = clip.first.size
    rows, columns = Resizer((height, width), scale).shape
    columns *= 2 if wishes.compare == SIDE else 1
    pixel_format = pixel_format_for(name, clip.first.pixel_format)
    lossless = _matroska(clip, target, scale)
    if pixel_format is None:
        raise UserError(
            f"{clip.path}: {CODECS[name].encoder} takes no {clip.first.pixel_format}: "
            f"give --codec ffv1 -o {lossless}, which is lossless"
        )
    halves = has_half_planes(pixel_format)
    if name in EVEN_ONLY and (columns % 2 * halves[0] or rows % 2 * halves[1]):
        raise UserError(
            f"{clip.path}: {columns} x {rows} is odd, which {name} does not have in "
            f"{pixel_format}: give another --scale, or --codec ffv1 or vp9 with -o {lossless}"
        )
    if name == "hevc" and min(columns, rows) < X265_LEAST_SIDE:
        raise UserError(
            f"{clip.path}: {columns} x {rows} is too small for x265: give --codec h264 or ffv1"
        )
    with open_clip(clip.path) as source:
        stream = video_stream(source, clip.index)
        encoding = Encoding(
            name=name,
            size=(columns, rows),
            pixel_format=pixel_format,
            options=options_of(name, clip, wishes.crf, wishes.preset),
            time_base=clip.time_base,
            rate=clip.rate,
            sample_aspect=Fraction(stream.sample_aspect_ratio or 0),
            color=color_of(clip, stream),
        )
    try:
        with av.open(io.BytesIO(), "w", format=container) as trial:
            add_video(trial, encoding)
            trial.start_encoding()
            if container == "mpegts" and name not in TS_CODECS:  # it would take anything
                raise ValueError(name)
    except (av.error.FFmpegError, ValueError) as error:
        other = "ffv1" if name == default else default
        raise UserError(
            f"{clip.path}: {encoding.encoder}, {columns} x {rows} {pixel_format}"
            f"{_told(encoding.options)}, into {target.suffix}: refused; "
            f"give -o {lossless}, --codec {other}, or other options"
        ) from error
    return encoding


def _matroska(clip: Clip, target: Path, scale: float) -> str:
    """Return a Matroska file in place of a target, as it is typed; it is not the source."""
    other = target.with_suffix(".mkv")
    if other.resolve() == clip.path.resolve():
        other = other.with_stem(f"{other.stem}_x{scale:g}")
    return quoted(other)


def _told(options: dict[str, str]) -> str:
    told = (f", {key} {value}" for key, value in options.items() if key in ("crf", "preset"))
    return "".join(told)


def _copied_streams(
    clip: Clip,
    target: Path,
    container: str,
    encoding: Encoding,
    drop: frozenset[str],
    elsewhere: str,
) -> tuple[tuple[int, ...], list[str]]:
    """Return the streams that the target holds, and notes on those that it does not need to.

    ``elsewhere`` says what to give, if anything, for a target that holds more.

    Raises
    ------
    UserError
        It cannot hold one; names it and a way out.
    """
    copied, notes = [], []
    with open_clip(clip.path) as source:
        for companion in clip.companions:
            if companion.kind in drop:
                continue
            if companion.kind in ("data", "unknown"):
                notes.append(f"{companion.words} is not copied: no container keeps it as it is")
                continue
            attached = companion.kind == "cover" and container == "matroska"
            if not attached and not _fits(source.streams[companion.index], container, encoding):
                raise UserError(
                    f"{clip.path}: {companion.words} does not go into {target.suffix}: "
                    f"give {elsewhere}--drop {companion.kind}"
                )
            copied.append(companion.index)
    return tuple(copied), notes


def _fits(stream: Stream, container: str, encoding: Encoding) -> bool:
    """Return whether a container takes a stream, beside that of the picture."""
    try:
        with av.open(io.BytesIO(), "w", format=container) as trial:
            add_video(trial, encoding)
            copy = trial.add_stream_from_template(stream, opaque=True)
            copy.disposition = stream.disposition
            copy.metadata.update(stream.metadata)
            trial.start_encoding()
    except (av.error.FFmpegError, ValueError):
        return False
    if container == "mpegts":  # takes anything, as private data that nothing plays
        return bool(stream.codec_context) and stream.codec_context.name in TS_CODECS
    return True
