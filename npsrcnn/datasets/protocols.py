"""The interface between training and the sub-images that it draws."""

from __future__ import annotations

from collections.abc import Generator
from typing import Protocol

from npsrcnn.datasets.cutting import ALL, Batch, Rows


class Source(Protocol):
    """Give batches of sub-images, the same ones for the same seed, epoch and batch size.

    :class:`npsrcnn.datasets.SubImages`, :class:`npsrcnn.datasets.Stream` and
    :class:`npsrcnn.datasets.Shards` are sources.
    """

    @property
    def size(self) -> int:
        """Return the side of the inputs, in pixels."""

    @property
    def label_size(self) -> int:
        """Return the side of the labels, in pixels."""

    def __len__(self) -> int:
        """Return the number of sub-images."""

    def steps(self, batch_size: int) -> int:
        """Return the number of batches in an epoch."""

    def batches(
        self, seed: int, epoch: int, batch_size: int, start: int = 0, rows: Rows = ALL
    ) -> Generator[Batch, None, None]:
        """Yield the batches of an epoch from the ``start``-th on, of each only ``rows``.

        Inputs are (N, C, size, size) float32, labels (N, C, label_size, label_size) float32.
        """
