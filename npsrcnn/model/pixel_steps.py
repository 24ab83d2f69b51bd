"""Follow one pixel through a network: the patch it sees, every response, and what adds up to it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from npsrcnn.errors import UserError
from npsrcnn.kernels import reference
from npsrcnn.model.inspection import activations
from npsrcnn.model.network import SRCNN


@dataclass(frozen=True)
class PixelSteps:
    """What a network computes for one pixel of an image, in float64.

    Attributes
    ----------
    patch : ndarray, (c, f1, f1)
        What layer 1 sees around the pixel, the image's edge replicated, or zeros, as the network
        has it.
    responses : list of ndarray, (n1,), (n2,), ...
        Of the filters of each layer but the last at the pixel, after their ReLU.
    painted : ndarray, (c, f3, f3)
        What the responses of the last but one layer at this pixel add to the pixels around it.
    contributions : ndarray, (c, n2)
        What each map of that layer adds to this pixel, from all its f3 x f3 pixels around it.
    bias : ndarray, (c,)
        Of the last layer.
    forward : ndarray, (c,)
        The pixel by :meth:`SRCNN.forward` of the same weights in float64: :attr:`output`.
    """

    patch: np.ndarray
    responses: list[np.ndarray]
    painted: np.ndarray
    contributions: np.ndarray
    bias: np.ndarray
    forward: np.ndarray

    @property
    def output(self) -> np.ndarray:
        """The pixel that comes out, (c,): all contributions and the bias."""
        total: np.ndarray = self.contributions.sum(axis=1) + self.bias
        return total

    def running_sum(self, channel: int = 0) -> tuple[np.ndarray, np.ndarray]:
        """Return maps, those that add most first, and the sum so far from the bias on.

        Returns
        -------
        order : ndarray, (n2,)
        sums : ndarray, (n2 + 1,)
            The bias, then after each map; the last is :attr:`output`.
        """
        parts = self.contributions[channel]
        order = np.argsort(-np.abs(parts), kind="stable")
        return order, np.cumsum(np.concatenate([self.bias[channel : channel + 1], parts[order]]))


def pixel_steps(net: SRCNN, image: np.ndarray, y: int, x: int) -> PixelSteps:
    """Compute all that :meth:`SRCNN.forward` computes for one pixel, at the image's edge too.

    Parameters
    ----------
    net
    image
        (H, W), or (c, H, W) for a network of three channels: floats, as the network gets it.
    y, x
        The pixel.

    Raises
    ------
    UserError
        No such pixel, an image of another shape, or a network of one layer.
    """
    image = np.asarray(image)
    planes = image[None] if image.ndim == 2 else image
    if len(net.layers) < 2:
        raise UserError("a network of one layer has nothing inside")
    if not (0 <= y < planes.shape[-2] and 0 <= x < planes.shape[-1]):
        raise UserError(f"no pixel ({y}, {x}) in an image of {planes.shape[-2:]}")
    # A part that reaches as far as the filters do, and ends elsewhere only at the image's edge.
    top, left = max(0, y - net.margin), max(0, x - net.margin)
    part = planes[..., top : y + net.margin + 1, left : x + net.margin + 1].astype(np.float64)
    y, x = y - top, x - left
    layers = [(w.astype(np.float64), b.astype(np.float64)) for w, b in net.layers]
    exact = SRCNN.from_layers(layers, device="reference", padding=net.padding, dtype=np.float64)
    maps = activations(exact, part)
    last, bias = layers[-1]
    around = _window(maps[-1], last.shape[2], y, x, net.padding)
    responses = [layer[:, y, x] for layer in maps]
    return PixelSteps(
        patch=_window(part, layers[0][0].shape[2], y, x, net.padding),
        responses=responses,
        painted=np.einsum("m,cmij->cij", responses[-1], last[:, :, ::-1, ::-1]),
        contributions=np.einsum("mij,cmij->cm", around, last),
        bias=bias,
        forward=exact.forward(part[None])[0, :, y, x],
    )


def _window(planes: np.ndarray, size: int, y: int, x: int, padding: str) -> np.ndarray:
    """Return the ``size`` x ``size`` values of planes (C, H, W) that a filter sees at a pixel."""
    padded = reference.pad(planes[None], size, padding)[0]
    window: np.ndarray = padded[:, y : y + size, x : x + size]
    return window
