"""Say on what a result was made: version, system, processor."""

from __future__ import annotations

import datetime
import platform
from importlib.metadata import version
from pathlib import Path

from npsrcnn.runtime.threads import get_num_threads
from npsrcnn.version import __version__
from npsrcnn.words import counted


def machine_facts() -> dict[str, str]:
    """Return name and value of what identifies this machine and its software, and the date."""
    libraries = ", ".join(f"{name} {version(name)}" for name in ("numpy", "numba"))
    return {
        "npsrcnn": __version__,
        "processor": f"{_processor()}, {counted(get_num_threads(), 'thread')}",
        "system": f"{platform.system()} {platform.machine()}",
        "Python": f"{platform.python_version()}, {libraries}",
        "date": datetime.datetime.now().isoformat(" ", "minutes"),
    }


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
