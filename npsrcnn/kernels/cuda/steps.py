"""Run what is between convolutions: ReLU, the loss, the optimizer, the drawing of sub-images.

These kernels are bound by memory, or short. Sums go in a fixed order: the same input gives the
same bits. Between the steps of a training nothing changes but what lies in arrays on the device: a
counter says which step it is, so that all launches of one step are those of the next.
"""

from __future__ import annotations

import functools
import math
from typing import NamedTuple

import numpy as np
from numba import types

from npsrcnn.kernels.cuda import device
from npsrcnn.kernels.cuda.device import DeviceArray, Kernel, cuda, divide_up, inline
from npsrcnn.kernels.cuda.launches import launch
from npsrcnn.kernels.cuda.planes import Planes, extent_at, index_of

THREADS = 256
SLICES = 8
"""Threads that share the partial sums of a weight."""
SGD, ADAM, SOAP = 0, 1, 2


class Step(NamedTuple):
    """Numbers of one step of the optimizer: a row of ``plan``, for SOAP too."""

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
def rectify_kernel(threads: int) -> Kernel:
    """Compile ``rectify(x, dy, y)``: y = dy where x > 0, else 0; with dy = x ReLU itself."""

    @device.jit(threads)
    def rectify(x, dy, y):
        i = cuda.blockIdx.x * threads + cuda.threadIdx.x
        if i < y.size:
            y[i] = dy[i] if x[i] > 0 else np.float32(0)

    return rectify


@inline
def sum_of_block(shared, threads, value):
    """Return the sum of ``value`` over the ``threads`` of a block, by halves: to each of them."""
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
def compare_kernel(threads: int) -> Kernel:
    """Compile ``compare(y, labels, dy, losses, geometry)``, a block for each sample.

    losses[n] = sum of (y - t)^2 of sample n, dy = (y - t) / N. ``geometry``: extents of y and
    labels, number of channels.
    """

    @device.jit(threads)
    def compare(y, labels, dy, losses, geometry):
        shared = cuda.shared.array(threads, types.float32)
        ours, theirs, channels = extent_at(geometry, 0), extent_at(geometry, 4), geometry[8]
        t, n = cuda.threadIdx.x, cuda.blockIdx.x
        total, scale = np.float32(0), np.float32(1) / np.float32(cuda.gridDim.x)
        pixels = ours.rows * ours.columns
        for k in range(t, channels * pixels, threads):
            c, i, j = k // pixels, k % pixels // ours.columns, k % ours.columns
            at = index_of(ours, n * channels + c, i, j)
            label = labels[index_of(theirs, n * channels + c, i, j)]
            difference = y[at] - label
            dy[at] = difference * scale
            total += difference * difference
        total = sum_of_block(shared, threads, total)
        if t == 0:
            losses[n] = total

    return compare


@functools.lru_cache(maxsize=8)
def add_kernel(threads: int) -> Kernel:
    """Compile ``add(partials, grads, squares, counter)``: grads = the sum of all groups' partials.

    squares[block] = the sum of its grads' squares. A block adds ``threads // SLICES`` of them.
    And counter[0] += 1: one more batch is done.
    """
    weights, slices = threads // SLICES, SLICES

    @device.jit(threads)
    def add(partials, grads, squares, counter):
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
                counter[0] += 1

    return add


@inline
def step_at(plan, counter):
    """Return the numbers of the step that is due."""
    row = (counter[0] - 1) * NUMBERS
    return Step(
        plan[row], plan[row + 1], plan[row + 2], plan[row + 3], plan[row + 4], plan[row + 5],
        plan[row + 6], plan[row + 7], plan[row + 8], plan[row + 9],
    )  # fmt: skip


