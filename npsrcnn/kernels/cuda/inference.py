"""Run the whole network on whole images, in strips where they do not fit in the GPU's memory.

The first two layers go in one pass (:mod:`npsrcnn.kernels.cuda.fused`), what follows
layer by layer. A strip takes with it the rows that the filters reach around it; every
kernel pads only where the image ends, so strips come out identical, to the last bit, to one piece.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator

import numpy as np

from npsrcnn.errors import UserError
from npsrcnn.kernels.cuda import device, fused, planes
from npsrcnn.kernels.cuda.convolution import convolve
from npsrcnn.kernels.cuda.fused import reach_before
from npsrcnn.kernels.cuda.planes import ALIGNED, Planes, allocate, upload
from npsrcnn.kernels.cuda.weights import Weights
from npsrcnn.layers import Layers

MEMORY_SHARE = 0.6
"""Part of the GPU's free memory to fill."""

_ONE_AT_A_TIME = threading.Lock()

Rows = tuple[int, int]  # from, and up to


class Network:
    """A network on the device, for images that are there too or in main memory.

    Parameters
    ----------
    layers : list of (w, b)
    padding : "replicate" or "zeros"
    """

    def __init__(self, layers: Layers, padding: str = "replicate") -> None:
        self.weights = Weights(layers)
        zeros = {"replicate": False, "zeros": True}[padding]
        self.shapes = [shape._replace(zeros=zeros) for shape in self.weights.shapes]
        self.pair = None
        if len(layers) > 2:  # both of the two have a ReLU behind them
            (c, n1, f1, *_), (_, n2, f2, *_) = self.shapes[:2]
            pair = fused.Pair(c, n1, f1, n2, f2, zeros)
            self.pair = pair if fused.blocking(pair) is not None else None
        self._buffers: dict[int, Planes] = {}

    def ranges(self, rows: Rows, height: int) -> list[Rows]:
        """Return the rows of the image, then of each layer's output, that ``rows`` need."""
        result = [rows]
        for shape in reversed(self.shapes):
            first, last = result[0]
            first, last = first - reach_before(shape.size), last + shape.size // 2
            result.insert(0, (max(0, first), min(height, last)))
        return result

    def _buffer(self, i: int, n: int, rows: int, columns: int) -> Planes:
        """Return room for the output of layer ``i``: as before where that is large enough."""
        need = n, self.shapes[i].maps, rows, columns
        buffer = self._buffers.get(i)
        if buffer is None or buffer.data.size < planes.floats_of(*need):
            self._buffers.pop(i, None)  # let go of it first
            buffer = self._buffers[i] = allocate(*need)
        return planes.planes_in(buffer.data, *need)

    def run(self, x: Planes, rows: Rows, height: int) -> Planes:
        """Compute ``rows`` of the result from ``x``, which holds the rows of the image they need.

        The result is overwritten by the next run.
        """
        ranges, shapes, layers = self.ranges(rows, height), self.shapes, self.weights.layers
        first = 0
        if self.pair is not None:
            (start, _), (top, bottom) = ranges[0], ranges[2]
            y = self._buffer(1, x.n, bottom - top, x.columns)
            x = fused.two_layers(
                x, layers[0], layers[1], self.pair, y, shift=top - start, top=top, rows=height
            )
            first = 2
        for i in range(first, len(shapes)):
            (start, _), (top, bottom) = ranges[i], ranges[i + 1]
            reach = reach_before(shapes[i].size)
            y = self._buffer(i, x.n, bottom - top, x.columns)
            x = convolve(x, *layers[i], shapes[i], y, row=top - reach - start, column=-reach)
        return x

    def strip_rows(self, n: int, height: int, width: int, memory: int) -> int:
        """Return how many rows of the result to compute at once in ``memory`` bytes.

        Raises
        ------
        UserError
            Not even a few fit.
        """
        shapes = self.shapes
        maps = [s.maps for s in shapes[0 if self.pair is None else 1 :]]
        row = 4 * n * (sum(maps) + shapes[0].channels) * device.round_up(ALIGNED, width)
        around = sum(s.size - 1 for s in shapes) + 2 * ALIGNED
        if height + around <= memory // row:
            return height
        rows = (memory // row - around) // fused.BLOCK_ROWS * fused.BLOCK_ROWS
        if rows < fused.BLOCK_ROWS:
            raise UserError(
                f"the GPU has too little free memory for images {width} pixels wide "
                f"({memory >> 20} MB to use): close what else uses it, or use --device cpu"
            )
        return rows

    def strips(self, images: np.ndarray, memory: int) -> Iterator[tuple[Rows, np.ndarray]]:
        """Yield each strip of the result, with its rows."""
        n, _, height, width = images.shape
        step = self.strip_rows(n, height, width, memory)
        for top in range(0, height, step):
            rows = top, min(height, top + step)
            start, stop = self.ranges(rows, height)[0]
            yield rows, self.run(upload(images[:, :, start:stop]), rows, height).download()


def forward(layers: Layers, images: np.ndarray, padding: str = "replicate") -> np.ndarray:
    """Restore images (N, C, H, W), their size kept: edges padded before every layer.

    Threads take turns: each is to find the memory free.
    """
    with _ONE_AT_A_TIME:
        return _forward(Network(layers, padding), images)


def _forward(network: Network, images: np.ndarray) -> np.ndarray:
    n, _, height, width = images.shape
    result = np.empty((n, network.shapes[-1].maps, height, width), np.float32)
    memory = int(device.free_memory() * MEMORY_SHARE)
    for (top, bottom), strip in network.strips(images, memory):
        result[:, :, top:bottom] = strip
    return result
