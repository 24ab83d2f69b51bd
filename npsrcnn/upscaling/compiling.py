"""Compile kernels in several processes side by side, when a processor sees its first picture.

Each of these processes, which :func:`compile_kernels` starts, does jobs of :data:`JOBS`, and the
compiled kernels are in Numba's cache then.
"""

from __future__ import annotations

import contextlib
import functools
import gc
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from npsrcnn import images
from npsrcnn.kernels.cpu import inference
from npsrcnn.kernels.cpu import inference_stages as stages
from npsrcnn.kernels.cpu.inference_plan import make_plan
from npsrcnn.model.network import SRCNN
from npsrcnn.pixels.resize import imresize
from npsrcnn.runtime.apart import python_calling
from npsrcnn.runtime.jit import cache_folders, compilations, when_compiling
from npsrcnn.runtime.lean_blas import import_blas_alone
from npsrcnn.runtime.threads import get_num_threads
from npsrcnn.upscaling.enlarger import planes_of, write_pixels
from npsrcnn.upscaling.flat import subtract_flat_error

NOT_KEPT = "at every start, as no folder can keep them: set NUMBA_CACHE_DIR to one"


class Compiled(NamedTuple):
    """How long kernels took to compile, 0 if a cache had them, and the folders that keep them."""

    seconds: float = 0.0
    folders: tuple[str, ...] = ()

    def __str__(self) -> str:
        """Say it in one line, and whether it will be so again."""
        line = f"kernels compiled for this processor in {self.seconds:.1f} s: "
        if self.folders:
            return line + f"only this once, kept in {' and '.join(self.folders)}"
        return line + NOT_KEPT


def folders() -> list[str]:
    """Return the folders that keep compiled kernels for the next start, if any."""
    return sorted(str(folder) for folder in cache_folders(stages.KERNELS.values()))


def compile_kernels(nets: Sequence[SRCNN]) -> Compiled:
    """Compile the kernels of networks on the CPU, and those of pictures of 8 bits.

    Numba compiles one kernel at a time in a process, so other processes compile what this one
    does not, but only if something is missing in the cache. What they fail at is compiled when
    it is called.

    Returns
    -------
    Compiled
    """
    started = time.perf_counter()
    nets = [net for net in nets if net.device == "cpu"]
    needed = {name for net in nets for name in _stages(net)}
    slowest_first = [name for name in stages.KERNELS if name in needed]
    own, *others = share_jobs(slowest_first, get_num_threads())
    with _keeping_garbage(), compilations() as compiled:
        with contextlib.ExitStack() as processes, when_compiling(lambda: _start(others, processes)):
            if nets:
                inference.compile_common()
            for job in own:
                JOBS[job]()
        for net in nets:
            net.forward(np.zeros((1, net.channels, 16, 16), np.float32))
    if not compiled:
        return Compiled()
    kept = sorted(str(folder) for folder in cache_folders(compiled))
    return Compiled(time.perf_counter() - started, tuple(kept))


@contextlib.contextmanager
def _keeping_garbage() -> Iterator[None]:
    """Let Python not look for garbage meanwhile: of all that compiling makes, little is.

    With that and no look at the end of other processes a first start takes 0.93 of the time, and
    0.91 of the processors' (9-1-5 and 9-5-5, two cores, AMD Zen 4).
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def share_jobs(stages: list[str], cores: int) -> list[list[str]]:
    """Share out jobs of :data:`JOBS`: first those of this process, then of each other one.

    ``stages`` are the kernels of the networks, the slowest to compile first.

    A process costs a second itself: on two cores 9-1-5 took 7.3 s with three others, 6.5 with one.
    """
    if cores > 3:
        return [[], stages[::2], [*stages[1::2], "resizing"], ["pictures"]]
    if cores == 3:
        return [[], stages, ["resizing", "pictures"]]
    rest = ["resizing", "pictures"]  # each takes as long as a kernel, and the other starts later
    if len(stages) % 2:
        return [stages[::2], [*stages[1::2], *rest]]
    return [[*stages[::2], "resizing"], [*stages[1::2], "pictures"]]


def _start(parts: Sequence[Sequence[str]], processes: contextlib.ExitStack) -> None:
    """Start a process for each part, for which ``processes`` waits at its end."""
    for jobs in parts:
        command = python_calling(__name__, *jobs)
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        processes.enter_context(process)


def _stages(net: SRCNN) -> list[str]:
    """Name the kernels of all stages but the last, which ``inference.compile_common`` compiles."""
    return stages.names(make_plan(net.layers))[:-1]


def _resizing() -> None:
    imresize(np.zeros((16, 15), np.float32), 3)


def _pictures() -> None:
    net = SRCNN("9-1-5", n=(8, 8))
    pixels = np.zeros((16, 15, 3), np.uint8)
    planes = planes_of(pixels, net, 255)
    subtract_flat_error(net, planes[:1], planes[:1].copy())
    write_pixels(planes, net, 255, pixels)
    write_and_read(pixels)


def write_and_read(pixels: np.ndarray) -> None:
    """Compile what writing such pixels to a PNG file and reading them takes."""
    with tempfile.TemporaryDirectory() as folder:
        images.write(Path(folder) / "picture.png", pixels)
        images.read(Path(folder) / "picture.png")


JOBS: dict[str, Callable[[], object]] = {
    **{name: functools.partial(stages.compiled, name) for name in stages.KERNELS},
    "resizing": _resizing,
    "pictures": _pictures,  # of 8 bits: with resizing all that a first start needs but the network
}
"""Parts of what there is to compile, each on its own."""


def main() -> None:
    """Do the jobs that the process was started with."""
    import_blas_alone()
    with _keeping_garbage():
        for job in sys.argv[1:]:
            JOBS[job]()
    gc.freeze()  # or Python looks through all of it at its end, which takes 0.3 s
