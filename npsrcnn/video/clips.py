"""Look through a clip before anything is written: what it holds, and the time of each frame.

All packets of the picture are read, which costs what reading the file costs, and of each second
the first key frame is decoded: what changes halfway is known before the first frame is enlarged.
"""

from __future__ import annotations

import itertools
import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import cast

import av
import numpy as np
from av.container import InputContainer
from av.sidedata.encparams import VideoEncParams
from av.sidedata.sidedata import SideDataContainer, Type
from av.stream import Discard, Disposition, Stream
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from npsrcnn.errors import UserError, describe
from npsrcnn.video import advice
from npsrcnn.video.holes import MATROSKA, Hole, find_holes
from npsrcnn.video.opening import open_clip
from npsrcnn.video.quantizers import mean_quantizer, read_quantizer
from npsrcnn.words import counted

OWN_CLOCK = {"mpegts", "mpeg", "flv", "asf"}
"""Containers whose first frame may have any time, of no meaning to who watches."""
DOLBY_VISION_DATA = {Type.DOVI_RPU_BUFFER, Type.DOVI_METADATA}
DOLBY_VISION_TAGS = {"dvh1", "dvhe", "dva1", "dvav"}
ALPHA_BESIDE = {"vp8", "vp9"}
"""Codecs whose alpha lies beside the picture, where only libvpx's decoders look."""
MOST_QUANTIZERS = 20  # key frames whose headers are read
LOOK_SECONDS = 1  # between two key frames that are decoded
LEAST_CUT_OFF = 1  # second: headers are not more exact
ONE_OF_MATRIX, LAST_OF_MATRIX = 1 << 16, 1 << 30  # 1, in a display matrix and in its corner
FULL_RANGE = 2  # FFmpeg's AVCOL_RANGE_JPEG
MASTERING_RATIONALS = 10  # of AVMasteringDisplayMetadata: R, G, B, white (x, y), least, most


@dataclass(frozen=True)
class Companion:
    """Another stream of a clip's file.

    Attributes
    ----------
    index : int
    kind : str
        "audio", "subtitles", "attachments", "cover", "video" or "data".
    words : str
        What it is, for messages: "stream 2 (subtitles, subrip, eng)".
    """

    index: int
    kind: str
    words: str


@dataclass(frozen=True)
class Look:
    """What must not change within a clip, of one frame."""

    size: tuple[int, int]  # width, height
    pixel_format: str
    interlaced: bool
    full_range: bool
    sample_aspect: Fraction  # 1 where it is not known


@dataclass(frozen=True)
class Clip:
    """A clip, and all that is decided by.

    Attributes
    ----------
    path : Path
    container : str
        FFmpeg's name, as "mov,mp4,m4a,3gp,3g2,mj2".
    index : int
        Of the stream of the picture.
    codec, profile : str
        As "prores" and "HQ".
    first : Look
    changes : float or None
        The second at which size, format, range or sample aspect is another than that of ``first``.
    interlaced : bool
        In any place that was looked at.
    pts : tuple of int
        Time of each frame, in ``time_base``, in the order in which they are shown.
    time_base, rate, start : Fraction
        In seconds; in frames a second; seconds at which the file begins.
    seconds : Fraction
        How long the picture lasts.
    cut_off : float
        Seconds that the file's header says there were after its end; 0 if it is less than one.
    holes : tuple of Hole
        Where a damaged Matroska file lacks frames, see :mod:`npsrcnn.video.holes`.
    data_bytes : int
        Of the packets of the picture.
    display_matrix : tuple of int
        How the picture is turned and mirrored when it is shown, as FFmpeg has it; empty: not.
    hdr : str
        Mastering display and light levels in the words of x265, or nothing.
    quantizer : float or None
        Mean QP of key frames of H.264 of 8 bits, 0 to 51, or what comes near it of H.265, VP9 and
        AV1, see :mod:`npsrcnn.video.quantizers`; None of other codecs.
    has_alpha, has_dolby_vision, has_dynamic_hdr : bool
        Alpha is VP8's and VP9's, which lies beside the picture.
    companions : tuple of Companion
    """

    path: Path
    container: str
    index: int
    codec: str
    profile: str
    first: Look
    changes: float | None
    interlaced: bool
    pts: tuple[int, ...]
    time_base: Fraction
    rate: Fraction
    start: Fraction
    seconds: Fraction
    cut_off: float
    holes: tuple[Hole, ...]
    data_bytes: int
    display_matrix: tuple[int, ...]
    hdr: str
    quantizer: float | None
    has_alpha: bool
    has_dolby_vision: bool
    has_dynamic_hdr: bool
    companions: tuple[Companion, ...]


