"""SOAP's steps on the device: gradients turned to axes on which they do not correlate, and back.

What it does and why is said in :mod:`npsrcnn.training.soap`, which this follows. A layer's filters lie as
(C, f f, O), and are turned along each of the three. All layers take part in each launch: a thread
for each weight, and for each number of a covariance some threads that share its sum. Only the look
for eigenvectors, once in ten steps, is work for a single block an axis.

Everything is float32, where :mod:`npsrcnn.training.soap` keeps covariances and eigenvectors in float64: what
differs are directions whose gradients are ten million times smaller than the largest.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numba.core import types

from npsrcnn.kernels.cuda import device
from npsrcnn.kernels.cuda.convolution import Shape
from npsrcnn.kernels.cuda.device import cuda, floats, inline
from npsrcnn.kernels.cuda.launches import launch
from npsrcnn.kernels.cuda.steps import step_at
from npsrcnn.kernels.cuda.weights import places

THREADS = 256
SLICES = 8
"""Threads that share the sum of a covariance."""
PARTS = 16
"""Blocks that look for the largest root of a parameter."""
TO, BACK, AGAIN, SQUARES = range(4)
"""What tensors are turned by: eigenvectors, transposed or not, or what leads from old ones to new
ones, or its squares."""
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
    """The axes O, C, f f of each layer in turn, as in :class:`npsrcnn.training.soap.SOAP`."""
    axes, matrix, block = [], 0, 0
    for shape, first in zip(shapes, places(shapes)[0], strict=True):
        pixels = shape.size**2
        end = first + shape.channels * pixels * shape.maps
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
    """How many blocks sum a covariance of (length, length)."""
    return -(-(length**2) // (THREADS // SLICES))


@inline
def axis_at(table, k):
    """Row ``k`` of the table."""
    at = k * AXIS
    return Axis(
        table[at], table[at + 1], table[at + 2], table[at + 3], table[at + 4], table[at + 5],
        table[at + 6],
    )  # fmt: skip


@functools.lru_cache(maxsize=16)
def turning(threads: int, by: int, along: int):
    """``turn(source, target, matrices, table, verdict)``: multiply axis ``along`` (0 to 2) of every
    layer with its matrix; biases are copied."""

    @device.jit(threads)
    def turn(source, target, matrices, table, verdict):
        i = cuda.blockIdx.x * threads + cuda.threadIdx.x
        if i >= target.size or verdict[0] == 0:
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

    return turn


@functools.lru_cache(maxsize=8)
def remembering(threads: int, parts: int):
    """``remember(turned, mean, square, largest, segments, plan, place, verdict)``: take the turned
    gradient into the averages. A parameter lies between two numbers of ``segments``; ``parts``
    blocks take it, and each leaves its largest mean square in ``largest``."""

    @device.jit(threads)
    def remember(turned, mean, square, largest, segments, plan, place, verdict):
        shared = cuda.shared.array(threads, types.float32)
        t, block = cuda.threadIdx.x, cuda.blockIdx.x
        if verdict[0] == 0:
            return
        step = step_at(plan, place)
        first, end = segments[block // parts], segments[block // parts + 1]
        most = np.float32(0)
        for i in range(first + block % parts * threads + t, end, parts * threads):
            g = turned[i] * verdict[1]
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

    return remember


@functools.lru_cache(maxsize=8)
def limiting(threads: int, parts: int):
    """``limit(mean, square, largest, target, segments, plan, place, verdict)``: the step along the
    axes, mean / root of the mean square, from -1 to 1."""

    @device.jit(threads)
    def limit(mean, square, largest, target, segments, plan, place, verdict):
        i = cuda.blockIdx.x * threads + cuda.threadIdx.x
        if i >= target.size or verdict[0] == 0:
            return
        step = step_at(plan, place)
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

    return limit


@functools.lru_cache(maxsize=8)
def moving(threads: int):
    """``move(weights, average, factors, steps, plan, place, verdict)``: the step, turned back, at
    the rate of each weight; and the average of the weights."""

    @device.jit(threads)
    def move(weights, average, factors, steps, plan, place, verdict):
        i = cuda.blockIdx.x * threads + cuda.threadIdx.x
        if i < weights.size and verdict[0] > 0:
            step = step_at(plan, place)
            w = weights[i] - step.rate * factors[i] * steps[i]
            weights[i] = w
            average[i] += step.forget_average * (w - average[i])

    return move


@functools.lru_cache(maxsize=8)
def covarying(threads: int, slices: int):
    """``covary(grads, covariances, table, plan, place, verdict)``: take the gradient, not turned,
    into the covariances along every axis."""
    numbers = threads // slices

    @device.jit(threads)
    def covary(grads, covariances, table, plan, place, verdict):
        shared = cuda.shared.array(threads, types.float32)
        t, block = cuda.threadIdx.x, cuda.blockIdx.x
        if verdict[0] == 0:
            return
        step = step_at(plan, place)
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
            total *= verdict[1] * verdict[1]
            at = axis.matrix + mine
            covariances[at] += step.forget_square * (total - covariances[at])

    return covary


@functools.lru_cache(maxsize=8)
def improving(threads: int):
    """``improve(covariances, vectors, again, room, table, verdict)``: a step of orthogonal
    iteration for each axis, a block each. ``again`` becomes what turns from the old eigenvectors to
    the new ones; ``room`` holds as many numbers, which are lost.

    Gram-Schmidt's method takes all earlier rows from a row at once, twice.
    """

    @device.jit(threads)
    def improve(covariances, vectors, again, room, table, verdict):
        t = cuda.threadIdx.x
        if verdict[0] == 0:
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
            room[first + at] = total * scale + LEAST * vectors[first + at]
        cuda.syncthreads()
        for i in range(n):
            row = first + i * n
            for _ in range(2):
                for k in range(t, i, threads):  # what the row has of each row before
                    along = np.float32(0)
                    for j in range(n):
                        along += room[row + j] * room[first + k * n + j]
                    again[first + k] = along
                cuda.syncthreads()
                for j in range(t, n, threads):
                    value = room[row + j]
                    for k in range(i):
                        value -= again[first + k] * room[first + k * n + j]
                    room[row + j] = value
                cuda.syncthreads()
                square = np.float32(0)
                for j in range(n):
                    square += room[row + j] * room[row + j]
                length = math.sqrt(square)
                cuda.syncthreads()
                for j in range(t, n, threads):
                    room[row + j] /= length
                cuda.syncthreads()
        for at in range(t, n * n, threads):
            i, j = at // n, at % n
            total = np.float32(0)
            for k in range(n):
                total += vectors[first + i * n + k] * room[first + j * n + k]
            again[first + at] = total
        cuda.syncthreads()
        for at in range(first + t, first + n * n, threads):
            vectors[at] = room[at]

    return improve


class SOAP:
    """What SOAP keeps of a network on the device besides the moments, and its steps.

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
        self.table = cuda.to_device(np.array(axes, np.int64).ravel())
        ends = [edge for axis in axes[::3] for edge in (axis.first, axis.end)]
        self.segments = cuda.to_device(np.array([*ends, count], np.int64))
        self.largest = floats(PARTS * len(ends))
        self.covariances = cuda.to_device(self.pack([np.zeros((n, n)) for n in self.lengths]))
        self.vectors = cuda.to_device(self.pack([np.eye(n) for n in self.lengths]))
        self._again, self._room = floats(self.vectors.size), floats(self.vectors.size)
        self._turned = floats(count), floats(count)

    @staticmethod
    def pack(matrices: Sequence[np.ndarray]) -> np.ndarray:
        """One matrix for each axis, as they lie on the device."""
        return np.concatenate([matrix.ravel() for matrix in matrices]).astype(np.float32)

    def unpack(self, flat: np.ndarray) -> list[np.ndarray]:
        """:meth:`pack` undone."""
        ends = np.cumsum([n * n for n in self.lengths])
        parts = np.split(flat, ends[:-1])
        return [part.reshape(n, n) for part, n in zip(parts, self.lengths, strict=True)]

    def step(
        self, weights: object, kept: dict[str, object], grads: object, plan: object, place: object,
        verdict: object, improve: bool,
    ) -> None:  # fmt: skip
        """Move the weights; then take ``grads`` into the covariances, and with ``improve`` look for
        their eigenvectors.

        ``kept`` are arrays as long as the weights: "first" and "second" moments along the axes,
        the "average" of the weights, and their rates' "factors".
        """
        numbers = plan, place, verdict
        mean, square = kept["first"], kept["second"]
        blocks = -(-weights.size // THREADS)
        turned = self._turn(TO, grads, self.vectors, verdict)
        launch(
            remembering(THREADS, PARTS), self.largest.size, THREADS,
            turned, mean, square, self.largest, self.segments, *numbers,
        )  # fmt: skip
        launch(
            limiting(THREADS, PARTS), blocks, THREADS,
            mean, square, self.largest, turned, self.segments, *numbers,
        )  # fmt: skip
        steps = self._turn(BACK, turned, self.vectors, verdict)
        launch(
            moving(THREADS), blocks, THREADS,
            weights, kept["average"], kept["factors"], steps, *numbers,
        )  # fmt: skip
        launch(
            covarying(THREADS, SLICES), self.blocks, THREADS,
            grads, self.covariances, self.table, *numbers,
        )  # fmt: skip
        if improve:
            launch(
                improving(THREADS), len(self.lengths), THREADS,
                self.covariances, self.vectors, self._again, self._room, self.table, verdict,
            )  # fmt: skip
            self._turn(AGAIN, mean, self._again, verdict, mean)
            self._turn(SQUARES, square, self._again, verdict, square)

    def _turn(
        self, by: int, tensor: object, matrices: object, verdict: object, into: object = None
    ) -> object:
        """All three axes of ``tensor`` turned: in ``into``, else in one of two arrays of ours."""
        source = tensor
        for along in range(3):
            target = self._turned[source is self._turned[0]]
            if along == 2 and into is not None:
                target = into
            launch(
                turning(THREADS, by, along), -(-target.size // THREADS), THREADS,
                source, target, matrices, self.table, verdict,
            )  # fmt: skip
            source = target
        return source
