"""Many pictures: decoding, network and encoding of several at a time, as memory allows.

Each picture goes its whole way on one thread, so that while one is decoded or encoded others are
in the network, and no core waits. Pictures take one core each, or more where memory holds fewer
pictures than there are cores; each of the last ones takes all that the others leave. The result
is the same to the last bit.
"""

from __future__ import annotations

import errno
import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait

from npsrcnn.errors import UserError
from npsrcnn.runtime.threads import get_num_threads, limited
from npsrcnn.upscaling.files import Job, Settings, enlarge_file, need_of
from npsrcnn.upscaling.streaming import BASE

SPARE = 1  # pictures in work beyond one for each core: somebody always waits for a disk
FULL = {errno.ENOSPC, errno.EDQUOT, errno.EROFS}  # after which no other picture can be written

Outcome = dict[str, object] | Exception
Enlarge = Callable[[Job, Settings], dict[str, object]]


def enlarge_files(
    jobs: Sequence[Job], settings: Settings, enlarge: Enlarge = enlarge_file
) -> Iterator[tuple[Job, Outcome]]:
    """Enlarge pictures, as many at a time as there are cores and ``settings.memory`` allows.

    Yields
    ------
    job, outcome
        As they are done: the row of :func:`npsrcnn.upscaling.files.enlarge_file`, or the
        UserError, OSError or MemoryError that kept a picture from being made. After one that
        would befall all others too (:func:`hopeless`) no more are begun.

    Closed early, or interrupted by Ctrl-C, it waits for pictures in work: each file is whole.
    """
    threads = get_num_threads()
    waiting = deque(jobs)
    running: dict[Future, tuple[Job, int]] = {}

    def one(job: Job, share: int) -> dict[str, object]:
        with limited(share):
            return enlarge(job, settings)

    with ThreadPoolExecutor(threads + SPARE) as pool:
        try:
            while waiting or running:
                while waiting and len(running) < threads + SPARE:
                    memory = _memory(waiting[0], settings)
                    held = sum(need for _, need in running.values())
                    if running and BASE + held + memory > settings.memory:
                        break
                    job = waiting.popleft()
                    share = threads // min(threads, _room(memory, settings))
                    if len(waiting) < threads:
                        share = threads
                    running[pool.submit(one, job, share)] = job, memory
                done, _ = wait(running, return_when=FIRST_COMPLETED)
                for future in done:
                    job, _ = running.pop(future)
                    try:
                        outcome: Outcome = future.result()
                    except (UserError, OSError, MemoryError) as error:
                        outcome = error
                        if hopeless(job, error):
                            waiting.clear()
                    yield job, outcome
        finally:
            waiting.clear()
            for future in running:
                future.cancel()


def hopeless(job: Job, error: Exception) -> bool:
    """Whether no other picture can be written either: the disk is full, the folder is gone.

    A picture whose own folder is not there, or not for us, says nothing about others.
    """
    full = isinstance(error, OSError) and error.errno in FULL
    return full or (os.path.exists(job.source) and not os.path.isdir(job.target.parent))


def _room(memory: int, settings: Settings) -> int:
    """How many pictures that take so much are in work at a time: one at least."""
    return max(1, (settings.memory - BASE) // max(1, memory))


def _memory(job: Job, settings: Settings) -> int:
    """What a picture will take; 0 if it will say what is wrong with it."""
    try:
        return need_of(job, settings).memory
    except (UserError, OSError):
        return 0
