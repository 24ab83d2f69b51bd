"""Tiles on tensor cores: products of matrices in TF32, with float32 sums.

TF32 keeps float32's exponent and the first 10 bits of its fraction: a number is rounded by up to
2^-11 of itself. A warp multiplies 16 x 8 weights by 8 x 8 pixels in one instruction, which adds
to 16 x 8 sums::

    d[o, j] = c[o, j] + sum over k < 8 of a[o, k] * b[k, j]

and each of its 32 lanes holds a fragment of each matrix in registers. Which, says the PTX ISA
("Matrix Fragments for mma.m16n8k8", .tf32), with group = lane / 4 and member = lane % 4::

    a0 = a[group, member]       a1 = a[group + 8, member]
    a2 = a[group, member + 4]   a3 = a[group + 8, member + 4]
    b0 = b[member, group]       b1 = b[member + 4, group]
    c0 = c[group, 2 member]     c1 = c[group, 2 member + 1]
    c2, c3: the same of row group + 8

``fragments`` puts weights in the order in which lanes hold them, so that a lane loads its four at
once. In the simulator a warp's lanes meet, and their fragments are put together by this layout;
operands that were not rounded before are refused. See :mod:`npsrcnn.kernels.cuda.tiles` for how
meaning and instructions stand side by side.
"""

from __future__ import annotations

import threading

import numpy as np
from llvmlite import ir

from npsrcnn.kernels.cuda.device import up
from npsrcnn.kernels.cuda.tiles import Emitter, of_four, tile

LANES = 32
FRAGMENT = 4 * LANES
"""Floats of a 16 x 8 matrix of weights, four for each lane."""
ROUNDED = 3
"""What becomes of a tile when it is stored: max(0, it), as ``RELU``, in TF32."""

_F32, _I32 = ir.FloatType(), ir.IntType(32)


def tf32(x: np.ndarray) -> np.ndarray:
    """``x`` in TF32, ties away from zero, as ``cvt.rna.tf32.f32`` rounds; float32."""
    x = np.asarray(x, np.float32)
    rounded = ((x.view(np.uint32) + np.uint32(1 << 12)) & np.uint32(0xFFFFE000)).view(np.float32)
    return np.where(np.isfinite(x), rounded, x)


