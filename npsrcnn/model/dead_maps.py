"""Dead ReLU maps: find them in a trained network, and give them work before training goes on.

A step that is too long may leave a filter where its map is below zero at nearly every pixel of
every image. ReLU passes no gradient there, so the filter stays what it is, and the network has one
less. At the rates with which SOAP learns fast this happens: of the 32 maps of the second layer of
9-5-5 at x4, 16 were above zero at less than a hundredth of all pixels. (Sokar and others, "The
dormant neuron phenomenon in deep reinforcement learning", ICML 2023, find such maps likewise.)

Filters drawn at random in their place mostly die again. So a dead map becomes the copy of one that
contributes much, and both share what the next layer takes of it, as when a cell divides (Chen,
Goodfellow, Shlens, "Net2Net", ICLR 2016): the network computes what it computed, and the copy lives
as its original did. They part because the next layer takes them by different filters. This is for
the beginning of a training at a low rate. While rates are high maps die again, and dividing them
again and again has undone trainings.
"""

from __future__ import annotations

import numpy as np

from npsrcnn.model.network import SRCNN

DEAD_BELOW = 1e-3
"""A map is dead if it is above zero at less than this part of all pixels."""
LINEAR_FROM = 0.9
"""A map is not divided if it is above zero at this part of all pixels or more: where a ReLU does
nothing, two maps can do no more than one."""


def maps_of(net: SRCNN, inputs: np.ndarray) -> list[np.ndarray]:
    """Return the maps after each ReLU, [(N, n1, H, W), (N, n2, H, W), ...], without padding.

    ``inputs`` are (N, c, H, W) sub-images.
    """
    maps, found = inputs, []
    for w, b in net.layers[:-1]:
        maps = net.kernels.relu(net.kernels.conv2d(maps, w, b))
        found.append(maps)
    return found


def count_dead_maps(net: SRCNN, inputs: np.ndarray) -> list[int]:
    """Count the dead maps after each ReLU, as far as ``inputs``, (N, c, H, W), show them."""
    return [int((part_above_zero(maps) < DEAD_BELOW).sum()) for maps in maps_of(net, inputs)]


def part_above_zero(maps: np.ndarray) -> np.ndarray:
    """Return of each map, (N, n, H, W) in all, the part of pixels at which it is: (n,), float64."""
    part: np.ndarray = (maps > 0).mean(axis=(0, 2, 3))
    return part


def revive_dead_maps(net: SRCNN, inputs: np.ndarray, seed: int = 0) -> SRCNN:
    """Return a network of the same function, as far as ``inputs`` show it, without dead maps.

    Parameters
    ----------
    net
        A trained network.
    inputs
        (N, c, H, W) float32: sub-images of what it is to be trained on.
    seed
        Of the shares: how much of each weight goes to a copy is random, between none and all.

    Returns
    -------
    SRCNN
        A copy; where no map is dead, of the same weights.
    """
    rng = np.random.default_rng(seed)
    layers = [(w.copy(), b.copy()) for w, b in net.layers]
    for (w, b), (following, _), maps in zip(layers, layers[1:], maps_of(net, inputs), strict=False):
        part = part_above_zero(maps)
        contribution = maps.std(axis=(0, 2, 3)) * np.sqrt(np.square(following).sum((0, 2, 3)))
        dead = np.flatnonzero(part < DEAD_BELOW)
        others = np.flatnonzero((part >= DEAD_BELOW) & (part < LINEAR_FROM))
        if len(others) == 0:
            continue
        busiest = others[np.argsort(-contribution[others], kind="stable")]
        for copy, original in zip(dead, np.resize(busiest, len(dead)), strict=True):
            w[copy], b[copy] = w[original], b[original]
            share = rng.random(following[:, original].shape, following.dtype)
            following[:, copy] = share * following[:, original]
            following[:, original] -= following[:, copy]
    return SRCNN.from_layers(
        layers,
        device=net.device,
        padding=net.padding,
        metadata=net.metadata,
        dtype=layers[0][0].dtype.type,
    )
