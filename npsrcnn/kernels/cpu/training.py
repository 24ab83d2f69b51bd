"""Compute a training step: loss and all gradients in one pass, sub-images side by side.

N batch, C channels in, O channels out, H W height and width, K kernel size.

:mod:`~npsrcnn.kernels.cpu.training_plan` explains the layout. All arithmetic is register tiles
(:mod:`~npsrcnn.kernels.cpu.tiles`): layers and gradients to their inputs are the forward tile,
gradients to weights the dot tile. Layers of many maps run by Winograd's method
(:mod:`~npsrcnn.kernels.cpu.training_winograd`), a 9x9 first layer in groups of 3x3
(:mod:`~npsrcnn.kernels.cpu.training_groups`), the others directly.

Rows flow through all layers while they are in cache. Forward, each row is computed as soon as the
rows of its input are there; backward, a block of rows descends from the loss to the first layer as
soon as the last layer has them, so that of 9-1-5 10 rows of 25 are on their way at a time. A step
takes 0.95 of the time with all rows forward, then all backward (Intel Granite Rapids). Where a
layer is Winograd's, all rows go through layer after layer, but the gradient to the first layer's
output, the largest, is used up row of tiles by row of tiles.

Groups are dealt to partial sums (:mod:`~npsrcnn.kernels.cpu.shares`), and these are added up in one
order: the bits do not depend on the number of threads, nor of processes.
"""

from __future__ import annotations

import numpy as np

from npsrcnn.kernels.cpu.shares import Share, fills_groups
from npsrcnn.kernels.cpu.tiles import (
    DOT_TAPS,
    FEW_ROWS,
    GATE,
    LANES,
    LINEAR,
    ROWS,
    THIN_DOT_TAPS,
    check_range,
    dot_tile,
    forward,
    forward_few,
    forward_thin,
)
from npsrcnn.kernels.cpu.training_groups import (
    add_group_grads,
    add_products,
    clear_products,
    convolve_groups,
)
from npsrcnn.kernels.cpu.training_plan import (
    BACKWARD,
    BLANK,
    FORWARD,
    STEP,
    make_plan,
)
from npsrcnn.kernels.cpu.training_winograd import add_filter_grads, convolve, transform_filters
from npsrcnn.kernels.cpu.winograd import transform_filter_groups
from npsrcnn.layers import Layers
from npsrcnn.runtime.jit import BOUNDSCHECK, helper, jit
from npsrcnn.runtime.threads import parallel, work_space


def loss_and_grads(
    layers: Layers,
    inputs: np.ndarray,
    labels: np.ndarray,
    l1: float = 0.0,
    *,
    use_winograd: bool = True,
) -> tuple[float, Layers]:
    """Compute the loss of a batch and its gradients; valid convolutions, ReLU but after the last.

    Parameters
    ----------
    layers
        [(w, b), ...], float32 w (O, C, K, K) and b (O,).
    inputs
        (N, C, H, W) float32.
    labels
        (N, O, H', W') float32, as much smaller as the filters take away.
    l1
        Adds the sum of all maps but the last layer's, times l1 / N, for a batch that
        :func:`~npsrcnn.kernels.cpu.shares.fills_groups`. What it adds to the gradient of a map
        that is not zero is a constant: the bias of the convolution that makes that gradient.
    use_winograd
        False: all layers by direct convolution.

    Returns
    -------
    loss, [(dw, db), ...]
        The sum of squared differences / 2N, plus the penalty, and its gradients, float32.

    Raises
    ------
    TypeError, ValueError
        Arrays that are not float32, or whose shapes do not fit together.
    """
    sums, losses = partial_sums(layers, inputs, labels, l1, use_winograd=use_winograd)
    grads = unpacked(layers, inputs.shape[2:], add_up(sums), use_winograd=use_winograd)
    return mean_loss(losses, len(inputs)), grads


