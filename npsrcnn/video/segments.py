"""Write a clip's frames in segments, each with an encoder of its own, into OUT.parts.

A segment is done when its small JSON file is there, which is written after the segment is on the
disk, and holds the exact times of its packets: Matroska rounds to milliseconds. Whatever is
killed, segments that are done are kept, and can be played.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import av
from av.video.frame import VideoFrame

from npsrcnn.errors import UserError
from npsrcnn.runtime.files import write_atomically
from npsrcnn.video.encoders import add_video
from npsrcnn.video.enlarging import FrameEnlarger
from npsrcnn.video.overlap import run_ahead
from npsrcnn.video.plan import Plan
from npsrcnn.video.reading import Damage, read_frames
from npsrcnn.words import counted

JOB = "job.json"


class Done(NamedTuple):
    """A segment that is done.

    Attributes
    ----------
    number : int
    frames : int
    damaged : int
        Packets of the source that could not be decoded.
    packets : list of (pts, duration)
        In the order of the file, in units of the clip's time base.
    """

    number: int
    frames: int
    damaged: int
    packets: list[tuple[int, int]]


class Parts:
    """The folder of the segments of a plan."""

    def __init__(self, plan: Plan) -> None:
        self.plan, self.folder = plan, plan.parts

    def begin(self, resume: bool) -> list[int]:
        """Make the folder, and return the numbers of the segments that are to be made.

        Raises
        ------
        UserError
            Segments of another run are there, and not to be resumed, or not of the same job.
        """
        finished = set(self.finished())
        job = json.loads(json.dumps(self.plan.job()))
        if finished and not resume:
            raise UserError(
                f"{self.folder} holds {len(finished)} of {counted(self.plan.segments, 'segment')} "
                "of a run that was interrupted: go on with --resume, or delete it"
            )
        if finished and (differing := self._differing(job)):
            raise UserError(
                f"{self.folder} was begun with another {', '.join(differing)}: "
                "give what it was begun with, or delete it"
            )
        if not finished and self.folder.is_dir():
            shutil.rmtree(self.folder)
        self.folder.mkdir(exist_ok=True)
        with write_atomically(self.folder / JOB) as temporary:
            temporary.write_text(json.dumps(job, indent=1))
        return [number for number in range(self.plan.segments) if number not in finished]

    def _differing(self, job: dict[str, object]) -> list[str]:
        """Return in what the job of the segments differs."""
        try:
            before = json.loads((self.folder / JOB).read_text())
        except (OSError, ValueError):
            return ["job"]
        return [key for key in job if before.get(key) != job[key]]

    def video(self, number: int) -> Path:
        """Return the file of a segment."""
        return self.folder / f"{number:05d}.mkv"

    def mark(self, number: int) -> Path:
        """Return the file that says that a segment is done."""
        return self.folder / f"{number:05d}.json"

    def finished(self) -> Iterator[int]:
        """Yield the numbers of the segments that are done."""
        for path in sorted(self.folder.glob("[0-9]*.json")):
            if path.stem.isdecimal():
                yield int(path.stem)

    def read_mark(self, number: int) -> Done:
        """Return what is known of a segment that is done.

        Raises
        ------
        UserError
            Its mark is damaged.
        """
        path = self.mark(number)
        try:
            facts = json.loads(path.read_text())
            packets = [(int(pts), int(duration)) for pts, duration in facts["packets"]]
            return Done(number, int(facts["frames"]), int(facts["damaged"]), packets)
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(f"{path}: damaged; delete it, and go on with --resume") from error


def write_segments(
    numbers: Sequence[int], plan: Plan, report: Callable[[int], None] = lambda frames: None
) -> list[int]:
    """Decode, enlarge and encode neighbouring segments, the three at a time.

    Parameters
    ----------
    numbers : sequence of int
        One after the other.
    plan : Plan
    report
        Called with 1 for each frame that was encoded.

    Raises
    ------
    UserError, OSError
        A frame of another size, a full disk, a folder that is gone.
    """
    parts, damage = Parts(plan), Damage()
    enlarge = FrameEnlarger(
        plan.nets,
        plan.scale,
        plan.clip.first.size,
        plan.encoding.pixel_format,
        plan.clip.first.full_range,
        plan.compare,
    )

    def damaged_in(number: int) -> int:
        # By their times: decoding begins before the first frame, and is ahead of what is written
        start, end = plan.span([number])
        return sum(start <= time and (end is None or time < end) for time in damage.times)

    left = list(numbers)
    with contextlib.ExitStack() as steps:
        decoded = run_ahead(read_frames(plan.clip, *plan.span(numbers), plan.deinterlace, damage))
        steps.callback(decoded.close)
        enlarged = run_ahead(enlarge(frame) for frame in decoded)
        steps.callback(enlarged.close)
        for number, frames in itertools.groupby(enlarged, lambda f: plan.segment_of(f.pts or 0)):
            packets = _write_segment(parts, number, frames, report)
            _mark(parts, Done(number, len(packets), damaged_in(number), packets))
            left.remove(number)
    for number in left:  # in which nothing could be decoded
        _mark(parts, Done(number, 0, damaged_in(number), []))
    return list(numbers)


def _write_segment(
    parts: Parts, number: int, frames: Iterator[VideoFrame], report: Callable[[int], None]
) -> list[tuple[int, int]]:
    """Write a segment; return time and duration of its packets, in the order of the file."""
    path = parts.video(number)
    durations: dict[int, int] = {}
    order: list[int] = []
    with (
        write_atomically(path) as temporary,
        told_of(path),
        av.open(str(temporary.absolute()), "w", format="matroska") as out,
    ):
        stream = add_video(out, parts.plan.encoding)

        def mux(frame: VideoFrame | None) -> None:
            for packet in stream.encode(frame):
                assert packet.pts is not None
                order.append(packet.pts)
                out.mux(packet)

        for frame in frames:
            assert frame.pts is not None
            durations[frame.pts] = frame.duration or 0
            mux(frame)
            report(1)
        mux(None)
    return [(pts, durations[pts]) for pts in order]


def _mark(parts: Parts, done: Done) -> None:
    facts = {"frames": done.frames, "damaged": done.damaged, "packets": done.packets}
    with write_atomically(parts.mark(done.number)) as temporary:
        temporary.write_text(json.dumps(facts))


@contextlib.contextmanager
def told_of(path: Path) -> Iterator[None]:
    """Turn what FFmpeg raises while it writes a file into an error of that file."""
    try:
        yield
    except av.error.FFmpegError as error:
        if error.errno is not None and error.errno > 0:
            raise OSError(error.errno, os.strerror(error.errno), str(path)) from error
        raise UserError(f"{path}: cannot be written ({error.strerror})") from error
