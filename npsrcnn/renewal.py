"""Maps that have fallen silent in training, and how they begin anew.

A step that is too long may leave a filter where its map is below zero at every pixel of every
image. ReLU passes no gradient there, so the filter stays what it is, and the network has one less.
At the rates that pay with SOAP this happens: of the 64 and 32 maps of 9-5-5 at x4 only 48 and 19
were left. (Sokar and others, "The dormant neuron phenomenon in deep reinforcement learning", ICML
2023, recycle such maps likewise.)
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from npsrcnn.network import Layers

PATIENCE = 100
"""Steps in a row without any gradient after which a map counts as silent."""


class Renewal:
    """Counts how long maps have been silent, and renews them.

    A renewed filter is a random combination of its layer's others, so that its map is about as
    large as theirs. What the next layer takes of it is zero at first: nothing that the network
    computes changes by it.

    Parameters
    ----------
    layers
        Of the network in training: the shapes are taken from it.
    until
        The part of the training, 0..1, after which nothing is renewed, as it could not learn much.
    seed
        What combinations are drawn from, with the number of the step.
    """

    def __init__(self, layers: Layers, until: float, seed: int) -> None:
        self.until, self.seed = until, seed
        self.silent = [np.zeros(len(b), np.int64) for _, b in layers[:-1]]

    def step(
        self, step: int, progress: float, grads: Layers, networks: Sequence[Layers]
    ) -> list[tuple[int, int]]:
        """Look at the gradients of one step, and renew in all of ``networks`` what is silent.

        Parameters
        ----------
        step, progress
            Steps done, and the part of the training that is over.
        grads
            A silent map's bias has a gradient of exactly zero.
        networks
            Layers to change in place: the weights in training first, then their average.

        Returns
        -------
        list of (layer, map)
            What was renewed.
        """
        renewed = []
        for i, silent in enumerate(self.silent):
            silent[grads[i][1] == 0] += 1
            silent[grads[i][1] != 0] = 0
            lost, live = np.flatnonzero(silent >= PATIENCE), np.flatnonzero(silent < PATIENCE)
            if progress < self.until and len(live):
                rng = np.random.default_rng((self.seed, step, i))
                for k in lost:
                    _renew(networks, i, k, live, rng)
                    renewed.append((i, int(k)))
                silent[lost] = 0
        return renewed

    def state(self) -> dict[str, np.ndarray]:
        """Arrays from which :meth:`restore` goes on as if never stopped."""
        return {f"silent{i}": silent for i, silent in enumerate(self.silent)}

    def restore(self, state: dict[str, np.ndarray]) -> None:
        """Take back what :meth:`state` gave."""
        for i, silent in enumerate(self.silent):
            silent[...] = state[f"silent{i}"]


def _renew(
    networks: Sequence[Layers], i: int, k: int, live: np.ndarray, rng: np.random.Generator
) -> None:
    """Let map ``k`` of layer ``i`` be a combination of the ``live`` ones of the first network."""
    w, b = networks[0][i]
    part = (rng.standard_normal(len(live)) / np.sqrt(len(live))).astype(w.dtype)
    filters, bias = np.tensordot(part, w[live], 1), part @ b[live]
    for layers in networks:
        layers[i][0][k], layers[i][1][k] = filters, bias
        layers[i + 1][0][:, k] = 0
