"""Look inside a trained network: dead filters, the density of its codes, what a pixel sees.

A network of convolutions and ReLUs is piecewise linear: for one image, every output pixel is a
linear function of the pixels it sees, ``filter . patch + constant``. :func:`effective_filter`
finds it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from npsrcnn.errors import UserError
from npsrcnn.kernels import reference
from npsrcnn.model.network import SRCNN

DEAD = 0.02  # a filter under this part of the median norm never left its initial noise


def filter_norms(net: SRCNN) -> np.ndarray:
    """Compute the norm of each filter of layer 1, (n1,)."""
    norms: np.ndarray = np.sqrt(np.square(net.layers[0][0], dtype=np.float64).sum(axis=(1, 2, 3)))
    return norms


def dead_filters(net: SRCNN, image: np.ndarray | None = None) -> np.ndarray:
    """Find the filters of layer 1 that do nothing: (n1,) bool.

    TPAMI section 4.1: "some dead filters" whose weights are all nearly zero: noise of the initial
    size that gradients never reached. Here: a norm under a fiftieth of the median. With ``image``
    (H, W), also those whose map is zero all over it (dead ReLUs).
    """
    norms = filter_norms(net)
    dead: np.ndarray = norms < DEAD * np.median(norms)
    if image is not None:
        dead |= ~(activations(net, image)[0] > 0).any(axis=(1, 2))
    return dead


def activations(net: SRCNN, image: np.ndarray) -> list[np.ndarray]:
    """Compute the maps after each ReLU of :meth:`SRCNN.forward`: [(n1, H, W), (n2, H, W), ...].

    ``image`` is (H, W), or (c, H, W) for a network of three channels.
    """
    x = _batch(net, image)
    maps = []
    for w, b in net.layers[:-1]:
        x = reference.relu(reference.conv2d(reference.pad(x, w.shape[2], net.padding), w, b))
        maps.append(x[0])
    return maps


@dataclass(frozen=True)
class Activity:
    """The share of active values and the mean of each map of a layer, on one image."""

    active: np.ndarray  # (n,): the share of pixels at which each map is above zero
    mean: np.ndarray  # (n,): the mean of each map

    @property
    def density(self) -> float:
        """The share of all values above zero: a sparse code has a few per cent."""
        return float(self.active.mean())


def activity(net: SRCNN, image: np.ndarray) -> list[Activity]:
    """Compute the :class:`Activity` of each layer but the last."""
    return [
        Activity((maps > 0).mean(axis=(1, 2)), maps.mean(axis=(1, 2), dtype=np.float64))
        for maps in activations(net, image)
    ]


def effective_filter(net: SRCNN, image: np.ndarray, y: int, x: int) -> tuple[np.ndarray, float]:
    """Compute the linear filter that the network is at one pixel of an image.

    The gradient of the output pixel to the pixels it sees, by backpropagation in float64, and what
    is left: ``output[y, x] = sum(filter * patch) + constant`` exactly, with the patch of
    ``net.margin + 1`` pixels a side around it (13 for 9-1-5).

    Parameters
    ----------
    net
        Of one channel.
    image
        (H, W), as the network gets it.
    y, x
        The pixel, far enough from the edge for the whole patch to lie inside.

    Returns
    -------
    filter, constant
        (margin + 1, margin + 1) float64, and a float.

    Raises
    ------
    UserError
        More than one channel, or a pixel too close to the edge.
    """
    if net.channels != 1:
        raise UserError("effective filters are for networks of one channel")
    patch = receptive_patch(net, image, y, x).astype(np.float64)[None, None]
    layers = [(w.astype(np.float64), b.astype(np.float64)) for w, b in net.layers]
    seen = [patch]
    for depth, (w, b) in enumerate(layers):
        z = reference.conv2d(seen[-1], w, b)
        seen.append(z if depth == len(layers) - 1 else reference.relu(z))
    slope = np.ones((1, 1, 1, 1))
    for depth in reversed(range(len(layers))):
        slope, _, _ = reference.conv2d_grads(seen[depth], layers[depth][0], slope)
        if depth > 0:
            slope = reference.relu_grad(seen[depth], slope)
    return slope[0, 0], float(seen[-1][0, 0, 0, 0] - (slope * patch).sum())


def receptive_patch(net: SRCNN, image: np.ndarray, y: int, x: int) -> np.ndarray:
    """Return the (margin + 1, margin + 1) pixels that the output at (y, x) is made of."""
    side = net.margin + 1
    top, left = y - net.margin // 2, x - net.margin // 2
    if min(top, left) < 0 or top + side > image.shape[0] or left + side > image.shape[1]:
        raise UserError(
            f"pixel ({y}, {x}) of {image.shape}: its {side} x {side} pixels are not all inside"
        )
    return image[top : top + side, left : left + side]


def _batch(net: SRCNN, image: np.ndarray) -> np.ndarray:
    image = np.asarray(image)
    batch = image[None, None] if image.ndim == 2 else image[None]
    if batch.ndim != 4 or batch.shape[1] != net.channels or batch.dtype.kind != "f":
        raise UserError(
            f"an image of {image.dtype} {image.shape}: expected floats, (H, W), "
            f"or ({net.channels}, H, W)"
        )
    return batch
