"""Maps that have fallen silent in training, and what they do instead.

A step that is too long may leave a filter where its map is below zero at nearly every pixel of
every image. ReLU passes no gradient there, so the filter stays what it is, and the network has one
less. At the rates that pay with SOAP this happens: of the 32 maps of the second layer of 9-5-5 at
x4 only 16 were above zero at more than a hundredth of all pixels. (Sokar and others, "The dormant
neuron phenomenon in deep reinforcement learning", ICML 2023, find such maps likewise.)

Filters drawn at random in their place mostly fall silent again. So a silent map becomes the copy of
one that has much to do, and both share what the next layer takes of it, as when a cell divides
(Chen, Goodfellow, Shlens, "Net2Net", ICLR 2016): nothing that the network computes changes, and the
copy lives as its original did. They part because the next layer takes them by different filters.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from npsrcnn.network import Layers

WINDOW = 100
"""Steps over which it is looked at how much each map has to do, before silent ones are renewed."""
SILENT = 0.1
"""A map is silent if it has less to do than this part of what its layer's have in the mean. (At 0.1
a map of 9-5-5 is above zero at about one pixel in a thousand.)"""


class Renewal:
    """Sees how much each map has to do, and renews those that have nothing.

    How much: the root mean square of the gradient to what the next layer takes of the map.

    Parameters
    ----------
    layers
        Of the network in training: the shapes are taken from it.
    until
        The part of the training, 0..1, after which nothing is renewed, as it could not learn much.
    seed
        What shares are drawn from, with the number of the step.
    """

    def __init__(self, layers: Layers, until: float, seed: int) -> None:
        self.until, self.seed = until, seed
        self.squares = [np.zeros(len(b)) for _, b in layers[:-1]]  # sums since the last renewal

    def watches(self, progress: float) -> bool:
        """Whether maps are still renewed when ``progress``, 0..1, of the training is over."""
        return progress < self.until

    def watch(self, squares: Layers) -> None:
        """Take in the squares [(dw^2, db^2), ...] of a step's gradients, or several steps' sum."""
        for total, (square, _) in zip(self.squares, squares[1:], strict=True):
            total += square.sum(axis=(0, 2, 3), dtype=np.float64)

    def renew(self, step: int, networks: Sequence[Layers]) -> list[tuple[int, int]]:
        """After every WINDOW steps, renew what was silent in them.

        Parameters
        ----------
        step
            Steps done.
        networks
            Layers to change in place, all in the same way: the weights, and their average.

        Returns
        -------
        list of (layer, map)
            What was renewed.
        """
        if step % WINDOW:
            return []
        rng, renewed = np.random.default_rng((self.seed, step)), []
        for i, squares in enumerate(self.squares):
            work = np.sqrt(squares)
            silent = np.flatnonzero(work < SILENT * work.mean())
            busiest = np.argsort(-work, kind="stable")[: len(work) - len(silent)]
            for k, original in zip(silent, np.resize(busiest, len(silent)), strict=True):
                _divide(networks, i, k, original, rng)
                renewed.append((i, int(k)))
            squares[:] = 0
        return renewed

    def state(self) -> dict[str, np.ndarray]:
        """Arrays from which :meth:`restore` goes on as if never stopped."""
        return {f"squares{i}": squares for i, squares in enumerate(self.squares)}

    def restore(self, state: dict[str, np.ndarray]) -> None:
        """Take back what :meth:`state` gave."""
        for i, squares in enumerate(self.squares):
            squares[...] = state[f"squares{i}"]


def _divide(
    networks: Sequence[Layers], i: int, k: int, original: int, rng: np.random.Generator
) -> None:
    """Let map ``k`` of layer ``i`` be the ``original``'s, and take a random share of its work."""
    following = networks[0][i + 1][0]
    share = rng.normal(0.5, 0.5, following[:, k].shape).astype(following.dtype)
    for layers in networks:
        (w, b), (following, _) = layers[i], layers[i + 1]
        w[k], b[k] = w[original], b[original]
        following[:, k] = share * following[:, original]
        following[:, original] -= following[:, k]
