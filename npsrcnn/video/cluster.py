"""Segments of a clip on the workers of a Dask cluster: each decodes, enlarges and encodes its own.

Which frames are in a segment is decided by their times, before; so a worker that dies costs time
and nothing else, and with FFV1 the frames are the same as without a cluster.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import partial

from npsrcnn.errors import UserError
from npsrcnn.upscaling.cluster import connect
from npsrcnn.upscaling.cluster_files import SAME_FOLDERS
from npsrcnn.video.making import Made, finish
from npsrcnn.video.plan import Plan
from npsrcnn.video.segments import Parts, write_segments


def make_on_cluster(
    plan: Plan,
    address: str,
    *,
    resume: bool = False,
    report: Callable[[int], None] = lambda frames: None,
) -> Made:
    """Enlarge a clip as planned; see :func:`npsrcnn.video.making.make_clip`.

    Parameters
    ----------
    plan, resume, report
    address : str
        See :func:`npsrcnn.upscaling.cluster.connect`.

    Raises
    ------
    UserError, OSError
        As there; or a worker does not see the same folders.
    """
    there = dataclasses.replace(
        plan,
        target=plan.target.absolute(),
        clip=dataclasses.replace(plan.clip, path=plan.clip.path.absolute()),
    )
    parts = Parts(there)
    missing = [(number,) for number in parts.begin(resume)]
    report(sum(parts.read_mark(number).frames for number in parts.finished()))
    if missing:
        with connect(address) as cluster:
            work = partial(write_segments, plan=there)
            for (number,), result in cluster.unordered(work, missing):
                try:
                    result()
                except FileNotFoundError as error:
                    raise UserError(
                        f"{error.filename}: not there for a worker: {SAME_FOLDERS}"
                    ) from error
                if not parts.mark(number).exists():
                    raise UserError(
                        f"{parts.video(number)}: written by a worker, but not there: {SAME_FOLDERS}"
                    )
                report(parts.read_mark(number).frames)
    return finish(there)
