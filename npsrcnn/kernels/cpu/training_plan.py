"""Plan a training step: where maps, weights and the offsets of taps lie.

N batch, C channels in, O channels out, H W height and width, K kernel size.

LANES sub-images (of N) make a group. Their pixels lie innermost, one SIMD vector a pixel, so that
maps of any width have no ragged vector: a map of a group is (H, C, pad + W, LANES), row after
row, because rows are what is worked on. The gradient to an input is a convolution with zeros
around: those left and right are stored (``pad`` pixels between a map and the next), those above
and below are left out.

The last layer has too few maps to feed a tile. As in inference its filter rows become maps, whose
sums, each of its own row of the input, are added up: an input row is read once, and not K times.

A layer by Winograd's method has two convolutions, each a PASS, over tiles of M x M pixels: to its
output, and to the gradient to its input. Maps have room for whole tiles; where the first layer runs
in groups, its input too.

A gradient dz takes the place of its map z, row by row. Of a first layer before 1x1 filters, whose
rows are needed one by one, only a ring of rows is kept: of 9-1-5 10 of 25, 1.0 MB in place of 2.6,
and a second-level cache has 1 or 2.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np

from npsrcnn.kernels.cpu import winograd
from npsrcnn.kernels.cpu.layout import Places, Tables, record
from npsrcnn.kernels.cpu.tiles import (
    DOT_TAPS,
    FEW_ROWS,
    GATE,
    LANES,
    LINEAR,
    REGISTERS,
    RELU,
    ROWS,
    THIN_DOT_TAPS,
    VECTORS,
    pack,
    round_up,
)
from npsrcnn.runtime.threads import CACHE_LINE_FLOATS

Shape = tuple[int, int, int, int]

STEP = 5
"""M of F(MxM, KxK), and rows that go through all layers together.

The paper's sub-images of 33 x 33 leave 25 x 25 after a 9x9 layer: for 3x3 filters five tiles of 5 a
row take 35 products, seven of 4 (28 pixels) 42; for 5x5 ones 45 and 56.
"""
GROUPS = 3
"""Groups of 3 x 3, in each direction, that a first layer's filters of 9 x 9 are cut into."""
GROUP_POINTS = winograd.points_of(winograd.GROUP, STEP)
"""Points of these groups, in each direction."""
TAPS = GROUPS * GROUPS
"""Taps of a channel in groups: rows of an outer tile."""
OUTER_VECTORS = 2 if REGISTERS >= 2 * TAPS + 3 else 1
"""Vectors of an outer tile of TAPS rows: as many as sums, x and one a fit with."""
PIXEL = LANES * OUTER_VECTORS * LANES
"""Floats of a pixel of the maps of such a tile, of all sub-images of a group."""
TILE_ROW = STEP * PIXEL
"""The same of a row of a tile."""
BLANK = (STEP * VECTORS + max(winograd.SIZES) - 1) * LANES
"""Zeros that stand for the rows above and below a map: as many as the passes read at once."""
FORWARD, BACKWARD = 0, 1
"""The passes of a layer by Winograd's method: to its output, and of gradients to its input."""

LAYER = record(
    # C, O, K, and H, W of the output
    "channels", "filters", "size", "height", "width",
    # maps of a tile; maps as stored, whole tiles; zeros between them; what follows the sums
    "rows", "maps", "pad", "act",
    # filter rows that are maps, in whole tiles, or 0; where their sums begin, of K input rows
    "row_maps", "row_sums",
    # floats from map to map, from row to row; where the output begins, which dz takes the place of
    "pitch", "line", "z",
    # rows that are kept: all, or, of the first layer, those that are needed at a time
    "kept",
    # the layer: how many taps; where their offsets, weights, biases begin
    "taps", "off", "w", "b",
    # the gradient to its input: the same
    "back_taps", "back_off", "back_w",
    # the gradient to its weights: the same, and where the sums go
    "dot_taps", "dot_off", "dw", "db",
    # 1 if it runs by Winograd's method; what makes points of filters, and gradients of points
    "winograd", "to_points", "to_taps",
    # 1 if it runs in groups of F(MxM, 3x3); its tiles side by side; rows of G^T . G^T, whole tiles;
    # maps of an outer tile
    "groups", "across", "group_rows", "at_once",
)  # fmt: skip
PASS = record(
    # K; what is read: maps, where they begin, their height and width, zeros around them
    "size", "channels", "x", "line", "pitch", "height", "width", "margin",
    # tiles
    "across", "down",
    # what is written: the same; the filters' points, biases
    "maps", "y", "y_line", "y_pitch", "y_height", "y_width",
    "filters", "bias", "act",
)  # fmt: skip
COMMON = record(
    # in the work space: a row of ones, one of zeros, and what Winograd's passes use in between
    "ones", "blank", "scratch",
    # among the biases: zeros; among the weights: ones
    "zeros", "unit",
    # offsets that a layer's kernels use at a time; what a layer in groups sums
    "offsets", "products",
)  # fmt: skip


