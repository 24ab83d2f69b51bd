"""`python -m benchmarks mpi`: training on ranks of this machine, beside threads in one process.

A rank has one thread. Ranks that a case does not need sleep meanwhile, and what is measured is
rank 0's: medians of the whole training step, all cases in turn. Also measured is what
docs/scaling.md builds its model on: a message there and back, the step without other ranks, and
what ranks do together in a step.
"""

from __future__ import annotations

import argparse
import functools
import importlib.util
import itertools
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from benchmarks.measure import Row
from npsrcnn import SRCNN
from npsrcnn.datasets import dead_leaves, sub_images
from npsrcnn.kernels.cpu.shares import Share
from npsrcnn.kernels.cpu.training import partial_sums
from npsrcnn.runtime.threads import set_num_threads
from npsrcnn.training.optimizers import SGD, paper_factors
from npsrcnn.training.ranks import ALONE, Ranks
from npsrcnn.training.trainer import Trainer

BATCH = 128
STEPS = 10  # in a turn
MESSAGES = (8, 1 << 10, 1 << 15, 1 << 18)  # bytes
ROUND_TRIPS = 300


def rows(options: argparse.Namespace) -> Iterator[Row]:
    """Measure strong scaling (a batch for all), weak scaling (one each), and their parts."""
    if importlib.util.find_spec("mpi4py") is None or _mpiexec() is None:
        return
    most = options.threads_list[-1]
    found = _measured(most, options.repeats)
    for kind in ("strong", "weak"):
        for count in range(1, most + 1):
            batch = BATCH * (count if kind == "weak" else 1)
            for by in ("ranks", "threads"):
                ms, one = (found[f"{kind} {by} {n}"] for n in (count, 1))
                gain = one / ms * (count if kind == "weak" else 1)
                yield Row(
                    "mpi", f"9-1-5, step of {batch}, {kind} scaling", f"{count} {by}", count, ms,
                    value=f"{1e3 * batch / ms:,.0f} sub-images/s, {gain:.2f} times one",
                )  # fmt: skip
    for case in sorted(set(found) - {case for case in found if case[:4] in ("stro", "weak")}):
        value = f"{1e3 * found[case]:,.1f} µs" if found[case] < 1 else None
        yield Row("mpi", case, "npsrcnn", 1, found[case], value=value)


def _mpiexec() -> str | None:
    return shutil.which("mpiexec", path=Path(sys.executable).parent) or shutil.which("mpiexec")


