"""Measure the memory of the machine and of this process, and let freed memory be kept."""

from __future__ import annotations

import contextlib
import ctypes
import math
import os
import sys
from pathlib import Path
from typing import Any

KEEP_BYTES = 32 << 20
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # malloc.h


def physical_bytes() -> float:
    """Return the bytes of memory of this machine; infinity where the system does not tell."""
    if sys.platform == "win32":
        return windows_physical_bytes(ctypes.windll.kernel32)
    if "SC_PHYS_PAGES" in getattr(os, "sysconf_names", ()):
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return math.inf


class _MemoryStatus(ctypes.Structure):
    """Windows's MEMORYSTATUSEX: its own size, and after two numbers of 32 bits seven of 64."""

    _fields_ = (
        ("length", ctypes.c_uint32),
        ("load", ctypes.c_uint32),
        ("physical", ctypes.c_uint64),
        ("others", 6 * ctypes.c_uint64),
    )


def windows_physical_bytes(kernel32: Any) -> float:
    """Ask Windows's library ``kernel32`` for the bytes of memory; infinity if it does not tell."""
    status = _MemoryStatus(length=ctypes.sizeof(_MemoryStatus))
    known = kernel32.GlobalMemoryStatusEx(ctypes.byref(status))
    return int(status.physical) if known else math.inf


def peak_resident_bytes() -> int | None:
    """Return the largest resident size of this process so far; None where it is not known."""
    # Linux's getrusage also counts what the process held before it executed this program.
    with contextlib.suppress(OSError, StopIteration):
        lines = Path("/proc/self/status").read_text().splitlines()
        line = next(line for line in lines if line.startswith("VmHWM:"))
        return 1024 * int(line.split()[1])
    try:
        import resource
    except ImportError:  # Windows
        return None
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # macOS counts bytes


def limit_memory(more_bytes: int) -> None:
    """Let this process take no more than so many bytes beyond what it has; on Linux alone."""
    with contextlib.suppress(ImportError, OSError):  # not on Windows; not on macOS
        import resource

        size = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
        _, hard = resource.getrlimit(resource.RLIMIT_AS)
        limit = size + more_bytes
        limit = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
        resource.setrlimit(resource.RLIMIT_AS, (limit, hard))


def keep_freed_memory() -> None:
    """Let the C library keep up to ``KEEP_BYTES`` of freed memory per thread for later use.

    Otherwise glibc returns the arrays of a picture to the system when it is done, and the next
    picture gets them again page by page, zeroed: 5% of the time of a folder of pictures. Other
    C libraries are left as they are.
    """
    with contextlib.suppress(OSError, AttributeError, TypeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(M_MMAP_THRESHOLD, KEEP_BYTES)
        mallopt(M_TRIM_THRESHOLD, KEEP_BYTES)
