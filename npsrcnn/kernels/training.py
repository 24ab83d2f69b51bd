"""The training step: loss and all gradients in one pass, several sub-images side by side.

LANES sub-images (of N) make a group. Their pixels lie innermost, one SIMD vector a pixel, so that
maps of any width have no ragged vector: a map of a group is (H, C, pad + W, LANES), row after
row, because rows are what is worked on. All arithmetic is two register tiles
(:mod:`~npsrcnn.kernels.tiles`): layers and gradients to their inputs are the forward tile,
gradients to weights the dot tile.

Rows flow through all layers while they are in cache. Forward, each row is computed as soon as
the rows of its input are there; backward, a block of rows descends from the loss to the first
layer. The gradient to an input is a convolution with zeros around: those left and right are
stored (``pad`` pixels between a map and the next), those above and below are left out.

Groups are dealt to partial sums (:mod:`~npsrcnn.kernels.shares`), and these are added up in one
order: the bits do not depend on the number of threads, nor of processes.
"""

from __future__ import annotations

import functools
import threading
from typing import NamedTuple

import numpy as np

from npsrcnn.kernels.jit import BOUNDSCHECK, helper, jit
from npsrcnn.kernels.shares import Share
from npsrcnn.kernels.threads import parallel
from npsrcnn.kernels.tiles import (
    DOT_TAPS,
    GATE,
    LANES,
    LINEAR,
    RELU,
    ROWS,
    THIN_DOT_TAPS,
    VECTORS,
    _dot_tile,
    _forward_tile,
    check_range,
    forward_thin,
    round_up,
    tile_width,
)

Layers = list[tuple[np.ndarray, np.ndarray]]

BLOCK = 5  # rows that flow together
_LINE = 16  # floats of a cache line: where parts of the work space begin

_FIELDS = (
    # C, O, K, and H, W of the output
    *("channels", "filters", "size", "height", "width"),
    # maps of a tile; maps as stored, whole tiles; zeros between them; what follows the sums
    *("rows", "maps", "pad", "act"),
    # floats from map to map, from row to row; where the output and its gradient begin
    *("pitch", "line", "z", "dz"),
    # rows of the gradient that are kept: all, or the first layer's block
    "kept",
    # the layer: how many taps; where their offsets, weights, biases begin
    *("taps", "off", "w", "b"),
    # the gradient to its input: the same
    *("back_taps", "back_off", "back_w"),
    # the gradient to its weights: the same, and where the sums go
    *("dot_taps", "dot_off", "dw", "db"),
)
_LAYER = np.dtype([(name, np.int64) for name in _FIELDS])


class _Plan(NamedTuple):
    """What follows from the shapes alone: where everything lies."""

    layers: np.ndarray  # (depth + 1,) of _LAYER; the first stands for the input
    offsets: np.ndarray  # int64, of every tap
    weights: int  # floats of all weights as the tiles read them
    biases: int  # floats of all biases, and of those of the gradients: 0, or what l1 adds
    sums: int  # floats of all gradients of a slot
    work: int  # floats of work space
    ones: int  # where in it a row of ones is


