"""Keep quiet about odd files."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import logging
import threading
import warnings

from PIL import _imaging

# What Pillow and tifffile log of odd files would otherwise go to stderr where no program has set up
# logging.
logging.getLogger("PIL").addHandler(logging.NullHandler())
logging.getLogger("tifffile").addHandler(logging.NullHandler())


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


@functools.cache
def keep_libtiff_quiet() -> None:
    """Let Pillow's libtiff print nothing of damaged files, for which Pillow raises errors.

    Its warnings Pillow itself keeps off stderr, and as there it is for the whole process: handlers
    that came and went would be in the way of other threads. Where libtiff is a part of Pillow's own
    module (on Windows), and its functions cannot be found, it prints.
    """
    with contextlib.suppress(OSError, AttributeError):
        set_handler = ctypes.CDLL(_imaging.__file__).TIFFSetErrorHandler
        set_handler.argtypes, set_handler.restype = [ctypes.c_void_p], ctypes.c_void_p
        set_handler(None)
