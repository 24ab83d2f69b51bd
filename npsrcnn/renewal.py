"""Maps that have fallen silent in training, and what they do instead when it goes on.

A step that is too long may leave a filter where its map is below zero at nearly every pixel of
every image. ReLU passes no gradient there, so the filter stays what it is, and the network has one
less. At the rates with which SOAP learns fast this happens: of the 32 maps of the second layer of
9-5-5 at x4, 16 were above zero at less than a hundredth of all pixels. (Sokar and others, "The
dormant neuron phenomenon in deep reinforcement learning", ICML 2023, find such maps likewise.)

Filters drawn at random in their place mostly fall silent again. So a silent map becomes the copy of
another, and both share what the next layer takes of it, as when a cell divides (Chen, Goodfellow,
Shlens, "Net2Net", ICLR 2016): the network computes what it computed, and the copy lives as its
original did. They part because the next layer takes them by different filters. This is for the
beginning of a training at a low rate. While rates are high maps fall silent again, and dividing
them again and again has undone trainings.
"""

from __future__ import annotations

import numpy as np

from npsrcnn.network import SRCNN

SILENT = 1e-3
"""A map is silent if it is above zero at less than this part of all pixels."""
LINEAR = 0.9
"""A map above zero at more than this part is not divided: where a ReLU does nothing, two maps can
do no more than one."""


def activity(net: SRCNN, inputs: np.ndarray) -> list[np.ndarray]:
    """The part of pixels at which each map is above zero: (n,) for each layer but the last.

    ``inputs`` are (N, c, H, W) sub-images; layers are without padding, as in training.
    """
    parts, maps = [], inputs
    for w, b in net.layers[:-1]:
        maps = net.kernels.relu(net.kernels.conv2d(maps, w, b))
        parts.append((maps > 0).mean(axis=(0, 2, 3)))
    return parts


def renewed(net: SRCNN, inputs: np.ndarray, seed: int = 0) -> SRCNN:
    """The same function, as far as ``inputs`` show it, with something to do for silent maps.

    Parameters
    ----------
    net
        A trained network.
    inputs
        (N, c, H, W) float32: sub-images of what it is to be trained on.
    seed
        Which maps are divided, and which share of each weight goes to the copy, is random.

    Returns
    -------
    SRCNN
        A copy; where no map is silent, of the same weights.
    """
    rng = np.random.default_rng(seed)
    layers = [(w.copy(), b.copy()) for w, b in net.layers]
    for (w, b), (following, _), part in zip(
        layers, layers[1:], activity(net, inputs), strict=False
    ):
        silent = np.flatnonzero(part < SILENT)
        originals = rng.permutation(np.flatnonzero((part >= SILENT) & (part < LINEAR)))
        if len(originals) == 0:
            continue
        for copy, original in zip(silent, np.resize(originals, len(silent)), strict=True):
            w[copy], b[copy] = w[original], b[original]
            share = rng.random(following[:, original].shape, following.dtype)
            following[:, copy] = share * following[:, original]
            following[:, original] -= following[:, copy]
    return SRCNN.from_layers(
        layers,
        device=net.device,
        padding=net.padding,
        metadata=net.metadata,
        dtype=layers[0][0].dtype,
    )