def _measured(ranks: int, repeats: int) -> dict[str, float]:
    """Return what rank 0 of so many has measured, in milliseconds."""
    root = {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
    command = [_mpiexec(), "--oversubscribe", "--bind-to", "none", "-n", str(ranks)]
    result = subprocess.run(
        [*command, sys.executable, "-m", "benchmarks.mpi", str(repeats)],
        env={**os.environ, **root}, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True,
        check=True,
    )  # fmt: skip
    return json.loads(result.stdout)


def measure(repeats: int) -> dict[str, float]:
    """Measure on every rank; return medians in milliseconds on rank 0."""
    from npsrcnn.training import mpi

    world = mpi.MPI.COMM_WORLD
    source = sub_images(dead_leaves(8), 3, orientations=True)
    cases: dict[str, Callable[[], None]] = {}
    for count in range(1, world.size + 1):
        comm = world.Split(0 if world.rank < count else 1)
        ranks = mpi.MPIRanks(comm)
        for kind, batch in (("strong", BATCH), ("weak", BATCH * count)):
            if world.rank < count:
                cases[f"{kind} ranks {count}"] = _steps(_trainer(source, batch, ranks), 1)
            if world.rank == 0:
                cases[f"{kind} threads {count}"] = _steps(_trainer(source, batch), count)
        if world.rank < count:
            cases |= {
                f"{name}, {count} ranks": functools.partial(_repeated, work)
                for name, work in _together(_trainer(source, BATCH, ranks), ranks).items()
            }
    if world.rank == 0:
        cases |= _alone(source)
    if world.rank < 2:
        for size in MESSAGES:
            cases[f"a message of {size:,} bytes, one way"] = functools.partial(
                _round_trips, world, size
            )
    names = world.bcast(list(cases))
    times: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(repeats + 1):  # the first turn compiles
        for name in names:
            _wait(world)
            began = time.perf_counter()
            if name in cases:
                per_call = cases[name]()
                times[name].append(1e3 * (time.perf_counter() - began) / per_call)
    return {name: statistics.median(taken[1:]) for name, taken in times.items() if taken[1:]}


def _wait(comm) -> None:
    """Wait for all ranks, asleep."""
    request = comm.Ibarrier()
    while not request.Test():
        time.sleep(2e-3)


def _trainer(source, batch: int, ranks: Ranks = ALONE) -> Trainer:
    net = SRCNN("9-1-5", seed=1)
    optimizer = SGD(net.layers, paper_factors(3))
    return Trainer(
        net, source, optimizer, lambda step, progress: 1e-6,
        batch=batch, clip=1.0, average=0.999, ranks=ranks,
    )  # fmt: skip


def _steps(trainer: Trainer, threads: int) -> Callable[[], int]:
    """Return a case: some more steps."""

    def steps() -> Iterator[float]:
        while True:
            yield from trainer.run_epoch(lambda step: 0.0)

    running = steps()

    def work() -> int:
        set_num_threads(threads)
        for _ in itertools.islice(running, STEPS):
            pass
        return STEPS

    return work


def _together(trainer: Trainer, ranks) -> dict[str, Callable[[], object]]:
    """Return what ranks do together in a step, and MPI's own way of adding up."""
    from npsrcnn.training.mpi import Partition

    partition = Partition.of(BATCH, ranks.size)
    sums, losses = _part(trainer, trainer.source, partition.shares[ranks.rank])
    total = np.empty(sums.shape[1], np.float32)
    return {
        "agreeing on a step": lambda: ranks.agree_on_step(trainer.net.layers, 0, 0.0),
        "adding up the gradients": lambda: ranks.add_up(sums, losses, partition),
        f"MPI's all-reduce of {total.nbytes:,} bytes": lambda: ranks.comm.Allreduce(sums[0], total),
    }


def _part(trainer, source, share: Share) -> tuple[np.ndarray, np.ndarray]:
    inputs, labels = next(source.batches(0, 0, BATCH, rows=share.rows))
    return partial_sums(trainer.net.layers, inputs, labels, share=share)


def _alone(source) -> dict[str, Callable[[], int]]:
    """Return the parts of a step on one thread: partial sums of some slots."""
    net = SRCNN("9-1-5", seed=1)

    def partial(share, inputs, labels) -> int:
        set_num_threads(1)
        for _ in range(STEPS):
            partial_sums(net.layers, inputs, labels, share=share)
        return STEPS

    cases = {}
    for parts in (1, 2, 4, 16):
        share = Share.of(BATCH, 0, parts)
        batch = next(source.batches(0, 0, BATCH, rows=share.rows))
        name = f"partial sums of {len(share.rows):3} sub-images"
        cases[name] = functools.partial(partial, share, *batch)
    return cases


def _repeated(work: Callable[[], object]) -> int:
    for _ in range(ROUND_TRIPS):
        work()
    return ROUND_TRIPS


def _round_trips(comm, size: int) -> int:
    data = np.zeros(size, np.uint8)
    for _ in range(ROUND_TRIPS):
        for sender in (0, 1):
            if comm.rank == sender:
                comm.Send(data, 1 - sender)
            else:
                comm.Recv(data, 1 - comm.rank)
    return 2 * ROUND_TRIPS


if __name__ == "__main__":
    said = measure(int(sys.argv[1]))
    if said and "strong threads 1" in said:  # rank 0's
        print(json.dumps(said))
