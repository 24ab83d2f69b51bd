"""Compute on register tiles: all fast arithmetic on the GPU goes through the two here.

The convolution tile, every layer's output and, with flipped filters, every gradient to an
input; for one input channel and one row u of the filter, or all of them::

    acc[o, r, j] += sum over u, v of w[u, v, o] * x[r + u, j + v]

The gradient tile, the gradients to the weights; for four neighbouring pixels::

    acc[o, c, v] += sum over p < 4 of dy[o, p] * x[c, p + v]

``acc`` are a thread's own numbers: it holds them in registers, so that each value it loads from
shared memory, four to a load, feeds many multiply-adds. Left to loops over a local array, the
compiler unrolls some of them and not others, and what it leaves is addressed and so lives in
memory. A tile is therefore emitted instruction by instruction: every multiply-add, every load of
four floats (which needs an index divisible by four in an array that is ``aligned``).

Each function here says in Python what it computes, which is what the simulator runs; beside it
stands what emits it. The instructions are LLVM's own, so a test runs them on the CPU.

Legend: O ``maps``, C ``channels``, R ``rows`` and ``columns`` of pixels, K ``size`` of the filter;
these are compile-time constants. ``acc`` is an array of their shape in the simulator, a tuple of
as many floats when compiled.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from npsrcnn.kernels.cuda.device import SIMULATED, round_up
from npsrcnn.runtime.numba_inside import get_or_insert_function

LINEAR, RELU, GATE = 0, 1, 2
"""A tile is stored as it is; as max(0, tile); or as it is where ``gate`` > 0, else 0."""

_F32, _I64, _I32 = ir.FloatType(), ir.IntType(64), ir.IntType(32)


def window(columns: int, size: int, skew: int = 0) -> int:
    """Return how many floats of a row the convolution tile loads: a multiple of four."""
    return round_up(4, skew + columns + size - 1)


def row_floats(width: int, columns: int, size: int, skew: int = 0) -> int:
    """Return how many floats of a row are read by tiles of ``columns`` over ``width`` pixels."""
    return width - columns + window(columns, size, skew)


# The meaning of each tile -------------------------------------------------------------------


def of_four(*indices):
    """Refuse what a GPU would refuse: loads and stores of four floats elsewhere than at fours."""
    if any(index % 4 for index in indices):
        raise IndexError(f"not multiples of four: {indices}")


def _zero_tile(maps, rows, columns):
    """Return an ``acc`` of zeros."""
    return np.zeros((maps, rows, columns), np.float32)


def _bias_tile(maps, rows, columns, b, first, limit):
    """Return an ``acc`` whose map o is b[first + o]; 0 from o = ``limit`` on."""
    acc = np.zeros((maps, rows, columns), np.float32)
    for o in range(min(maps, limit)):
        acc[o] = b[first + o]
    return acc


def _convolution_tile(acc, maps, rows, columns, high, size, skew, x, xi, pitch, w, wi, step):
    """Add ``high`` rows of a filter of ``size`` columns.

    x[xi + skew + r pitch + j] is pixel (r, j), w[wi + (u size + v) step + o] a weight.
    """
    of_four(xi, pitch, wi, step)
    acc = acc.copy()
    for r in range(rows):
        for u in range(high):
            first = xi + (r + u) * pitch
            row = x[first : first + window(columns, size, skew)]
            for v in range(size):
                at = wi + (u * size + v) * step
                acc[:, r] += w[at : at + maps, None] * row[None, skew + v : skew + v + columns]
    return acc


def _gradient_tile(acc, maps, channels, size, dy, di, dstep, x, xi, xstep):
    """Add four pixels: dy[di + o dstep + p] and x[xi + c xstep + p + v]."""
    of_four(di, dstep, xi, xstep)
    acc = acc.copy()
    for o in range(maps):
        d = dy[di + o * dstep : di + o * dstep + 4]
        for c in range(channels):
            row = x[xi + c * xstep : xi + c * xstep + window(4, size)]
            for v in range(size):
                acc[o, c, v] += np.dot(d, row[v : v + 4])
    return acc


def _store_tile(acc, maps, rows, columns, act, y, yi, map_step, row_step, limit, gate):
    """Store y[yi + o map_step + r row_step + j] = act(acc[o, r, j]) for maps o < ``limit``."""
    of_four(yi, map_step, row_step)
    for o in range(min(maps, limit)):
        for r in range(rows):
            for j in range(columns):
                i = yi + o * map_step + r * row_step + j
                value = acc[o, r, j]
                if (act == RELU and value < 0) or (act == GATE and not gate[i] > 0):
                    value = np.float32(0)
                y[i] = value


def _copy_tile(count, x, xi, valid, fill, y, yi):
    """Store y[yi + k] = x[xi + k] for k < ``count`` (1 or 4), ``fill`` from k = ``valid`` on."""
    if count == 4:
        of_four(xi, yi)
    for k in range(count):
        y[yi + k] = x[xi + k] if k < valid else fill


def _aligned(array):
    """Let the array in shared memory begin at 16 bytes: loads of four floats need it."""
    return array


def _add_tile(acc, maps, rows, columns, y, yi, fresh):
    """Add y[yi + i] += acc[i], or store it where ``fresh``, for all of it in order."""
    for i, value in enumerate(acc.ravel()):
        y[yi + i] = value if fresh else y[yi + i] + value


# Its instructions -------------------------------------------------------------------------


class Emitter:
    """Emit the few instructions that tiles are made of."""

    def __init__(self, context, builder: ir.IRBuilder) -> None:
        self.context, self.builder = context, builder

    def pointer(self, kind: types.Array, array: ir.Value) -> ir.Value:
        return self.context.make_array(kind)(self.context, self.builder, array).data

    def at(self, *parts: ir.Value | int) -> ir.Value:
        """Add up indices."""
        total, constant = None, sum(p for p in parts if isinstance(p, int))
        for part in parts:
            if not isinstance(part, int):
                total = part if total is None else self.builder.add(total, part)
        return self.builder.add(total, _I64(constant)) if constant else total

    def times(self, step: ir.Value, count: int) -> ir.Value | int:
        return self.builder.mul(step, _I64(count)) if count else 0

    def scalar(self, pointer: ir.Value, index: ir.Value) -> ir.Value:
        return self.builder.load(self.builder.gep(pointer, [index]))

    def load(self, pointer: ir.Value, index: ir.Value, count: int) -> list[ir.Value]:
        """Load ``count`` floats, four at a time."""
        values = []
        for first in range(0, count, 4):
            four = self.builder.load(self._four_at(pointer, self.at(index, first)))
            four.align = 16
            values += [self.builder.extract_element(four, _I32(k)) for k in range(4)]
        return values

    def store(self, values: list[ir.Value], pointer: ir.Value, index: ir.Value) -> None:
        """Store four values at once."""
        vector = ir.VectorType(_F32, 4)(ir.Undefined)
        for k, value in enumerate(values):
            vector = self.builder.insert_element(vector, value, _I32(k))
        self.builder.store(vector, self._four_at(pointer, index)).align = 16

    def _four_at(self, pointer: ir.Value, index: ir.Value) -> ir.Value:
        kind = ir.VectorType(_F32, 4).as_pointer()
        return self.builder.bitcast(self.builder.gep(pointer, [index]), kind)

    def fma(self, a: ir.Value, b: ir.Value, c: ir.Value) -> ir.Value:
        kind = ir.FunctionType(_F32, [_F32] * 3)
        function = get_or_insert_function(self.builder.module, kind, "llvm.fma.f32")
        return self.builder.call(function, [a, b, c])

    def select(self, sign: str, a: ir.Value, yes: ir.Value, no: ir.Value) -> ir.Value:
        """Return ``yes`` where a <sign> 0, else ``no``."""
        return self.builder.select(self.builder.fcmp_ordered(sign, a, _F32(0.0)), yes, no)

    def unpack(self, acc: ir.Value) -> list[ir.Value]:
        return [self.builder.extract_value(acc, i) for i in range(acc.type.count)]

    def pack(self, values: list[ir.Value]) -> ir.Value:
        acc = ir.ArrayType(_F32, len(values))(ir.Undefined)
        for i, value in enumerate(values):
            acc = self.builder.insert_value(acc, value, i)
        return acc


def _emit_zero_tile(e, n):
    return e.pack([_F32(0.0)] * (n["maps"] * n["rows"] * n["columns"]))


def _emit_bias_tile(e, n, b, first, limit):
    values = []
    for o in range(n["maps"]):
        inside = e.builder.icmp_signed("<", _I64(o), limit)
        index = e.builder.select(inside, e.at(first, o), _I64(0))
        bias = e.builder.select(inside, e.scalar(b, index), _F32(0.0))
        values += [bias] * (n["rows"] * n["columns"])
    return e.pack(values)


def _emit_convolution_tile(e, n, acc, x, xi, pitch, w, wi, step):
    maps, rows, columns, size = n["maps"], n["rows"], n["columns"], n["size"]
    acc, high, skew = e.unpack(acc), n["high"], n["skew"]
    count = window(columns, size, skew)
    pixels = [e.load(x, e.at(xi, e.times(pitch, r)), count) for r in range(rows + high - 1)]
    for u, v in np.ndindex(high, size):
        weights = e.load(w, e.at(wi, e.times(step, u * size + v)), maps)
        for i, (o, r, j) in enumerate(np.ndindex(maps, rows, columns)):
            acc[i] = e.fma(weights[o], pixels[r + u][skew + j + v], acc[i])
    return e.pack(acc)


def _emit_gradient_tile(e, n, acc, dy, di, dstep, x, xi, xstep):
    maps, channels, size = n["maps"], n["channels"], n["size"]
    acc = e.unpack(acc)
    cotangents = [e.load(dy, e.at(di, e.times(dstep, o)), 4) for o in range(maps)]
    for c in range(channels):
        pixels = e.load(x, e.at(xi, e.times(xstep, c)), window(4, size))
        for p in range(4):
            for o in range(maps):
                for v in range(size):
                    i = (o * channels + c) * size + v
                    acc[i] = e.fma(cotangents[o][p], pixels[p + v], acc[i])
    return e.pack(acc)


def _emit_store_tile(e, n, acc, y, yi, map_step, row_step, limit, gate):
    maps, rows, columns, act = n["maps"], n["rows"], n["columns"], n["act"]
    acc = e.unpack(acc)
    for o in range(maps):
        with e.builder.if_then(e.builder.icmp_signed("<", _I64(o), limit)):
            for r in range(rows):
                row = e.at(yi, e.times(map_step, o), e.times(row_step, r))
                for j in range(0, columns, 4):
                    values = acc[(o * rows + r) * columns + j :][:4]
                    if act == RELU:
                        values = [e.select("<", v, _F32(0.0), v) for v in values]
                    elif act == GATE:
                        open_ = e.load(gate, e.at(row, j), 4)
                        values = [
                            e.select(">", g, v, _F32(0.0))
                            for g, v in zip(open_, values, strict=True)
                        ]
                    e.store(values, y, e.at(row, j))


def _emit_copy_tile(e, n, x, xi, valid, fill, y, yi):
    values = [e.scalar(x, xi)] if n["count"] == 1 else e.load(x, xi, 4)
    values = [
        e.builder.select(e.builder.icmp_signed("<", _I64(k), valid), value, fill)
        for k, value in enumerate(values)
    ]
    if n["count"] == 1:
        e.builder.store(values[0], e.builder.gep(y, [yi]))
    else:
        e.store(values, y, yi)


def _emit_aligned(e, n, array):
    # Neither package of numba.cuda lets both say so: Numba's own knows no alignment=16.
    for variable in e.builder.module.global_values:
        if isinstance(variable, ir.GlobalVariable) and variable.addrspace == 3:
            variable.align = 16


def _emit_add_tile(e, n, acc, y, yi, fresh):
    for i, value in enumerate(e.unpack(acc)):
        place = e.builder.gep(y, [e.at(yi, i)])
        total = e.builder.fadd(e.builder.load(place), value)
        e.builder.store(e.builder.select(fresh, value, total), place)


# Both under one name ------------------------------------------------------------------------

_CONSTANTS = ("maps", "rows", "columns", "channels", "high", "size", "skew", "act", "count")


def tile(
    meaning: Callable[..., object], emit: Callable[..., ir.Value | None]
) -> Callable[..., Any]:
    """Return ``meaning`` for the simulator; for the compiler an intrinsic of the same arguments.

    Arguments named in ``_CONSTANTS`` must be compile-time constants. The others are handed to
    ``emit`` in their order: arrays as pointers, indices as 64-bit integers.
    """
    if SIMULATED:
        return meaning
    names = list(inspect.signature(meaning).parameters)

    def typed(typing_context, *kinds):
        given = dict(zip(names, kinds, strict=True))
        constants = {n: k for n, k in given.items() if n in _CONSTANTS}
        if not all(isinstance(kind, types.IntegerLiteral) for kind in constants.values()):
            return None  # Numba asks again with the values of constants
        constants = {n: kind.literal_value for n, kind in constants.items()}
        returned: types.Type
        if "y" in given:
            returned = types.none
        elif "array" in given:
            returned = given["array"]
        elif "acc" in given:
            returned = given["acc"]
        else:
            returned = types.UniTuple(types.float32, int(np.prod(list(constants.values()))))
        converted = [
            types.int64 if isinstance(k, types.Integer) and n not in constants else k
            for n, k in given.items()
        ]

        def generate(context, builder, signature, values):
            emitter = Emitter(context, builder)
            arguments = [
                emitter.pointer(kind, value) if isinstance(kind, types.Array) else value
                for name, kind, value in zip(names, signature.args, values, strict=True)
                if name not in constants
            ]
            result = emit(emitter, constants, *arguments)
            if result is None:
                return values[0] if "array" in given else context.get_dummy_value()
            return result

        return returned(*converted), generate

    arguments = [inspect.Parameter("typing_context", inspect.Parameter.POSITIONAL_OR_KEYWORD)]
    arguments += inspect.signature(meaning).parameters.values()
    vars(typed)["__signature__"] = inspect.Signature(arguments)
    typed.__name__ = meaning.__name__
    made: Callable[..., Any] = intrinsic(typed)
    return made  # of types that Numba finds


zero_tile = tile(_zero_tile, _emit_zero_tile)
bias_tile = tile(_bias_tile, _emit_bias_tile)
convolution_tile = tile(_convolution_tile, _emit_convolution_tile)
gradient_tile = tile(_gradient_tile, _emit_gradient_tile)
copy_tile = tile(_copy_tile, _emit_copy_tile)
store_tile = tile(_store_tile, _emit_store_tile)
add_tile = tile(_add_tile, _emit_add_tile)
aligned = tile(_aligned, _emit_aligned)
MEANINGS = {
    zero_tile: _zero_tile,
    bias_tile: _bias_tile,
    convolution_tile: _convolution_tile,
    gradient_tile: _gradient_tile,
    copy_tile: _copy_tile,
    store_tile: _store_tile,
    add_tile: _add_tile,
}
"""The meaning of each tile in Python, for the test that compares both."""
