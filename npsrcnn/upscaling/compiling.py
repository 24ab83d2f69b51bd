"""Compile kernels in several processes side by side, when a processor sees its first picture.

Each of these processes, which :func:`compile_kernels` starts, takes the next job of :data:`JOBS`
that nobody has taken, and the compiled kernels are in Numba's cache then.
"""

from __future__ import annotations

import contextlib
import functools
import gc
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from npsrcnn.images import png
from npsrcnn.kernels.cpu import inference
from npsrcnn.kernels.cpu import inference_stages as stages
from npsrcnn.kernels.cpu.inference_plan import make_plan
from npsrcnn.model.network import SRCNN
from npsrcnn.pixels.resize import imresize
from npsrcnn.runtime.apart import python_calling
from npsrcnn.runtime.jit import cache_folders, compilations
from npsrcnn.runtime.lean_blas import import_blas_alone
from npsrcnn.runtime.threads import get_num_threads
from npsrcnn.upscaling.enlarger import planes_of, write_pixels
from npsrcnn.upscaling.flat import subtract_flat_error

MOST_PROCESSES = 4
"""What there is to compile takes 5 s, and a process costs half a second itself (two cores)."""
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

    Numba compiles one kernel at a time in a process, so on a processor's first start others take
    part. What they fail at, and what a later start lacks, is compiled when it is called.

    Returns
    -------
    Compiled
    """
    started = time.perf_counter()
    nets = [net for net in nets if net.device == "cpu"]
    needed = {name for net in nets for name in ("run", *stages.names(make_plan(net.layers)))}
    jobs = [job for job in JOBS if job in needed or job not in NETWORK_JOBS]
    with _keeping_garbage(), compilations() as compiled:
        if nets and inference.run_is_new():
            with queue_of(jobs) as queue, contextlib.ExitStack() as processes:
                start(queue, processes)
                do_jobs(queue)
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


@contextlib.contextmanager
def queue_of(jobs: Iterable[str]) -> Iterator[int]:
    """Make a pipe of jobs, a byte each, and yield where to read them: a byte is read only once."""
    queue, end = os.pipe()
    try:
        os.write(end, bytes(list(JOBS).index(job) for job in jobs))
        os.close(end)
        yield queue
    finally:
        os.close(queue)


def do_jobs(queue: int) -> None:
    """Do jobs as long as any are in the queue, from which other processes take theirs."""
    while number := os.read(queue, 1):
        list(JOBS.values())[number[0]]()


def start(queue: int, processes: contextlib.ExitStack) -> None:
    """Start processes that do jobs of the queue, for which ``processes`` waits at its end."""
    for _ in range(min(get_num_threads(), MOST_PROCESSES) - 1):
        nowhere = subprocess.DEVNULL
        command = python_calling(__name__)
        process = subprocess.Popen(command, stdin=queue, stdout=nowhere, stderr=nowhere)
        processes.enter_context(process)


def _resizing() -> None:
    imresize(np.zeros((16, 15), np.float32), 3)


def _colors() -> None:
    net = SRCNN("9-1-5", n=(8, 8))
    pixels = np.zeros((16, 15, 3), np.uint8)
    planes = planes_of(pixels, net, 255)
    subtract_flat_error(net, planes[:1], planes[:1].copy())
    write_pixels(planes, net, 255, pixels)


def _png() -> None:
    png.encode(np.zeros((16, 15, 3), np.uint8), [])


NETWORK_JOBS: dict[str, Callable[[], object]] = {
    "run": inference.compile_run,
    **{name: functools.partial(stages.compiled, name) for name in stages.KERNELS},
}
"""Parts of what there is to compile for networks, each on its own, the longest first."""
JOBS = {**NETWORK_JOBS, "colors": _colors, "resizing": _resizing, "png": _png}
"""And with those for pictures of 8 bits."""


def main() -> None:
    """Do jobs of the queue that is this process's standard input."""
    import_blas_alone()
    with _keeping_garbage():
        do_jobs(sys.stdin.fileno())
    os._exit(0)  # or Python takes apart all that there is first, which takes 0.1 to 0.3 s
