"""Training on a cluster: ranks that compute parts of every batch, to the bits of one process.

The gradients of a batch are added up, in a fixed order, from partial sums that belong to fixed
parts of it (:mod:`npsrcnn.kernels.cpu.shares`). Each rank computes some of those. Then it receives,
of its part of the gradients, everybody's partial sums, adds them up in that order, and the totals
go to all. This is MPI's all-reduce in its two halves, reduce-scatter and all-gather, with the order
of the sum in our hands: MPI's own depends on the number of ranks. Then every rank takes the same
step.

Before every step all ranks agree that there is one. They agree on errors that the user can fix too,
so that rank 0 reports them once and saves what it has; at any other error a rank ends all others.
"""

from __future__ import annotations

import contextlib
import functools
import io
import os
import platform
import sys
import traceback
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np

from npsrcnn.datasets.cutting import Rows
from npsrcnn.errors import DataError, UsageError, UserError, describe
from npsrcnn.kernels.cpu import training
from npsrcnn.kernels.cpu.shares import Share, fills_groups
from npsrcnn.kernels.cpu.tiles import HAS_FMA, LANES
from npsrcnn.layers import Layers
from npsrcnn.model.network import SRCNN
from npsrcnn.runtime.files import quoted
from npsrcnn.runtime.threads import get_num_threads, set_num_threads
from npsrcnn.training.optimizers import parameters
from npsrcnn.training.ranks import FIXABLE, Ranks, TrainingStopped
from npsrcnn.version import __version__
from npsrcnn.words import counted

try:
    from mpi4py import MPI
except (ImportError, RuntimeError) as error:  # no mpi4py; or one that finds no MPI
    raise UserError(
        f'--mpi needs mpi4py and an MPI ({describe(error)}): pip install "npsrcnn[mpi]", or '
        "mpi4py alone where the cluster has its MPI"
    ) from error

T = TypeVar("T")
ALIKE = {"version": __version__, "SIMD lanes": LANES, "fused multiply-add": HAS_FMA}


@dataclass(frozen=True)
class Partition:
    """Hold all ranks' shares of a batch, and what the sum of their gradients needs of them."""

    shares: list[Share]
    slots: list[int]  # partial sums of each rank
    groups: list[np.ndarray]  # numbers of each rank's groups of sub-images

    @classmethod
    @functools.cache
    def of(cls, batch: int, ranks: int) -> Partition:
        """Divide a batch among so many ranks."""
        shares = [Share.of(batch, rank, ranks) for rank in range(ranks)]
        return cls(shares, [share.slots for share in shares], [share.groups for share in shares])


