"""Make the enlarged clip of a plan: here or on a cluster, begun or begun before."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from npsrcnn.video.joining import join
from npsrcnn.video.plan import Plan
from npsrcnn.video.segments import Parts, write_segments
from npsrcnn.words import counted


@dataclass(frozen=True)
class Made:
    """An enlarged clip.

    Attributes
    ----------
    frames : int
    damaged : int
        Packets of the source that could not be decoded.
    """

    frames: int
    damaged: int

    @property
    def lost(self) -> str:
        """Say what the result lacks; empty if nothing."""
        if not self.damaged:
            return ""
        return f"the frames of {counted(self.damaged, 'damaged packet')} are left out"


def make_clip(
    plan: Plan, *, resume: bool = False, report: Callable[[int], None] = lambda frames: None
) -> Made:
    """Enlarge a clip as planned.

    Parameters
    ----------
    plan : Plan
    resume : bool
        Go on with the segments of a run that was interrupted.
    report
        Called with how many more frames are done.

    Raises
    ------
    UserError, OSError
        As :meth:`npsrcnn.video.segments.Parts.begin`, :func:`npsrcnn.video.segments.write_segments`
        and :func:`npsrcnn.video.joining.join`; segments that are done stay.
    """
    parts = Parts(plan)
    missing = parts.begin(resume)
    report(sum(parts.read_mark(number).frames for number in parts.finished()))
    for run in runs_of(missing):
        write_segments(run, plan, report)
    return finish(plan)


def finish(plan: Plan) -> Made:
    """Join the segments, and remove them."""
    parts = Parts(plan)
    damaged = sum(parts.read_mark(number).damaged for number in range(plan.segments))
    made = Made(join(plan), damaged)
    shutil.rmtree(parts.folder)
    return made


def runs_of(numbers: Sequence[int]) -> Iterator[list[int]]:
    """Yield numbers that rise in runs without gaps."""
    for _, run in itertools.groupby(enumerate(numbers), lambda pair: pair[1] - pair[0]):
        yield [number for _, number in run]
