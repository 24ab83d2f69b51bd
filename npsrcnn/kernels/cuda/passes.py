"""Keep the contract on an NVIDIA GPU: NumPy in and out, float32."""

from __future__ import annotations

import functools

import numpy as np

from npsrcnn.errors import UserError
from npsrcnn.kernels.cuda import inference, planes, steps, weights
from npsrcnn.kernels.cuda.backpropagation import Backpropagation, layer_gradients
from npsrcnn.kernels.cuda.convolution import layer
from npsrcnn.kernels.cuda.device import floats, one_line_errors, to_device
from npsrcnn.kernels.cuda.weights import Weights
from npsrcnn.layers import Layers


@one_line_errors()
def conv2d(x: np.ndarray, w: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Compute y[n, o, i, j] = b[o] + sum over c, u, v of w[o, c, u, v] x[n, c, i + u, j + v]."""
    network = Weights([(w, b)])
    return layer(planes.upload(x), *network.layers[0], network.shapes[0]).download()


@one_line_errors()
def conv2d_grads(
    x: np.ndarray, w: np.ndarray, dy: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Compute the gradients dx, dw and db of <conv2d(x, w, b), dy>."""
    network = Weights([(w, np.zeros(len(w), np.float32))])
    (shape,) = network.shapes
    dx, grads = layer_gradients(planes.upload(x), *network.layers[0], shape, planes.upload(dy))
    ((dw, db),) = weights.unpack(grads.copy_to_host(), [shape])
    return dx.download(), dw, db


def relu(x: np.ndarray) -> np.ndarray:
    """Compute max(0, x)."""
    return relu_grad(x, x)


@one_line_errors()
def relu_grad(x: np.ndarray, dy: np.ndarray) -> np.ndarray:
    """Return dy where x > 0, else 0."""
    a, b = (to_device(np.asarray(v, np.float32)) for v in (x, dy))
    y = floats(x.size)
    steps.rectify(a, b, y)
    return y.copy_to_host().reshape(x.shape)


@one_line_errors()
def _compared(y: np.ndarray, t: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    outputs, labels = planes.upload(y), planes.upload(t)
    dy, losses = planes.upload(y), floats(len(y))
    steps.compare(outputs, labels, dy, losses)
    return losses.copy_to_host(), dy.download()


def mse(y: np.ndarray, t: np.ndarray) -> float:
    """Compute the sum of (y - t)^2 / 2N: Caffe's EuclideanLoss."""
    return float(_compared(y, t)[0].sum(dtype=np.float64) / (2 * len(y)))


def mse_grad(y: np.ndarray, t: np.ndarray) -> np.ndarray:
    """Compute the gradient of :func:`mse` to y: (y - t) / N."""
    return _compared(y, t)[1]


def halo(layers: Layers) -> int:
    """Count the pixels around a part of an image that :func:`forward` needs to restore it."""
    return sum(w.shape[2] // 2 for w, _ in layers)


@one_line_errors()
def forward(
    layers: Layers,
    images: np.ndarray,
    padding: str = "replicate",
    origin: tuple[int, int] = (0, 0),
) -> np.ndarray:
    """Restore images (N, C, H, W), their size kept: edges padded before every layer.

    Images that do not fit in the GPU's memory go through in strips, to the same bits. ``origin``,
    where parts of images begin, makes no difference here.
    """
    return inference.forward(layers, images, padding)


def prepare(layers: Layers) -> functools.partial[np.ndarray]:
    """Return :func:`forward` of ``layers``."""
    return functools.partial(forward, layers)


@one_line_errors()
def loss_and_grads(
    layers: Layers, inputs: np.ndarray, labels: np.ndarray, l1: float = 0.0
) -> tuple[float, Layers]:
    """Compute the loss on (N, C, H, W) and its gradients [(dw, db), ...], by backpropagation.

    Sums go in an order that depends on the shapes alone: the same batch gives the same bits.

    Raises
    ------
    UserError
        ``l1`` is not 0: GPU kernels have no penalty on the maps.
    """
    if l1:
        raise UserError("a penalty on the codes (l1) is for the CPU: the GPU kernels have none")
    network = Weights(layers)
    step = Backpropagation(network, planes.upload(inputs), planes.upload(labels))
    step.run()
    loss = step.losses.copy_to_host().sum(dtype=np.float64) / (2 * len(inputs))
    return float(loss), weights.unpack(step.grads.copy_to_host(), network.shapes)
