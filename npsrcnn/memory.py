"""How much memory there is, and how much this process has taken."""

from __future__ import annotations

import contextlib
import math
import os
from pathlib import Path


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