def partial_sums(
    layers: Layers,
    inputs: np.ndarray,
    labels: np.ndarray,
    l1: float = 0.0,
    share: Share | None = None,
    *,
    use_winograd: bool = True,
) -> tuple[np.ndarray, np.ndarray]:
    """Compute the partial sums of :func:`loss_and_grads` for a share of a batch.

    Parameters
    ----------
    layers, inputs, labels, l1, use_winograd
        Those of :func:`loss_and_grads`, but of the batch only ``share.rows``.
    share
        Default: the whole batch.

    Returns
    -------
    sums : (slots, floats) float32
        For :func:`add_up`, below those of the shares before.
    losses : (groups, LANES) float32
        For :func:`mean_loss`; the groups are ``share.groups``.
    """
    share = share or Share.of(len(inputs))
    plan = make_plan(_checked(layers, inputs, labels), *inputs.shape[2:], use_winograd)
    inputs, labels = np.ascontiguousarray(inputs), np.ascontiguousarray(labels)
    batch, slots = share.batch, share.slots
    if l1 and not fills_groups(batch):
        raise ValueError(f"a penalty on the maps takes whole groups of {LANES}, not {batch}")
    parameters = np.concatenate([array.ravel() for layer in layers for array in layer])
    weights, biases = np.empty(plan.weights, np.float32), np.empty(plan.biases, np.float32)
    _pack(plan.layers, parameters, weights, biases)
    weights[weights.size - plan.constants.size :] = plan.constants
    biases[biases.size - plan.layers["maps"].max() :] = l1 / batch
    if plan.groups:
        points = transform_filter_groups(layers[0][0], STEP)
        weights[plan.layers[1]["w"] :][: len(points)] = points
    starts = np.cumsum([0, *(w.size + b.size for w, b in layers)])
    for depth in np.flatnonzero(plan.layers["winograd"]):
        start = starts[depth - 1]
        parallel(transform_filters, 2, plan.layers[depth], start, parameters, weights, biases,
                 plan.common)  # fmt: skip
    sums = np.empty((slots, plan.sums), np.float32)
    losses = np.empty((-(-len(inputs) // LANES), LANES), np.float32)

    def work(slot: int) -> None:
        space = work_space(plan.work)
        _slot(slot, slots, plan.layers, plan.passes, plan.common, plan.offsets, weights, biases,
              inputs, labels, batch, space, sums, losses.reshape(-1), np.float32(l1),
              plan.winograd, plan.groups)  # fmt: skip

    parallel(work, slots)
    return sums, losses


def add_up(sums: np.ndarray) -> np.ndarray:
    """Sum all rows in their order, which gives some columns the bits they have among all."""
    total = np.empty(sums.shape[1], np.float32)
    parallel(_add_up, -(-total.size // _CHUNK_FLOATS), sums, total)
    return total


def mean_loss(losses: np.ndarray, batch: int) -> float:
    """Compute the loss of a batch from those of all its groups, in their order."""
    return float(losses.ravel().sum(dtype=np.float64) / (2 * batch))


def unpacked(
    layers: Layers, size: tuple[int, int], total: np.ndarray, *, use_winograd: bool = True
) -> Layers:
    """Return the total of :func:`add_up` as [(dw, db), ...], for inputs of ``size``."""
    plan = make_plan(tuple(w.shape for w, _ in layers), *size, use_winograd)
    grads = []
    for (w, _), layer in zip(layers, plan.layers[1:], strict=True):
        dw = total[layer["dw"] : layer["db"]]
        if layer["winograd"]:
            dw = dw.reshape(w[0, 0].size, w.shape[1], -1).T
        else:
            dw = dw.reshape(layer["maps"], layer["dot_taps"])[:, : w[0].size]
        db = total[layer["db"] : layer["db"] + layer["filters"]]
        grads.append((np.ascontiguousarray(dw[: len(w)].reshape(w.shape)), db.copy()))
    return grads


def _checked(
    layers: Layers, inputs: np.ndarray, labels: np.ndarray
) -> tuple[tuple[int, int, int, int], ...]:
    """Return the shapes of the filters, if everything fits together and is float32."""
    arrays = [inputs, labels, *(array for layer in layers for array in layer)]
    for array in arrays:
        if array.dtype != np.float32:
            raise TypeError(f"the training kernels take float32, not {array.dtype}")
    shape = inputs.shape
    for w, b in layers:
        if (
            w.ndim != 4
            or w.shape[1:] != (shape[1], w.shape[3], w.shape[3])
            or b.shape != w.shape[:1]
        ):
            raise ValueError(f"w {w.shape} and b {b.shape} do not fit an input of {shape}")
        shape = (shape[0], w.shape[0], shape[2] - w.shape[2] + 1, shape[3] - w.shape[3] + 1)
    if labels.shape != shape or min(shape) < 1:
        raise ValueError(f"labels are {labels.shape}, the layers make {shape} of {inputs.shape}")
    return tuple(w.shape for w, _ in layers)


@jit
def _pack(layers, parameters, weights, biases):
    """Pack all weights of direct layers as the tiles read them, and all biases."""
    _fill(weights, 0, weights.size, np.float32(0))
    _fill(biases, 0, biases.size, np.float32(0))
    w = 0
    for d in range(1, len(layers)):
        layer = layers[d]
        size, channels = layer.size, layer.channels
        b = w + layer.filters * channels * size * size
        for o in range(layer.filters):
            biases[layer.b + o] = parameters[b + o]
            if layer.winograd or layer.groups:
                continue
            for c in range(channels):
                backward = layer.back_w + _packed(c, layer.back_taps, ROWS)
                for u in range(size):
                    for v in range(size):
                        weight = parameters[w + ((o * channels + c) * size + u) * size + v]
                        if layer.row_maps:
                            forward = _packed(u * layer.filters + o, layer.taps, FEW_ROWS)
                            forward += (c * size + v) * FEW_ROWS
                        else:
                            forward = _packed(o, layer.taps, ROWS)
                            forward += ((u * channels + c) * size + v) * ROWS
                        weights[layer.w + forward] = weight
                        if d > 1:
                            tap = (u * layer.filters + o) * size + v
                            weights[backward + tap * ROWS] = weight
        w = b + layer.filters


@helper
def _packed(m, taps, rows):
    """Return where the first weight of map m lies: tile after tile, each (taps, rows)."""
    return m // rows * rows * taps + m % rows


@jit
def _slot(
    slot, slots, layers, passes, all_common, offsets, weights, biases, inputs, labels, batch, work,
    sums, losses, l1, winograd, groups,
):  # fmt: skip
    """Compute loss and gradients of groups slot, slot + slots, ..., added up in that order.

    Where ``winograd`` is None, no layer is Winograd's, whose code is then not compiled; likewise
    ``groups``.
    """
    depth, common = len(layers) - 1, all_common[0]
    off = np.empty(common.offsets, np.int64)
    total = sums[slot]
    _fill(total, 0, total.size, np.float32(0))
    _fill(work, common.ones, layers[0].width * LANES, np.float32(1))
    _fill(work, common.blank, BLANK, np.float32(0))
    # The zeros beyond the image, where there are tiles.
    _fill(work, layers[0].z, layers[0].kept * layers[0].line, np.float32(0))
    for d in range(2, depth + 1):
        _zero_pads(layers[d], work)
    block = STEP if winograd is None else layers[1].height
    for first in range(slot * LANES, len(inputs), slots * LANES):
        _load_group(inputs, first, layers[0], work)
        _fill(losses, first, LANES, np.float32(0))
        if groups is not None:
            clear_products(layers[1], work, common)
        done = np.zeros(depth + 1, np.int64)  # rows of each layer
        done[0] = layers[1].size - 1  # the first rows of an input make no row yet
        if layers[depth].row_maps:
            done[depth] = 1 - layers[depth].size
        start = 0  # of the block that descends next
        while done[depth] < layers[depth].height:
            begin = max(0, done[depth])
            _compute_rows(layers, passes, done, offsets, weights, biases, off, work, common,
                          winograd, groups)  # fmt: skip
            _loss_gradient(labels, first, begin, done[depth], layers[depth], work, losses,
                           batch)  # fmt: skip
            whole = done[depth] == layers[depth].height
            while start < layers[1].height and (whole or start + block <= done[depth]):
                if l1 > np.float32(0):
                    _add_penalty(first, layers, start, block, work, losses, l1)
                _descend(layers, passes, start, block, offsets, weights, biases, off, work, common,
                         total, winograd, groups)  # fmt: skip
                start += block
        if groups is not None:
            add_group_grads(layers[1], weights, biases, off, work, common, total)


@helper
def _compute_rows(
    layers, passes, done, offsets, weights, biases, off, work, common, winograd, groups
):
    """Compute the rows of all layers that STEP more rows of the image make possible."""
    done[0] = min(done[0] + STEP, layers[0].height)
    for d in range(1, len(layers)):
        there = done[d - 1] - layers[d].size + 1
        if groups is not None:  # noqa: SIM102 (Numba can prune only this)
            if layers[d].groups:
                while done[d] + STEP <= there or done[d] < there == layers[d].height:
                    convolve_groups(layers[0], layers[d], done[d] // STEP, weights, biases, off,
                                    work, common)  # fmt: skip
                    done[d] = min(done[d] + STEP, layers[d].height)
                continue
        if winograd is not None:  # noqa: SIM102 (Numba can prune only this)
            if layers[d].winograd:
                while done[d] + STEP <= there or done[d] < there == layers[d].height:
                    convolve(passes[d, FORWARD], done[d] // STEP, weights, biases, off, work,
                             common)  # fmt: skip
                    done[d] = min(done[d] + STEP, layers[d].height)
                continue
        for row in range(done[d], there):
            if layers[d].row_maps:
                _last_row(layers[d - 1], layers[d], row, offsets, weights, biases, off, work,
                          common)  # fmt: skip
            else:
                _layer_row(layers[d - 1], layers[d], row, offsets, weights, biases, work)
        done[d] = max(there, done[d])


@helper
def _descend(
    layers, passes, row, block, offsets, weights, biases, off, work, common, total, winograd, groups
):
    """Add the products of ``block`` rows of each layer's dz to dw; compute the layer's below.

    What is overwritten by it, nobody needs again: rows of the last layer that are still to come see
    only rows of this one that are too.
    """
    for d in range(len(layers) - 1, 1, -1):
        lines = min(row + block, layers[d].height) - row
        if lines > 0:
            _bias_grads(layers[d], row, lines, work, common.ones, total)
        if winograd is not None:  # noqa: SIM102
            if layers[d].winograd:
                add_filter_grads(layers[d], passes[d, FORWARD], weights, biases, off, work, common,
                                 total)  # fmt: skip
                for t in range(passes[d, BACKWARD].down):
                    convolve(passes[d, BACKWARD], t, weights, biases, off, work, common)
                    if d == 2:
                        _first_grads(layers, STEP * t, STEP, offsets, off, work, common, total,
                                     groups)  # fmt: skip
                continue
        if lines > 0:
            _weight_grads(layers[d - 1], layers[d], row, lines, offsets, work, total)
        for r in range(row, min(row + block, layers[d - 1].height)):
            _input_grad_row(layers[d - 1], layers[d], r, offsets, weights, biases, work)
    if len(layers) < 3 or not layers[2].winograd:
        _first_grads(layers, row, block, offsets, off, work, common, total, groups)


@helper
def _first_grads(layers, row, block, offsets, off, work, common, total, groups):
    """Add the products of ``block`` rows of the first layer's dz, or those that are left, to dw."""
    lines = min(block, layers[1].height - row)
    if groups is not None:  # noqa: SIM102
        if layers[1].groups:
            for t in range(row // STEP, (row + lines + STEP - 1) // STEP):
                add_products(layers[0], layers[1], t, off, work, common)
            return
    _bias_grads(layers[1], row, lines, work, common.ones, total)
    _weight_grads(layers[0], layers[1], row, lines, offsets, work, total)


@helper
def _zero_pads(layer, work):
    """Write the zeros left and right of a layer's gradients dz."""
    pad = layer.pad * LANES
    for m in range(layer.height * layer.maps + 1):
        _fill(work, layer.z + m * layer.pitch - pad, pad, np.float32(0))


@helper
def _fill(array, start, count, value):
    for i in range(start, start + count):
        array[i] = value


@helper
def _load_group(images, first, layer, work):
    """Load LANES images (N, C, H, W) from ``first`` on, lanes innermost; absent ones are 0."""
    _, channels, height, width = images.shape
    for row in range(height):
        for c in range(channels):
            place = layer.z + row * layer.line + c * layer.pitch
            for lane in range(LANES):
                there = first + lane < len(images)
                for col in range(width):
                    pixel = images[first + lane, c, row, col] if there else np.float32(0)
                    work[place + col * LANES + lane] = pixel


@helper
def _loss_gradient(labels, first, start, end, layer, work, losses, batch):
    """Compute dz = (z - label) / N of rows of the last layer, and add each sub-image's squares."""
    _, channels, _, width = labels.shape
    scale = np.float32(1) / np.float32(batch)
    for row in range(start, end):
        for lane in range(LANES):
            squares = np.float32(0)
            for c in range(channels):
                place = layer.z + row * layer.line + c * layer.pitch + lane
                for col in range(width):
                    difference = np.float32(0)
                    if first + lane < len(labels):
                        difference = work[place + col * LANES] - labels[first + lane, c, row, col]
                    squares += difference * difference
                    work[place + col * LANES] = difference * scale
            losses[first + lane] += squares


@helper
def _add_penalty(first, layers, start, block, work, losses, l1):
    """Add twice l1 times the sum of a block of rows of all maps to the loss of each sub-image."""
    two = l1 + l1
    for d in range(1, len(layers) - 1):
        layer = layers[d]
        for row in range(start, min(start + block, layer.height)):
            for m in range(layer.filters):
                place = layer.z + row % layer.kept * layer.line + m * layer.pitch
                for lane in range(LANES):
                    total = np.float32(0)
                    for col in range(layer.width):
                        total += work[place + col * LANES + lane]
                    losses[first + lane] += two * total


@helper
def _layer_row(source, layer, row, offsets, weights, biases, work):
    """Compute one row of z = act(w * x + b)."""
    forward(work, source.z + row % source.kept * source.line, offsets[layer.off :], layer.taps,
            weights, layer.w, layer.taps, biases, layer.b, work,
            layer.z + row % layer.kept * layer.line, layer.pitch, layer.maps, layer.width * LANES,
            layer.act, work, layer.z)  # fmt: skip


@helper
def _last_row(source, layer, row, offsets, weights, biases, off, work, common):
    """Sum what filter rows see in the last input row of output row ``row``; compute that row."""
    length, seen = layer.width * LANES, row + layer.size - 1
    by_row = layer.row_maps * length
    sums = layer.row_sums + seen % layer.size * by_row
    forward_few(work, source.z + seen % source.kept * source.line, offsets[layer.off :], layer.taps,
                weights, layer.w, biases, common.zeros, work, sums, length, layer.row_maps,
                length)  # fmt: skip
    if row < 0:
        return
    for o in range(layer.filters):
        for u in range(layer.size):
            place = layer.row_sums + (row + u) % layer.size * by_row
            off[u] = place + (u * layer.filters + o) * length
        z = layer.z + row * layer.line + o * layer.pitch
        forward_thin(work, 0, off, layer.size, weights, common.unit, biases, layer.b + o,
                     work, z, length, np.int64(LINEAR), work, z)  # fmt: skip


@helper
def _input_grad_row(source, layer, row, offsets, weights, biases, work):
    """Compute a row of the gradient to the layer's input, through the ReLU that made it."""
    top = max(0, row - layer.height + 1)  # taps above and below the map read zeros: left out
    bottom = min(layer.size, row + 1)
    line = layer.filters * layer.size
    forward(work, layer.z + row * layer.line, offsets[layer.back_off + top * line :],
            (bottom - top) * line, weights, layer.back_w + top * line * ROWS, layer.back_taps,
            biases, biases.size - source.maps,
            work, source.z + row % source.kept * source.line, source.pitch, source.maps,
            source.width * LANES, np.int64(GATE), work,
            source.z + row % source.kept * source.line)  # fmt: skip


@helper
def _weight_grads(source, layer, row, lines, offsets, work, total):
    """Add the products of ``lines`` rows of dz with the input to dw."""
    x, n = source.z + row % source.kept * source.line, layer.width * LANES
    if BOUNDSCHECK:
        dz = layer.z + row % layer.kept * layer.line
        check_range(work.size, dz, (lines - 1) * layer.line + (layer.maps - 1) * layer.pitch + n)
        for k in range(layer.dot_taps):
            tap = x + offsets[layer.dot_off + k]
            check_range(work.size, tap, (lines - 1) * source.line + n)
        check_range(total.size, layer.dw, layer.maps * layer.dot_taps)
    for m in range(0, layer.maps, layer.rows):
        dz = layer.z + row % layer.kept * layer.line + m * layer.pitch
        dw = layer.dw + m * layer.dot_taps
        if layer.rows == ROWS:
            for k in range(0, layer.dot_taps, DOT_TAPS):
                dot_tile(ROWS, DOT_TAPS, work, dz, layer.pitch, layer.line, work, x, offsets,
                         layer.dot_off + k, source.line, lines, n, total, dw + k,
                         layer.dot_taps)  # fmt: skip
        else:
            for k in range(0, layer.dot_taps, THIN_DOT_TAPS):
                dot_tile(1, THIN_DOT_TAPS, work, dz, layer.pitch, layer.line, work, x, offsets,
                         layer.dot_off + k, source.line, lines, n, total, dw + k,
                         layer.dot_taps)  # fmt: skip


@helper
def _bias_grads(layer, row, lines, work, ones, total):
    """Add ``lines`` rows of dz to db: their product with a row of ones."""
    n = layer.width * LANES
    if BOUNDSCHECK:
        check_range(total.size, layer.db, layer.maps)
    for m in range(0, layer.maps, layer.rows):
        dz = layer.z + row % layer.kept * layer.line + m * layer.pitch
        if layer.rows == ROWS:
            dot_tile(ROWS, 1, work, dz, layer.pitch, layer.line, work, ones, _NO_OFFSET, 0, 0,
                     lines, n, total, layer.db + m, 1)  # fmt: skip
        else:
            dot_tile(1, 1, work, dz, layer.pitch, layer.line, work, ones, _NO_OFFSET, 0, 0,
                     lines, n, total, layer.db + m, 1)  # fmt: skip


_NO_OFFSET = np.zeros(1, np.int64)
_CHUNK_FLOATS = 16384


@jit
def _add_up(chunk, sums, total):
    """Sum all slots, one after the other, for one chunk of the gradients."""
    start, end = chunk * _CHUNK_FLOATS, min((chunk + 1) * _CHUNK_FLOATS, total.size)
    part = total[start:end]
    _fill(part, 0, part.size, np.float32(0))
    for slot in range(len(sums)):
        addend = sums[slot, start:end]
        for i in range(part.size):
            part[i] += addend[i]
