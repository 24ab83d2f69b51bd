"""Keep what belongs to each open tab: a private folder, and work that can be cancelled."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from npsrcnn.errors import UserError

KEPT_SECONDS = 3600.0
SWEEP_SECONDS = 300.0


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

    def at_end(self, action: Callable[[], None]) -> None:
        """Call ``action`` when the tab is closed."""
        self._at_end.append(action)

    def close(self) -> None:
        """Cancel what goes on, and delete all files."""
        self.cancel()
        for action in self._at_end:
            action()
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
