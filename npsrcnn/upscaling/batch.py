"""Enlarge all pictures that a command was given: here, or on a cluster."""

from __future__ import annotations

import dataclasses
import itertools
import os
from collections.abc import Callable, Generator, Sequence
from functools import partial

from npsrcnn.runtime import memory
from npsrcnn.runtime.jit import compilations
from npsrcnn.upscaling import folder
from npsrcnn.upscaling.compiling import compile_kernels
from npsrcnn.upscaling.files import EnlargeOptions, Job, ends_run, enlarge_file
from npsrcnn.upscaling.outcomes import Enlarged, Outcome, outcome_of


def enlarge_all(
    jobs: Sequence[Job],
    options: EnlargeOptions,
    *,
    cluster: str | None = None,
    progress: Callable[[Job, int, int], None],
    say: Callable[[str], None],
) -> Generator[tuple[Job, Outcome], None, None]:
    """Enlarge pictures, each outcome as it is known, until nothing more can be written.

    Parameters
    ----------
    jobs, options
    cluster : str, optional
        The address of Dask's workers: see :func:`npsrcnn.upscaling.cluster.connect`.
    progress
        Called with a job, the number of its parts that are done, and of all, where its picture is
        computed in several; from the thread that does so.
    say
        Called with a line on what takes more time or memory than expected.

    Raises
    ------
    UserError
        As :func:`npsrcnn.upscaling.cluster_files.enlarge_files`.
    """
    if cluster is None:
        yield from _enlarge_here(jobs, options, progress, say)
    elif jobs:
        from npsrcnn.upscaling import cluster_files  # which imports asyncio: 0.015 s

        yield from cluster_files.enlarge_files(cluster, jobs, options, progress, say)


def _enlarge_here(
    jobs: Sequence[Job],
    options: EnlargeOptions,
    progress: Callable[[Job, int, int], None],
    say: Callable[[str], None],
) -> Generator[tuple[Job, Outcome], None, None]:
    """Enlarge the first picture alone, on all cores: it compiles what the others need.

    What is missing is said before anything is compiled.
    """

    def enlarge(job: Job, options: EnlargeOptions) -> Enlarged:
        return enlarge_file(job, options, progress=partial(progress, job), say=say)

    missing = list(itertools.takewhile(lambda job: not os.path.exists(job.source), jobs))
    for job in missing:
        outcome = outcome_of(job.source, partial(enlarge, job, options))
        yield job, outcome
        if ends_run(job, outcome):
            return
    jobs = jobs[len(missing) :]
    for first in jobs[:1]:
        if (done := compile_kernels(options.choice.likely.nets)).seconds:
            say(str(done))
        with compilations() as compiled:
            outcome = outcome_of(first.source, partial(enlarge, first, options))
        if isinstance(outcome, Enlarged):
            outcome = dataclasses.replace(outcome, compiled=bool(compiled))
        yield first, outcome
        if ends_run(first, outcome):
            return
    if len(jobs) > 1:
        memory.keep_freed_memory()
    yield from folder.enlarge_files(jobs[1:], options, enlarge)
