"""The contract of kernels on an NVIDIA GPU, written in numba.cuda; float32, NumPy in and out.

N batch, C channels in, O channels out, H W height and width, K kernel size. Arrays are NCHW.

===================  ===========================================================================
``device``           the one import of ``numba.cuda``, and what to say where it cannot run
``launches``         how kernels are started: one by one, or recorded
``tiles``            two register tiles: all fast arithmetic
``planes``           maps on the device
``shared``           how a block fills its shared memory
``weights``          a network's weights on the device
``convolution``      one convolution: a layer, or the gradient to its input
``gradients``        the gradients to weights and biases
``fused``            the first two layers in one pass: inference
``tensor_tiles``     tiles on tensor cores, in TF32
``tensor_fused``     the first two layers in one pass, on tensor cores
``tf32``             the contract again, with tensor cores in ``forward``
``inference``        whole images, in strips where they do not fit
``steps``            ReLU, loss, the optimizer's step, drawing of sub-images
``soap``             the steps of SOAP, which are more than elementwise
``backpropagation``  loss and gradients of a batch
``training``         a whole training on the device
===================  ===========================================================================
"""

from __future__ import annotations

import numpy as np

from npsrcnn.kernels.cuda import inference, planes, steps, weights
from npsrcnn.kernels.cuda.backpropagation import Backpropagation, layer_gradients
from npsrcnn.kernels.cuda.convolution import layer
from npsrcnn.kernels.cuda.device import cuda, errors_for_people, floats, require
from npsrcnn.kernels.cuda.weights import Layers, Weights

__all__ = [
    "conv2d", "conv2d_grads", "forward", "loss_and_grads", "mse", "mse_grad", "relu", "relu_grad",
    "require",
]  # fmt: skip


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
    dx, grads = layer_gradients(
        planes.upload(x), *network.layers[0], shape, planes.upload(dy)
    )
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


@errors_for_people()
def forward(layers: Layers, images: np.ndarray, padding: str = "replicate") -> np.ndarray:
    """The whole network on (N, C, H, W), its size kept: edges padded before every layer.

    Images that do not fit in the GPU's memory go through in strips, to the same bits.
    """
    return inference.forward(layers, images, padding)


@errors_for_people()
def loss_and_grads(
    layers: Layers, inputs: np.ndarray, labels: np.ndarray
) -> tuple[float, Layers]:
    """The loss on (N, C, H, W) and its gradients [(dw, db), ...], by backpropagation.

    Sums go in an order that depends on the shapes alone: the same batch gives the same bits.
    """
    network = Weights(layers)
    step = Backpropagation(network, planes.upload(inputs), planes.upload(labels))
    step.run()
    loss = step.losses.copy_to_host().sum(dtype=np.float64) / (2 * len(inputs))
    return float(loss), weights.unpack(step.grads.copy_to_host(), network.shapes)