@inline
def check_step(shared, threads, squares, losses, report, counter, clip):
    """Return what scales a batch's gradient to a norm of ``clip`` at most, and whether to step.

    Each thread of a block gets both. Where the loss or the gradient is not finite, and ever after,
    no step is to be taken. The first thread of the first block writes ``report[counter[0]]``, the
    sum of squared differences or NaN, and ``report[0]``, 1 from the first bad batch on.
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
        report[counter[0]] = loss if finite and not stopped else np.float32(np.nan)
        if not finite:
            report[0] = np.float32(1)
    norm = math.sqrt(square)
    scale = clip / norm if clip > 0 and norm > clip else np.float32(1)
    return scale, finite and not stopped


@functools.lru_cache(maxsize=8)
def update_kernel(threads: int, rule: int) -> Kernel:
    """Compile ``update(weights, state, grads, squares, losses, report, plan, counter)``.

    It takes one step of the optimizer, by row counter[0] - 1 of ``plan``; see :class:`Step`.
    ``state`` holds, one after the other, as many floats as there are weights of: the velocity
    (SGD) or the mean (Adam), the mean square (Adam), the average of the weights, each weight's
    rate factor. Where the loss or the gradient is not finite, and ever after, nothing changes: the
    weights stay those of the last good step. See :func:`check_step` for ``report``.
    """

    @device.jit(threads)
    def update(weights, state, grads, squares, losses, report, plan, counter):
        shared = cuda.shared.array(threads, types.float32)
        i = cuda.blockIdx.x * threads + cuda.threadIdx.x
        step = step_at(plan, counter)
        scale, good = check_step(shared, threads, squares, losses, report, counter, step.clip)
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
def check_step_kernel(threads: int) -> Kernel:
    """Compile ``check(squares, losses, report, plan, counter, step_ok)``.

    One block does what :func:`check_step` does, for optimizers of more than one launch. step_ok
    becomes: 1 or 0, whether to take the step; the scale of the gradient.
    """

    @device.jit(threads)
    def check(squares, losses, report, plan, counter, step_ok):
        shared = cuda.shared.array(threads, types.float32)
        step = step_at(plan, counter)
        scale, good = check_step(shared, threads, squares, losses, report, counter, step.clip)
        if cuda.threadIdx.x == 0:
            step_ok[0] = np.float32(1) if good else np.float32(0)
            step_ok[1] = scale

    return check


@functools.lru_cache(maxsize=8)
def gather_kernel(threads: int) -> Kernel:
    """Compile ``gather(pixels, places, order, turns, batch, geometry, counter)``: draw a batch.

    ``counter``: batches drawn so far, and where in the order the first of them began. Sub-image
    order[k] begins at places[3 order[k]] in an image of so many pixels a row and a channel (the
    next two numbers), and is turned as turns[k] says: bit 2 swaps rows and columns, bits 0 and 1
    mirror them. A block for each sub-image.

    A label is the middle of its input. ``geometry``: extents of inputs and of labels; channels;
    pixels of all blurred images, after which the sharp ones come; floats of all inputs of a batch,
    after which its labels come.
    """

    @device.jit(threads)
    def gather(pixels, places, order, turns, batch, geometry, counter):
        inputs, labels = extent_at(geometry, 0), extent_at(geometry, 4)
        channels = geometry[8]
        t, n = cuda.threadIdx.x, cuda.blockIdx.x
        k = counter[1] + counter[0] * cuda.gridDim.x + n
        chosen, turn = order[k], turns[k]
        first, width, plane = places[3 * chosen], places[3 * chosen + 1], places[3 * chosen + 2]
        for part in range(2):
            to, source, target = inputs, first, 0
            if part == 1:
                to, source, target = labels, first + geometry[9], geometry[10]
            side = to.rows
            border = (inputs.rows - side) // 2
            for k in range(t, channels * side * side, threads):
                c, i, j = k // (side * side), k // side % side, k % side
                value = pixels[source + c * plane + (border + i) * width + border + j]
                i = side - 1 - i if turn & 1 else i
                j = side - 1 - j if turn & 2 else j
                if turn & 4:
                    i, j = j, i
                batch[target + index_of(to, n * channels + c, i, j)] = value

    return gather


def rectify(x: DeviceArray, dy: DeviceArray, y: DeviceArray) -> None:
    """Launch :func:`rectify_kernel`."""
    launch(rectify_kernel(THREADS), divide_up(y.size, THREADS), THREADS, x, dy, y)


def compare(y: Planes, labels: Planes, dy: Planes, losses: DeviceArray) -> None:
    """Launch :func:`compare_kernel`."""
    geometry = device.integers(*y.extent, *labels.extent, y.channels)
    launch(compare_kernel(THREADS), y.n, THREADS, y.data, labels.data, dy.data, losses, geometry)


def blocks_of_squares(count: int) -> int:
    """Count the blocks that add up the gradients of ``count`` weights."""
    return divide_up(count, THREADS // SLICES)


def add(
    partials: DeviceArray, grads: DeviceArray, squares: DeviceArray, counter: DeviceArray
) -> None:
    """Launch :func:`add_kernel`."""
    launch(add_kernel(THREADS), squares.size, THREADS, partials, grads, squares, counter)


def update(rule: int, weights: DeviceArray, *others: DeviceArray) -> None:
    """Launch :func:`update_kernel`."""
    launch(
        update_kernel(THREADS, rule), divide_up(weights.size, THREADS), THREADS, weights, *others
    )


def check(*arrays: DeviceArray) -> None:
    """Launch :func:`check_step_kernel`."""
    launch(check_step_kernel(THREADS), 1, THREADS, *arrays)


def gather(batch_size: int, *arrays: DeviceArray) -> None:
    """Launch :func:`gather_kernel`."""
    launch(gather_kernel(THREADS), batch_size, THREADS, *arrays)
