"""The small kernels between convolutions: ReLU, the loss, the optimizer, drawing sub-images.

They are bound by memory, or short. Sums go in a fixed order: the same input gives the same bits.
Between the steps of a training nothing changes but what lies in arrays on the device: a counter
says which step it is, so that all launches of one step are those of the next.
"""

from __future__ import annotations

import functools
import math
from typing import NamedTuple

import numpy as np
from numba.core import types

from npsrcnn.kernels.cuda import device
from npsrcnn.kernels.cuda.device import cuda, inline
from npsrcnn.kernels.cuda.launches import launch
from npsrcnn.kernels.cuda.planes import Extent, Planes, extent_at

THREADS = 256
SLICES = 8
"""Threads that share the partial sums of a weight."""
SGD, ADAM, SOAP = 0, 1, 2


class Step(NamedTuple):
    """Numbers of one step of the optimizer: a row of ``plan`` in :func:`updating`, and in
    :mod:`npsrcnn.kernels.cuda.soap`."""

    rate: float
    momentum: float = 0.0  # of SGD
    forget_mean: float = 0.0  # of Adam and SOAP: 1 - beta1, 1 - beta2, what corrects for the start
    forget_square: float = 0.0
    correct_mean: float = 1.0
    correct_square: float = 1.0
    epsilon: float = 1e-8
    clip: float = 0.0  # largest norm of the gradient; 0: no limit
    forget_average: float = 1.0  # 1 - the decay of the average of the weights
    improve: float = 0.0  # of SOAP: 1 to look for new axes after the step


NUMBERS = len(Step._fields)


@functools.lru_cache(maxsize=8)
def rectifying(threads: int):
    """``rectify(x, dy, y)``: y = dy where x > 0, else 0; with dy = x the ReLU itself."""

    @device.jit(threads)
    def rectify(x, dy, y):
        i = cuda.blockIdx.x * threads + cuda.threadIdx.x
        if i < y.size:
            y[i] = dy[i] if x[i] > 0 else np.float32(0)

    return rectify


@inline
def sum_of_block(shared, threads, value):
    """The sum of ``value`` over the ``threads`` of a block, by halves: for each of them."""
    t = cuda.threadIdx.x
    shared[t] = value
    half = threads // 2
    while half > 0:
        cuda.syncthreads()
        if t < half:
            shared[t] += shared[t + half]
        half //= 2
    cuda.syncthreads()
    total = shared[0]
    cuda.syncthreads()
    return total


@functools.lru_cache(maxsize=8)
def comparing(threads: int):
    """``compare(y, labels, dy, losses, geometry)``: losses[n] = sum of (y - t)^2 of sample n,
    dy = (y - t) / N; a block for each sample. ``geometry``: channels, extents of y and labels."""

    @device.jit(threads)
    def compare(y, labels, dy, losses, geometry):
        shared = cuda.shared.array(threads, types.float32)
        channels, ours, theirs = geometry[0], extent_at(geometry, 1), extent_at(geometry, 5)
        t, n = cuda.threadIdx.x, cuda.blockIdx.x
        total, scale = np.float32(0), np.float32(1) / np.float32(cuda.gridDim.x)
        pixels = ours.rows * ours.columns
        for k in range(t, channels * pixels, threads):
            c, i, j = k // pixels, k % pixels // ours.columns, k % ours.columns
            at = ((n * channels + c) * ours.height + i) * ours.pitch + j
            label = labels[((n * channels + c) * theirs.height + i) * theirs.pitch + j]
            difference = y[at] - label
            dy[at] = difference * scale
            total += difference * difference
        total = sum_of_block(shared, threads, total)
        if t == 0:
            losses[n] = total

    return compare


