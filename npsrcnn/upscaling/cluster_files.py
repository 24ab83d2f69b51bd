"""Many pictures on a cluster: workers read, enlarge and write them.

A picture whose worker dies goes to another one. Of TIFF files that memory does not hold workers
read and compute the blocks, and the process that asks for them writes. So a worker that dies
costs time and nothing else, and the files are the same, byte for byte, as without a cluster.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import os
from collections.abc import Callable, Generator, Iterator, Sequence
from functools import partial
from pathlib import Path

from npsrcnn.errors import UserError
from npsrcnn.images import tiff
from npsrcnn.runtime.files import leftovers
from npsrcnn.upscaling.cluster import Cluster, ClusterError, connect
from npsrcnn.upscaling.files import Job, Settings, beside_it, enlarge_file, need_of
from npsrcnn.upscaling.folder import Outcome, hopeless

SAME_FOLDERS = "workers need the same folders as the command, as from a network drive"


def enlarge_files(
    address: str,
    jobs: Sequence[Job],
    settings: Settings,
    progress: Callable[[int, int], None],
    say: Callable[[str], None],
) -> Generator[tuple[Job, Outcome], None, None]:
    """As :func:`npsrcnn.upscaling.folder.enlarge_files`, on the workers at ``address``.

    ``progress`` and ``say`` are as for :func:`npsrcnn.upscaling.files.enlarge_file`.

    Raises
    ------
    UserError
        As :func:`npsrcnn.upscaling.cluster.connect`; or ClusterError, when nobody is left to go on.
    """
    with _swept(jobs), connect(address) as cluster:
        for job, outcome in _outcomes(cluster, jobs, settings, progress, say):
            yield job, outcome
            if isinstance(outcome, Exception) and hopeless(job, outcome):
                return


def _outcomes(
    cluster: Cluster,
    jobs: Sequence[Job],
    settings: Settings,
    progress: Callable[[int, int], None],
    say: Callable[[str], None],
) -> Iterator[tuple[Job, Outcome]]:
    scenes = dict.fromkeys(job for job in jobs if _is_scene(job, settings))
    others = {_absolute(job): job for job in jobs if job not in scenes}
    for job, result in cluster.unordered(partial(enlarge_file, settings=settings), list(others)):
        yield others[job], _outcome(others[job], result)
    for job in scenes:
        result = partial(enlarge_file, _absolute(job), settings, cluster.ordered, progress, say)
        yield job, _outcome(job, result)


def _outcome(job: Job, result: Callable[[], dict[str, object]]) -> Outcome:
    try:
        row = result() | {"source": str(job.source)}
        if not Path(row["target"]).exists():
            raise UserError(f"{row['target']}: written by a worker, but not there: {SAME_FOLDERS}")
    except ClusterError:  # which is none of the job's
        raise
    except FileNotFoundError as error:
        if not job.source.exists():
            return FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(job.source))
        return UserError(f"{error.filename}: not there for a worker: {SAME_FOLDERS}")
    except (UserError, OSError, MemoryError) as error:
        return error
    return row


def _is_scene(job: Job, settings: Settings) -> bool:
    """Whether it goes block by block."""
    if job.source.suffix.lower() not in tiff.SUFFIXES:
        return False
    with contextlib.suppress(UserError, OSError):  # of which a worker will tell
        return need_of(job, settings).by_blocks
    return False


def _absolute(job: Job) -> Job:
    """For workers, which are in other folders."""
    paths = {key: getattr(job, key) for key in ("source", "target", "fallback")}
    return dataclasses.replace(
        job, **{key: path and path.absolute() for key, path in paths.items()}
    )


@contextlib.contextmanager
def _swept(jobs: Sequence[Job]) -> Iterator[None]:
    """Remove in the end what workers that were killed have left half-written."""
    try:
        yield
    finally:
        targets = {path for job in jobs for path in (job.target, job.fallback) if path}
        for path in leftovers(targets | {beside_it(path) for path in targets}):
            path.unlink(missing_ok=True)
