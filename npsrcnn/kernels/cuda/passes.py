"""The contract on an NVIDIA GPU: NumPy in and out, float32."""

from __future__ import annotations

import numpy as np

from npsrcnn.errors import UserError
from npsrcnn.kernels.cuda import inference, planes, steps, weights
from npsrcnn.kernels.cuda.backpropagation import Backpropagation, layer_gradients
from npsrcnn.kernels.cuda.convolution import layer
from npsrcnn.kernels.cuda.device import cuda, errors_for_people, floats
from npsrcnn.kernels.cuda.weights import Layers, Weights


@errors_for_people()
def conv2d(x: np.ndarray, w: np.ndarray, b: np.ndarray) -> np.ndarray:
    """y[n, o, i, j] = b[o] + sum over c, u, v of w[o, c, u, v] x[n, c, i + u, j + v]."""
    network = Weights([(w, b)])
    return layer(planes.upload(x), *network.layers[0], network.shapes[0]).download()


@errors_for_people()
def conv2d_grads(
    x: np.ndarray, w: np.ndarray, dy: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Gradients of <conv2d(x, w, b), dy> to x, w and b."""
    network = Weights([(w, np.zeros(len(w), np.float32))])
    (shape,) = network.shapes
    dx, grads = layer_gradients(planes.upload(x), *network.layers[0], shape, planes.upload(dy))
    ((dw, db),) = weights.unpack(grads.copy_to_host(), [shape])
    return dx.download(), dw, db


def relu(x: np.ndarray) -> np.ndarray:
    """max(0, x)."""
    return relu_grad(x, x)


@errors_for_people()
def relu_grad(x: np.ndarray, dy: np.ndarray) -> np.ndarray:
    """dy where x > 0, else 0."""
    a, b = (cuda.to_device(np.ascontiguousarray(v, np.float32).reshape(-1)) for v in (x, dy))
    y = floats(x.size)
    steps.rectify(a, b, y)
    return y.copy_to_host().reshape(x.shape)


@errors_for_people()
def _compared(y: np.ndarray, t: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    outputs, labels = planes.upload(y), planes.upload(t)
    dy, losses = planes.upload(y), floats(len(y))
    steps.compare(outputs, labels, dy, losses)
    return losses.copy_to_host(), dy.download()


def mse(y: np.ndarray, t: np.ndarray) -> float:
    """Caffe's EuclideanLoss: sum of (y - t)^2 over everything, divided by 2N."""
    return float(_compared(y, t)[0].sum(dtype=np.float64) / (2 * len(y)))


def mse_grad(y: np.ndarray, t: np.ndarray) -> np.ndarray:
    """Gradient of :func:`mse` to y: (y - t) / N."""
    return _compared(y, t)[1]


def halo(layers: Layers) -> int:
    """Count the pixels around a part of an image that :func:`forward` needs to restore it."""
    return sum(w.shape[2] // 2 for w, _ in layers)


@errors_for_people()
def forward(
    layers: Layers,
    images: np.ndarray,
    padding: str = "replicate",
    origin: tuple[int, int] = (0, 0),
) -> np.ndarray:
    """The whole network on (N, C, H, W), its size kept: edges padded before every layer.

    Images that do not fit in the GPU's memory go through in strips, to the same bits. ``origin``,
    where parts of images begin, makes no difference here.
    """
    return inference.forward(layers, images, padding)


@errors_for_people()
def loss_and_grads(
    layers: Layers, inputs: np.ndarray, labels: np.ndarray, l1: float = 0.0
) -> tuple[float, Layers]:
    """The loss on (N, C, H, W) and its gradients [(dw, db), ...], by backpropagation.

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
