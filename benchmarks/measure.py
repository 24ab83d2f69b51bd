"""Measure side by side: interleaved medians, the machine, and its peak."""

from __future__ import annotations

import importlib.metadata
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from npsrcnn.errors import UserError
from npsrcnn.kernels.cpu.tiles import HAS_FMA, LANES, VECTOR, Emitter
from npsrcnn.runtime.jit import jit
from npsrcnn.runtime.threads import parallel

REPEATS = 7
PACKAGES = ("numpy", "numba", "torch", "onnxruntime", "openvino", "jax", "opencv-python-headless")
SETTLE = 0.05  # seconds
CHAINS = 12  # multiply-adds that do not wait for each other
ROUNDS = 8  # of them in one turn of the loop
TURNS = 400_000  # of the loop


@dataclass
class Row:
    """One measured number. What does not apply, or was not measured, is None."""

    subject: str
    case: str
    by: str
    threads: int
    ms: float | None = None  # median
    gflops: float | None = None  # useful: multiplications and additions of direct convolution
    share: float | None = None  # of the peak measured in the same run
    speedup: float | None = None  # of npsrcnn over this one
    value: str | None = None  # what is not a time

    def as_dict(self) -> dict[str, Any]:
        """Return the fields that are not None."""
        return {name: value for name, value in asdict(self).items() if value is not None}


def interleaved(
    contestants: dict[str, Callable[[], object]], repeats: int = REPEATS, patience: float = 10.0
) -> dict[str, float]:
    """Return median seconds of each, all taken in turn, so that a slow minute affects all alike.

    One that takes longer than ``patience`` seconds in its first run is left out. Before each time
    is taken it runs for a while uncounted: threads of the one before still spin, waiting for work.
    A rest instead would cost more: cores take tens of milliseconds to come back from it.
    """
    times: dict[str, list[float]] = {}
    for name, work in contestants.items():
        work()  # compile, choose algorithms, fill caches
        if seconds(work) <= patience:
            times[name] = []
    for _ in range(repeats):
        for name, found in times.items():
            begin = time.perf_counter()
            while time.perf_counter() - begin < SETTLE:
                contestants[name]()
            found.append(seconds(contestants[name]))
    return {name: statistics.median(found) for name, found in times.items()}


def seconds(work: Callable[[], object]) -> float:
    """Return how many seconds ``work`` takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def same(result: np.ndarray, expected: np.ndarray, what: str, tolerance: float = 1e-4) -> None:
    """Raise UserError where two contestants do not compute the same."""
    error = np.abs(result - expected).max() / np.abs(expected).max()
    if not error < tolerance:
        raise UserError(f"{what} differs by {error:.1e}: its speed says nothing")


def machine() -> dict[str, str]:
    """Return what the numbers are measured on: processor, system and versions."""
    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return {
        "processor": _processor(),
        "vector": f"{LANES} float32 lanes{', multiply-add' if HAS_FMA else ''}",
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        **versions,
    }


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                family = [
                    text.split(":")[1].strip()
                    for text in info.read_text(encoding="utf-8").splitlines()
                    if text.startswith(("cpu family", "model\t"))
                ]
                return f"{line.split(':')[1].strip()} (family {family[0]}, model {family[1]})"
    return platform.processor() or platform.machine()


@intrinsic
def _multiply_add(typing, turns):
    """Do CHAINS * ROUNDS multiply-adds of whole vectors a turn, in registers alone."""

    def generate(context, builder, signature, values):
        emit = Emitter(builder)
        splat = [ir.Constant(VECTOR, [value] * LANES) for value in (0.999, 1e-3)]

        def turn(index: ir.Value, sums: list) -> list:
            for _ in range(ROUNDS):
                sums = [emit.fma(one, *splat) for one in sums]
            return sums

        start = [ir.Constant(VECTOR, [0.1 * i] * LANES) for i in range(CHAINS)]
        sums = emit.loop(values[0], 1, start, turn)
        total = sums[0]
        for one in sums[1:]:
            total = builder.fadd(total, one)
        return builder.extract_element(total, ir.Constant(ir.IntType(32), 0))

    return types.float32(types.int64), generate


@jit
def _spin(i, turns, results):
    results[i] = _multiply_add(turns)


def peak(threads: int) -> Callable[[], object]:
    """Return a contestant of multiply-adds in registers; :func:`peak_gflops` rates its time."""
    results = np.zeros(threads, np.float32)
    return lambda: parallel(_spin, threads, TURNS, results)


def peak_gflops(threads: int, time_taken: float) -> float:
    """Return the rate of :func:`peak`."""
    return 2e-9 * threads * TURNS * CHAINS * ROUNDS * LANES / time_taken


def with_ratios(rows: list[Row]) -> list[Row]:
    """Fill in how much faster npsrcnn is than each other of the same case and threads."""
    for row in rows:
        ours = next(
            (
                r
                for r in rows
                if (r.case, r.threads, r.by) == (row.case, row.threads, "npsrcnn") and r.ms
            ),
            None,
        )
        if ours and row.ms and row is not ours:
            row.speedup = row.ms / ours.ms
    return rows