def fragments(matrix: np.ndarray) -> np.ndarray:
    """Weights (K, maps) in TF32, padded with zeros to multiples of 8 and 16, as lanes hold them.

    One-dimensional: for each 8 of K, for each 16 maps, for each lane a0 to a3.
    """
    size, maps = matrix.shape
    padded = np.zeros((up(8, size), up(16, maps)), np.float32)
    padded[:size, :maps] = matrix
    # step, half of k, member; tile, half of maps, group
    parts = padded.reshape(-1, 2, 4, padded.shape[1] // 16, 2, 8)
    return tf32(parts.transpose(0, 3, 5, 2, 1, 4).ravel())


# What each tile computes -------------------------------------------------------------------


class Warp:
    """The simulator's warp: 32 threads that meet to multiply."""

    def __init__(self) -> None:
        self.given: list = [None] * LANES
        self.meeting = threading.Barrier(LANES, self._multiply)

    def multiply(self, lane: int, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        """The lane's fragments (tall, wide, 4) of the products of all (tall, 4) and (wide, 2)."""
        self.given[lane] = a, b
        self.meeting.wait(timeout=60)
        return self.products[lane]

    def _multiply(self) -> None:
        a, b = (np.array(part) for part in zip(*self.given, strict=True))
        if not all(np.array_equal(part, tf32(part)) for part in (a, b)):
            raise ValueError("operands that are not TF32")
        # lanes (group, member), tiles, halves of k and of maps -> matrices
        a = a.reshape(8, 4, -1, 2, 2).transpose(2, 4, 0, 3, 1).reshape(-1, 16, 8)
        b = b.reshape(8, 4, -1, 2).transpose(2, 3, 1, 0).reshape(-1, 8, 8)
        d = np.einsum("iok,rkj->iroj", a, b, dtype=np.float64).astype(np.float32)
        d = d.reshape(len(a), len(b), 2, 8, 4, 2).transpose(3, 4, 0, 1, 2, 5)
        self.products = d.reshape(LANES, len(a), len(b), 4)


def products(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """What a lane of the simulator gets for its fragments."""
    thread = threading.current_thread()
    warp, lane = divmod(thread.thread_id, LANES)
    warps = vars(thread._manager).setdefault("warps", {})  # of the block
    if warp not in warps:
        warps.setdefault(warp, Warp())
    return warps[warp].multiply(lane, a, b)


def _mma_tile(acc, tall, wide, w, wi, x, first, second, pitch):
    """Add ``tall`` times 16 maps by ``wide`` rows of 8 pixels, for 8 taps of the filter.

    ``wi`` is where the lane's weights lie in :func:`fragments`; x[first + r pitch] is pixel
    ``group`` of row r at tap ``member``, x[second + r pitch] at tap ``member`` + 4.
    """
    of_four(wi)
    a = [w[wi + FRAGMENT * i : wi + FRAGMENT * i + 4] for i in range(tall)]
    b = [(x[first + r * pitch], x[second + r * pitch]) for r in range(wide)]
    return acc + products(np.array(a), np.array(b))


def _store_mma_tile(acc, tall, wide, act, b, bi, y, yi, map_step, row_step, limit):
    """y[yi + o map_step + r row_step + j] = max(0, the sum + b[bi + o]), for j of 0 and 1 and
    o of 0, 8, 16, ... below ``limit``."""
    for o in range(0, min(16 * tall, limit), 8):
        for r in range(wide):
            for j in range(2):
                at = yi + o * map_step + r * row_step
                if at % 2:
                    raise IndexError(f"not a multiple of two: {at}")
                value = max(acc[o // 16, r, o // 8 % 2 * 2 + j] + b[bi + o], np.float32(0))
                y[at + j] = tf32(value) if act == ROUNDED else value


def _round_tile(y, yi):
    """Round four floats to TF32."""
    of_four(yi)
    y[yi : yi + 4] = tf32(y[yi : yi + 4])


# How it is emitted -------------------------------------------------------------------------


def rounded(e: Emitter, value: ir.Value) -> ir.Value:
    """The nearest TF32 number."""
    kind = ir.FunctionType(_I32, [_F32])
    bits = e.builder.asm(kind, "cvt.rna.tf32.f32 $0, $1;", "=r,f", [value], side_effect=False)
    return e.builder.bitcast(bits, _F32)


def multiplied(e: Emitter, a: list[ir.Value], b: list[ir.Value], c: list[ir.Value]) -> list:
    """d0 to d3 of one instruction."""
    kind = ir.FunctionType(ir.LiteralStructType([_F32] * 4), [*[_I32] * 6, *[_F32] * 4])
    code = (
        "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 "
        "{$0, $1, $2, $3}, {$4, $5, $6, $7}, {$8, $9}, {$10, $11, $12, $13};"
    )
    bits = [e.builder.bitcast(value, _I32) for value in (*a, *b)]
    constraints = ",".join(["=f"] * 4 + ["r"] * 6 + ["f"] * 4)
    d = e.builder.asm(kind, code, constraints, [*bits, *c], side_effect=True)
    d.attributes.add("convergent")  # all lanes of a warp together: not to be moved into a branch
    return [e.builder.extract_value(d, i) for i in range(4)]


def _emit_mma_tile(e, n, acc, w, wi, x, first, second, pitch):
    tall, wide = n["tall"], n["wide"]
    acc = e.unpack(acc)
    a = [e.load(w, e.at(wi, FRAGMENT * i), 4) for i in range(tall)]
    for r in range(wide):
        b = [e.scalar(x, e.at(start, e.times(pitch, r))) for start in (first, second)]
        for i in range(tall):
            at = slice(4 * (i * wide + r), 4 * (i * wide + r) + 4)
            acc[at] = multiplied(e, a[i], b, acc[at])
    return e.pack(acc)


def _emit_store_mma_tile(e, n, acc, b, bi, y, yi, map_step, row_step, limit):
    tall, wide = n["tall"], n["wide"]
    acc = e.unpack(acc)
    for o in range(0, 16 * tall, 8):
        with e.builder.if_then(e.builder.icmp_signed("<", limit.type(o), limit)):
            bias = e.scalar(b, e.at(bi, o))
            for r in range(wide):
                first = 4 * (o // 16 * wide + r) + o // 8 % 2 * 2
                values = [e.builder.fadd(value, bias) for value in acc[first : first + 2]]
                values = [e.select("<", value, _F32(0.0), value) for value in values]
                if n["act"] == ROUNDED:
                    values = [rounded(e, value) for value in values]
                e.store(values, y, e.at(yi, e.times(map_step, o), e.times(row_step, r)))


def _emit_round_tile(e, n, y, yi):
    e.store([rounded(e, value) for value in e.load(y, yi, 4)], y, yi)


mma_tile = tile(_mma_tile, _emit_mma_tile)
store_mma_tile = tile(_store_mma_tile, _emit_store_mma_tile)
round_tile = tile(_round_tile, _emit_round_tile)
MEANINGS = {
    mma_tile: _mma_tile,
    store_mma_tile: _store_mma_tile,
    round_tile: _round_tile,
}
"""What each tile means in Python, for the test that compares both."""
