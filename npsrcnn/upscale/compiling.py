"""The first start of all: two processes compile side by side what a picture needs."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from collections.abc import Sequence

import numpy as np

from npsrcnn.kernels.jit import compilations, when_compiling
from npsrcnn.network import SRCNN


def compile_kernels(nets: Sequence[SRCNN]) -> float:
    """Compile the kernels of networks, and beside them those of pictures of 8 bits.

    Numba compiles one kernel at a time in a process, so a second process takes the others. If it
    fails, they are compiled when they are called.

    Returns
    -------
    float
        How many seconds it took; 0 if the cache had all kernels.
    """
    started = time.perf_counter()
    with compilations() as compiled, contextlib.ExitStack() as processes:

        def begin() -> None:
            command = [sys.executable, "-m", "npsrcnn.warmup", "pictures"]
            quiet = dict.fromkeys(("stdout", "stderr"), subprocess.DEVNULL)
            processes.enter_context(subprocess.Popen(command, **quiet))

        with when_compiling(begin):
            for net in nets:
                if net.device == "cpu":
                    net.forward(np.zeros((1, net.channels, 16, 16), np.float32))
    return time.perf_counter() - started if compiled else 0.0
