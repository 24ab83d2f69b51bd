"""The first start of all: processes compile side by side what a picture needs."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from collections.abc import Sequence

import numpy as np

from npsrcnn.kernels import inference, stages
from npsrcnn.kernels.jit import compilations, when_compiling
from npsrcnn.kernels.plan import make_plan
from npsrcnn.kernels.threads import get_num_threads
from npsrcnn.network import SRCNN


def compile_kernels(nets: Sequence[SRCNN]) -> float:
    """Compile the kernels of networks, and beside them those of pictures of 8 bits.

    Numba compiles one kernel at a time in a process, so others take what this one does not. What
    they fail at is compiled when it is called.

    Returns
    -------
    float
        How many seconds it took; 0 if the cache had all kernels.
    """
    started = time.perf_counter()
    nets = [net for net in nets if net.device == "cpu"]
    slowest_first = [name for name in stages.KERNELS if any(name in _stages(net) for net in nets)]
    own, *others = _parts(slowest_first, get_num_threads())
    with compilations() as compiled:
        with contextlib.ExitStack() as processes, when_compiling(lambda: _begin(others, processes)):
            if nets:
                inference.compile_common()
            for name in own:
                stages.compiled(name)
        for net in nets:
            net.forward(np.zeros((1, net.channels, 16, 16), np.float32))
    return time.perf_counter() - started if compiled else 0.0


def _parts(stages: list[str], cores: int) -> list[list[str]]:
    """Which jobs of :mod:`npsrcnn.warmup` this process has, and each other: one for a core.

    A process costs a second itself: on two cores 9-1-5 took 7.3 s with three others, 6.5 with one.
    """
    if cores > 3:
        return [[], stages[::2], [*stages[1::2], "resizing"], ["pictures"]]
    if cores == 3:
        return [[], stages, ["resizing", "pictures"]]
    return [stages[::2], [*stages[1::2], "resizing", "pictures"]]


def _begin(parts: Sequence[Sequence[str]], processes: contextlib.ExitStack) -> None:
    """Start other processes, for which ``processes`` waits at its end."""
    for jobs in parts:
        command = [sys.executable, "-m", "npsrcnn.warmup", *jobs]
        quiet = dict.fromkeys(("stdout", "stderr"), subprocess.DEVNULL)
        processes.enter_context(subprocess.Popen(command, **quiet))


def _stages(net: SRCNN) -> list[str]:
    """The kernels of its stages but the last, which :func:`inference.compile_common` compiles."""
    return stages.names(make_plan(net.layers))[:-1]
