"""Run a compiled kernel over independent pieces of work on several threads.

Python's own threads, and not Numba's ``prange``, because kernels compiled with ``nogil`` need no
more, and because Numba's threading layers come with limits: ``workqueue`` aborts the process when
two Python threads call a parallel kernel at once, GNU OpenMP aborts after a fork, and which layer
there is depends on the machine. ``parallel=True`` also multiplies the time to compile.

Work is split by data, never by thread: piece ``i`` computes the same numbers whichever thread
takes it, so results do not depend on the number of threads.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections import deque
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import TypeVar

import numpy as np

CACHE_LINE_FLOATS = 16
"""float32 values of a cache line; work space begins at one."""
PIECE_PIXELS = 1 << 17
"""Pixels that a thread takes at a time where little is done to each: to call a kernel for fewer,
two threads wait for Python's lock as long as they compute."""
NOTICE_SECONDS = 0.5
T = TypeVar("T")


def _usable_cores() -> int:
    """Return NPSRCNN_NUM_THREADS, or how many cores this process may run on."""
    text = os.environ.get("NPSRCNN_NUM_THREADS", "")
    if text.isdigit() and int(text) > 0:
        return int(text)
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class _Pool:
    """The number of threads to use, and the executor that runs all but the caller."""

    def __init__(self) -> None:
        self.threads = _usable_cores()
        self.renew()

    def renew(self) -> None:
        # An executor starts a thread only when one is wanted and none is idle.
        self.helpers = ThreadPoolExecutor(max_workers=256, thread_name_prefix="npsrcnn")


class _Caller(threading.local):
    """State of one Python thread: its limit of threads and its check, if set, and work space."""

    threads: int | None = None
    check: Callable[[], None] | None = None
    space = np.empty(0, np.float32)


_pool = _Pool()
_caller = _Caller()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_pool.renew)  # threads do not survive a fork


def get_num_threads() -> int:
    """Return the threads CPU kernels use: as set, or NPSRCNN_NUM_THREADS, or all usable cores."""
    return _caller.threads or _pool.threads


def set_num_threads(threads: int) -> None:
    """Use ``threads`` threads from now on. Results do not depend on it, to the last bit."""
    if not isinstance(threads, int) or threads < 1:
        raise ValueError(f"threads must be a whole number of at least 1, not {threads!r}")
    _pool.threads = threads


@contextlib.contextmanager
def limited(threads: int) -> Iterator[None]:
    """Use at most ``threads`` threads for what this Python thread, and no other, calls meanwhile.

    For callers that run several Python threads already and share the cores among them.
    """
    before = _caller.threads
    _caller.threads = max(1, min(threads, get_num_threads()))
    try:
        yield
    finally:
        _caller.threads = before


@contextlib.contextmanager
def checked(check: Callable[[], None]) -> Iterator[None]:
    """Call ``check()`` before each piece of what this Python thread computes meanwhile.

    What it raises ends the work, within the time that a piece takes: so that a person need not
    wait for a large picture that is no longer wanted.
    """
    before = _caller.check
    _caller.check = check
    try:
        yield
    finally:
        _caller.check = before


def with_check(work: Callable[..., T]) -> Callable[..., T]:
    """Return ``work`` for another Python thread to call, under this thread's check."""
    check = _caller.check
    if check is None:
        return work

    def under_check(*args: object) -> T:
        with checked(check):
            return work(*args)

    return under_check


def work_space(floats: int) -> np.ndarray:
    """Return float32 work space of this Python thread, with whatever the last user left in it.

    It is kept from call to call: fresh pages cost as much as the work.
    """
    if _caller.space.size < floats:
        raw = np.empty(floats + CACHE_LINE_FLOATS, np.float32)
        first = -raw.ctypes.data // raw.itemsize % CACHE_LINE_FLOATS
        _caller.space = raw[first : first + floats]
    return _caller.space[:floats]


def parallel(kernel: Callable[..., object], n: int, *args: object) -> None:
    """Call ``kernel(i, *args)`` once for every ``i < n``, on up to ``get_num_threads()`` threads.

    ``kernel`` is compiled without the GIL, and its pieces write to different places. Threads
    take the next piece when they are done with one, so that a slow core delays nobody. May be
    called from several Python threads at once, and in a forked child.
    """
    pieces = deque(range(n))  # shared: its methods are atomic, without the GIL too
    futures = [
        _pool.helpers.submit(_work, kernel, pieces, args, _caller.check)
        for _ in range(min(n, get_num_threads()) - 1)
    ]
    _work(
        kernel, pieces, args, _caller.check
    )  # the caller works too, so that it ends even if no helper starts
    for future in futures:
        if not future.cancel():
            future.result()


def _work(
    kernel: Callable[..., object],
    pieces: deque[int],
    args: tuple[object, ...],
    check: Callable[[], None] | None,
) -> None:
    try:
        while True:
            try:
                i = pieces.popleft()
            except IndexError:
                return
            if check is not None:
                check()
            kernel(i, *args)
    except BaseException:
        pieces.clear()  # an error or Ctrl-C in one thread leaves nothing for the others
        raise


def wait_for_any(futures: Collection[Future[T]]) -> set[Future[T]]:
    """Wait until some of ``futures`` are done, and return these; Ctrl-C ends the wait at once.

    On Windows a wait without limit does not notice Ctrl-C before it ends.
    """
    while True:
        done, _ = wait(futures, NOTICE_SECONDS, FIRST_COMPLETED)
        if done:
            return done
