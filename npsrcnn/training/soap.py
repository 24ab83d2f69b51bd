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

from npsrcnn.layers import Layers
from npsrcnn.runtime.jit import jit
from npsrcnn.training.optimizers import Adam, Axes, Factors, State, parameters

TINY = np.float32(1e-30)
LEAST = 1e-9  # of all eigenvalues' sum: below it an eigenvalue is as good as zero


class SOAP(Adam):
    """Take steps of Shampoo with Adam in the preconditioner's eigenbasis (the paper's algorithm 3).

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

    name = "soap"

    def __init__(
        self,
        layers: Layers,
        factors: Factors,
        beta1: float = 0.95,
        beta2: float = 0.95,
        every: int = 10,
        epsilon: float = 1e-6,
    ) -> None:
        super().__init__(layers, factors, beta1, beta2, epsilon)  # moments are of turned gradients
        self.every = every
        self.axes = [[Axis(n) for n in _axis_lengths(p.shape)] for p in parameters(layers)]

    def step(self, layers: Layers, grads: Layers, rate: float) -> None:
        """Move the weights of ``layers``, in place, by one step."""
        now = {name: np.float32(number) for name, number in self.advance().items()}
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
            m += now["forget_mean"] * (turned - m)
            s += now["forget_square"] * (turned * turned - s)
            root = np.sqrt(s * now["correct_square"])
            step = (m * now["correct_mean"]) / (root + self.epsilon * root.max() + TINY)
            # A mean is never above the root of the mean square, if both are of the same axes. After
            # new axes, for which squares are only estimates, steps would be longer.
            np.clip(step, -1, 1, out=step)
            p -= np.float32(rate * f) * turn(step, [axis.back for axis in axes])
            for axis, along in zip(axes, _unfolded(g, axes), strict=True):
                axis.add(along, 1 - self.beta2)
            if now["improve"]:
                turns = [axis.improve() for axis in axes]
                m[...] = turn(m, turns)
                # The paper leaves the squares. As parts hardly correlate, those of a sum are about
                # the sum of theirs: else 9-5-5 lost up to 0.3 dB for minutes, at a rate of 0.01.
                s[...] = turn(s, [part * part for part in turns])

    def advance(self) -> dict[str, float]:
        """Count one more step, and return its numbers: Adam's, and whether to improve the axes."""
        return {**super().advance(), "improve": float(self.steps % self.every == 0)}

    def axes_of_all(self) -> Axes:
        """Return (covariance, vectors) of each axis of each parameter that has any."""
        return [(axis.covariance, axis.vectors) for *_, axis in self._numbered_axes()]

    def take_axes(self, axes: Axes) -> None:
        """Replace what :meth:`axes_of_all` returns."""
        for (*_, axis), (covariance, vectors) in zip(self._numbered_axes(), axes, strict=True):
            axis.covariance[...] = covariance
            axis.take(vectors.astype(np.float64))

    def state(self) -> State:
        """Return arrays from which :meth:`restore` goes on as if never stopped."""
        return {
            **super().state(),
            **{f"covariance{i}.{k}": axis.covariance for i, k, axis in self._numbered_axes()},
            **{f"vectors{i}.{k}": axis.vectors for i, k, axis in self._numbered_axes()},
        }

    def restore(self, state: State) -> None:
        """Take back what :meth:`state` has returned."""
        super().restore(state)
        numbered = [f"{i}.{k}" for i, k, _ in self._numbered_axes()]
        self.take_axes([(state[f"covariance{n}"], state[f"vectors{n}"]) for n in numbered])

    def _numbered_axes(self) -> Iterator[tuple[int, int, Axis]]:
        for i, axes in enumerate(self.axes):
            for k, axis in enumerate(axes):
                yield i, k, axis


class Axis:
    """Hold one axis of a gradient: the covariance along it, and about that matrix's eigenvectors.

    Attributes
    ----------
    covariance, vectors : ndarray, (n, n) float64
        The average of ``G G'``, where G is a gradient with this axis first; and orthonormal rows.
    to, back : ndarray, (n, n) float32
        Matrices with which :func:`turn` turns to the eigenvectors, and back.
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
        """Average a gradient, (others, n), into the covariance, as ``part`` of it."""
        self.covariance += part * (product(gradient, gradient) - self.covariance)

    def improve(self) -> np.ndarray:
        """Do a step of orthogonal iteration; return the matrix from the old vectors to the new."""
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
    """Compute ``a.T @ b`` of contiguous arrays, to the same bits everywhere (a BLAS may differ).

    On one thread: to wake others takes longer (a step of 9-1-5 twice as long on four, measured).
    """
    result = np.zeros((a.shape[1], b.shape[1]), a.dtype)
    _add_product(a, b, result)
    return result


def _axis_lengths(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the lengths of the axes that a parameter is turned along: rows and columns are one."""
    return (*shape[:2], math.prod(shape[2:])) if len(shape) == 4 else ()


def _unfolded(gradient: np.ndarray, axes: Sequence[Axis]) -> Iterator[np.ndarray]:
    """Yield the gradient with each axis in turn as the last of two."""
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
    """Orthonormalize the rows, in place, by Gram-Schmidt; a second pass removes rounding errors."""
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
