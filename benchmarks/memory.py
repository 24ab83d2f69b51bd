"""Measure memory beyond input and output, of the network on images of growing size."""

from __future__ import annotations

import argparse
import importlib.util
import subprocess
import sys
from collections.abc import Iterator

from benchmarks.measure import Row

SIZES = {"1080p": (1080, 1920), "4K": (2160, 3840), "8K": (4320, 7680)}
PEERS = {"npsrcnn": "npsrcnn", "ONNX Runtime": "onnxruntime", "PyTorch": "torch"}
CODE = """
import sys
import numpy as np
from benchmarks import peers
from npsrcnn import SRCNN
from npsrcnn.runtime import memory

name, by, threads, *shape = sys.argv[1:]
net = SRCNN(name, seed=1, padding="zeros")

def run(x):
    if by == "npsrcnn":
        with peers.npsrcnn_threads(int(threads)):
            return net.forward(x)
    return peers.PEERS[by].make(net, x, int(threads))()

run(np.ones((1, 1, 64, 64), np.float32))
x = np.ones((1, 1, *map(int, shape)), np.float32)
before = memory.peak_resident_bytes()
y = run(x)
print(max(0, memory.peak_resident_bytes() - before - y.nbytes))
"""


def rows(options: argparse.Namespace) -> Iterator[Row]:
    """Measure the peak of a process's resident memory, less that before the run and the result."""
    threads = options.threads_list[-1]
    for name in options.networks or ("9-1-5", "9-5-5"):
        for size, shape in SIZES.items():
            for by, package in PEERS.items():
                if importlib.util.find_spec(package):
                    arguments = [name, by, str(threads), *map(str, shape)]
                    run = subprocess.run(
                        [sys.executable, "-c", CODE, *arguments], capture_output=True, text=True
                    )
                    if run.returncode == 0:  # else it had too little memory, and has no row
                        extra = int(run.stdout.split()[-1]) / 2**20
                        yield Row("memory", f"{name} {size}", by, threads, value=f"{extra:.0f} MiB")
