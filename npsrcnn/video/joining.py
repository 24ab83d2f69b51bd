"""Join segments into the target: their packets and all other streams of the source, copied."""

from __future__ import annotations

import heapq
import os
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import av
from av.bitstream import BitStreamFilterContext
from av.container import InputContainer, OutputContainer
from av.packet import Packet
from av.stream import Stream
from av.video.stream import VideoStream

from npsrcnn.errors import UserError
from npsrcnn.runtime.files import replace
from npsrcnn.video.encoders import add_video
from npsrcnn.video.opening import open_clip, video_stream
from npsrcnn.video.plan import Plan
from npsrcnn.video.segments import Done, Parts, told_of

if TYPE_CHECKING:
    from av.container.core import Chapter

FILE_TAGS = {"major_brand", "minor_version", "compatible_brands", "encoder"}
STREAM_TAGS = {"encoder", "duration", "alpha_mode", "number_of_frames", "number_of_bytes", "bps"}
COVER_KINDS = {"mjpeg": "jpeg", "png": "png", "webp": "webp", "gif": "gif", "bmp": "bmp"}
MOVED = 6, 7  # where a display matrix says by how many pixels
START_CODES = {"h264", "hevc"}
"""Matroska keeps their packets with lengths; what goes to a muxer whose stream an encoder opened
has start codes."""


class _Timed(NamedTuple):
    """A packet for the target, and the second at which it is decoded, by which they are merged."""

    seconds: Fraction
    packet: Packet[Stream] | Packet[VideoStream]
    stream: Stream


def join(plan: Plan) -> int:
    """Write the target from all segments of a plan; return how many frames it has.

    The file is written into the folder of the segments and renamed.

    Raises
    ------
    UserError, OSError
        No frames, a damaged segment, a full disk, a folder that is gone, a target that another
        program keeps open (on Windows).
    """
    parts = Parts(plan)
    done = [parts.read_mark(number) for number in range(plan.segments)]
    joined = parts.folder / f"joined{plan.target.suffix}"
    if not any(segment.frames for segment in done):
        raise UserError(f"{plan.clip.path}: no frame could be decoded")
    with told_of(joined), open_clip(plan.clip.path) as source:
        with av.open(
            str(joined.absolute()), "w", format=plan.container, options=_options(source)
        ) as out:
            _write(plan, parts, done, source, out)
        with open(joined, "rb+") as file:
            os.fsync(file.fileno())
        replace(joined, plan.target)
    return sum(segment.frames for segment in done)


def _options(source: InputContainer) -> dict[str, str]:
    """Return the muxer's options: the names that phones give to tags need a table of their own."""
    apple = any(key.startswith("com.") for key in source.metadata)
    return {"movflags": "use_metadata_tags"} if apple else {}


def _write(
    plan: Plan, parts: Parts, done: Sequence[Done], source: InputContainer, out: OutputContainer
) -> None:
    picture = video_stream(source, plan.clip.index)
    # By an encoder that encodes nothing: a template loses the rate
    video = add_video(out, plan.encoding)
    if plan.encoding.name == "hevc" and plan.container in ("mp4", "mov"):
        video.codec_context.codec_tag = "hvc1"  # Apple's players take no other
    if plan.clip.display_matrix:
        video.set_display_matrix(_display_matrix(plan))
    _describe(video, picture)
    copies = {}
    covers = {companion.index for companion in plan.clip.companions if companion.kind == "cover"}
    for index in plan.copied:
        if index in covers and plan.container == "matroska":
            _attach_cover(out, plan.clip.path, index)
            continue
        copies[index] = out.add_stream_from_template(source.streams[index], opaque=True)
        _describe(copies[index], source.streams[index])
    tags = {key: text for key, text in source.metadata.items() if key.lower() not in FILE_TAGS}
    out.metadata.update(tags)
    if not plan.excerpt:
        out.set_chapters(_shifted(source.chapters(), plan.offset))
    packets = heapq.merge(
        _video_packets(plan, parts, done, video),
        _copied_packets(plan, copies),
        key=lambda timed: timed.seconds,
    )
    for timed in packets:
        shift = round(plan.offset / timed.packet.time_base)
        assert timed.packet.dts is not None and timed.packet.pts is not None
        timed.packet.pts -= shift
        timed.packet.dts -= shift
        timed.packet.stream = timed.stream
        out.mux(timed.packet)