def look_through(path: Path) -> Clip:
    """Read a clip through, and return what it holds.

    Raises
    ------
    UserError, OSError
        No clip, no picture in it, nothing that can be decoded, or no times.
    """
    with open_clip(path) as container:
        stream = _picture(container, path)
        if container.format.name in advice.RAW:
            raise UserError(
                f"{path}: a raw stream says no times: give it a container, and its rate "
                f"({advice.contained(path, container.format.name)})"
            )
        try:
            found = _Findings(stream)
            for packet in container.demux():
                found.end = max(found.end, _end(packet))
                if packet.stream.index == stream.index:  # of the last ones stream_index is 0
                    found.take(cast("av.Packet[VideoStream]", packet))
        except av.error.FFmpegError as error:
            raise UserError(f"{path}: cannot be read ({describe(error)})") from error
        if found.timeless:
            raise UserError(
                f"{path}: no time in {counted(found.timeless, 'packet')} of the picture: repair it "
                f"first ({advice.with_even_times(path, container.format.name)})"
            )
        if found.back_at is not None:
            raise UserError(
                f"{path}: its clock goes back at {found.back_at:.2f} s: repair it first "
                f"({advice.copied(path, container.format.name)})"
            )
        if not found.looks:
            raise UserError(f"{path}: no frame of stream {stream.index} can be decoded")
        return _clip(path, container, stream, found)


class _Findings:
    """What packets and key frames have shown so far."""

    def __init__(self, stream: VideoStream) -> None:
        self.stream = stream
        self.pts: list[int] = []
        self.positions: list[int] = []
        self.timeless = self.data_bytes = self.last_duration = 0
        self.looks: list[tuple[float, Look]] = []
        self.first: VideoFrame | None = None
        self.has_alpha = stream.metadata.get("alpha_mode") == "1"
        self.has_dolby_vision = stream.codec_tag.lower() in DOLBY_VISION_TAGS
        self.has_dynamic_hdr = False
        self.quantizers: list[float] = []
        self.end = 0.0
        self.back_at: float | None = None
        if stream.codec_context.codec.canonical_name == "h264":
            stream.codec_context.options = {"export_side_data": "venc_params"}
        self._latest = self._latest_dts = self._next_look = float("-inf")

    def take(self, packet: av.Packet[VideoStream]) -> None:
        """Note a packet; decode it if it is time to look."""
        if packet.size == 0:  # the last: what the decoder still holds
            self._look(None)
            return
        if packet.is_discard:  # cut off by the file's own edit list: it is not shown
            return
        if packet.pts is None:
            self.timeless += 1
            return
        before = self._latest
        self.pts.append(packet.pts)
        self.positions.append(packet.pos or 0)
        self.data_bytes += packet.size
        if packet.pts >= self._latest:
            self._latest = packet.pts
            self.last_duration = packet.duration or self.last_duration
        if self.stream.codec_context.codec.canonical_name in ALPHA_BESIDE:
            self.has_alpha |= packet.has_sidedata("matroska_block_additional")
        time = float(packet.pts * packet.time_base)
        if packet.dts is not None:
            # A frame is shown after all that were decoded before a key frame that is before it
            if packet.is_keyframe and packet.pts < before and packet.dts < self._latest_dts:
                self.back_at = self.back_at or before * float(packet.time_base)
            self._latest_dts = packet.dts
        if packet.is_keyframe and (time >= self._next_look or not self.looks):
            self._next_look = time + LOOK_SECONDS
            if len(self.quantizers) < MOST_QUANTIZERS:
                told = read_quantizer(packet, self.stream)
                self.quantizers += [] if told is None else [told]
            self._look(packet)

    def _look(self, packet: av.Packet[VideoStream] | None) -> None:
        try:
            frames = self.stream.decode(packet)
        except av.error.InvalidDataError:  # the run counts what cannot be decoded
            return
        for frame in frames:
            if self.first is None:
                self.first = frame
            kinds = _side_data(frame).keys()
            if Type.VIDEO_ENC_PARAMS in kinds and frame.format.components[0].bits == 8:
                told = cast(SideDataContainer, frame.side_data)[Type.VIDEO_ENC_PARAMS]
                size = frame.width, frame.height
                self.quantizers.append(mean_quantizer(cast(VideoEncParams, told), size))
            self.has_dolby_vision |= not kinds.isdisjoint(DOLBY_VISION_DATA)
            self.has_dynamic_hdr |= Type.DYNAMIC_HDR_PLUS in kinds
            aspect = Fraction(self.stream.codec_context.sample_aspect_ratio or 1)
            self.looks.append((frame.time, _look_at(frame, aspect)))


def _end(packet: av.Packet[Stream]) -> float:
    """Return the second at which what a packet holds is over."""
    if packet.pts is None or packet.size == 0:
        return 0.0
    return float((packet.pts + (packet.duration or 0)) * packet.time_base)


def _look_at(frame: VideoFrame, sample_aspect: Fraction) -> Look:
    full = frame.color_range == FULL_RANGE or frame.format.name.startswith("yuvj")
    size = frame.width, frame.height
    return Look(size, frame.format.name, frame.interlaced_frame, full, sample_aspect)


