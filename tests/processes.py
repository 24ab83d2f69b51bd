"""Python processes that tests start: they find what the tests find, in whatever folder they run."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import npsrcnn

PACKAGE = Path(npsrcnn.__file__).resolve().parent


def run_python(code: str, *, beside: str | Path = __file__, **environment: str) -> str:
    """Run ``code`` in a process of its own; return what it printed.

    It can import npsrcnn, the modules of this folder, and those in the folder of the file
    ``beside``: a test gives its own ``__file__`` to run functions of its own.
    """
    folders = [str(PACKAGE.parent), str(Path(__file__).parent), str(Path(beside).parent)]
    path = os.pathsep.join([*folders, os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": path, **environment},
        capture_output=True,
        text=True,
        timeout=600,  # a process that waits for threads which it has not
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
