"""Keep what belongs to each open tab: a private folder, and work that can be cancelled."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import TypeVar

from npsrcnn.errors import UserError

KEPT_SECONDS = 3600.0
SWEEP_SECONDS = 300.0
LOOK_SECONDS = 0.25
PATIENCE = 20.0  # seconds for work to end that was cancelled

T = TypeVar("T")


class Cancelled(Exception):
    """The person who wanted this no longer does."""


class Session:
    """What belongs to one open tab.

    Attributes
    ----------
    folder : Path
        For its files alone; readable by this user of the machine.
    used : float
        ``time.monotonic()`` of its last work.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.used = folder, time.monotonic()
        self._working = threading.Lock()
        self._cancelled = threading.Event()
        self._at_end: list[Callable[[], None]] = []
        self._running: set[Future[None]] = set()

    @property
    def cancelled(self) -> bool:
        """Return whether the work that goes on is to end."""
        return self._cancelled.is_set()

    @property
    def busy(self) -> bool:
        """Return whether work goes on."""
        return self._working.locked()

    def cancel(self) -> None:
        """Let the work that goes on end as soon as it can."""
        self._cancelled.set()

    def check(self) -> None:
        """Raise Cancelled if the work that goes on is to end."""
        if self.cancelled:
            raise Cancelled

    @contextlib.contextmanager
    def work(self, name: str) -> Iterator[Path]:
        """Provide an empty folder for a piece of work; one at a time.

        Raises
        ------
        UserError
            Another piece of work goes on, or the tab was closed.
        """
        if not self._working.acquire(blocking=False):
            raise UserError("this page is still at work: wait for it, or cancel")
        try:
            self._cancelled.clear()
            if not self.folder.exists():
                raise UserError("this page's files are gone: load it anew")
            self.used = time.monotonic()
            yield Path(tempfile.mkdtemp(prefix=f"{name}-", dir=self.folder))
        finally:
            self.used = time.monotonic()
            self._working.release()

    def reports(self, work: Callable[[Callable[[T], None]], None]) -> Iterator[T | None]:
        """Call ``work(report)`` in a thread of its own, and yield what it reports.

        ``work`` calls :meth:`check` now and then. A page need not wait for it: where nothing is
        reported for a while, None is yielded. An iterator that is closed early cancels the work,
        and waits for its end.

        Raises
        ------
        Cancelled
            The work was cancelled; and what it raises itself.
        """
        told: SimpleQueue[T | None] = SimpleQueue()
        with ThreadPoolExecutor(1, thread_name_prefix="npsrcnn-app") as thread:
            running = thread.submit(work, told.put)
            self._running.add(running)
            running.add_done_callback(lambda _: told.put(None))
            try:
                while not (running.done() and told.empty()):
                    report = None
                    with contextlib.suppress(Empty):
                        report = told.get(timeout=LOOK_SECONDS)
                    yield report
            finally:
                if not running.done():
                    self.cancel()
                wait([running])
                self._running.discard(running)
            running.result()

    def at_end(self, action: Callable[[], None]) -> None:
        """Call ``action`` when the tab is closed."""
        self._at_end.append(action)

    def close(self) -> None:
        """Cancel what goes on, and delete all files."""
        self.cancel()
        for action in self._at_end:
            action()
        wait(list(self._running), PATIENCE)
        shutil.rmtree(self.folder, ignore_errors=True)


class Sessions:
    """The open tabs, each by the key that its browser sends, which names no file.

    A folder that nothing has used for an hour is deleted, and all of them at the end.

    Parameters
    ----------
    kept_seconds, sweep_seconds : float
        How long an unused folder is kept, and how often that is looked at.
    """

    def __init__(
        self, kept_seconds: float = KEPT_SECONDS, sweep_seconds: float = SWEEP_SECONDS
    ) -> None:
        self.root = Path(tempfile.mkdtemp(prefix="npsrcnn-app-")).resolve()
        self._open: dict[str, Session] = {}
        self._lock, self._ended = threading.Lock(), threading.Event()
        self._kept, self._pause = kept_seconds, sweep_seconds
        threading.Thread(target=self._sweep, name="npsrcnn-sweep", daemon=True).start()

    def of(self, key: str | None) -> Session:
        """Return the session of a tab, a new one at its first call."""
        with self._lock:
            if self._ended.is_set():
                raise UserError("the app has ended")
            if (key or "") not in self._open:
                folder = Path(tempfile.mkdtemp(prefix="tab-", dir=self.root))
                self._open[key or ""] = Session(folder)
            return self._open[key or ""]

    def close(self, key: str | None) -> None:
        """Forget a tab, and all that it had."""
        with self._lock:
            session = self._open.pop(key or "", None)
        if session:
            session.close()

    def close_all(self) -> None:
        """End: nothing is left running, and no file behind."""
        self._ended.set()
        for key in list(self._open):
            self.close(key)
        shutil.rmtree(self.root, ignore_errors=True)

    def _sweep(self) -> None:
        while not self._ended.wait(self._pause):
            oldest = time.monotonic() - self._kept
            for key, session in list(self._open.items()):
                if session.used < oldest and not session.busy:
                    self.close(key)
