"""Compute everything in textbook NumPy, in any float dtype: the oracle of every test.

N batch, C channels in, O channels out, H W height and width, K kernel size. Arrays are NCHW.
"""

from __future__ import annotations

import functools

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from npsrcnn.layers import Layers


def conv2d(x: np.ndarray, w: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Compute y[n, o, i, j] = b[o] + sum over c, u, v of w[o, c, u, v] x[n, c, i+u, j+v].

    x (N, C, H, W), w (O, C, K, K), b (O,) -> y (N, O, H-K+1, W-K+1). TPAMI eq. 1-3.
    """
    windows = sliding_window_view(x, w.shape[2:], axis=(2, 3))  # (N, C, H-K+1, W-K+1, K, K)
    sums = np.tensordot(windows, w, axes=([1, 4, 5], [1, 2, 3]))  # (N, H-K+1, W-K+1, O)
    y: np.ndarray = np.ascontiguousarray(sums.transpose(0, 3, 1, 2)) + b[:, None, None]
    return y


def conv2d_grads(
    x: np.ndarray, w: np.ndarray, dy: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Compute the gradients dx, dw and db of <conv2d(x, w, b), dy>.

    dx is the full correlation of dy with the flipped filters, dw the correlation of x with dy.
    """
    k = w.shape[2]
    windows = sliding_window_view(x, (k, k), axis=(2, 3))
    dw = np.tensordot(dy, windows, axes=([0, 2, 3], [0, 2, 3]))  # (O, C, K, K)
    db = dy.sum(axis=(0, 2, 3))
    padded = np.pad(dy, ((0, 0), (0, 0), (k - 1, k - 1), (k - 1, k - 1)))
    flipped = w[:, :, ::-1, ::-1].swapaxes(0, 1)  # (C, O, K, K)
    dx = conv2d(padded, flipped, np.zeros(w.shape[1], w.dtype))
    return dx, dw, db


def relu(x: np.ndarray) -> np.ndarray:
    """Compute max(0, x)."""
    y: np.ndarray = np.maximum(x, 0)
    return y


def relu_grad(x: np.ndarray, dy: np.ndarray) -> np.ndarray:
    """Return dy where x > 0, else 0."""
    return np.where(x > 0, dy, np.zeros((), dy.dtype))


def mse(y: np.ndarray, t: np.ndarray) -> float:
    """Compute the sum of (y - t)^2 over everything, divided by 2N: Caffe's EuclideanLoss."""
    return float(np.sum((y - t) ** 2, dtype=np.float64) / (2 * len(y)))


def mse_grad(y: np.ndarray, t: np.ndarray) -> np.ndarray:
    """Compute the gradient of :func:`mse` to y: (y - t) / N."""
    dy: np.ndarray = (y - t) / y.dtype.type(len(y))
    return dy


def pad(x: np.ndarray, k: int, padding: str) -> np.ndarray:
    """Enlarge (N, C, H, W) so that a valid convolution of size k gives H, W again."""
    margin = (k - 1) // 2, k // 2
    width = (0, 0), (0, 0), margin, margin
    return np.pad(x, width, "edge" if padding == "replicate" else "constant")


def halo(layers: Layers) -> int:
    """Count the pixels around a part of an image that :func:`forward` needs to restore it."""
    return sum(w.shape[2] // 2 for w, _ in layers)


def forward(
    layers: Layers,
    images: np.ndarray,
    padding: str = "replicate",
    origin: tuple[int, int] = (0, 0),
) -> np.ndarray:
    """Restore images (N, C, H, W), their size kept: edges are padded before every layer.

    ``origin``, where parts of images begin, makes no difference here.
    """
    x = images
    for depth, (w, b) in enumerate(layers):
        x = conv2d(pad(x, w.shape[2], padding), w, b)
        if depth < len(layers) - 1:
            x = relu(x)
    return x


def prepare(layers: Layers) -> functools.partial[np.ndarray]:
    """Return :func:`forward` of ``layers``."""
    return functools.partial(forward, layers)


def loss_and_grads(
    layers: Layers, inputs: np.ndarray, labels: np.ndarray, l1: float = 0.0
) -> tuple[float, Layers]:
    """Compute the loss on (N, C, H, W) and its gradients [(dw, db), ...] by backpropagation.

    Valid convolutions: labels are as much smaller as the filters take away. ``l1`` adds the
    lasso's penalty on codes: the sum of all maps but the last layer's, times l1 / N.
    """
    maps = [inputs]  # the input of each layer
    for depth, (w, b) in enumerate(layers):
        z = conv2d(maps[-1], w, b)
        maps.append(relu(z) if depth < len(layers) - 1 else z)
    loss, dy = mse(maps[-1], labels), mse_grad(maps[-1], labels)
    loss += l1 / len(inputs) * sum(float(x.sum(dtype=np.float64)) for x in maps[1:-1])
    grads: Layers = []
    for depth in reversed(range(len(layers))):
        dx, dw, db = conv2d_grads(maps[depth], layers[depth][0], dy)
        grads.insert(0, (dw, db))
        if depth > 0:
            dx += dx.dtype.type(l1 / len(inputs))  # a map is not below zero: |x| = x
            dy = relu_grad(maps[depth], dx)  # relu(z) > 0 just where z > 0
    return loss, grads
