"""Take the steps of SOAP on the device, along axes on which gradients do not correlate.

:mod:`npsrcnn.training.soap`, which this follows, says what SOAP does and why. A layer's filters
lie as (C, f f, O), and are rotated along each of the three. All layers take part in each launch: a
thread for each weight, and for each number of a covariance some threads that share its sum. Only
the update of the eigenvectors, once in ten steps, is work for a single block an axis.

Everything is float32, where :mod:`npsrcnn.training.soap` keeps covariances and eigenvectors in
float64: what differs are directions whose gradients are ten million times smaller than the largest.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numba import types

from npsrcnn.kernels.cuda import device
from npsrcnn.kernels.cuda.convolution import Shape
from npsrcnn.kernels.cuda.device import (
    DeviceArray,
    Kernel,
    cuda,
    divide_up,
    floats,
    inline,
    to_device,
)
from npsrcnn.kernels.cuda.launches import launch
from npsrcnn.kernels.cuda.steps import step_at
from npsrcnn.kernels.cuda.weights import places

THREADS = 256
SLICES = 8
"""Threads that share the sum of a covariance."""
PARTS = 16
"""Blocks that look for the largest root of a parameter."""
TO, BACK, CHANGE, SQUARES = range(4)
"""How tensors are rotated: to the eigenvectors and back; from old eigenvectors to new ones, by the
change itself or, for mean squares, by its squared elements."""
LEAST, TINY = np.float32(1e-9), np.float32(1e-30)
"""As in :mod:`npsrcnn.training.soap`."""


class Axis(NamedTuple):
    """Where an axis of a layer's filters lies: seven numbers of a table on the device.

    Its element n is ``weights[first + (p length + n) inner + q]``, with p below ``outer`` and q
    below ``inner``. Of matrices, (length, length), there is one for each axis.
    """

    first: int
    length: int
    outer: int
    inner: int
    matrix: int  # where its matrix begins
    block: int  # the first block that sums its covariance
    end: int  # of the layer's weights; its biases come after them


AXIS = len(Axis._fields)


def axes_of(shapes: Sequence[Shape]) -> list[Axis]:
    """Return the axes O, C, f f of each layer, as :class:`npsrcnn.training.soap.SOAP` has them."""
    axes, matrix, block = [], 0, 0
    for shape, first in zip(shapes, places(shapes)[0], strict=True):
        pixels = shape.size**2
        end = first + shape.weights
        for length, outer, inner in (
            (shape.maps, shape.channels * pixels, 1),
            (shape.channels, 1, pixels * shape.maps),
            (pixels, shape.channels, shape.maps),
        ):
            axes.append(Axis(first, length, outer, inner, matrix, block, end))
            matrix += length**2
            block += blocks_of(length)
    return axes


def blocks_of(length: int) -> int:
    """Count the blocks that sum a covariance of (length, length)."""
    return divide_up(length**2, THREADS // SLICES)


@inline
def axis_at(table, k):
    """Return row ``k`` of the table."""
    at = k * AXIS
    return Axis(
        table[at], table[at + 1], table[at + 2], table[at + 3], table[at + 4], table[at + 5],
        table[at + 6],
    )  # fmt: skip


@functools.lru_cache(maxsize=16)
def rotate_kernel(threads: int, by: int, along: int) -> Kernel:
    """Compile ``rotate(source, target, matrices, table, step_ok)``.

    It multiplies axis ``along`` (0 to 2) of every layer by its matrix; biases are copied.
    """

    @device.jit(threads)
    def rotate(source, target, matrices, table, step_ok):
        i = cuda.blockIdx.x * threads + cuda.threadIdx.x
        if i >= target.size or step_ok[0] == 0:
            return
        layer, layers = 0, table.size // (3 * AXIS)
        while layer + 1 < layers and table[3 * (layer + 1) * AXIS] <= i:
            layer += 1
        axis = axis_at(table, 3 * layer + along)
        if i >= axis.end:
            target[i] = source[i]
            return
        at = i - axis.first
        k = at // axis.inner % axis.length
        at = i - k * axis.inner
        total = np.float32(0)
        for n in range(axis.length):
            if by == TO:
                factor = matrices[axis.matrix + k * axis.length + n]
            else:
                factor = matrices[axis.matrix + n * axis.length + k]
            if by == SQUARES:
                factor *= factor
            total += source[at + n * axis.inner] * factor
        target[i] = total

    return rotate


@functools.lru_cache(maxsize=8)
def update_moments_kernel(threads: int, parts: int) -> Kernel:
    """Compile ``update_moments(rotated, mean, square, largest, segments, plan, counter, step_ok)``.

    It takes the rotated gradient into the averages. A parameter lies between two numbers of
    ``segments``; ``parts`` blocks take it, and each leaves its largest mean square in ``largest``.
    """

    @device.jit(threads)
    def update_moments(rotated, mean, square, largest, segments, plan, counter, step_ok):
        shared = cuda.shared.array(threads, types.float32)
        t, block = cuda.threadIdx.x, cuda.blockIdx.x
        if step_ok[0] == 0:
            return
        step = step_at(plan, counter)
        first, end = segments[block // parts], segments[block // parts + 1]
        most = np.float32(0)
        for i in range(first + block % parts * threads + t, end, parts * threads):
            g = rotated[i] * step_ok[1]
            mean[i] += step.forget_mean * (g - mean[i])
            s = square[i] + step.forget_square * (g * g - square[i])
            square[i] = s
            most = s if s > most else most
        shared[t] = most
        half = threads // 2
        while half > 0:
            cuda.syncthreads()
            if t < half and shared[t + half] > shared[t]:
                shared[t] = shared[t + half]
            half //= 2
        if t == 0:
            largest[block] = shared[0]

    return update_moments


@functools.lru_cache(maxsize=8)
def normalize_kernel(threads: int, parts: int) -> Kernel:
    """Compile ``normalize(mean, square, largest, target, segments, plan, counter, step_ok)``.

    ``target`` becomes the step along the axes: mean / root of the mean square, from -1 to 1.
    """

    @device.jit(threads)
    def normalize(mean, square, largest, target, segments, plan, counter, step_ok):
        i = cuda.blockIdx.x * threads + cuda.threadIdx.x
        if i >= target.size or step_ok[0] == 0:
            return
        step = step_at(plan, counter)
        segment = 0
        while segments[segment + 1] <= i:
            segment += 1
        most = np.float32(0)
        for k in range(segment * parts, (segment + 1) * parts):
            most = largest[k] if largest[k] > most else most
        root = math.sqrt(square[i] * step.correct_square)
        least = step.epsilon * math.sqrt(most * step.correct_square) + TINY
        move = mean[i] * step.correct_mean / (root + least)
        if move > 1:
            move = np.float32(1)
        if move < -1:
            move = np.float32(-1)
        target[i] = move

    return normalize


@functools.lru_cache(maxsize=8)
def apply_kernel(threads: int) -> Kernel:
    """Compile ``apply(weights, average, factors, steps, plan, counter, step_ok)``.

    It moves each weight at its rate by the step, rotated back, and the average of the weights.
    """

    @device.jit(threads)
    def apply(weights, average, factors, steps, plan, counter, step_ok):
        i = cuda.blockIdx.x * threads + cuda.threadIdx.x
        if i < weights.size and step_ok[0] > 0:
            step = step_at(plan, counter)
            w = weights[i] - step.rate * factors[i] * steps[i]
            weights[i] = w
            average[i] += step.forget_average * (w - average[i])

    return apply


@functools.lru_cache(maxsize=8)
def update_covariances_kernel(threads: int, slices: int) -> Kernel:
    """Compile ``update_covariances(grads, covariances, table, plan, counter, step_ok)``.

    It takes the gradient, not rotated, into the covariances along every axis.
    """
    numbers = threads // slices

    @device.jit(threads)
    def update_covariances(grads, covariances, table, plan, counter, step_ok):
        shared = cuda.shared.array(threads, types.float32)
        t, block = cuda.threadIdx.x, cuda.blockIdx.x
        if step_ok[0] == 0:
            return
        step = step_at(plan, counter)
        k, axes = 0, table.size // AXIS
        while k + 1 < axes and axis_at(table, k + 1).block <= block:
            k += 1
        axis = axis_at(table, k)
        mine, part = (block - axis.block) * numbers + t % numbers, t // numbers
        total = np.float32(0)
        if mine < axis.length * axis.length:
            left = axis.first + mine // axis.length * axis.inner
            right = axis.first + mine % axis.length * axis.inner
            if axis.inner > 1:
                for p in range(axis.outer):
                    row = p * axis.length * axis.inner
                    for q in range(row + part, row + axis.inner, slices):
                        total += grads[left + q] * grads[right + q]
            else:
                for p in range(part, axis.outer, slices):
                    total += grads[left + p * axis.length] * grads[right + p * axis.length]
        shared[t] = total
        cuda.syncthreads()
        if part == 0 and mine < axis.length * axis.length:
            for k in range(1, slices):
                total += shared[k * numbers + t]
            total *= step_ok[1] * step_ok[1]
            at = axis.matrix + mine
            covariances[at] += step.forget_square * (total - covariances[at])

    return update_covariances


@functools.lru_cache(maxsize=8)
def update_vectors_kernel(threads: int) -> Kernel:
    """Compile ``update_vectors(covariances, vectors, change, scratch, table, step_ok)``.

    It does a step of orthogonal iteration for each axis, a block each. ``change`` becomes the
    rotation from the old eigenvectors to the new ones; ``scratch`` holds as many numbers, which
    are lost. Gram-Schmidt's method takes all earlier rows from a row at once, twice.
    """

    @device.jit(threads)
    def update_vectors(covariances, vectors, change, scratch, table, step_ok):
        t = cuda.threadIdx.x
        if step_ok[0] == 0:
            return
        axis = axis_at(table, cuda.blockIdx.x)
        n, first = axis.length, axis.matrix
        trace = np.float32(0)
        for i in range(n):
            trace += covariances[first + i * n + i]
        # As parts of the trace, so that nothing is too small for float32.
        scale = np.float32(1) / trace if trace > 0 else np.float32(0)
        for at in range(t, n * n, threads):
            i, j = at // n, at % n
            total = np.float32(0)
            for k in range(n):
                total += vectors[first + i * n + k] * covariances[first + k * n + j]
            # Where there is no gradient, as of a map that is always zero, vectors stay as they are.
            scratch[first + at] = total * scale + LEAST * vectors[first + at]
        cuda.syncthreads()
        for i in range(n):
            row = first + i * n
            for _ in range(2):
                for k in range(t, i, threads):  # what the row has of each row before
                    along = np.float32(0)
                    for j in range(n):
                        along += scratch[row + j] * scratch[first + k * n + j]
                    change[first + k] = along
                cuda.syncthreads()
                for j in range(t, n, threads):
                    value = scratch[row + j]
                    for k in range(i):
                        value -= change[first + k] * scratch[first + k * n + j]
                    scratch[row + j] = value
                cuda.syncthreads()
                square = np.float32(0)
                for j in range(n):
                    square += scratch[row + j] * scratch[row + j]
                length = math.sqrt(square)
                cuda.syncthreads()
                for j in range(t, n, threads):
                    scratch[row + j] /= length
                cuda.syncthreads()
        for at in range(t, n * n, threads):
            i, j = at // n, at % n
            total = np.float32(0)
            for k in range(n):
                total += vectors[first + i * n + k] * scratch[first + j * n + k]
            change[first + at] = total
        cuda.syncthreads()
        for at in range(first + t, first + n * n, threads):
            vectors[at] = scratch[at]

    return update_vectors


class SOAP:
    """Keep SOAP's covariances and eigenvectors of a network on the device, and take its steps.

    Parameters
    ----------
    shapes : list of Shape
        The network's layers.
    count : int
        Weights and biases in all.

    Attributes
    ----------
    covariances, vectors : device array
        A matrix for each axis, in the order of :func:`axes_of`; eigenvectors are rows.
    """

    def __init__(self, shapes: Sequence[Shape], count: int) -> None:
        axes = axes_of(shapes)
        self.lengths = [axis.length for axis in axes]
        self.blocks = axes[-1].block + blocks_of(axes[-1].length)
        self.table = to_device(np.array(axes, np.int64))
        ends = [edge for axis in axes[::3] for edge in (axis.first, axis.end)]
        self.segments = to_device(np.array([*ends, count], np.int64))
        self.largest = floats(PARTS * len(ends))
        self.covariances = to_device(self.pack([np.zeros((n, n)) for n in self.lengths]))
        self.vectors = to_device(self.pack([np.eye(n) for n in self.lengths]))
        self._change, self._scratch = floats(self.vectors.size), floats(self.vectors.size)
        self._rotated = floats(count), floats(count)

    @staticmethod
    def pack(matrices: Sequence[np.ndarray]) -> np.ndarray:
        """Join one matrix for each axis, as they lie on the device."""
        return np.concatenate([matrix.ravel() for matrix in matrices]).astype(np.float32)

    def unpack(self, flat: np.ndarray) -> list[np.ndarray]:
        """Split what :meth:`pack` joins."""
        ends = np.cumsum([n * n for n in self.lengths])
        parts = np.split(flat, ends[:-1])
        return [part.reshape(n, n) for part, n in zip(parts, self.lengths, strict=True)]

    def step(
        self,
        weights: DeviceArray,
        kept: dict[str, DeviceArray],
        grads: DeviceArray,
        plan: DeviceArray,
        counter: DeviceArray,
        step_ok: DeviceArray,
        improve: bool,
    ) -> None:
        """Move the weights, then take ``grads`` into the covariances.

        With ``improve`` the eigenvectors follow the covariances: a step of orthogonal iteration.
        ``kept`` are arrays as long as the weights: "first" and "second" moments along the axes,
        the "average" of the weights, and their rates' "factors".
        """
        control = plan, counter, step_ok
        mean, square = kept["first"], kept["second"]
        blocks = divide_up(weights.size, THREADS)
        rotated = self._rotate(TO, grads, self.vectors, step_ok)
        launch(
            update_moments_kernel(THREADS, PARTS), self.largest.size, THREADS,
            rotated, mean, square, self.largest, self.segments, *control,
        )  # fmt: skip
        launch(
            normalize_kernel(THREADS, PARTS), blocks, THREADS,
            mean, square, self.largest, rotated, self.segments, *control,
        )  # fmt: skip
        steps = self._rotate(BACK, rotated, self.vectors, step_ok)
        launch(
            apply_kernel(THREADS), blocks, THREADS,
            weights, kept["average"], kept["factors"], steps, *control,
        )  # fmt: skip
        launch(
            update_covariances_kernel(THREADS, SLICES), self.blocks, THREADS,
            grads, self.covariances, self.table, *control,
        )  # fmt: skip
        if improve:
            launch(
                update_vectors_kernel(THREADS), len(self.lengths), THREADS,
                self.covariances, self.vectors, self._change, self._scratch, self.table, step_ok,
            )  # fmt: skip
            self._rotate(CHANGE, mean, self._change, step_ok, mean)
            self._rotate(SQUARES, square, self._change, step_ok, square)

    def _rotate(
        self,
        by: int,
        tensor: DeviceArray,
        matrices: DeviceArray,
        step_ok: DeviceArray,
        into: DeviceArray | None = None,
    ) -> DeviceArray:
        """Rotate all three axes of ``tensor``: in ``into``, else in one of two arrays kept here."""
        source = tensor
        for along in range(3):
            target = self._rotated[source is self._rotated[0]]
            if along == 2 and into is not None:
                target = into
            launch(
                rotate_kernel(THREADS, by, along), divide_up(target.size, THREADS), THREADS,
                source, target, matrices, self.table, step_ok,
            )  # fmt: skip
            source = target
        return source
