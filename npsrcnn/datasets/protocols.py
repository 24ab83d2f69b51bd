"""The interface between data and training: a source of batches."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Protocol

from npsrcnn.datasets.cutting import ALL, Batch, Rows


class Source(Protocol):
    """Sub-images to train on, in batches that depend on seed, epoch and batch size alone.

    Attributes
    ----------
    size, label_size, channels : int
        Batches are (N, channels, size, size) and (N, channels, label_size, label_size).
    skipped : sequence of (Path, str)
        Files that could not be used, and why.
    """

    size: int
    label_size: int
    channels: int
    skipped: Sequence[tuple[Path, str]]

    def __len__(self) -> int:
        """Count the sub-images of an epoch."""
        ...

    def batches(
        self, seed: int, epoch: int, batch_size: int, start: int = 0, rows: Rows = ALL
    ) -> Generator[Batch, None, None]:
        """Yield the batches of an epoch, in an order drawn from ``(seed, epoch)``.

        The ``len(self) % batch_size`` that are left over are dropped, others in each epoch: every
        batch is full, as in the paper, and a sum over 2N weighs all samples alike.

        Parameters
        ----------
        seed, epoch : int
            Decide the order, and the orientation of each sub-image. Not negative.
        batch_size : int
        start : int
            Batches to leave out at the beginning; the others stay the same.
        rows : slice or ndarray of int
            Give of each batch these sub-images alone, as one of several processes takes them.

        Yields
        ------
        inputs, labels
            (N, C, size, size) and (N, C, label_size, label_size), float32, contiguous, new.

        Raises
        ------
        UserError
            There are fewer sub-images than ``batch_size``.
        """
        ...

    def steps(self, batch_size: int) -> int:
        """Count the batches of an epoch."""
        return len(self) // batch_size
