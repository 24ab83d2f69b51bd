"""SOAP: Adam along the axes on which gradients do not correlate (Vyas and others, ICLR 2025).

Adam gives every weight a rate of its own. Of the network's filters that is the wrong thing to
scale: neighbouring pixels are nearly alike, so that the gradients of neighbouring weights are too,
and the loss is steep where a filter's weights move together and flat, by orders of magnitude,
where they move against each other. Fine detail, for which SRCNN is trained, lies where it is flat.
So the gradient is turned first, to axes on which its parts do not correlate, each part gets its
rate there, and the step is turned back.

The filters of a layer are a tensor (n_i, n_(i-1), f f), and it is turned along each of its three
axes, by the eigenvectors of the gradients' covariance along it: at most 81 x 81 numbers, where the
covariance of all weights would have 50,000 x 50,000.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np

from npsrcnn.runtime.jit import jit
from npsrcnn.training.optimizers import Layers, parameters

TINY = np.float32(1e-30)
LEAST = 1e-9  # of all eigenvalues' sum: below it an eigenvalue is as good as zero


class SOAP:
    """Shampoo with Adam in the preconditioner's eigenbasis (algorithm 3 of the paper).

    Parameters
    ----------
    layers, factors
        As for :class:`npsrcnn.training.optimizers.Adam`. Biases are not turned.
    beta1, beta2
        How much of the averages of gradients, and of their squares and covariances, stays in a
        step.
    every
        Steps between two looks for the eigenvectors, each one step of orthogonal iteration.
    epsilon
        Added to the roots of the averaged squares, as a part of the largest. What is much smaller
        is float32's rounding, of which Adam would make whole steps.
    """

    def __init__(
        self,
        layers: Layers,
        factors: Sequence[tuple[float, float]],
        beta1: float = 0.95,
        beta2: float = 0.95,
        every: int = 10,
        epsilon: float = 1e-6,
    ) -> None:
        self.beta1, self.beta2, self.every = beta1, beta2, every
        self.epsilon = np.float32(epsilon)
        self.factors = [f for pair in factors for f in pair]
        self.axes = [[Axis(n) for n in _axes(p.shape)] for p in parameters(layers)]
        self.mean = [np.zeros_like(p) for p in parameters(layers)]  # both as turned
        self.square = [np.zeros_like(p) for p in parameters(layers)]
        self.steps = 0

    def step(self, layers: Layers, grads: Layers, rate: float) -> None:
        """Move the weights of ``layers``, in place, by one step."""
        self.steps += 1
        correct1 = np.float32(1 / (1 - self.beta1**self.steps))
        correct2 = np.float32(1 / (1 - self.beta2**self.steps))
        for p, g, m, s, axes, f in zip(
            parameters(layers),
            parameters(grads),
            self.mean,
            self.square,
            self.axes,
            self.factors,
            strict=True,
        ):
            turned = turn(g, [axis.to for axis in axes])
            m += np.float32(1 - self.beta1) * (turned - m)
            s += np.float32(1 - self.beta2) * (turned * turned - s)
            root = np.sqrt(s * correct2)
            step = (m * correct1) / (root + self.epsilon * root.max() + TINY)
            # A mean is never above the root of the mean square, if both are of the same axes. After
            # new axes, for which squares are only estimates, steps would be longer.
            np.clip(step, -1, 1, out=step)
            p -= np.float32(rate * f) * turn(step, [axis.back for axis in axes])
            for axis, along in zip(axes, _unfolded(g, axes), strict=True):
                axis.add(along, 1 - self.beta2)
            if self.steps % self.every == 0:
                turns = [axis.improve() for axis in axes]
                m[...] = turn(m, turns)
                # The paper leaves the squares. As parts hardly correlate, those of a sum are about
                # the sum of theirs: else 9-5-5 lost up to 0.3 dB for minutes, at a rate of 0.01.
                s[...] = turn(s, [part * part for part in turns])

    def state(self) -> dict[str, np.ndarray]:
        """Arrays from which :meth:`restore` goes on as if never stopped."""
        return {
            "steps": np.array(self.steps),
            **{f"mean{i}": m for i, m in enumerate(self.mean)},
            **{f"square{i}": s for i, s in enumerate(self.square)},
            **{f"covariance{i}.{k}": axis.covariance for i, k, axis in self.all_axes()},
            **{f"vectors{i}.{k}": axis.vectors for i, k, axis in self.all_axes()},
        }

    def restore(self, state: dict[str, np.ndarray]) -> None:
        """Take back what :meth:`state` gave."""
        self.steps = int(state["steps"])
        for i, (m, s) in enumerate(zip(self.mean, self.square, strict=True)):
            m[...], s[...] = state[f"mean{i}"], state[f"square{i}"]
        for i, k, axis in self.all_axes():
            axis.covariance[...] = state[f"covariance{i}.{k}"]
            axis.take(state[f"vectors{i}.{k}"])

    def all_axes(self) -> Iterator[tuple[int, int, Axis]]:
        """The number of a parameter, of an axis, and that axis, for all that have any."""
        for i, axes in enumerate(self.axes):
            for k, axis in enumerate(axes):
                yield i, k, axis


class Axis:
    """One axis of a gradient: the covariance along it, and that matrix's eigenvectors, about.

    Attributes
    ----------
    covariance, vectors : ndarray, (n, n) float64
        The average of ``G G'``, where G is a gradient with this axis first; and orthonormal rows.
    to, back : ndarray, (n, n) float32
        What :func:`turn` takes to turn to the eigenvectors, and back.
    """

    def __init__(self, size: int) -> None:
        self.covariance = np.zeros((size, size))
        self.take(np.eye(size))

    def take(self, vectors: np.ndarray) -> None:
        """Use these ``vectors`` from now on."""
        self.vectors = vectors
        self.to = np.ascontiguousarray(vectors.T, np.float32)
        self.back = np.ascontiguousarray(vectors, np.float32)

    def add(self, gradient: np.ndarray, part: float) -> None:
        """Let a gradient, (others, n), be ``part`` of the covariance."""
        self.covariance += part * (product(gradient, gradient) - self.covariance)

    def improve(self) -> np.ndarray:
        """A step of orthogonal iteration; returns what turns from the old vectors to the new."""
        old = np.ascontiguousarray(self.vectors.T)
        vectors = product(old, self.covariance)
        # Where there is no gradient, as of a map that is always zero, vectors stay what they were.
        vectors += (LEAST * self.covariance.trace() + 1e-30) * self.vectors
        _orthonormalize(vectors)
        self.take(vectors)
        return product(old, np.ascontiguousarray(vectors.T)).astype(np.float32)


def turn(tensor: np.ndarray, matrices: Sequence[np.ndarray]) -> np.ndarray:
    """Multiply each axis of ``tensor`` with one of the ``matrices``, which are (n, n) and square.

    Along an axis, ``out[k] = sum_n in[n] matrix[n, k]``. Each product moves the axis from the
    front to the end, so that after all of them the order is what it was.
    """
    turned = tensor
    for matrix in matrices:
        turned = product(turned.reshape(len(matrix), -1), matrix)
    return turned.reshape(tensor.shape)


def product(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """``a.T @ b`` of contiguous arrays, to the same bits everywhere, which a BLAS does not promise.

    On one thread: to wake others takes longer (a step of 9-1-5 twice as long on four, measured).
    """
    result = np.zeros((a.shape[1], b.shape[1]), a.dtype)
    _add_product(a, b, result)
    return result


def _axes(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The lengths of a parameter's axes along which it is turned: rows and columns are one."""
    return (*shape[:2], math.prod(shape[2:])) if len(shape) == 4 else ()