@functools.lru_cache(maxsize=16)
def _plan(shapes: tuple[tuple[int, int, int, int], ...], height: int, width: int) -> _Plan:
    """The plan for layers of these ``w.shape`` and inputs of height x width."""
    layers = np.zeros(len(shapes) + 1, _LAYER)
    offsets: list[np.ndarray] = []
    w = back_w = b = sums = off = work = 0

    def place(taps: np.ndarray, step: int = 1) -> tuple[int, int]:
        """Append offsets, repeating the first up to a multiple of ``step``: start and count."""
        nonlocal off
        count = round_up(taps.size, step)
        offsets.append(
            np.concatenate([taps.ravel(), np.repeat(taps.ravel()[:1], count - taps.size)])
        )
        off += count
        return off - count, count

    def reserve(floats: int) -> int:
        nonlocal work
        work += round_up(floats, _LINE)
        return work - round_up(floats, _LINE)

    source = layers[0]
    source["maps"] = source["filters"] = shapes[0][1]
    source["height"], source["width"] = height, width
    source["pitch"] = width * LANES
    source["line"] = source["pitch"] * source["maps"]
    source["z"] = reserve(source["line"] * height)
    for depth, (filters, channels, size, _) in enumerate(shapes):
        source, layer = layers[depth], layers[depth + 1]
        layer["filters"], layer["channels"], layer["size"] = filters, channels, size
        layer["height"], layer["width"] = source["height"] - size + 1, source["width"] - size + 1
        layer["rows"] = ROWS if filters >= ROWS else 1
        layer["maps"] = round_up(filters, layer["rows"])
        layer["pad"] = size - 1 if depth > 0 else 0
        layer["pitch"] = (layer["pad"] + layer["width"]) * LANES
        layer["line"] = layer["pitch"] * layer["maps"]
        last = depth == len(shapes) - 1
        layer["act"] = LINEAR if last else RELU
        layer["kept"] = layer["height"] if depth > 0 or last else BLOCK
        pad = layer["pad"] * LANES
        layer["dz"] = reserve(layer["line"] * layer["kept"] + 2 * pad) + pad
        layer["z"] = layer["dz"]
        if not last:
            layer["z"] = reserve(layer["line"] * layer["height"] + 2 * pad) + pad

        u, c, v = np.meshgrid(range(size), range(channels), range(size), indexing="ij")
        there = u * source["line"] + c * source["pitch"] + v * LANES
        layer["off"], layer["taps"] = place(there)
        step = DOT_TAPS if layer["rows"] == ROWS else THIN_DOT_TAPS
        layer["dot_off"], layer["dot_taps"] = place(there.swapaxes(0, 1), step)
        u, o, v = np.meshgrid(range(size), range(filters), range(size), indexing="ij")
        back = -u * layer["line"] + o * layer["pitch"] - v * LANES
        layer["back_off"], layer["back_taps"] = place(back)
        layer["w"], layer["b"], layer["back_w"] = w, b, back_w
        w += layer["maps"] * layer["taps"]
        b += layer["maps"]
        back_w += source["maps"] * layer["back_taps"] if depth > 0 else 0
        layer["dw"], layer["db"] = sums, sums + layer["maps"] * layer["dot_taps"]
        sums = layer["db"] + layer["maps"]
    layers["back_w"] += w
    ones = reserve(width * LANES)
    back_b = layers["maps"].max()
    return _Plan(
        layers, np.concatenate(offsets), int(w + back_w), int(b + back_b), int(sums), work, ones
    )


def is_whole(batch: int) -> bool:
    """Whether a batch fills its groups, as a penalty on the maps needs it to."""
    return batch % LANES == 0


def loss_and_grads(
    layers: Layers, inputs: np.ndarray, labels: np.ndarray, l1: float = 0.0
) -> tuple[float, Layers]:
    """The loss of a batch and its gradients; valid convolutions, ReLU but after the last.

    Parameters
    ----------
    layers
        [(w, b), ...], float32 w (O, C, K, K) and b (O,).
    inputs
        (N, C, H, W) float32.
    labels
        (N, O, H', W') float32, as much smaller as the filters take away.
    l1
        Adds the sum of all maps but the last layer's, times l1 / N; for a batch that
        :func:`is_whole`. What it adds to the gradient of a map that is not zero is a constant: the
        bias of the convolution that makes that gradient.

    Returns
    -------
    loss, [(dw, db), ...]
        The sum of squared differences / 2N, plus the penalty, and its gradients, float32.

    Raises
    ------
    TypeError, ValueError
        Arrays that are not float32, or whose shapes do not fit together.
    """
    sums, losses = partial_sums(layers, inputs, labels, l1)
    grads = unpacked(layers, inputs.shape[2:], add_up(sums))
    return mean_loss(losses, len(inputs)), grads


