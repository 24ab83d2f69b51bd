"""Workers of a Dask cluster, on this machine or on many, for `npsrcnn upscale --dask`.

Work goes out piece by piece, a few more pieces than there are threads to take them. A piece whose
worker dies goes to another, and what comes of it is the same on any of them.
"""

from __future__ import annotations

import asyncio  # its TimeoutError is Python's own only from 3.11 on
import contextlib
import itertools
import logging
import signal
import sys
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import CancelledError
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from npsrcnn.errors import UsageError, UserError
from npsrcnn.runtime.threads import get_num_threads, limited
from npsrcnn.upscaling.outcomes import ClusterError
from npsrcnn.version import __version__

if TYPE_CHECKING:
    from distributed import Client, Future

CONNECT = 5.0  # seconds to wait for a scheduler,
WORKERS = 15.0  # for its first worker,
NOBODY = 60.0  # and for another one when all are gone
POLL = 1.0  # seconds between two looks whether somebody is still there
AHEAD = 2  # pieces of work for each thread, so that none waits for the next

Piece = TypeVar("Piece")
Result = TypeVar("Result")


def threads_given() -> int:
    """Return the threads that npsrcnn may use here: on a worker no more than Dask gives that."""
    distributed = sys.modules.get("distributed")
    if distributed is not None:
        with contextlib.suppress(ValueError):  # this process is none
            threads: int = distributed.get_worker().state.nthreads
            return min(get_num_threads(), threads)
    return get_num_threads()