class MPIRanks(Ranks):
    """Train together with the processes of an MPI communicator."""

    def __init__(self, comm: MPI.Comm) -> None:
        self.comm, self.rank, self.size = comm, comm.rank, comm.size

    def on_all_ranks(self, work: Callable[[], T]) -> T:
        """Return ``work()``, done by every rank. Where one fails all do, and the root says why."""
        try:
            result = work()
        except FIXABLE as error:
            self.raise_if_any_failed(error)
            raise
        self.raise_if_any_failed(None)
        return result

    def from_root(self, work: Callable[[], T]) -> T:
        """Return on every rank the result of ``work()``, which the root alone does."""
        result: T = self.comm.bcast(self.on_all_ranks(work if self.is_root else lambda: None))
        return result

    def raise_if_any_failed(self, failed: BaseException | None) -> None:
        """End with an error on every rank if one rank has ``failed``; every rank calls this.

        Raises
        ------
        DataError, and what has ``failed`` on rank 0
            There. The other ranks exit in silence.
        """
        place = f"rank {self.rank} on {platform.node()}"
        errors = self.comm.allgather(failed and f"{place}: {describe(failed)}")
        first = next((error for error in errors if error), None)
        if first and not self.is_root:
            sys.exit(1)
        if failed:
            raise failed
        if first:
            raise DataError(first)

    def check_alike(self, facts: dict[str, object]) -> None:
        """Raise UserError on every rank where the ranks differ in one of these ``facts``."""
        everybody = self.comm.allgather({**ALIKE, **facts})
        for name in everybody[0]:
            values = sorted({str(theirs[name]) for theirs in everybody})
            if len(values) > 1:
                raise UserError(
                    f"the ranks differ in {name} ({', '.join(values)}): "
                    "train on machines of one kind, from the same data"
                )

    def share_cores(self) -> None:
        """Use as many threads as this rank has cores, those divided that others have too."""
        cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None
        mine = platform.node(), cores
        together = self.comm.allgather(mine).count(mine)
        if "NPSRCNN_NUM_THREADS" not in os.environ:
            set_num_threads(max(1, get_num_threads() // together))

    def rows_of(self, batch: int, l1: float) -> Rows:
        """Return the rows of a batch that this rank trains on; see :meth:`Ranks.rows_of`."""
        shares = Partition.of(batch, self.size).shares
        if shares[-1].stop < self.size:
            raise UsageError(
                f"--batch {batch} has work for {counted(shares[-1].stop, 'rank')}, not "
                f"{self.size}: {LANES} sub-images each, and for 64 ranks at most"
            )
        if l1 and not fills_groups(batch):
            raise UsageError(f"--l1 with --mpi takes a --batch that is a multiple of {LANES}")
        return shares[self.rank].rows

    def agree_on_step(
        self, layers: Layers, step: int, progress: float, failed: BaseException | None = None
    ) -> float:
        """Begin a step together with all ranks; see :meth:`Ranks.agree_on_step`."""
        # The maximum of the weights' checksum, and of the negative one: whether all have the same.
        checksum = 0
        for p in parameters(layers):
            checksum = zlib.crc32(p.data, checksum)
        mine = [0, failed is not None, progress * self.is_root, checksum, -checksum]
        stopped, some_failed, progress, most, least = self._maxima(mine)
        if stopped:
            raise TrainingStopped
        if some_failed:
            self.raise_if_any_failed(failed)
        if most != -least:
            raise UserError(
                f"after {counted(step, 'step')} the ranks have not the same weights: "
                "train on machines of one kind"
            )
        return progress

    def stop_followers(self) -> None:
        """On the root, between two steps: end the training on the other ranks."""
        self._maxima([1, 0, 0, 0, 0])

    def _maxima(self, numbers: list[float]) -> list[float]:
        """Return of each number the largest of all ranks."""
        result = np.array(numbers, np.float64)
        self.comm.Allreduce(MPI.IN_PLACE, result, MPI.MAX)
        return [float(number) for number in result]

    def loss_and_grads(
        self, net: SRCNN, inputs: np.ndarray, labels: np.ndarray, l1: float, batch: int
    ) -> tuple[float, Layers]:
        """Compute loss and gradients of a batch, of which this rank has :meth:`rows_of`."""
        partition = Partition.of(batch, self.size)
        share = partition.shares[self.rank]
        sums, losses = training.partial_sums(net.layers, inputs, labels, l1, share)
        total, losses = self.add_up(sums, losses, partition)
        grads = training.unpacked(net.layers, inputs.shape[2:], total)
        return training.mean_loss(losses, batch), grads

    def add_up(
        self, sums: np.ndarray, losses: np.ndarray, partition: Partition
    ) -> tuple[np.ndarray, np.ndarray]:
        """Add up all ranks' partial sums, in the order of one process; and collect all losses.

        Parameters
        ----------
        sums
            (slots, floats of the gradients) float32: this rank's partial sums.
        losses
            (groups, LANES) float32: of this rank's groups.

        Returns
        -------
        ndarray, ndarray
            (floats of the gradients,) and (groups of the batch, LANES) float32, on every rank.
        """
        # Of the floats of the gradients, each rank adds up its part.
        size, rank = self.size, self.rank
        ends = np.arange(size + 1) * sums.shape[1] // size
        lengths = np.diff(ends)
        parts = np.split(sums, ends[1:-1], axis=1)
        received = np.empty((sum(partition.slots), lengths[rank]), np.float32)
        self.comm.Alltoallv(
            [np.concatenate([part.ravel() for part in parts]), lengths * len(sums)],
            [received, lengths[rank] * np.array(partition.slots)],
        )
        # The totals go to all, and with them the losses.
        counts = lengths + [groups.size * LANES for groups in partition.groups]
        mine = np.concatenate([training.add_up(received), losses.ravel()])
        everything = np.empty(counts.sum(), np.float32)
        self.comm.Allgatherv(mine, [everything, counts])
        total = np.empty(sums.shape[1], np.float32)
        losses = np.empty((sum(map(len, partition.groups)), LANES), np.float32)
        for r, piece in enumerate(np.split(everything, np.cumsum(counts)[:-1])):
            total[ends[r] : ends[r + 1]] = piece[: lengths[r]]
            losses[partition.groups[r]] = piece[lengths[r] :].reshape(-1, LANES)
        return total, losses

    def announcement(self, folder: Path) -> list[str]:
        """Return how many ranks train, and how to go on should one die."""
        return [
            f"{counted(self.size, 'rank')}, this one with "
            f"{counted(get_num_threads(), 'thread')}; should one die, "
            f"go on from the last checkpoint: --resume {quoted(folder.resolve())}"
        ]


@contextlib.contextmanager
def join(threads: int | None) -> Iterator[MPIRanks]:
    """Enter a training with all ranks that ``mpiexec`` has started.

    An error that the other ranks know nothing of, and would wait for ever, ends them too.
    """
    ranks = MPIRanks(MPI.COMM_WORLD)
    if ranks.is_root and isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=True)  # mpiexec reads it, and may end us any time
    try:
        if threads is None:
            ranks.share_cores()
        yield ranks
    except (UserError, OSError, SystemExit):
        raise
    except BaseException as error:
        if isinstance(error, (MemoryError, KeyboardInterrupt)):
            what = describe(error) or "interrupted"
        else:
            what = traceback.format_exc()
        print(f"rank {ranks.rank}: {what}", file=sys.stderr, flush=True)
        ranks.comm.Abort(1)
