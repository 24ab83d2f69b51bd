"""The processes that train together: one, or all that ``mpiexec`` has started."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import numpy as np

from npsrcnn.datasets.cutting import ALL, Rows
from npsrcnn.errors import UserError
from npsrcnn.layers import Layers
from npsrcnn.model.network import SRCNN

T = TypeVar("T")
FIXABLE = (UserError, OSError, MemoryError)  # errors that a command reports in one line


class TrainingStopped(Exception):
    """Tell a follower that the root has ended the training."""


class Ranks:
    """Train in one process; :class:`npsrcnn.training.mpi.MPIRanks` trains in several.

    Rank 0, the root, alone reads the clock, evaluates and writes, and its Ctrl-C counts. The other
    ranks follow: they take every step with it, until it stops them.
    """

    rank, size = 0, 1

    @property
    def is_root(self) -> bool:
        """Return whether this is rank 0."""
        return self.rank == 0

    def on_all_ranks(self, work: Callable[[], T]) -> T:
        """Return ``work()``, done by every rank. Where one fails all do, and the root says why."""
        return work()

    def from_root(self, work: Callable[[], T]) -> T:
        """Return on every rank the result of ``work()``, which the root alone does."""
        return work()

    def check_alike(self, facts: dict[str, object]) -> None:
        """Raise UserError on every rank where the ranks differ in one of these ``facts``."""

    def rows_of(self, batch: int, l1: float) -> Rows:
        """Return the rows of a batch that this rank trains on.

        Raises
        ------
        UsageError
            The batch has fewer parts than there are ranks, or does not go with ``l1``.
        """
        return ALL

    def agree_on_step(
        self, layers: Layers, step: int, progress: float, failed: BaseException | None = None
    ) -> float:
        """Begin a step together with all ranks; return the root's ``progress``.

        Raises
        ------
        TrainingStopped
            The root has ended the training.
        UserError
            A rank has ``failed``, or the ranks' weights differ.
        """
        if failed is not None:
            raise failed
        return progress

    def loss_and_grads(
        self, net: SRCNN, inputs: np.ndarray, labels: np.ndarray, l1: float, batch: int
    ) -> tuple[float, Layers]:
        """Compute loss and gradients of a batch, of which this rank has :meth:`rows_of`."""
        return net.loss_and_grads(inputs, labels, l1)

    def stop_followers(self) -> None:
        """On the root, between two steps: end the training on the other ranks."""

    def announcement(self, folder: Path) -> list[str]:
        """Return what the root says before training, beside what a single process says."""
        return []


ALONE = Ranks()
