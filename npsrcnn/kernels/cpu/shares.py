"""Who computes what of a batch: the partition by data on which the bits of a training step rest.

LANES sub-images (of N) make a group, which fills SIMD vectors. Groups are dealt in turn to at most
SLOTS partial sums, slots for short: group g goes to slot g % slots. Nothing here depends on threads
or processes; threads take slots as they come, and each of several processes takes a share of them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from npsrcnn.kernels.cpu.tiles import LANES

SLOTS = 64  # partial sums of the gradients, at most; so many threads, or processes, find work


@dataclass(frozen=True)
class Share:
    """Some of a batch's slots, neighbours of each other, and what belongs to them.

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
        """The share of one of ``ranks``; all together they are the batch, in the order of rank."""
        total = min(-(-batch // LANES), SLOTS)
        return cls(batch, total * rank // ranks, total * (rank + 1) // ranks)

    @property
    def slots(self) -> int:
        """How many slots this share has."""
        return self.stop - self.first

    @property
    def groups(self) -> np.ndarray:
        """The numbers of its groups, ascending; dealt in turn to ``slots`` slots they go where
        they go in the whole batch."""
        groups = np.arange(-(-self.batch // LANES))
        slot = groups % SLOTS
        return groups[(self.first <= slot) & (slot < self.stop)]

    @property
    def rows(self) -> np.ndarray:
        """The numbers of its sub-images in the batch, ascending."""
        rows = (self.groups[:, None] * LANES + np.arange(LANES)).ravel()
        return rows[rows < self.batch]
