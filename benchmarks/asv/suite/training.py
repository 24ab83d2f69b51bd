"""A step of training: loss and gradients of a batch."""

from __future__ import annotations

import numpy as np

import npsrcnn
from npsrcnn.runtime.threads import set_num_threads

BATCH, SIDE = 128, 33


class Step:
    """One thread, a batch of the paper's sub-images."""

    params = ("9-1-5", "9-5-5")
    param_names = ("network",)

    def setup(self, name: str) -> None:
        set_num_threads(1)
        self.net = npsrcnn.SRCNN(name)
        rng = np.random.default_rng(0)
        side = SIDE - self.net.margin
        self.inputs = rng.random((BATCH, 1, SIDE, SIDE), np.float32)
        self.labels = rng.random((BATCH, 1, side, side), np.float32)
        self.net.loss_and_grads(self.inputs, self.labels)  # compiles

    def time_loss_and_grads(self, name: str) -> None:
        self.net.loss_and_grads(self.inputs, self.labels)
