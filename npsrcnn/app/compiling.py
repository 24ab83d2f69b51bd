"""Compile the kernels that a first picture needs, in a process of its own, while the page loads.

In the server's own process the page would wait: compiling leaves other threads little time, and
Gradio gives up a page that does not answer within seconds.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

from npsrcnn.upscaling.choice import choose
from npsrcnn.upscaling.compiling import NOT_KEPT, compile_kernels, folders

LOOK_SECONDS = 0.5


class Kernels:
    """Kernels that are being compiled, and kept in Numba's cache, from the first call on."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Begin to compile what is missing, if there is a folder that keeps it."""
        if not folders():
            return
        self._process = subprocess.Popen(
            [sys.executable, "-m", "npsrcnn.app.compiling"],
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
        line = (
            "Kernels are being compiled for this processor: only this once, kept in "
            f"{' and '.join(kept)}. Go ahead."
        )
        while self._process is not None and self._process.poll() is None:
            yield line
            try:
                self._process.wait(LOOK_SECONDS)
            except subprocess.TimeoutExpired:
                continue
        yield ""

    def close(self) -> None:
        """End what goes on."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()


if __name__ == "__main__":
    choice, _ = choose(None, 2)
    compile_kernels(choice.likely.nets)
