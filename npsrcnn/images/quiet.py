"""Keep quiet about odd files."""

from __future__ import annotations

import threading
import warnings


class _WarningsIgnored:
    """Ignore Pillow's warnings about odd files, on any number of threads.

    (warnings.catch_warnings changes what is common to all threads: entered and left by several
    out of order, it would leave the warnings off for good.)
    """

    def __init__(self) -> None:
        self.lock, self.inside = threading.Lock(), 0

    def __enter__(self) -> None:
        with self.lock:
            if self.inside == 0:
                self.caught = warnings.catch_warnings()
                self.caught.__enter__()
                warnings.simplefilter("ignore")
            self.inside += 1

    def __exit__(self, *error: object) -> None:
        with self.lock:
            self.inside -= 1
            if self.inside == 0:
                self.caught.__exit__(None, None, None)


warnings_ignored = _WarningsIgnored()
