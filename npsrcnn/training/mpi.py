"""Training on a cluster: ranks that compute parts of every batch, to the bits of one process.

The gradients of a batch are added up, in a fixed order, from partial sums that belong to fixed
parts of it (:mod:`npsrcnn.kernels.cpu.shares`). Each rank computes some of those. Then it receives, of
its part of the gradients, everybody's partial sums, adds them up in that order, and the totals go
to all. This is MPI's all-reduce in its two halves, reduce-scatter and all-gather, with the order of
the sum in our hands: MPI's own depends on the number of ranks. Then every rank takes the same step.

Rank 0 leads: it alone reads the clock, evaluates and writes, and its Ctrl-C counts. Before every
step all ranks agree that there is one. Errors that a user can mend are agreed upon too, so that
rank 0 says them once and saves what it has; at any other the rank ends all others.
"""

from __future__ import annotations

import contextlib
import functools
import os
import platform
import sys
import traceback
import zlib
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import numpy as np

from npsrcnn.errors import DataError, UsageError, UserError, describe
from npsrcnn.kernels.cpu import training
from npsrcnn.kernels.cpu.shares import Share
from npsrcnn.kernels.cpu.tiles import HAS_FMA, LANES
from npsrcnn.model.network import Layers
from npsrcnn.runtime.threads import get_num_threads, set_num_threads
from npsrcnn.training.optimizers import parameters
from npsrcnn.training.trainer import Trainer, stop_on_signals
from npsrcnn.version import __version__

try:
    from mpi4py import MPI
except (ImportError, RuntimeError) as error:  # no mpi4py; or one that finds no MPI
    raise UserError(
        f'--mpi needs mpi4py and an MPI ({describe(error)}): pip install "npsrcnn[mpi]", or '
        "mpi4py alone where the cluster has its MPI"
    ) from error

T = TypeVar("T")
MENDABLE = (UserError, OSError, MemoryError)  # what a command says in one line
ALIKE = {"version": __version__, "SIMD lanes": LANES, "fused multiply-add": HAS_FMA}


