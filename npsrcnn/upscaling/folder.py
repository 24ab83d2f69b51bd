"""Many pictures: decoding, network and encoding of several at a time, as memory allows.

Each picture goes its whole way on one thread, so that while one is decoded or encoded others are
in the network, and no core waits. Pictures take one core each, or more where memory holds fewer
pictures than there are cores; each of the last ones takes all that the others leave. The result
is the same to the last bit.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from npsrcnn.errors import UserError
from npsrcnn.runtime.threads import get_num_threads, limited, wait_for_any, with_check
from npsrcnn.upscaling.files import EnlargeOptions, Job, ends_run, enlarge_file, need_of
from npsrcnn.upscaling.outcomes import Enlarged, Outcome, outcome_of
from npsrcnn.upscaling.streaming import BASE

SPARE = 1  # pictures in work beyond one for each core: one thread always waits for a disk

Enlarge = Callable[[Job, EnlargeOptions], Enlarged]


def enlarge_files(
    jobs: Sequence[Job], options: EnlargeOptions, enlarge: Enlarge = enlarge_file
) -> Iterator[tuple[Job, Outcome]]:
    """Enlarge pictures, as many at a time as there are cores and ``options.memory`` allows.

    Yields
    ------
    job, outcome
        As they are done. After an error that would befall all others too
        (:func:`npsrcnn.upscaling.files.ends_run`) no more are begun.

    Closed early, or interrupted by Ctrl-C, it waits for pictures in work: each file is whole.
    """
    threads = get_num_threads()
    waiting = deque(jobs)
    running: dict[Future[Enlarged], tuple[Job, int]] = {}

    def one(job: Job, share: int) -> Enlarged:
        with limited(share):
            return enlarge(job, options)

    with ThreadPoolExecutor(threads + SPARE) as pool:
        try:
            while waiting or running:
                while waiting and len(running) < threads + SPARE:
                    memory = _memory(waiting[0], options)
                    held = sum(need for _, need in running.values())
                    if running and BASE + held + memory > options.memory:
                        break
                    job = waiting.popleft()
                    share = threads // min(threads, _room(memory, options))
                    if len(waiting) < threads:
                        share = threads
                    running[pool.submit(with_check(one), job, share)] = job, memory
                for future in wait_for_any(running):
                    job, _ = running.pop(future)
                    outcome = outcome_of(job.source, future.result)
                    if ends_run(job, outcome):
                        waiting.clear()
                    yield job, outcome
        finally:
            waiting.clear()
            for future in running:
                future.cancel()


def _room(memory: int, options: EnlargeOptions) -> int:
    """Return how many pictures that take ``memory`` bytes are in work at a time: one at least."""
    return max(1, (options.memory - BASE) // max(1, memory))


def _memory(job: Job, options: EnlargeOptions) -> int:
    """Return the bytes a picture will take; 0 if it will say what is wrong with it."""
    try:
        return need_of(job, options).memory
    except (UserError, OSError):
        return 0
