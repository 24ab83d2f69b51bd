"""Keep all weights of a network in one array on the device, as kernels want them.

Layer after layer, w as (C, K, K, O), so that the weights of one tap are neighbours, then b (O,).
Gradients, velocities and averages lie in the same order.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from npsrcnn.kernels.cuda import tiles
from npsrcnn.kernels.cuda.convolution import LARGEST, Shape
from npsrcnn.kernels.cuda.device import DeviceLayer, to_device
from npsrcnn.layers import Layers


def shapes_of(layers: Layers) -> list[Shape]:
    """Return the shape of each layer: a ReLU follows every layer but the last.

    Raises
    ------
    ValueError
        Filters are larger than ``LARGEST``.
    """
    shapes = []
    for depth, (w, _) in enumerate(layers):
        maps, channels, size, _ = w.shape
        if size > LARGEST:
            raise ValueError(f"filters of {size} x {size}: kernels are for {LARGEST} at most")
        last = depth == len(layers) - 1
        shapes.append(Shape(channels, maps, size, tiles.LINEAR if last else tiles.RELU))
    return shapes


def places(shapes: Sequence[Shape]) -> tuple[list[int], int]:
    """Return where each layer begins, and how many floats there are in all."""
    sizes = [shape.weights + shape.maps for shape in shapes]
    starts = np.concatenate(([0], np.cumsum(sizes)))
    return [int(start) for start in starts[:-1]], int(starts[-1])


def pack(layers: Layers) -> np.ndarray:
    """Return [(w, b), ...] as one array."""
    parts = [(w.transpose(1, 2, 3, 0).ravel(), b) for w, b in layers]
    return np.concatenate([part for pair in parts for part in pair]).astype(np.float32)


def unpack(flat: np.ndarray, shapes: Sequence[Shape]) -> Layers:
    """Return [(w, b), ...] from one array: copies."""
    layers = []
    for shape, first in zip(shapes, places(shapes)[0], strict=True):
        middle = first + shape.weights
        w = flat[first:middle]
        w = w.reshape(shape.channels, shape.size, shape.size, shape.maps).transpose(3, 0, 1, 2)
        b = flat[middle : middle + shape.maps]
        layers.append((np.ascontiguousarray(w), b.copy()))
    return layers


class Weights:
    """A network's weights on the device.

    Attributes
    ----------
    shapes : list of Shape
    flat : device array
        All of them; ``layers`` are its parts.
    layers : list of (w, b)
        Views of ``flat``.
    starts : list of int
        Where each layer begins in ``flat``.
    count : int
        Numbers in ``flat``.
    """

    def __init__(self, layers: Layers) -> None:
        self.shapes = shapes_of(layers)
        self.starts, self.count = places(self.shapes)
        self.flat = to_device(pack(layers))
        self.layers: list[DeviceLayer] = []
        for shape, first in zip(self.shapes, self.starts, strict=True):
            middle = first + shape.weights
            b = self.flat[middle : middle + shape.maps]
            self.layers.append((self.flat[first:middle], b))

    def download(self) -> Layers:
        """Return [(w, b), ...] as NumPy arrays."""
        return unpack(self.flat.copy_to_host(), self.shapes)
