"""Compute on CPUs: each operation in plain loops of Numba, and the two whole passes.

N batch, C channels in, O channels out, H W height and width, K kernel size. Arrays are NCHW,
float32 or float64. The loops here are for reading and for checking gradients in float64; in
float32 the whole passes run on the fused kernels of :mod:`~npsrcnn.kernels.cpu.inference` and
:mod:`~npsrcnn.kernels.cpu.training`.

Each kernel ``_name(i, ...)`` computes piece ``i`` of its result, whole: what a piece adds up, it
adds up in one order, so the bits do not depend on the number of threads.
"""

from __future__ import annotations

import numpy as np

from npsrcnn.kernels import reference
from npsrcnn.kernels.cpu import inference
from npsrcnn.kernels.cpu.shares import fills_groups
from npsrcnn.layers import Layers
from npsrcnn.runtime.jit import jit
from npsrcnn.runtime.threads import parallel


@jit
def _conv2d(i, x, w, b, y):
    n, o = divmod(i, w.shape[0])
    y[n, o] = b[o]
    for c in range(w.shape[1]):
        for u in range(w.shape[2]):
            for v in range(w.shape[3]):
                for row in range(y.shape[2]):
                    for col in range(y.shape[3]):
                        y[n, o, row, col] += w[o, c, u, v] * x[n, c, row + u, col + v]


@jit
def _dx(i, w, dy, dx):
    n, c = divmod(i, w.shape[1])
    dx[n, c] = 0
    for o in range(w.shape[0]):
        for u in range(w.shape[2]):
            for v in range(w.shape[3]):
                for row in range(dy.shape[2]):
                    for col in range(dy.shape[3]):
                        dx[n, c, row + u, col + v] += w[o, c, u, v] * dy[n, o, row, col]


@jit
def _dw(i, x, dy, dw):
    o, c = divmod(i, dw.shape[1])
    columns = np.empty(dy.shape[3], dw.dtype)  # one sum a column: they run side by side
    for u in range(dw.shape[2]):
        for v in range(dw.shape[3]):
            columns[:] = 0
            for n in range(dy.shape[0]):
                for row in range(dy.shape[2]):
                    for col in range(dy.shape[3]):
                        columns[col] += dy[n, o, row, col] * x[n, c, row + u, col + v]
            dw[o, c, u, v] = columns.sum()


@jit
def _db(o, dy, db):
    db[o] = 0
    for n in range(dy.shape[0]):
        db[o] += dy[n, o].sum()


@jit
def _relu(n, x, y):
    for i in range(x.shape[1]):
        y[n, i] = max(x[n, i], x.dtype.type(0))


@jit
def _relu_grad(n, x, dy, dx):
    for i in range(x.shape[1]):
        dx[n, i] = dy[n, i] if x[n, i] > 0 else dy.dtype.type(0)


@jit
def _squares(n, y, t, sums):
    sums[n] = 0
    for i in range(y.shape[1]):
        sums[n] += (y[n, i] - t[n, i]) ** 2


@jit
def _differences(n, y, t, scale, dy):
    for i in range(y.shape[1]):
        dy[n, i] = (y[n, i] - t[n, i]) * scale


