"""Divide a batch by data: the partition on which the bits of a training step rest.

LANES sub-images (of the batch's N) make a group, which fills SIMD vectors. Groups are dealt in turn
to at most SLOTS partial sums, called slots: group g goes to slot g % slots. Nothing here depends on
threads or processes; threads take slots as they come, and each process takes a share of them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from npsrcnn.kernels.cpu.tiles import LANES

SLOTS = 64
"""The most partial sums of the gradients; so many threads, or processes, find work."""


def fills_groups(batch: int) -> bool:
    """Return whether a batch fills its groups of LANES, as a penalty on the maps requires."""
    return batch % LANES == 0


@dataclass(frozen=True)
class Share:
    """A range of a batch's slots, and the groups and sub-images that belong to them.

    Attributes
    ----------
    batch
        N, of the whole batch.
    first, stop
        The slots: from ``first`` up to, but without, ``stop``.
    """

    batch: int
    first: int
    stop: int

    @classmethod
    def of(cls, batch: int, rank: int = 0, ranks: int = 1) -> Share:
        """Return the share of one of ``ranks``; in the order of rank they are the whole batch."""
        total = min(-(-batch // LANES), SLOTS)
        return cls(batch, total * rank // ranks, total * (rank + 1) // ranks)

    @property
    def slots(self) -> int:
        """Return how many slots this share has."""
        return self.stop - self.first

    @property
    def groups(self) -> np.ndarray:
        """Return the numbers of its groups, ascending.

        Dealt in turn to ``slots`` slots, they go where they go in the whole batch.
        """
        groups = np.arange(-(-self.batch // LANES))
        slot = groups % SLOTS
        return groups[(self.first <= slot) & (slot < self.stop)]

    @property
    def rows(self) -> np.ndarray:
        """Return the numbers of its sub-images in the batch, ascending."""
        rows = (self.groups[:, None] * LANES + np.arange(LANES)).ravel()
        return rows[rows < self.batch]