@functools.lru_cache(maxsize=8)
def adding(threads: int):
    """``add(partials, grads, squares, place)``: grads = the sum of all groups' partials;
    squares[block] = the sum of its grads' squares. A block adds ``threads // SLICES`` of them.
    And place[0] += 1: one more batch is done."""
    weights, slices = threads // SLICES, SLICES

    @device.jit(threads)
    def add(partials, grads, squares, place):
        shared = cuda.shared.array(threads, types.float32)
        t, count = cuda.threadIdx.x, grads.size
        groups = partials.size // count
        mine = cuda.blockIdx.x * weights + t % weights
        total = np.float32(0)
        if mine < count:
            for group in range(t // weights, groups, slices):
                total += partials[group * count + mine]
        shared[t] = total
        cuda.syncthreads()
        if t < weights:
            for k in range(1, slices):
                total += shared[k * weights + t]
            if mine < count:
                grads[mine] = total
        cuda.syncthreads()
        total = total * total if t < weights else np.float32(0)
        total = sum_of_block(shared, threads, total)
        if t == 0:
            squares[cuda.blockIdx.x] = total
            if cuda.blockIdx.x == 0:
                place[0] += 1

    return add


@inline
def step_at(plan, place):
    """The numbers of the step that is due."""
    row = (place[0] - 1) * NUMBERS
    return Step(
        plan[row], plan[row + 1], plan[row + 2], plan[row + 3], plan[row + 4], plan[row + 5],
        plan[row + 6], plan[row + 7], plan[row + 8], plan[row + 9],
    )  # fmt: skip


@inline
def judgement(shared, threads, squares, losses, report, place, clip):
    """What to multiply a batch's gradient with so that its norm is ``clip`` at most; and whether
    its step is to be taken: for each thread of a block.

    Where the loss or the gradient is not finite, and ever after, no step is. The first thread of
    the first block writes ``report[place[0]]``, the sum of squared differences or NaN, and
    ``report[0]``, 1 from the first bad batch on.
    """
    t = cuda.threadIdx.x
    square, loss = np.float32(0), np.float32(0)
    for k in range(t, squares.size, threads):
        square += squares[k]
    for k in range(t, losses.size, threads):
        loss += losses[k]
    square = sum_of_block(shared, threads, square)
    loss = sum_of_block(shared, threads, loss)
    check = loss + square
    finite = check - check == 0  # neither infinite nor NaN
    stopped = report[0] > 0
    if cuda.blockIdx.x == 0 and t == 0:
        report[place[0]] = loss if finite and not stopped else np.float32(np.nan)
        if not finite:
            report[0] = np.float32(1)
    norm = math.sqrt(square)
    scale = clip / norm if clip > 0 and norm > clip else np.float32(1)
    return scale, finite and not stopped


@functools.lru_cache(maxsize=8)
def updating(threads: int, rule: int):
    """``update(weights, state, grads, squares, losses, report, plan, place)``: one step of the
    optimizer, by the numbers in row place[0] - 1 of ``plan``; see :class:`Step`.

    ``state`` holds, one after the other, as many floats as there are weights of: the velocity
    (SGD) or the mean (Adam), the mean square (Adam), the average of the weights, each weight's
    rate factor. Where the loss or the gradient is not finite, and ever after, nothing changes: the
    weights stay those of the last good step. See :func:`judgement` for ``report``.
    """

    @device.jit(threads)
    def update(weights, state, grads, squares, losses, report, plan, place):
        shared = cuda.shared.array(threads, types.float32)
        i = cuda.blockIdx.x * threads + cuda.threadIdx.x
        step = step_at(plan, place)
        scale, good = judgement(shared, threads, squares, losses, report, place, step.clip)
        if good and i < weights.size:
            n = weights.size
            g, w = grads[i] * scale, weights[i]
            rate = step.rate * state[3 * n + i]
            if rule == SGD:
                velocity = step.momentum * state[i] - rate * g
                state[i] = velocity
                w += velocity
            else:
                mean = state[i] + step.forget_mean * (g - state[i])
                mean_square = state[n + i] + step.forget_square * (g * g - state[n + i])
                state[i], state[n + i] = mean, mean_square
                root = math.sqrt(mean_square * step.correct_square)
                w -= rate * (mean * step.correct_mean) / (root + step.epsilon)
            weights[i] = w
            state[2 * n + i] += step.forget_average * (w - state[2 * n + i])

    return update


@functools.lru_cache(maxsize=8)
def judging(threads: int):
    """``judge(squares, losses, report, plan, place, verdict)``: :func:`judgement` by one block, for
    kernels of more than one launch. verdict = 1 or 0, whether to take the step; the scale."""

    @device.jit(threads)
    def judge(squares, losses, report, plan, place, verdict):
        shared = cuda.shared.array(threads, types.float32)
        step = step_at(plan, place)
        scale, good = judgement(shared, threads, squares, losses, report, place, step.clip)
        if cuda.threadIdx.x == 0:
            verdict[0] = np.float32(1) if good else np.float32(0)
            verdict[1] = scale

    return judge


class Gathering(NamedTuple):
    """Numbers for :func:`gathering`, in an array in this order: where sub-images go."""

    x: Extent  # of inputs, and of labels
    t: Extent
    channels: int
    offset: int  # where a label lies in its input
    sharp: int  # pixels of all blurred images: the sharp ones come after them
    labels: int  # floats of all inputs of a batch: its labels come after them


@functools.lru_cache(maxsize=8)
def gathering(threads: int):
    """``gather(pixels, places, order, turns, batch, geometry, place)``: draw a batch.

    ``place``: batches drawn so far, and where in the order the first of them began. Sub-image
    order[k] begins at places[3 order[k]] in an image of so many pixels a row and a channel (the
    next two numbers), and is turned as turns[k] says: bit 2 swaps rows and columns, bits 0 and 1
    mirror them. A block for each sub-image.
    """

    @device.jit(threads)
    def gather(pixels, places, order, turns, batch, geometry, place):
        x_at, t_at = extent_at(geometry, 0), extent_at(geometry, 4)
        g = Gathering(x_at, t_at, geometry[8], geometry[9], geometry[10], geometry[11])
        t, n = cuda.threadIdx.x, cuda.blockIdx.x
        k = place[1] + place[0] * cuda.gridDim.x + n
        chosen, turn = order[k], turns[k]
        first, width, plane = places[3 * chosen], places[3 * chosen + 1], places[3 * chosen + 2]
        for part in range(2):
            side, height, pitch, offset, source, to = (
                g.x.rows, g.x.height, g.x.pitch, 0, first, 0
            )  # fmt: skip
            if part == 1:
                side, height, pitch, offset, source, to = (
                    g.t.rows, g.t.height, g.t.pitch, g.offset, first + g.sharp, g.labels
                )  # fmt: skip
            far = g.x.rows - side - offset  # where the label begins, seen from the other side
            row = far if turn & 1 else offset
            column = far if turn & 2 else offset
            for k in range(t, g.channels * side * side, threads):
                c, i, j = k // (side * side), k // side % side, k % side
                value = pixels[source + c * plane + (row + i) * width + column + j]
                i = side - 1 - i if turn & 1 else i
                j = side - 1 - j if turn & 2 else j
                at = j * pitch + i if turn & 4 else i * pitch + j
                batch[to + (n * g.channels + c) * height * pitch + at] = value

    return gather


def rectify(x: object, dy: object, y: object) -> None:
    """Launch :func:`rectifying`."""
    launch(rectifying(THREADS), -(-y.size // THREADS), THREADS, x, dy, y)


def compare(y: Planes, labels: Planes, dy: Planes, losses: object) -> None:
    """Launch :func:`comparing`."""
    geometry = device.numbers(y.channels, *y.extent, *labels.extent)
    launch(comparing(THREADS), y.n, THREADS, y.data, labels.data, dy.data, losses, geometry)


def blocks_of_squares(count: int) -> int:
    """How many blocks add up the gradients of ``count`` weights."""
    return -(-count // (THREADS // SLICES))


def add(partials: object, grads: object, squares: object, place: object) -> None:
    """Launch :func:`adding`."""
    launch(adding(THREADS), squares.size, THREADS, partials, grads, squares, place)


def update(rule: int, weights: object, *others: object) -> None:
    """Launch :func:`updating`."""
    launch(updating(THREADS, rule), -(-weights.size // THREADS), THREADS, weights, *others)


def judge(*arrays: object) -> None:
    """Launch :func:`judging`."""
    launch(judging(THREADS), 1, THREADS, *arrays)


def gather(batch_size: int, *arrays: object) -> None:
    """Launch :func:`gathering`."""
    launch(gathering(THREADS), batch_size, THREADS, *arrays)