class Ranks:
    """All processes that train together, and which of them this is."""

    def __init__(self, comm: MPI.Comm) -> None:
        self.comm, self.rank, self.size = comm, comm.rank, comm.size

    @property
    def leads(self) -> bool:
        """Whether this is rank 0."""
        return self.rank == 0

    def everywhere(self, work: Callable[[], T]) -> T:
        """``work()``, which every rank does. Where one fails all do, and rank 0 says why."""
        result, failed = None, None
        try:
            result = work()
        except MENDABLE as error:
            failed = error
        self.settle(failed)
        return result

    def from_first(self, work: Callable[[], T]) -> T:
        """The result of ``work()``, which rank 0 alone does, on every rank."""
        return self.comm.bcast(self.everywhere(work if self.leads else lambda: None))

    def settle(self, failed: BaseException | None) -> None:
        """What every rank calls to know whether one has failed, and then ends with.

        Raises
        ------
        DataError, and what has ``failed`` on rank 0
            There. The other ranks exit in silence.
        """
        place = f"rank {self.rank} on {platform.node()}"
        errors = self.comm.allgather(failed and f"{place}: {describe(failed)}")
        first = next((error for error in errors if error), None)
        if first and not self.leads:
            sys.exit(1)
        if failed:
            raise failed
        if first:
            raise DataError(first)

    def check_alike(self, facts: dict[str, object]) -> None:
        """Raise UserError on every rank where they differ in one of these ``facts``."""
        everybody = self.comm.allgather(facts)
        for name in facts:
            values = sorted({str(theirs[name]) for theirs in everybody})
            if len(values) > 1:
                raise UserError(
                    f"the ranks differ in {name} ({', '.join(values)}): "
                    "train on machines of one kind, from the same data"
                )

    def share_cores(self) -> None:
        """As many threads as this rank has cores, those divided that it shares with others."""
        cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None
        mine = platform.node(), cores
        together = self.comm.allgather(mine).count(mine)
        if "NPSRCNN_NUM_THREADS" not in os.environ:
            set_num_threads(max(1, get_num_threads() // together))


class Over(Exception):
    """Rank 0 has ended the training."""


class RankTrainer(Trainer):
    """One rank's part in a training; parameters are those of :class:`npsrcnn.training.trainer.Trainer`.

    Raises
    ------
    UsageError
        The batch has fewer parts than there are ranks.
    """

    def __init__(self, ranks: Ranks, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._ranks = ranks
        shares = [Share.of(self.batch, rank, ranks.size) for rank in range(ranks.size)]
        if shares[-1].stop < ranks.size:
            raise UsageError(
                f"--batch {self.batch} has work for {shares[-1].stop} ranks, not {ranks.size}: "
                f"{LANES} sub-images each, and for 64 ranks at most"
            )
        if self.l1 and not training.fills_groups(self.batch):
            raise UsageError(f"--l1 with --mpi takes a --batch that is a multiple of {LANES}")
        self._share = shares[ranks.rank]
        self._slots = [share.slots for share in shares]
        self._groups = [share.groups for share in shares]
        self._over = False

    def _batches(self, start: int, **rows: Any) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        try:
            yield from super()._batches(start, rows=self._share.rows)
        except MENDABLE as error:
            self._agree(failed=error)

    def _step(self, inputs: np.ndarray, labels: np.ndarray, progress: float) -> float:
        progress = self._agree(progress)
        self._over = True  # where a step fails it fails on every rank
        loss = super()._step(inputs, labels, progress)
        self._over = False
        return loss

    def _agree(
        self, progress: float = 0.0, over: bool = False, failed: BaseException | None = None
    ) -> float:
        """What every rank calls before a step: they go on together, at rank 0's progress.

        Raises
        ------
        Over
            Rank 0 has ended the training.
        UserError
            A rank has failed (:meth:`Ranks.settle`), or the ranks' weights differ.
        """
        # The maximum of each, and of the negative one: whether all have the same weights.
        weights = 0
        for p in parameters(self.net.layers):
            weights = zlib.crc32(p, weights)
        mine = np.array([over, failed is not None, progress, weights, -weights], np.float64)
        mine[2] *= self._ranks.leads
        self._ranks.comm.Allreduce(MPI.IN_PLACE, mine, MPI.MAX)
        over, some_failed, progress, most, least = mine
        self._over = bool(over or some_failed or most != -least)
        if over:
            raise Over
        if some_failed:
            self._ranks.settle(failed)
        if most != -least:
            raise UserError(
                f"after {self.step} steps the ranks have not the same weights: "
                "train on machines of one kind"
            )
        return progress

    def _loss_and_grads(self, inputs: np.ndarray, labels: np.ndarray) -> tuple[float, Layers]:
        sums, losses = training.partial_sums(self.net.layers, inputs, labels, self.l1, self._share)
        total, losses = self._add_up(sums, losses)
        grads = training.unpacked(self.net.layers, inputs.shape[2:], total)
        return training.mean_loss(losses, self.batch), grads

    def _add_up(self, sums: np.ndarray, losses: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The sum of all ranks' partial sums, and all losses, in the order of one process."""
        # Of the floats of the gradients, each rank adds up its part.
        size, rank = self._ranks.size, self._ranks.rank
        ends = np.arange(size + 1) * sums.shape[1] // size
        lengths = np.diff(ends)
        parts = np.split(sums, ends[1:-1], axis=1)
        received = np.empty((sum(self._slots), lengths[rank]), np.float32)
        self._ranks.comm.Alltoallv(
            [np.concatenate([part.ravel() for part in parts]), lengths * len(sums)],
            [received, lengths[rank] * np.array(self._slots)],
        )
        # The totals go to all, and with them the losses.
        counts = lengths + [groups.size * LANES for groups in self._groups]
        mine = np.concatenate([training.add_up(received), losses.ravel()])
        everything = np.empty(counts.sum(), np.float32)
        self._ranks.comm.Allgatherv(mine, [everything, counts])
        total = np.empty(sums.shape[1], np.float32)
        losses = np.empty((sum(map(len, self._groups)), LANES), np.float32)
        for r, piece in enumerate(np.split(everything, np.cumsum(counts)[:-1])):
            total[ends[r] : ends[r + 1]] = piece[: lengths[r]]
            losses[self._groups[r]] = piece[lengths[r] :].reshape(-1, LANES)
        return total, losses

    def follow(self) -> int:
        """Take every step with rank 0, until it ends the training; the exit code."""
        with stop_on_signals():  # rank 0 gets them too, and decides
            try:
                while True:
                    for _ in self.run_epoch(lambda step: 0.0):
                        pass
            except Over:
                return 0
            except UserError:  # all ranks have it, and rank 0 says it
                return 1

    def dismiss(self) -> None:
        """On rank 0: end the training on the other ranks, which :meth:`follow`."""
        if not self._over:
            with contextlib.suppress(Over):
                self._agree(over=True)


def train(
    open_run: Callable[[], tuple],
    prepare: Callable[..., Any],
    carry_out: Callable[[Any], int],
    *,
    threads: int | None,
) -> int:
    """A training by all ranks that ``mpiexec`` has started; the exit code.

    Parameters
    ----------
    open_run
        Reads and writes the run's folder; called on rank 0 alone.
    prepare
        Takes a :class:`RankTrainer`'s maker and what ``open_run`` has returned; returns a
        :class:`npsrcnn.training.runs.Run`.
    carry_out
        Takes that on rank 0.
    threads
        Of each rank; None: its share of the cores.
    """
    ranks = Ranks(MPI.COMM_WORLD)
    with _ending_all(ranks):
        if threads is None:
            ranks.share_cores()
        opened = ranks.from_first(open_run)
        run = ranks.everywhere(lambda: prepare(functools.partial(RankTrainer, ranks), *opened))
        ranks.check_alike({**ALIKE, "sub-images": len(run.trainer.source)})
        if not ranks.leads:
            return run.trainer.follow()
        sys.stdout.reconfigure(line_buffering=True)  # mpiexec reads it, and may end us any time
        print(
            f"{ranks.size} ranks, this one with {get_num_threads()} threads; should one die, "
            f"go on from the last checkpoint: --resume {run.folder.resolve()}"
        )
        try:
            code = carry_out(run)
        except (UserError, OSError):
            run.trainer.dismiss()
            raise
        run.trainer.dismiss()
        return code


@contextlib.contextmanager
def _ending_all(ranks: Ranks) -> Iterator[None]:
    """An error that the other ranks know nothing of, and would wait for ever, ends them too."""
    try:
        yield
    except (UserError, OSError, SystemExit):
        raise
    except BaseException as error:
        if isinstance(error, (MemoryError, KeyboardInterrupt)):
            what = describe(error) or "interrupted"
        else:
            what = traceback.format_exc()
        print(f"rank {ranks.rank}: {what}", file=sys.stderr, flush=True)
        ranks.comm.Abort(1)
