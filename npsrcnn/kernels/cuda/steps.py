"""The small kernels between convolutions: ReLU, the loss, and the step of the optimizer.

They are bound by memory, or short. Sums go in a fixed order: the same input gives the same bits.
"""

from __future__ import annotations

import functools
import math
from typing import NamedTuple

import numpy as np
from numba.core import types

from npsrcnn.kernels.cuda import device
from npsrcnn.kernels.cuda.device import cuda, inline
from npsrcnn.kernels.cuda.planes import Extent, Planes

THREADS = 256
SLICES = 8
"""Threads that share the partial sums of a weight."""
SGD, ADAM = 0, 1


class Comparison(NamedTuple):
    """Arguments of :func:`comparing`: where outputs and labels are."""

    y: Extent
    t: Extent
    channels: int
    scale: np.float32  # 1 / N


class Step(NamedTuple):
    """Arguments of :func:`updating`: this step of the optimizer."""

    count: int  # weights and biases
    blocks: int  # of squares
    losses: int  # of losses, one of each sample
    slot: int  # of the report, for this step's loss
    rate: np.float32
    momentum: np.float32  # of SGD
    forget_mean: np.float32  # of Adam: 1 - beta1, 1 - beta2, what corrects for the start, epsilon
    forget_square: np.float32
    correct_mean: np.float32
    correct_square: np.float32
    epsilon: np.float32
    clip: np.float32  # largest norm of the gradient; 0: no limit
    forget_average: np.float32  # 1 - the decay of the average of the weights


@functools.lru_cache(maxsize=8)
def rectifying(threads: int):
    """``rectify(x, dy, y, count)``: y = dy where x > 0, else 0; with dy = x the ReLU itself."""

    @device.jit(threads)
    def rectify(x, dy, y, count):
        i = cuda.blockIdx.x * threads + cuda.threadIdx.x
        if i < count:
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
    dy = (y - t) / N; a block for each sample."""

    @device.jit(threads)
    def compare(y, labels, dy, losses, geometry):
        shared = cuda.shared.array(threads, types.float32)
        g = geometry
        t, n = cuda.threadIdx.x, cuda.blockIdx.x
        total = np.float32(0)
        pixels = g.y.rows * g.y.columns
        for k in range(t, g.channels * pixels, threads):
            c, i, j = k // pixels, k % pixels // g.y.columns, k % g.y.columns
            at = ((n * g.channels + c) * g.y.height + i) * g.y.pitch + j
            label = labels[((n * g.channels + c) * g.t.height + i) * g.t.pitch + j]
            difference = y[at] - label
            dy[at] = difference * g.scale
            total += difference * difference
        total = sum_of_block(shared, threads, total)
        if t == 0:
            losses[n] = total

    return compare


@functools.lru_cache(maxsize=8)
def adding(threads: int):
    """``add(partials, groups, count, grads, squares)``: grads = the sum of the groups' partials;
    squares[block] = the sum of its grads' squares. A block adds ``threads // SLICES`` of them."""
    weights = threads // SLICES

    @device.jit(threads)
    def add(partials, groups, count, grads, squares):
        shared = cuda.shared.array(threads, types.float32)
        t = cuda.threadIdx.x
        mine = cuda.blockIdx.x * weights + t % weights
        total = np.float32(0)
        if mine < count:
            for group in range(t // weights, groups, SLICES):
                total += partials[group * count + mine]
        shared[t] = total
        cuda.syncthreads()
        if t < weights:
            for k in range(1, SLICES):
                total += shared[k * weights + t]
            if mine < count:
                grads[mine] = total
        cuda.syncthreads()
        total = total * total if t < weights else np.float32(0)
        total = sum_of_block(shared, threads, total)
        if t == 0:
            squares[cuda.blockIdx.x] = total

    return add


@functools.lru_cache(maxsize=8)
def updating(threads: int, rule: int):
    """``update(weights, state, grads, squares, losses, report, step)``: one step of the optimizer.

    ``state`` holds, one after the other, as many floats as there are weights of: the velocity
    (SGD) or the mean (Adam), the mean square (Adam), the average of the weights, each weight's
    rate factor. ``report[step.slot]`` becomes the batch's sum of squared differences.

    Where the loss or the gradient is not finite nothing changes, and report[0] becomes 1: then
    nothing changes any more, and what is reported is NaN. The weights stay those of the last
    good step.
    """
    nan = np.float32(np.nan)

    @device.jit(threads)
    def update(weights, state, grads, squares, losses, report, step):
        shared = cuda.shared.array(threads, types.float32)
        t = cuda.threadIdx.x
        i = cuda.blockIdx.x * threads + t
        square, loss = np.float32(0), np.float32(0)
        for k in range(t, step.blocks, threads):
            square += squares[k]
        for k in range(t, step.losses, threads):
            loss += losses[k]
        square = sum_of_block(shared, threads, square)
        loss = sum_of_block(shared, threads, loss)
        check = loss + square
        finite = check - check == 0  # neither infinite nor NaN
        stopped = report[0] > 0
        if i == 0:
            report[step.slot] = loss if finite and not stopped else nan
            if not finite:
                report[0] = np.float32(1)
        if finite and not stopped and i < step.count:
            n = step.count
            g, w = grads[i], weights[i]
            norm = math.sqrt(square)
            if step.clip > 0 and norm > step.clip:
                g *= step.clip / norm
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


class Gathering(NamedTuple):
    """Arguments of :func:`gathering`: where in the order to begin, and where sub-images go."""

    first: int
    sharp: int  # pixels of all blurred images: the sharp ones come after them
    labels: int  # floats of all inputs of a batch: its labels come after them
    channels: int
    x: Extent  # of inputs, and of labels; and where a label lies in its input
    t: Extent
    offset: int


@functools.lru_cache(maxsize=8)
def gathering(threads: int):
    """``gather(pixels, places, order, turns, batch, geometry)``: draw a batch of sub-images.

    Sub-image order[first + n] begins at places[3 order] in an image of so many pixels a row and
    a channel (the next two numbers), and is turned as turns[first + n] says: bit 2 swaps rows
    and columns, bits 0 and 1 mirror them. A block for each sub-image.
    """

    @device.jit(threads)
    def gather(pixels, places, order, turns, batch, geometry):
        g = geometry
        t, n = cuda.threadIdx.x, cuda.blockIdx.x
        chosen, turn = order[g.first + n], turns[g.first + n]
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


def rectify(x: object, dy: object, y: object, count: int) -> None:
    """Launch :func:`rectifying`."""
    rectifying(THREADS)[-(-count // THREADS), THREADS](x, dy, y, count)


def compare(y: Planes, labels: Planes, dy: Planes, losses: object) -> None:
    """Launch :func:`comparing`."""
    geometry = Comparison(y.extent, labels.extent, y.channels, np.float32(1 / y.n))
    comparing(THREADS)[y.n, THREADS](y.data, labels.data, dy.data, losses, geometry)


def blocks_of_squares(count: int) -> int:
    """How many blocks add up the gradients of ``count`` weights."""
    return -(-count // (THREADS // SLICES))


def add(partials: object, groups: int, count: int, grads: object, squares: object) -> None:
    """Launch :func:`adding`."""
    adding(THREADS)[blocks_of_squares(count), THREADS](partials, groups, count, grads, squares)