def conv2d(x: np.ndarray, w: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Compute y[n, o, i, j] = b[o] + sum over c, u, v of w[o, c, u, v] x[n, c, i+u, j+v].

    x (N, C, H, W), w (O, C, K, K), b (O,) -> y (N, O, H-K+1, W-K+1). TPAMI eq. 1-3.

    Raises
    ------
    TypeError, ValueError
        Arrays that are not all float32 or all float64, or whose shapes do not fit together.
    """
    x, w, b = _arrays(x, w, b)
    shape = _shape_of_output(x, w)
    if b.shape != w.shape[:1]:
        raise ValueError(f"b is {b.shape}, expected {w.shape[:1]} for w {w.shape}")
    y = np.empty(shape, x.dtype)
    parallel(_conv2d, y.shape[0] * y.shape[1], x, w, b, y)
    return y


def conv2d_grads(
    x: np.ndarray, w: np.ndarray, dy: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Compute the gradients dx, dw and db of <conv2d(x, w, b), dy>.

    Raises
    ------
    TypeError, ValueError
        Arrays that are not all float32 or all float64, or whose shapes do not fit together.
    """
    x, w, dy = _arrays(x, w, dy)
    shape = _shape_of_output(x, w)
    if dy.shape != shape:
        raise ValueError(f"dy is {dy.shape}, expected {shape} for x {x.shape} and w {w.shape}")
    dx, dw, db = np.empty_like(x), np.empty_like(w), np.empty(len(w), w.dtype)
    parallel(_dx, x.shape[0] * x.shape[1], w, dy, dx)
    parallel(_dw, w.shape[0] * w.shape[1], x, dy, dw)
    parallel(_db, len(w), dy, db)
    return dx, dw, db


def relu(x: np.ndarray) -> np.ndarray:
    """Compute max(0, x)."""
    (x,) = _arrays(x)
    y = np.empty_like(x)
    parallel(_relu, len(x), _rows(x), _rows(y))
    return y


def relu_grad(x: np.ndarray, dy: np.ndarray) -> np.ndarray:
    """Return dy where x > 0, else 0."""
    x, dy = _same_shape(x, dy)
    dx = np.empty_like(dy)
    parallel(_relu_grad, len(x), _rows(x), _rows(dy), _rows(dx))
    return dx


def mse(y: np.ndarray, t: np.ndarray) -> float:
    """Compute the sum of (y - t)^2 over everything, divided by 2N: Caffe's EuclideanLoss."""
    y, t = _same_shape(y, t)
    sums = np.empty(len(y), y.dtype)
    parallel(_squares, len(y), _rows(y), _rows(t), sums)
    return float(sums.sum(dtype=np.float64) / (2 * len(y)))


def mse_grad(y: np.ndarray, t: np.ndarray) -> np.ndarray:
    """Compute the gradient of :func:`mse` to y: (y - t) / N."""
    y, t = _same_shape(y, t)
    dy = np.empty_like(y)
    parallel(_differences, len(y), _rows(y), _rows(t), y.dtype.type(1 / len(y)), _rows(dy))
    return dy


def forward(
    layers: Layers,
    images: np.ndarray,
    padding: str = "replicate",
    origin: tuple[int, int] = (0, 0),
) -> np.ndarray:
    """Run the whole network on (N, C, H, W), its size kept: edges are padded before every layer.

    Of a part of larger images ``origin`` says where it begins: see
    :func:`npsrcnn.kernels.cpu.inference.forward`.
    """
    if images.dtype == np.float32:
        return inference.forward(layers, images, padding, origin)
    x = images
    for depth, (w, b) in enumerate(layers):
        x = conv2d(reference.pad(x, w.shape[2], padding), w, b)
        if depth < len(layers) - 1:
            x = relu(x)
    return x


def prepare(layers: Layers) -> inference.Prepared:
    """Return :func:`forward` of ``layers``, of float32 images, planned once for all of them."""
    return inference.Prepared(layers)


def loss_and_grads(
    layers: Layers, inputs: np.ndarray, labels: np.ndarray, l1: float = 0.0
) -> tuple[float, Layers]:
    """Compute the loss of a batch (N, C, H, W) and its gradients [(dw, db), ...], without padding.

    ``l1`` weighs the sum of all maps: see :func:`npsrcnn.kernels.reference.loss_and_grads`.
    """
    if inputs.dtype == np.float32 and (l1 == 0 or fills_groups(len(inputs))):
        from npsrcnn.kernels.cpu import training  # what only enlarges starts 0.006 s earlier

        return training.loss_and_grads(layers, inputs, labels, l1)
    maps = [inputs]  # the input of each layer
    for w, b in layers[:-1]:
        maps.append(relu(conv2d(maps[-1], w, b)))
    y = conv2d(maps[-1], *layers[-1])
    dy = mse_grad(y, labels)
    slope = inputs.dtype.type(l1 / len(inputs))
    penalty = float(slope) * sum(float(x.sum(dtype=np.float64)) for x in maps[1:])
    grads: Layers = []
    for (w, _), x in zip(reversed(layers), reversed(maps), strict=True):
        dx, dw, db = conv2d_grads(x, w, dy)
        grads.insert(0, (dw, db))
        dy = relu_grad(x, dx + slope)  # x = relu(z) is positive just where z is
    return mse(y, labels) + penalty, grads


def _arrays(*arrays: np.ndarray) -> list[np.ndarray]:
    """Return the arrays, contiguous, if they are all float32 or all float64."""
    dtypes = {str(array.dtype) for array in arrays}
    if dtypes not in ({"float32"}, {"float64"}):
        raise TypeError(f"expected float32 or float64 throughout, not {', '.join(sorted(dtypes))}")
    return [np.ascontiguousarray(array) for array in arrays]


def _same_shape(a: np.ndarray, b: np.ndarray) -> list[np.ndarray]:
    """Return both arrays, contiguous, if their shapes are equal."""
    if a.shape != b.shape:
        raise ValueError(f"shapes {a.shape} and {b.shape} differ")
    return _arrays(a, b)


def _shape_of_output(x: np.ndarray, w: np.ndarray) -> tuple[int, int, int, int]:
    """Return (N, O, H-K+1, W-K+1) of x (N, C, H, W) and w (O, C, K, K), if they fit together."""
    if x.ndim != 4 or w.ndim != 4 or w.shape[2] != w.shape[3] or x.shape[1] != w.shape[1]:
        raise ValueError(f"x {x.shape} and w {w.shape} are not (N, C, H, W) and (O, C, K, K)")
    k = w.shape[2]
    height, width = x.shape[2] - k + 1, x.shape[3] - k + 1
    if height < 1 or width < 1:
        raise ValueError(f"filters of {k} x {k} are larger than the image, {x.shape[2:]}")
    return len(x), len(w), height, width


def _rows(x: np.ndarray) -> np.ndarray:
    """Return a view (len(x), everything else)."""
    return x.reshape(len(x), -1)