class Plan(NamedTuple):
    """Layout of a training step: all that follows from the shapes alone."""

    layers: np.ndarray  # (depth + 1,) of LAYER; the first stands for the input
    passes: np.ndarray  # (depth + 1, 2) of PASS: FORWARD, BACKWARD
    common: np.ndarray  # (1,) of COMMON
    offsets: np.ndarray  # int64, of every tap
    constants: np.ndarray  # float32, the last of all weights: Winograd's matrices
    weights: int  # floats of all weights as the tiles read them
    biases: int  # floats of all biases, zeros, and those of gradients: 0, or what l1 adds
    sums: int  # floats of all gradients of a slot
    work: int  # floats of work space

    @property
    def winograd(self) -> bool | None:
        """Return True if a layer runs by Winograd's method, else None: then it is not compiled."""
        return True if self.layers["winograd"].any() else None

    @property
    def groups(self) -> bool | None:
        """Return True if the first layer runs in groups, else None: then it is not compiled."""
        return True if self.layers["groups"].any() else None


@functools.lru_cache(maxsize=16)
def make_plan(
    shapes: tuple[Shape, ...], height: int, width: int, use_winograd: bool = True
) -> Plan:
    """Plan layers of these ``w.shape`` for inputs of height x width."""
    layers = np.zeros(len(shapes) + 1, LAYER)
    offsets, work = Tables(), Places(CACHE_LINE_FLOATS)
    weights, back_weights, biases, sums = Places(), Places(), Places(), Places()
    pays = [use_winograd and depth > 0 and _pays(shape) for depth, shape in enumerate(shapes)]

    source = layers[0]
    source["maps"] = source["filters"] = shapes[0][1]
    source["height"], source["width"] = height, width
    first = layers[1]
    first["groups"] = use_winograd and len(shapes) > 1 and _takes_groups(shapes[0])
    if first["groups"]:  # of whole tiles of outputs, with zeros beyond the image
        margin = shapes[0][2] - 1
        first["across"] = -(-(width - margin) // STEP)
        height = round_up(height - margin, STEP) + margin
        width = int(first["across"]) * STEP + margin
    source["pitch"] = width * LANES
    source["line"] = source["pitch"] * source["maps"]
    source["kept"] = height
    source["z"] = work.reserve(source["line"] * height)
    for depth, (filters, channels, size, _) in enumerate(shapes):
        source, layer = layers[depth], layers[depth + 1]
        layer["filters"], layer["channels"], layer["size"] = filters, channels, size
        layer["height"], layer["width"] = source["height"] - size + 1, source["width"] - size + 1
        last = depth == len(shapes) - 1
        layer["rows"] = 1 if last and filters < ROWS else ROWS
        layer["maps"] = round_up(filters, layer["rows"])
        layer["winograd"] = pays[depth]
        layer["pad"] = size - 1 if depth > 0 and not pays[depth] else 0
        if layer["groups"]:  # whole tiles are written
            layer["pad"] = layer["across"] * STEP - layer["width"]
        layer["pitch"] = (layer["pad"] + layer["width"]) * LANES
        layer["line"] = layer["pitch"] * layer["maps"]
        layer["act"] = LINEAR if last else RELU
        layer["kept"] = round_up(int(layer["height"]), STEP)  # whole tiles are written
        if depth == 0 and not last and shapes[1][2] == 1 and not any(pays):
            layer["kept"] = _live_rows(sum(shape[2] - 1 for shape in shapes[1:]))
        pad = layer["pad"] * LANES
        layer["z"] = work.reserve(layer["line"] * layer["kept"] + 2 * pad) + pad

        u, c, v = np.meshgrid(range(size), range(channels), range(size), indexing="ij")
        there = u * source["line"] + c * source["pitch"] + v * LANES
        maps, seen = layer["maps"], there
        if layer["rows"] == 1:
            seen = there[0]
            maps = layer["row_maps"] = round_up(size * filters, FEW_ROWS)
            layer["row_sums"] = work.reserve(size * maps * layer["width"] * LANES)
        layer["off"], layer["taps"] = offsets.add(seen), seen.size
        step = DOT_TAPS if layer["rows"] == ROWS else THIN_DOT_TAPS
        layer["dot_off"] = offsets.add(there.swapaxes(0, 1), step)
        layer["dot_taps"] = round_up(there.size, step)
        u, o, v = np.meshgrid(range(size), range(filters), range(size), indexing="ij")
        back = -u * layer["line"] + o * layer["pitch"] - v * LANES
        layer["back_off"], layer["back_taps"] = offsets.add(back), back.size
        points = round_up(winograd.points_of(size, STEP) ** 2, ROWS) * filters * channels
        taps = layer["taps"]
        if layer["groups"]:
            taps = GROUP_POINTS**2 * TAPS * channels
        layer["w"] = weights.reserve(points if pays[depth] else maps * taps)
        layer["b"] = biases.reserve(layer["maps"])
        if depth > 0:
            back_size = points if pays[depth] else source["maps"] * layer["back_taps"]
            layer["back_w"] = back_weights.reserve(back_size)
        grads = layer["maps"] * layer["dot_taps"]
        if pays[depth]:  # (K * K, C, maps in whole vectors)
            grads = there.size * round_up(filters, LANES)
        layer["dw"] = sums.reserve(grads)
        layer["db"] = sums.reserve(layer["maps"])
    layers["back_w"] += weights.size
    start = weights.size + back_weights.size
    most = int(max(layers["maps"]))
    common, passes = np.zeros(1, COMMON), np.zeros((len(layers), 2), PASS)
    points = winograd.points_of(max(winograd.SIZES), STEP) ** 2
    zeros = max(most, round_up(points, ROWS), int(layers[-1]["row_maps"]))
    common["zeros"] = biases.reserve(zeros)
    biases.reserve(most)  # of the gradients to inputs
    constants = [np.ones(shapes[-1][2], np.float32)]  # sum the last layer's rows
    common["unit"], common["offsets"] = start, shapes[-1][2]
    for depth in np.flatnonzero(layers["winograd"]).tolist():
        source, layer = layers[depth - 1], layers[depth]
        constants += _constants(layer, start + sum(map(len, constants)))
        _lay_out_passes(source, layer, passes[depth], biases.size)
        points = winograd.points_of(layer["size"], STEP) ** 2
        common["offsets"] = max(common["offsets"][0], points, most)
    scratch = max(_scratch(*both) for both in passes)
    if first["groups"]:
        taps, points = TAPS * shapes[0][1], GROUP_POINTS**2
        constants.append(_group_constants(first, start + sum(map(len, constants))))
        common["offsets"] = max(common["offsets"][0], points, taps + STEP)
        common["products"] = work.reserve((points * taps + 1) * first["maps"])
        scratch = max(scratch, _group_scratch(layers[0], first))
    common["scratch"] = work.reserve(scratch)
    common["ones"] = work.reserve(width * LANES)
    common["blank"] = work.reserve(BLANK)
    return Plan(
        layers, passes, common, offsets.joined(), np.concatenate(constants),
        weights=start + sum(map(len, constants)),
        biases=biases.size,
        sums=sums.size,
        work=work.size,
    )  # fmt: skip


def _live_rows(ahead: int) -> int:
    """Return how many rows of the first layer are needed at a time.

    The oldest block of STEP rows waits for those of the last layer, which see ``ahead`` rows more.
    """
    return STEP + round_up(ahead, STEP)


def _pays(shape: Shape) -> bool:
    """Return whether a layer runs by Winograd's method: enough maps, in whole tiles."""
    return winograd.winograd_pays(shape) and shape[0] % ROWS == shape[1] % ROWS == 0


def _takes_groups(shape: Shape) -> bool:
    """Return whether a first layer runs in groups: 9 x 9, its maps in whole vectors."""
    return shape[2] == GROUPS * winograd.GROUP and shape[0] % LANES == shape[0] % ROWS == 0


def _group_constants(layer: np.void, start: int) -> np.ndarray:
    """Pack G^T . G^T of groups as the forward tile reads them, from ``start`` on."""
    layer["to_taps"], layer["group_rows"] = start, round_up(winograd.GROUP**2, ROWS)
    layer["at_once"] = LANES if layer["maps"] % (OUTER_VECTORS * LANES) else OUTER_VECTORS * LANES
    return pack(winograd.points_of_filters(winograd.GROUP, STEP).T, ROWS)


def _group_scratch(source: np.void, layer: np.void) -> int:
    """Return the floats that a layer in groups needs in turn, as training_groups divides them."""
    taps = TAPS * int(layer["channels"])
    lines = GROUP_POINTS * (int(source["line"]) + CACHE_LINE_FLOATS)
    points = GROUP_POINTS**2 * (taps * int(layer["across"]) * LANES + CACHE_LINE_FLOATS)
    spread = GROUP_POINTS * (TILE_ROW + CACHE_LINE_FLOATS + PIXEL)
    grads = int(layer["group_rows"]) * taps * int(layer["maps"])
    return max(lines + points + TILE_ROW + spread, grads)


def _constants(layer: np.void, start: int) -> list[np.ndarray]:
    """Pack G . G^T and G^T . G as the forward tile reads them, from ``start`` on."""
    both = winograd.points_of_filters(int(layer["size"]), STEP)
    parts = [pack(m, ROWS) for m in (both, both.T)]
    layer["to_points"], layer["to_taps"] = start, start + len(parts[0])
    return parts


def _lay_out_passes(source: np.void, layer: np.void, passes: np.ndarray, biases: int) -> None:
    """Fill in the passes of ``layer``: on the output z of ``source``, and on its own dz."""
    passes["size"] = layer["size"]
    forward, backward = passes
    _read(forward, source, 0)
    _read(backward, layer, layer["size"] - 1)
    _write(forward, layer, layer["w"], layer["b"], layer["act"])
    # One bias for all maps of a gradient: the last floats of all biases, however many maps.
    _write(backward, source, layer["back_w"], biases - source["maps"], GATE)
    passes["across"] = -(-passes["y_width"] // STEP)
    passes["down"] = -(-passes["y_height"] // STEP)


def _read(one: np.void, layer: np.void, margin: int) -> None:
    """Let a pass read the maps of ``layer``, z or dz."""
    one["channels"], one["x"], one["margin"] = layer["maps"], layer["z"], margin
    for key in ("line", "pitch", "height", "width"):
        one[key] = layer[key]


def _write(one: np.void, layer: np.void, filters: int, bias: int, act: int) -> None:
    """Let a pass write the maps of ``layer``, z or dz."""
    one["maps"], one["y"], one["act"] = layer["maps"], layer["z"], act
    one["filters"], one["bias"] = filters, bias
    for key in ("line", "pitch", "height", "width"):
        one[f"y_{key}"] = layer[key]


def _scratch(forward: np.void, backward: np.void) -> int:
    """Return the floats that the passes need in turn, as training_winograd divides them."""
    if not forward["size"]:
        return 0
    size, line = int(forward["size"]), CACHE_LINE_FLOATS
    points = winograd.points_of(size, STEP)
    most = 0
    for one in (forward, backward):
        n, channels, maps = VECTORS * LANES, int(one["channels"]), int(one["maps"])
        inputs = channels * (points**2 * n + line)
        sums = points * ((maps + STEP * maps) * n + 2 * line)
        most = max(most, inputs + sums + points * (STEP * n + (size - 1) * LANES + line))
        if one is forward:
            maps = round_up(maps, LANES)
            products = points**2 * (channels * maps + line)
            outputs = points * ((maps + STEP * maps) * n + 2 * line) + STEP * maps * LANES
            grads = round_up(size**2, ROWS) * channels * maps
            most = max(most, products + max(inputs + outputs, grads))
    return most