def _clip(path: Path, container: InputContainer, stream: VideoStream, found: _Findings) -> Clip:
    assert found.first is not None and stream.time_base is not None
    first = found.looks[0][1]
    changes = (
        time for time, look in found.looks if replace(look, interlaced=first.interlaced) != first
    )
    start = Fraction(container.start_time or 0, av.time_base)
    cut_off = (container.duration or 0) / av.time_base + min(0.0, float(start)) - found.end
    pts = tuple(sorted(found.pts))
    if len(set(pts)) < len(pts):
        twice = next(a for a, b in itertools.pairwise(pts) if a == b)
        raise UserError(
            f"{path}: two frames have the time {float(twice * stream.time_base):.3f} s: repair it "
            f"first ({advice.with_even_times(path, container.format.name)})"
        )
    rate = Fraction(stream.guessed_rate or stream.average_rate or 25)
    holes: tuple[Hole, ...] = ()
    if container.format.name == MATROSKA:
        packets = list(zip(found.positions, found.pts, strict=True))
        holes = find_holes(path, packets, stream.time_base, rate)
    return Clip(
        path=path,
        container=container.format.name,
        index=stream.index,
        codec=stream.codec_context.codec.canonical_name,
        profile=stream.profile or "",
        first=first,
        changes=next(changes, None),
        interlaced=any(look.interlaced for _, look in found.looks),
        pts=pts,
        time_base=stream.time_base,
        rate=rate,
        start=start,
        seconds=(pts[-1] - pts[0] + found.last_duration) * stream.time_base,
        cut_off=cut_off if cut_off > LEAST_CUT_OFF else 0.0,
        holes=holes,
        data_bytes=found.data_bytes,
        display_matrix=_display_matrix(found.first),
        hdr=_hdr_words(found.first),
        quantizer=float(np.mean(found.quantizers)) if found.quantizers else None,
        has_alpha=found.has_alpha,
        has_dolby_vision=found.has_dolby_vision,
        has_dynamic_hdr=found.has_dynamic_hdr,
        companions=tuple(_companions(container, stream)),
    )


def _picture(container: InputContainer, path: Path) -> VideoStream:
    """Return the stream to enlarge: the first of pictures that move, no cover."""
    for stream in container.streams.video:
        if not stream.disposition & Disposition.attached_pic:
            if stream.codec_context is None:
                raise UserError(
                    f"{path}: stream {stream.index} has a codec that this PyAV does not know"
                )
            return stream
    raise UserError(f"{path}: holds no moving picture")


def _companions(container: InputContainer, picture: Stream) -> Iterator[Companion]:
    for stream in container.streams:
        if stream.index == picture.index:
            continue
        if stream.type == "data" and stream.discard == Discard.all:
            continue  # the chapters, as QuickTime has them once more
        if stream.type == "data" and "timecode" in stream.metadata:
            continue  # a tag of the picture too, of which muxers make such a stream again
        kind = {"subtitle": "subtitles", "attachment": "attachments"}.get(stream.type, stream.type)
        if stream.disposition & Disposition.attached_pic:
            kind = "cover"
        codec = stream.codec_context.name if stream.codec_context else ""
        words = ", ".join(word for word in (kind, codec, stream.language) if word)
        yield Companion(stream.index, kind, f"stream {stream.index} ({words})")


def _display_matrix(frame: VideoFrame) -> tuple[int, ...]:
    if told := _side_data(frame).get(Type.DISPLAYMATRIX):
        return struct.unpack_from("9i", told)
    if not frame.rotation:
        return ()
    # Beside data of no name: EXIF's own orientation
    cosine, sine = (
        round(ONE_OF_MATRIX * part(math.radians(frame.rotation))) for part in (math.cos, math.sin)
    )
    return cosine, -sine, 0, sine, cosine, 0, 0, 0, LAST_OF_MATRIX


def _hdr_words(frame: VideoFrame) -> str:
    """Return x265's parameters for the HDR10 data of a frame, which PyAV hands to no encoder."""
    data = _side_data(frame)
    words = []
    if mastering := data.get(Type.MASTERING_DISPLAY_METADATA):
        values = struct.unpack_from(f"{2 * MASTERING_RATIONALS}i", mastering)
        ratios = [n / d if d else 0.0 for n, d in zip(values[::2], values[1::2], strict=True)]
        rx, ry, gx, gy, bx, by, wx, wy = (round(50000 * ratio) for ratio in ratios[:8])
        least, most = (round(10000 * ratio) for ratio in ratios[8:])
        words.append(
            f"master-display=G({gx},{gy})B({bx},{by})R({rx},{ry})WP({wx},{wy})L({most},{least})"
        )
    if levels := data.get(Type.CONTENT_LIGHT_LEVEL):
        words.append("max-cll={},{}".format(*struct.unpack_from("2I", levels)))
    return ":".join(["hdr10=1", "repeat-headers=1", *words]) if words else ""


def _side_data(frame: VideoFrame) -> dict[Type, bytes]:
    """Return what lies beside the planes of a frame."""
    try:
        found = cast(SideDataContainer, frame.side_data)
    except ValueError:  # of a kind that PyAV knows no name of, as EXIF: then it shows nothing
        return {}
    return {found[i].type: bytes(found[i]) for i in range(len(found))}
