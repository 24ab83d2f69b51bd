"""Decode the frames of a clip from any time on, deinterlaced if that is asked for."""

from __future__ import annotations

import bisect
from collections.abc import Generator, Iterable, Iterator

import av
from av.container import InputContainer
from av.filter import Graph
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from npsrcnn.errors import UserError
from npsrcnn.video import advice
from npsrcnn.video.clips import Clip
from npsrcnn.video.opening import open_clip, video_stream

FRAMES_BEFORE = 2  # of the first one, that a deinterlacer wants to see
DEINTERLACER = "mode=send_frame:deint=interlaced"  # a frame for each, and progressive ones as is


class Damage:
    """The times of packets that could not be decoded; of several threads nearly their times."""

    def __init__(self) -> None:
        self.times: list[int] = []


def read_frames(
    clip: Clip,
    start: int,
    end: int | None,
    deinterlace: bool,
    damage: Damage,
    *,
    ahead: bool = True,
) -> Generator[VideoFrame, None, None]:
    """Yield the frames with ``start <= pts < end``, in the order in which they are shown.

    What cannot be decoded is left out, and noted in ``damage``. A file that cannot be entered in
    the middle is decoded from its first frame on: the frames are the same. Several cores decode
    frames ahead; without ``ahead`` one after the other.

    Raises
    ------
    UserError
        A frame of another size or format than the first, or with the time of one before it.
    """
    place = bisect.bisect_left(clip.pts, start) - FRAMES_BEFORE
    if place > 0:
        with open_clip(clip.path) as container:
            stream = video_stream(container, clip.index, ahead)
            container.seek(clip.pts[place], stream=stream)
            frames = _frames(clip, container, stream, deinterlace, damage, ahead)
            first = next(frames, None)
            if first is not None and _time(first) <= clip.pts[place]:
                yield from _between(clip, frames, start, end)
                return
    with open_clip(clip.path) as container:
        stream = video_stream(container, clip.index, ahead)
        frames = _frames(clip, container, stream, deinterlace, damage, ahead)
        yield from _between(clip, frames, start, end)


def _frames(
    clip: Clip,
    container: InputContainer,
    stream: VideoStream,
    deinterlace: bool,
    damage: Damage,
    ahead: bool,
) -> Iterator[VideoFrame]:
    frames = _decoded(clip, container, stream, damage, ahead)
    return _deinterlaced(frames, stream, clip) if deinterlace else frames


def _between(
    clip: Clip, frames: Iterable[VideoFrame], start: int, end: int | None
) -> Iterator[VideoFrame]:
    latest: int | None = None
    for frame in frames:
        if latest is not None and _time(frame) <= latest:  # as of H.264 with B-frames in AVI
            raise UserError(
                f"{clip.path}: its frames are out of order at {frame.time:.2f} s: repair it first "
                f"({advice.with_even_times(clip.path, clip.container)})"
            )
        latest = _time(frame)
        if end is not None and latest >= end:
            return
        if latest < start:
            continue
        look = (frame.width, frame.height), frame.format.name
        if look != (clip.first.size, clip.first.pixel_format):
            raise UserError(
                f"{clip.path}: the picture changes to {frame.width} x {frame.height} "
                f"{frame.format.name} at {frame.time:.2f} s: enlarge what is before it with "
                f"--frames 0:{bisect.bisect_left(clip.pts, _time(frame))}"
            )
        yield frame


def _time(frame: VideoFrame) -> int:
    assert frame.pts is not None  # packets without a time are refused before
    return frame.pts


def _decoded(
    clip: Clip, container: InputContainer, stream: VideoStream, damage: Damage, ahead: bool
) -> Iterator[VideoFrame]:
    time, latest = clip.pts[0], clip.pts[0] - 1
    for packet in container.demux(stream):
        time = time if packet.pts is None else packet.pts  # the last has none
        try:
            frames = packet.decode()
        except av.error.InvalidDataError:
            damage.times.append(time)
            continue
        for frame in frames:
            latest = max(latest, _time(frame))
            yield frame
    if ahead and latest < clip.pts[-1]:
        # Of the frames that a decoder holds at the end, PyAV drops those after a damaged one.
        again = Damage()
        yield from read_frames(clip, latest + 1, None, False, again, ahead=False)
        times = [time for time in damage.times if time <= latest]
        damage.times = times + [time for time in again.times if time > latest]


def _deinterlaced(
    frames: Iterable[VideoFrame], stream: VideoStream, clip: Clip
) -> Iterator[VideoFrame]:
    graph = Graph()
    source = graph.add_buffer(template=stream, time_base=clip.time_base)
    graph.link_nodes(source, graph.add("bwdif", DEINTERLACER), graph.add("buffersink"))
    graph.configure()
    for frame in frames:
        graph.vpush(frame)
        yield from _pulled(graph, clip)
    graph.vpush(None)
    yield from _pulled(graph, clip)


def _pulled(graph: Graph, clip: Clip) -> Iterator[VideoFrame]:
    while True:
        try:
            frame = graph.vpull()
        except (av.error.BlockingIOError, av.error.EOFError):
            return
        assert frame.time_base is not None
        ticks = frame.time_base / clip.time_base
        frame.pts, frame.duration = round(_time(frame) * ticks), round(frame.duration * ticks)
        frame.time_base = clip.time_base
        yield frame