def _unfolded(gradient: np.ndarray, axes: Sequence[Axis]) -> Iterator[np.ndarray]:
    """The gradient with each axis in turn as the last of two."""
    flat = gradient
    for axis in axes:
        flat = np.ascontiguousarray(flat.reshape(len(axis.vectors), -1).T)
        yield flat


@jit
def _add_product(a, b, result):
    whole = len(a) - len(a) % 4
    for i in range(len(result)):
        for n in range(0, whole, 4):  # four at a time: a third of the loads and stores
            x0, x1, x2, x3 = a[n, i], a[n + 1, i], a[n + 2, i], a[n + 3, i]
            for j in range(result.shape[1]):
                first = x0 * b[n, j] + x1 * b[n + 1, j]
                result[i, j] += first + (x2 * b[n + 2, j] + x3 * b[n + 3, j])
        for n in range(whole, len(a)):
            x = a[n, i]
            for j in range(result.shape[1]):
                result[i, j] += x * b[n, j]


@jit
def _orthonormalize(vectors):
    """Gram-Schmidt's method on the rows, in place; the second time takes what rounding left."""
    for i in range(len(vectors)):
        for _ in range(2):
            for k in range(i):
                along = 0.0
                for j in range(vectors.shape[1]):
                    along += vectors[i, j] * vectors[k, j]
                for j in range(vectors.shape[1]):
                    vectors[i, j] -= along * vectors[k, j]
            length = 0.0
            for j in range(vectors.shape[1]):
                length += vectors[i, j] ** 2
            for j in range(vectors.shape[1]):
                vectors[i, j] /= np.sqrt(length)
