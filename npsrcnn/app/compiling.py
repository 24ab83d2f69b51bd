"""Compile the kernels that a first picture needs, in a process of its own, while the page loads.

In the server's own process the page would wait: compiling leaves other threads little time, and
Gradio gives up a page that does not answer within seconds.
"""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Callable, Iterator, Sequence

from npsrcnn.runtime.apart import python_calling
from npsrcnn.runtime.jit import when_compiling
from npsrcnn.upscaling.choice import LIKELY_QUALITY, choose
from npsrcnn.upscaling.compiling import NOT_KEPT, compile_kernels, folders

LOOK_SECONDS = 0.5


def being_compiled(kept: Sequence[str]) -> str:
    """Return what to say while kernels are compiled that these folders keep."""
    return (
        "Kernels are being compiled for this processor: only this once, kept in "
        f"{' and '.join(kept)}."
    )


def telling(report: Callable[[str], None]) -> contextlib.AbstractContextManager[object]:
    """Report what to say if meanwhile this process must compile kernels that a folder keeps."""
    return when_compiling(lambda: report(being_compiled(folders())))


class Kernels:
    """Kernels that are being compiled, and kept in Numba's cache, from the first call on."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Begin to compile what is missing, if there is a folder that keeps it."""
        if not folders():
            return
        self._process = subprocess.Popen(
            python_calling(__name__),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def lines(self) -> Iterator[str]:
        """Yield what to say until all are compiled, and then nothing more to say.

        Where no folder keeps them, that is said, and stays.
        """
        kept = folders()
        if not kept:
            yield f"Kernels are compiled for this processor {NOT_KEPT}."
            return
        yield from self._until_compiled(f"{being_compiled(kept)} Go ahead.")
        yield ""

    def wait(self, report: Callable[[str], None], check: Callable[[], None]) -> None:
        """Wait until all are compiled; work that needs them would compile them a second time.

        ``report`` is called with what to say meanwhile, and ``check`` twice a second: what it
        raises ends the wait.
        """
        for line in self._until_compiled(being_compiled(folders())):
            report(line)
            check()

    def _until_compiled(self, line: str) -> Iterator[str]:
        """Yield ``line`` twice a second until all are compiled."""
        while self._process is not None and self._process.poll() is None:
            yield line
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(LOOK_SECONDS)

    def close(self) -> None:
        """End what goes on."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()


def main() -> None:
    """Be the process."""
    choice, _ = choose(None, 2, LIKELY_QUALITY)  # in colour: all kinds of kernels that ship
    compile_kernels(choice.likely.nets)
