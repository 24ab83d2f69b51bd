"""How much memory there is, and how much this process has taken."""

from __future__ import annotations

import contextlib
import ctypes
import math
import os
from pathlib import Path

KEPT = 32 << 20  # bytes
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # malloc.h


def of_machine() -> float:
    """Bytes of memory that this machine has; infinity where the system does not tell."""
    if hasattr(os, "sysconf"):
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return math.inf


def peak() -> int | None:
    """Bytes that this process has had resident at most, where the system tells."""
    with contextlib.suppress(OSError, StopIteration):  # what Linux's getrusage has is also what
        lines = Path("/proc/self/status").read_text().splitlines()  # the process before it had
        line = next(line for line in lines if line.startswith("VmHWM:"))
        return 1024 * int(line.split()[1])
    try:
        import resource
    except ImportError:  # Windows
        return None
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # macOS counts bytes


def keep_freed() -> None:
    """Let the C library keep memory that is freed for who asks next, ``KEPT`` bytes a thread.

    Otherwise glibc gives the arrays of a picture back to the system when it is done, and the next
    picture gets them again page by page, zeroed: 5% of the time of a folder of pictures. Other
    C libraries are left as they are.
    """
    with contextlib.suppress(OSError, AttributeError, TypeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(M_MMAP_THRESHOLD, KEPT)
        mallopt(M_TRIM_THRESHOLD, KEPT)
