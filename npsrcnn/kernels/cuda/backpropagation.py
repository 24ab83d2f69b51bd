"""Compute loss and gradients of a batch on the device: the training step, no padding."""

from __future__ import annotations

import numpy as np

from npsrcnn.kernels.cuda import gradients, steps
from npsrcnn.kernels.cuda.convolution import Shape, convolve, input_gradient
from npsrcnn.kernels.cuda.device import DeviceArray, floats, to_device
from npsrcnn.kernels.cuda.planes import Planes, allocate
from npsrcnn.kernels.cuda.weights import Weights


class Backpropagation:
    """Hold what a batch of one size needs, used again for each batch.

    Parameters
    ----------
    weights : Weights
    inputs, labels : Planes
        Where each batch will be.

    Attributes
    ----------
    grads : device array
        Of all weights, in their order.
    losses : device array
        For each sample the sum of squared differences.
    squares : device array
        Parts of the sum of the gradients' squares.
    counter : device array
        Batches done, and where in the order of sub-images the first began.
    """

    def __init__(self, weights: Weights, inputs: Planes, labels: Planes) -> None:
        self.weights, self.labels = weights, labels
        self.maps = [inputs]
        for shape in weights.shapes:
            x, less = self.maps[-1], shape.size - 1
            self.maps.append(allocate(x.n, shape.maps, x.rows - less, x.columns - less))
        # Of each layer's output; those of the first layer's input are never wanted.
        self.cotangents = [allocate(y.n, y.channels, y.rows, y.columns) for y in self.maps[1:]]
        self.partials = floats(gradients.sample_groups(inputs.n) * weights.count)
        self.grads = floats(weights.count)
        self.losses = floats(inputs.n)
        self.squares = floats(steps.blocks_of_squares(weights.count))
        self.counter = to_device(np.zeros(2, np.int64))

    def run(self) -> None:
        """Compute ``losses``, ``grads`` and ``squares`` of the batch in ``inputs``, ``labels``."""
        shapes, layers = self.weights.shapes, self.weights.layers
        for (w, b), shape, x, y in zip(layers, shapes, self.maps, self.maps[1:], strict=False):
            convolve(x, w, b, shape, y)
        steps.compare(self.maps[-1], self.labels, self.cotangents[-1], self.losses)
        count = self.weights.count
        for i in reversed(range(len(shapes))):
            x, dy = self.maps[i], self.cotangents[i]
            gradients.weight_gradients(
                x, dy, shapes[i], self.partials, count, self.weights.starts[i]
            )
            if i > 0:
                input_gradient(dy, *layers[i], shapes[i], self.cotangents[i - 1], gate=x)
        steps.add(self.partials, self.grads, self.squares, self.counter)


def layer_gradients(
    x: Planes, w: DeviceArray, b: DeviceArray, shape: Shape, dy: Planes
) -> tuple[Planes, DeviceArray]:
    """Compute dx, and dw and db in one array in the order of ``weights``."""
    more = shape.size - 1
    dx = allocate(dy.n, shape.channels, dy.rows + more, dy.columns + more)
    input_gradient(dy, w, b, shape, dx)
    count = shape.weights + shape.maps
    partials, grads = floats(gradients.sample_groups(x.n) * count), floats(count)
    gradients.weight_gradients(x, dy, shape, partials, count, 0)
    squares = floats(steps.blocks_of_squares(count))
    steps.add(partials, grads, squares, to_device(np.zeros(2, np.int64)))
    return dx, grads
