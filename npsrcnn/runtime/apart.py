"""Start processes of this package's own; call a function in one, which may crash or take too much.

They import from where this process does. ``python -m`` would look in the current folder first, and
run a ``random.py`` that happens to lie among somebody's pictures.
"""

from __future__ import annotations

import contextlib
import pickle
import subprocess
import sys
from collections.abc import Callable
from typing import Any

from npsrcnn.errors import UserError
from npsrcnn.runtime.memory import limit_memory

LONGEST = 60  # seconds
MOST_BYTES = 1 << 30  # of memory, beyond what the process has when it begins; on Linux
PROGRAM = (  # the first of sys.path is the current folder here too, until it is replaced
    "import sys; sys.path[:] = {path!a}; from importlib import import_module; "
    "sys.exit(import_module(sys.argv.pop(1)).main())"
)


def python_calling(module: str, *arguments: str) -> list[str]:
    """Return the command for a process that calls ``main`` of a module of the package.

    Parameters
    ----------
    module : str
    *arguments : str
        What ``sys.argv`` has after its first there.
    """
    path = [str(folder) for folder in sys.path]
    return [sys.executable, "-c", PROGRAM.format(path=path), module, *arguments]


def call_apart(function: Callable[..., Any], *arguments: Any) -> Any:
    """Return what a function of a module makes of its arguments, in another process.

    Raises
    ------
    UserError
        What the function raises, or that its process did not come to an end.
    """
    if not sys.executable:  # Python within another program
        return function(*arguments)
    # What is sent is ours, and what comes back is made by our code.
    sent = pickle.dumps((function, arguments))
    try:
        done = subprocess.run(
            python_calling(__name__), input=sent, capture_output=True, timeout=LONGEST
        )
    except subprocess.TimeoutExpired as error:
        raise UserError(f"damaged: reading it takes more than {LONGEST} s") from error
    if done.returncode:
        raise UserError("damaged: its reader crashed, or ran out of memory")
    result = pickle.loads(done.stdout)
    if isinstance(result, UserError):
        raise result
    return result


def main() -> None:
    """Read a function and its arguments from standard input, and write what it makes of them."""
    function, arguments = pickle.loads(sys.stdin.buffer.read())
    with contextlib.suppress(ImportError, OSError):  # not on Windows
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # no file of a crash
    limit_memory(MOST_BYTES)
    try:
        result = function(*arguments)
    except UserError as error:
        result = UserError(str(error))
    sys.stdout.buffer.write(pickle.dumps(result))