@contextlib.contextmanager
def connect(address: str) -> Iterator[Cluster]:
    """Connect to workers at ``address``: "tcp://HOST:PORT" of a scheduler, or "local:N".

    For "local:N" N processes are started, which share this machine's threads, and stopped again.

    Raises
    ------
    UsageError
        Another address.
    UserError
        No scheduler there, no workers, or such as have another version of npsrcnn; or the
        package ``distributed`` is not installed.
    """
    kind, _, rest = address.partition(":")
    local = kind == "local"
    if not rest or (local and not (rest.isdigit() and int(rest) > 0)):
        raise UsageError(f"--dask {address}: give local:N, or tcp://HOST:PORT of a scheduler")
    try:
        import distributed
    except ImportError as error:
        raise UserError('--dask needs packages: pip install "npsrcnn[dask]"') from error
    with contextlib.ExitStack() as stack:
        logging.disable()  # what matters comes as one line
        stack.callback(logging.disable, logging.NOTSET)
        place = address
        if local:
            place = stack.enter_context(
                distributed.LocalCluster(
                    n_workers=int(rest),
                    threads_per_worker=max(1, get_num_threads() // int(rest)),
                    dashboard_address="127.0.0.1:0",  # where it is, nobody is told
                    silence_logs=logging.CRITICAL,
                    preload=__name__,
                )
            )
        try:
            client = distributed.Client(place, timeout=CONNECT)
        except (OSError, ValueError) as error:
            raise UserError(
                f"no Dask scheduler at {address}: start one (`dask scheduler`), or give local:N"
            ) from error
        cluster = Cluster(stack.enter_context(client), address)
        cluster.check()
        yield cluster


def dask_setup(worker: object) -> None:
    """Ignore Ctrl-C in a worker of "local:N", which the command ends; Dask calls this first."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


class Cluster:
    """Workers that take pieces of work; made by :func:`connect`."""

    def __init__(self, client: Client, address: str) -> None:
        self._client, self._address = client, address
        self._seen = time.monotonic()  # when there was a worker

    def check(self) -> None:
        """Wait for the first worker, and see that all have this version of npsrcnn.

        Raises
        ------
        UserError
            If not.
        """
        try:
            self._client.wait_for_workers(1, timeout=WORKERS)
        except asyncio.TimeoutError as error:
            raise UserError(
                f"no workers at {self._address}: start some (`dask worker {self._address}`)"
            ) from error
        # A lambda goes there as code, and not as the name of what may not be there.
        found = self._client.run(lambda: __import__("npsrcnn").__version__, on_error="return")
        for worker, version in found.items():
            if version != __version__:
                there = "no npsrcnn" if isinstance(version, ImportError) else f"npsrcnn {version}"
                raise UserError(f"worker {worker} has {there}: install npsrcnn {__version__} there")

    def unordered(
        self, function: Callable[[Piece], Result], pieces: Sequence[Piece]
    ) -> Iterator[tuple[Piece, Callable[[], Result]]]:
        """Call ``function(piece)`` on a worker for each of ``pieces``.

        Yields each piece when it is done, and a function that returns what came of it, or raises
        what went wrong.
        """
        calls = self._calls(function, pieces)
        waiting: dict[Future[Result], Piece] = {}
        while True:
            for piece, future in itertools.islice(calls, max(0, self._room() - len(waiting))):
                waiting[future] = piece
            if not waiting:
                return
            for future in self._wait(list(waiting)):
                yield waiting.pop(future), partial(self._result, future)

    def ordered(
        self, function: Callable[[Piece], Result], pieces: Sequence[Piece]
    ) -> Generator[Result, None, None]:
        """Yield ``function(piece)`` for each piece, in their order; workers are a few ahead."""
        calls = self._calls(function, pieces)
        waiting: deque[Future[Result]] = deque()
        while True:
            ahead = itertools.islice(calls, max(0, self._room() - len(waiting)))
            waiting.extend(future for _, future in ahead)
            if not waiting:
                return
            self._wait([waiting[0]])
            yield self._result(waiting.popleft())

    def _calls(
        self, function: Callable[[Piece], Result], pieces: Sequence[Piece]
    ) -> Iterator[tuple[Piece, Future[Result]]]:
        """Send out piece by piece.

        ``function``, with the weights that it holds, goes to each worker once: as what a task
        returns, for that can be made again when the worker that has it dies.
        """
        submit = partial(self._client.submit, pure=False)
        kept = submit(_same, function)
        rounds = -(-len(pieces) // max(1, len(self._threads())))
        for piece in pieces:
            yield piece, submit(_run, kept, piece, rounds)

    def _room(self) -> int:
        """Return how many pieces may be out at a time."""
        return 1 + AHEAD * sum(self._threads().values())

    def _threads(self) -> dict[str, int]:
        """Return how many threads each worker has."""
        try:
            if self._client.status == "running":
                threads: dict[str, int] = self._client.nthreads()
                self._seen = time.monotonic() if threads else self._seen
                return threads
        except OSError as error:
            raise self._gone() from error
        raise self._gone()

    def _wait(self, futures: list[Future[Result]]) -> set[Future[Result]]:
        """Return those that are done, as soon as there are any."""
        import distributed

        while True:
            try:
                waited = distributed.wait(futures, POLL, return_when="FIRST_COMPLETED")
                done: set[Future[Result]] = waited.done
                return done
            except CancelledError as error:
                raise self._gone() from error
            except asyncio.TimeoutError:
                self._check_workers()

    def _check_workers(self) -> None:
        """Raise ClusterError where there have been no workers for some time."""
        if not self._threads() and time.monotonic() - self._seen > NOBODY:
            raise ClusterError(
                f"no workers are left at {self._address}: start some, and then this again"
            )

    def _result(self, future: Future[Result]) -> Result:
        """Return what a task returned, or raise what it raised or what became of its workers."""
        import distributed

        try:
            while True:
                try:
                    result: Result = future.result(POLL)
                    return result
                except asyncio.TimeoutError:  # the worker that had it is gone: it is computed anew
                    if future.status == "error":  # no: the task itself has raised it
                        raise
                    self._check_workers()
        except distributed.KilledWorker as error:
            raise MemoryError(
                "it seems: one worker after the other died of it; give them more memory, or fewer "
                "threads"
            ) from error
        except CancelledError as error:
            raise self._gone() from error

    def _gone(self) -> ClusterError:
        return ClusterError(
            f"the Dask scheduler at {self._address} went away: start it, and then this again"
        )


def _same(value: Result) -> Result:
    return value


def _run(function: Callable[[Piece], Result], piece: Piece, rounds: int) -> Result:
    """Call ``function(piece)`` on a worker; where ``rounds`` is 1, with all of its threads."""
    with limited(threads_given() // rounds):
        return function(piece)
