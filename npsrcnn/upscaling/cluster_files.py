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

from npsrcnn.errors import UserError
from npsrcnn.images import tiff
from npsrcnn.runtime.files import leftovers
from npsrcnn.upscaling.cluster import Cluster, connect
from npsrcnn.upscaling.files import EnlargeOptions, Job, ends_run, enlarge_file, need_of
from npsrcnn.upscaling.outcomes import ClusterError, Enlarged, Failed, Outcome, outcome_of

SAME_FOLDERS = "workers need the same folders as the command, as from a network drive"


def enlarge_files(
    address: str,
    jobs: Sequence[Job],
    options: EnlargeOptions,
    progress: Callable[[Job, int, int], None],
    say: Callable[[str], None],
) -> Generator[tuple[Job, Outcome], None, None]:
    """Enlarge pictures on the workers at ``address``, until nothing more can be written.

    ``progress`` and ``say`` are as for :func:`npsrcnn.upscaling.batch.enlarge_all`.

    Raises
    ------
    UserError
        As :func:`npsrcnn.upscaling.cluster.connect`; or ClusterError, when nobody is left to go on.
    """
    with _leftovers_removed(jobs), connect(address) as cluster:
        for job, outcome in _outcomes(cluster, jobs, options, progress, say):
            yield job, outcome
            if ends_run(job, outcome):
                return


def _outcomes(
    cluster: Cluster,
    jobs: Sequence[Job],
    options: EnlargeOptions,
    progress: Callable[[Job, int, int], None],
    say: Callable[[str], None],
) -> Iterator[tuple[Job, Outcome]]:
    scenes = dict.fromkeys(job for job in jobs if _goes_by_blocks(job, options))
    others = {_absolute(job): job for job in jobs if job not in scenes}
    for job, result in cluster.unordered(partial(enlarge_file, options=options), list(others)):
        yield others[job], _outcome(others[job], result)
    for job in scenes:
        blocks = partial(progress, job)
        result = partial(enlarge_file, _absolute(job), options, cluster.ordered, blocks, say)
        yield job, _outcome(job, result)


def _outcome(job: Job, result: Callable[[], Enlarged]) -> Outcome:
    """Return the outcome of a job, as seen from here; raise ClusterError, which is no job's."""
    outcome = outcome_of(job.source, result)
    if isinstance(outcome, Enlarged):
        if outcome.target.exists():
            return dataclasses.replace(outcome, source=job.source)
        text = f"{outcome.target}: written by a worker, but not there: {SAME_FOLDERS}"
        return Failed(job.source, UserError(text))
    error = outcome.error
    if isinstance(error, ClusterError):
        raise error
    if isinstance(error, FileNotFoundError):
        if not job.source.exists():
            error = FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(job.source))
        else:
            error = UserError(f"{error.filename}: not there for a worker: {SAME_FOLDERS}")
    return Failed(job.source, error)


def _goes_by_blocks(job: Job, options: EnlargeOptions) -> bool:
    if job.source.suffix.lower() not in tiff.SUFFIXES:
        return False
    with contextlib.suppress(UserError, OSError):  # of which a worker will tell
        return need_of(job, options).by_blocks
    return False


def _absolute(job: Job) -> Job:
    """Return the job with absolute paths, for workers, which are in other folders."""
    return dataclasses.replace(
        job,
        source=job.source.absolute(),
        target=job.target.absolute(),
        fallback=job.fallback and job.fallback.absolute(),
    )


@contextlib.contextmanager
def _leftovers_removed(jobs: Sequence[Job]) -> Iterator[None]:
    """Remove in the end the temporary files that killed workers have left."""
    try:
        yield
    finally:
        outputs = {path for job in jobs for path in job.possible_outputs()}
        for path in leftovers(outputs):
            path.unlink(missing_ok=True)