def _attach_cover(out: OutputContainer, path: Path, index: int) -> None:
    """Attach a cover, as Matroska has it: as a file."""
    with open_clip(path) as source:
        stream = source.streams[index]
        data = next(bytes(packet) for packet in source.demux(stream) if packet.size)
        kind = COVER_KINDS[stream.codec_context.name]
        tags = {key.lower(): text for key, text in stream.metadata.items()}
        out.add_attachment(tags.get("filename", f"cover.{kind}"), f"image/{kind}", data)


def _display_matrix(plan: Plan) -> list[int]:
    """Return how the larger picture is turned and mirrored: it is moved by as much more."""
    matrix = list(plan.clip.display_matrix)
    for place, larger, side in zip(MOVED, plan.encoding.size, plan.clip.first.size, strict=True):
        matrix[place] = round(matrix[place] * larger / side)
    return matrix


def _describe(copy: Stream, stream: Stream) -> None:
    """Give a stream of the target the tags and roles that it has in the source."""
    tags = {k: v for k, v in stream.metadata.items() if k.lower() not in STREAM_TAGS}
    copy.metadata.update({k: v for k, v in tags.items() if not k.lower().startswith("_stat")})
    copy.disposition = stream.disposition


def _shifted(chapters: Sequence[Chapter], offset: Fraction) -> list[Chapter]:
    shifted = [chapter.copy() for chapter in chapters]
    for chapter in shifted:
        ticks = round(offset / (chapter["time_base"] or 1))
        chapter["start"] -= ticks
        chapter["end"] -= ticks
    return shifted


def decoding_times(pts: Sequence[int]) -> list[int]:
    """Return rising times of decoding for packets in that order, none after its own ``pts``.

    Encoders reorder frames, each segment's for itself, and none knows the times of the others.
    As x264 does it, the delay of the reordering lies before the first frame.
    """
    shown = sorted(pts)
    rank = {time: i for i, time in enumerate(shown)}
    delay = max(i - rank[time] for i, time in enumerate(pts))
    lead = shown[min(delay, len(shown) - 1)] - shown[0]
    return [*(time - lead for time in shown[:delay]), *shown][: len(shown)]


def _video_packets(
    plan: Plan, parts: Parts, done: Sequence[Done], video: Stream
) -> Iterator[_Timed]:
    """Yield the packets of all segments, with exact times."""
    times = [time for segment in done for time in segment.packets]
    decoding = decoding_times([pts for pts, _ in times])
    given = zip(times, decoding, strict=True)
    for segment in done:
        if not segment.frames:
            continue
        path = parts.video(segment.number)
        count = 0
        for packet, ((pts, duration), dts) in zip(_packets(path), given, strict=False):
            packet.time_base = plan.clip.time_base
            packet.pts, packet.dts, packet.duration = pts, dts, duration
            yield _Timed(dts * plan.clip.time_base, packet, video)
            count += 1
            if count == len(segment.packets):
                break
        if count < len(segment.packets):
            raise UserError(
                f"{path}: damaged; delete it and {parts.mark(segment.number).name}, and go on with "
                "--resume"
            )


def _packets(path: Path) -> Iterator[Packet[VideoStream]]:
    with open_clip(path) as container:
        stream = container.streams.video[0]
        codec = stream.codec_context.codec.canonical_name
        convert = None
        if codec in START_CODES:
            convert = BitStreamFilterContext(f"{codec}_mp4toannexb", stream)
        for packet in container.demux(stream):
            if convert is not None:
                yield from convert.filter(packet if packet.size else None)
            elif packet.size:
                yield packet


def _copied_packets(plan: Plan, copies: dict[int, Stream]) -> Iterator[_Timed]:
    """Yield the packets of the other streams, in an excerpt those of its time."""
    indices = [index for index, copy in copies.items() if copy.type != "attachment"]
    if not indices:
        return  # no streams would mean all
    first = plan.pts[0] * plan.clip.time_base
    stop = None if plan.end is None else plan.end * plan.clip.time_base
    covers = {companion.index for companion in plan.clip.companions if companion.kind == "cover"}
    with open_clip(plan.clip.path) as source:  # anew: seeking to its start loses what lies before 0
        if plan.excerpt:
            source.seek(int(first * av.time_base))
        for packet in source.demux([source.streams[index] for index in indices]):
            if packet.stream_index in covers and packet.size:  # shown all the time, and so at none
                packet.pts = packet.dts = round(plan.offset / packet.time_base)
            if packet.dts is None or packet.pts is None:
                continue
            seconds = packet.pts * packet.time_base
            outside = seconds < first or (stop is not None and seconds >= stop)
            if plan.excerpt and outside and packet.stream_index not in covers:
                continue
            yield _Timed(packet.dts * packet.time_base, packet, copies[packet.stream_index])