def partial_sums(
    layers: Layers,
    inputs: np.ndarray,
    labels: np.ndarray,
    l1: float = 0.0,
    share: Share | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """What :func:`loss_and_grads` adds up, of a share of a batch.

    Parameters
    ----------
    layers, inputs, labels, l1
        As of :func:`loss_and_grads`, but of the batch only ``share.rows``.
    share
        Default: the whole batch.

    Returns
    -------
    sums : (slots, floats) float32
        For :func:`add_up`, beneath those of the shares before.
    losses : (groups, LANES) float32
        For :func:`mean_loss`; the groups are ``share.groups``.
    """
    share = share or Share.of(len(inputs))
    plan = _plan(_checked(layers, inputs, labels), *inputs.shape[2:])
    inputs, labels = np.ascontiguousarray(inputs), np.ascontiguousarray(labels)
    batch, slots = share.batch, share.slots
    if l1 and not is_whole(batch):
        raise ValueError(f"a penalty on the maps takes whole groups of {LANES}, not {batch}")
    parameters = np.concatenate([array.ravel() for layer in layers for array in layer])
    weights, biases = np.empty(plan.weights, np.float32), np.empty(plan.biases, np.float32)
    _pack(plan.layers, parameters, weights, biases)
    biases[biases.size - plan.layers["maps"].max() :] = l1 / batch
    sums = np.empty((slots, plan.sums), np.float32)
    losses = np.empty((-(-len(inputs) // LANES), LANES), np.float32)

    def work(slot: int) -> None:
        space = _space(plan.work)
        _slot(slot, slots, plan.layers, plan.offsets, plan.ones, weights, biases,
              inputs, labels, batch, space, sums, losses.reshape(-1), np.float32(l1))  # fmt: skip

    parallel(work, slots)
    return sums, losses


def add_up(sums: np.ndarray) -> np.ndarray:
    """The sum of all rows, one after the other: the same for some columns as for all."""
    total = np.empty(sums.shape[1], np.float32)
    parallel(_add_up, -(-total.size // _CHUNK), sums, total)
    return total


def mean_loss(losses: np.ndarray, batch: int) -> float:
    """The loss of a batch, from those of all its groups in their order."""
    return float(losses.ravel().sum(dtype=np.float64) / (2 * batch))


def unpacked(layers: Layers, size: tuple[int, int], total: np.ndarray) -> Layers:
    """The gradients [(dw, db), ...] that :func:`add_up` gives, of inputs of ``size``."""
    plan = _plan(tuple(w.shape for w, _ in layers), *size)
    grads = []
    for (w, _), layer in zip(layers, plan.layers[1:], strict=True):
        dw = total[layer["dw"] : layer["db"]].reshape(layer["maps"], layer["dot_taps"])
        db = total[layer["db"] : layer["db"] + layer["filters"]]
        grads.append((dw[: len(w), : w[0].size].reshape(w.shape), db.copy()))
    return grads


def _checked(
    layers: Layers, inputs: np.ndarray, labels: np.ndarray
) -> tuple[tuple[int, int, int, int], ...]:
    """The shapes of the filters, if everything fits together and is float32."""
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
    """All weights in the order in which the tiles read them, and all biases, zeros around."""
    _fill(weights, 0, weights.size, np.float32(0))
    _fill(biases, 0, biases.size, np.float32(0))
    w = 0
    for d in range(1, len(layers)):
        layer, rows = layers[d], layers[d - 1].rows
        size, channels = layer.size, layer.channels
        b = w + layer.filters * channels * size * size
        for o in range(layer.filters):
            forward = layer.w + _packed(o, layer.taps, layer.rows)
            for c in range(channels):
                backward = layer.back_w + _packed(c, layer.back_taps, rows)
                for u in range(size):
                    for v in range(size):
                        weight = parameters[w + ((o * channels + c) * size + u) * size + v]
                        weights[forward + ((u * channels + c) * size + v) * layer.rows] = weight
                        if d > 1:
                            tap = (u * layer.filters + o) * size + v
                            weights[backward + tap * rows] = weight
            biases[layer.b + o] = parameters[b + o]
        w = b + layer.filters


@helper
def _packed(m, taps, rows):
    """Where the first weight of map m lies: tile after tile, in each (taps, rows)."""
    return m // rows * rows * taps + m % rows


_local = threading.local()


def _space(floats: int) -> np.ndarray:
    """This thread's work space, kept from call to call: fresh pages cost as much as the work."""
    space = getattr(_local, "space", None)
    if space is None or space.size < floats:
        raw = np.empty(floats + _LINE, np.float32)
        first = -raw.ctypes.data // raw.itemsize % _LINE
        space = _local.space = raw[first : first + floats]
    return space


@jit
def _slot(
    slot, slots, layers, offsets, ones, weights, biases, inputs, labels, batch, work, sums, losses,
    l1,
):  # fmt: skip
    """Loss and gradients of groups slot, slot + slots, ..., added up in that order."""
    depth = len(layers) - 1
    total = sums[slot]
    _fill(total, 0, total.size, np.float32(0))
    _fill(work, ones, layers[0].width * LANES, np.float32(1))
    for d in range(2, depth + 1):
        _zero_pads(layers[d], work)
    for first in range(slot * LANES, len(inputs), slots * LANES):
        _take(inputs, first, layers[0], work)
        done = np.zeros(depth + 1, np.int64)  # rows of each layer
        while done[depth] < layers[depth].height:
            done[0] = min(done[0] + BLOCK, layers[0].height)
            for d in range(1, depth + 1):
                there = done[d - 1] - layers[d].size + 1
                for row in range(done[d], there):
                    _layer_row(layers[d - 1], layers[d], row, offsets, weights, biases, work)
                done[d] = max(there, done[d])
        _difference(labels, first, layers[depth], work, losses, batch)
        if l1 > np.float32(0):
            for d in range(1, depth):
                _penalty(first, layers[d], work, losses, l1)
        for row in range(0, layers[1].height, BLOCK):
            for d in range(depth, 0, -1):
                end = min(row + BLOCK, layers[d].height)
                if row < end:
                    _weight_grads(layers[d - 1], layers[d], row, end - row, offsets, ones, work,
                                  total)  # fmt: skip
                if d > 1:
                    for r in range(row, min(row + BLOCK, layers[d - 1].height)):
                        _input_grad_row(layers[d - 1], layers[d], r, offsets, weights, biases, work)


@helper
def _zero_pads(layer, work):
    pad = layer.pad * LANES
    for m in range(layer.height * layer.maps + 1):
        _fill(work, layer.dz + m * layer.pitch - pad, pad, np.float32(0))


@helper
def _fill(array, start, count, value):
    for i in range(start, start + count):
        array[i] = value


@helper
def _take(images, first, layer, work):
    """The group of images (N, C, H, W) from ``first`` on, pixels innermost; absent ones are 0."""
    _, channels, height, width = images.shape
    for lane in range(LANES):
        there = first + lane < len(images)
        for row in range(height):
            for c in range(channels):
                place = layer.z + row * layer.line + c * layer.pitch + lane
                for col in range(width):
                    pixel = images[first + lane, c, row, col] if there else np.float32(0)
                    work[place + col * LANES] = pixel


@helper
def _difference(labels, first, layer, work, losses, batch):
    """dz = (z - label) / N of the last layer, in place; a sum of squares for each sub-image."""
    _, channels, height, width = labels.shape
    scale = np.float32(1) / np.float32(batch)
    for lane in range(LANES):
        there = first + lane < len(labels)
        loss = np.float32(0)
        for row in range(height):
            squares = np.float32(0)
            for c in range(channels):
                place = layer.dz + row * layer.line + c * layer.pitch + lane
                for col in range(width):
                    difference = np.float32(0)
                    if there:
                        difference = work[place + col * LANES] - labels[first + lane, c, row, col]
                    squares += difference * difference
                    work[place + col * LANES] = difference * scale
            loss += squares
        losses[first + lane] = loss


@helper
def _penalty(first, layer, work, losses, l1):
    """Twice l1 times the sum of a layer's maps, for each sub-image of the group."""
    two = l1 + l1
    for row in range(layer.height):
        for m in range(layer.filters):
            place = layer.z + row * layer.line + m * layer.pitch
            for lane in range(LANES):
                total = np.float32(0)
                for col in range(layer.width):
                    total += work[place + col * LANES + lane]
                losses[first + lane] += two * total


@helper
def _layer_row(source, layer, row, offsets, weights, biases, work):
    """One row of z = act(w * x + b)."""
    _correlate(
        layer.rows, work, source.z + row * source.line, offsets[layer.off :], layer.taps,
        weights, layer.w, layer.taps, biases, layer.b, layer.z + row * layer.line, layer.pitch,
        layer.maps, layer.width * LANES, layer.act, layer.z,
    )  # fmt: skip


@helper
def _input_grad_row(source, layer, row, offsets, weights, biases, work):
    """One row of the gradient to the layer's input, through the ReLU that made that input."""
    top = max(0, row - layer.height + 1)  # taps above and below the map read zeros: left out
    bottom = min(layer.size, row + 1)
    line = layer.filters * layer.size
    _correlate(
        source.rows, work, layer.dz + row * layer.line, offsets[layer.back_off + top * line :],
        (bottom - top) * line, weights, layer.back_w + top * line * source.rows, layer.back_taps,
        biases, biases.size - source.maps, source.dz + row % source.kept * source.line,
        source.pitch, source.maps, source.width * LANES,
        np.int64(GATE), source.z + row * source.line,
    )  # fmt: skip


@helper
def _correlate(rows, x, ix, off, taps, w, iw, ldw, b, ib, io, ldo, maps, n, act, ig):
    """x[io + m * ldo + j] = act(b[m] + sum over k < taps of w[m, k] * x[ix + off[k] + j])."""
    if BOUNDSCHECK:
        for k in range(taps):
            check_range(x.size, ix + off[k], n)
        check_range(w.size, iw, (maps - rows) * ldw + taps * rows)
        check_range(b.size, ib, maps)
        check_range(x.size, io, (maps - 1) * ldo + n)
        check_range(x.size, ig, (maps - 1) * ldo + n)
    if rows == 1:
        for m in range(maps):
            forward_thin(x, ix, off, taps, w, iw + m * ldw, b, ib + m, x, io + m * ldo, n, act,
                         x, ig + m * ldo)  # fmt: skip
        return
    j = 0
    while j < n:
        vectors = tile_width(n - j)
        for m in range(0, maps, ROWS):
            place, gate = io + m * ldo + j, ig + m * ldo + j
            if vectors == VECTORS:
                _forward_tile(ROWS, VECTORS, x, ix + j, off, taps, w, iw + m * ldw, b, ib + m,
                              x, place, ldo, act, x, gate)  # fmt: skip
            elif vectors == 2:
                _forward_tile(ROWS, 2, x, ix + j, off, taps, w, iw + m * ldw, b, ib + m,
                              x, place, ldo, act, x, gate)  # fmt: skip
            else:
                _forward_tile(ROWS, 1, x, ix + j, off, taps, w, iw + m * ldw, b, ib + m,
                              x, place, ldo, act, x, gate)  # fmt: skip
        j += vectors * LANES


@helper
def _weight_grads(source, layer, row, lines, offsets, ones, work, total):
    """Add to dw and db what ``lines`` rows of dz give."""
    x, n = source.z + row * source.line, layer.width * LANES
    if BOUNDSCHECK:
        dz = layer.dz + row % layer.kept * layer.line
        check_range(work.size, dz, (lines - 1) * layer.line + (layer.maps - 1) * layer.pitch + n)
        for k in range(layer.dot_taps):
            tap = x + offsets[layer.dot_off + k]
            check_range(work.size, tap, (lines - 1) * source.line + n)
        check_range(total.size, layer.dw, layer.maps * layer.dot_taps)
        check_range(total.size, layer.db, layer.maps)
    for m in range(0, layer.maps, layer.rows):
        dz = layer.dz + row % layer.kept * layer.line + m * layer.pitch
        dw = layer.dw + m * layer.dot_taps
        if layer.rows == ROWS:
            for k in range(0, layer.dot_taps, DOT_TAPS):
                _dot_tile(ROWS, DOT_TAPS, work, dz, layer.pitch, layer.line, work, x, offsets,
                          layer.dot_off + k, source.line, lines, n, total, dw + k,
                          layer.dot_taps)  # fmt: skip
            _dot_tile(ROWS, 1, work, dz, layer.pitch, layer.line, work, ones, _ZERO, 0, 0,
                      lines, n, total, layer.db + m, 1)  # fmt: skip
        else:
            for k in range(0, layer.dot_taps, THIN_DOT_TAPS):
                _dot_tile(1, THIN_DOT_TAPS, work, dz, layer.pitch, layer.line, work, x, offsets,
                          layer.dot_off + k, source.line, lines, n, total, dw + k,
                          layer.dot_taps)  # fmt: skip
            _dot_tile(1, 1, work, dz, layer.pitch, layer.line, work, ones, _ZERO, 0, 0,
                      lines, n, total, layer.db + m, 1)  # fmt: skip


_ZERO = np.zeros(1, np.int64)
_CHUNK = 16384


@jit
def _add_up(chunk, sums, total):
    """total = the sum of all slots, one after the other, for one chunk of the gradients."""
    start, end = chunk * _CHUNK, min((chunk + 1) * _CHUNK, total.size)
    part = total[start:end]
    _fill(part, 0, part.size, np.float32(0))
    for slot in range(len(sums)):
        addend = sums[slot, start:end]
        for i in range(part.size):
            part[i] += addend[i]
