"""Compute in register tiles of explicit SIMD, through which all fast arithmetic goes.

N batch, C channels in, O channels out, H W height and width, K kernel size. A tap is one weight's
place in a filter: C * K * K of them make an output. Maps are channels as they are stored.

The forward tile: every layer's output, and in training every gradient to an input (with the
filters flipped)::

    out[m, j] = act(bias[m] + sum over k < taps of w[k, m] * x[off[k] + j])

The dot tile: in training the gradients to the weights::

    dw[m, k] += sum over r, j of dy[m, r, j] * x[off[k] + r, j]

The outer tile: the same by Winograd's method and in groups, where the maps lie innermost and no
lanes are to be summed; the turning tile brings them there::

    out[m, j] += sum over k of a[m, k] * x[k, j]

The copying tile moves rows of an image into the network and out of it.

``off`` says where each tap of the filter lies, so that 9x9 and 1x1, one channel and 64 are the
same loop (Dukhan 2019, "The indirect convolution algorithm"). ``j`` runs along memory: over
neighbouring pixels in inference, over sub-images and pixels in training (CHWN). ``act`` is the
identity, ReLU, or in the backward pass a gate: the result where ``gate[m, j] > 0``, else 0.

A tile keeps ``rows`` maps of ``vectors`` SIMD vectors each in registers, so that each loaded
vector feeds ``rows`` multiply-adds and each weight ``vectors``. LLVM does not find this in
plain loops: it cannot rule out that ``out`` overlaps ``x``, so the sums stay in memory. Each
tile is one LLVM function, emitted once per compiled kernel and never inlined. Every number
results from the same operations in the same order, whichever tile computes it.

Arrays are passed whole with the index where to start, so that types are checked by the compiler
and addresses, with ``NPSRCNN_BOUNDSCHECK=1``, when run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from llvmlite import binding, ir
from numba import types

from npsrcnn.runtime.jit import BOUNDSCHECK, NEON_TILES, emitted, helper
from npsrcnn.runtime.numba_inside import TypingError, cpu_features, get_or_insert_function

IS_NEON = NEON_TILES or binding.get_process_triple().startswith(("aarch64", "arm64"))


def _registers() -> tuple[int, int, bool]:
    """Return what Numba compiles for: float32 lanes of a register, registers, multiply-add."""
    features = cpu_features()
    if IS_NEON:
        # Of 32. LLVM's schedules for Neoverse N1 and Cortex-A53 spill a tile that takes 31.
        return 4, 30, True
    if "+avx512f" in features:
        return 16, 32, True
    lanes = 8 if "+avx" in features or "+avx2" in features else 4  # AVX, SSE2, or unknown here
    return lanes, 16, "+fma" in features


LANES, REGISTERS, HAS_FMA = _registers()


def vectors_beside(rows: int) -> int:
    """Return the vectors that a tile of ``rows`` maps is wide: its sums, x and one w fit.

    So does a product where it is not added in one instruction.
    """
    return min(8, (REGISTERS - (1 if HAS_FMA else 2)) // (rows + 1))


ROWS = 4 if REGISTERS == 16 else 8
"""Maps of the usual tile: 4 x 3 vectors in 16 registers (4 x 2 without FMA), 8 x 3 in 32."""
VECTORS = vectors_beside(ROWS)
FEW_ROWS = 5
"""Maps of the tile for last layers: the five rows of a 5x5 filter."""
FEW_VECTORS = vectors_beside(FEW_ROWS)
THIN_VECTORS = vectors_beside(1)
"""The tile of a single map, which sums the rows of a last layer's filters."""
DOT_TAPS, THIN_DOT_TAPS = VECTORS, 12
"""Taps of the dot tile of ROWS maps, and of a single one."""
LINEAR, RELU, GATE = 0, 1, 2

F32, I64 = ir.FloatType(), ir.IntType(64)
VECTOR = ir.VectorType(F32, LANES)
_ZERO = ir.Constant(VECTOR, [0.0] * LANES)
Values = list[ir.Value]


class Emitter:
    """The few instructions that tiles are made of, emitted by ``builder``."""

    def __init__(self, builder: ir.IRBuilder) -> None:
        self.builder = builder

    def load(self, pointer: ir.Value, index: ir.Value | int) -> ir.Value:
        """Load the vector at pointer[index], of any alignment."""
        loaded = self.builder.load(self._vector_at(pointer, index))
        loaded.align = 4
        return loaded

    def store(self, vector: ir.Value, pointer: ir.Value, index: ir.Value | int) -> None:
        """Store a vector at pointer[index], of any alignment."""
        self.builder.store(vector, self._vector_at(pointer, index)).align = 4

    def _vector_at(self, pointer: ir.Value, index: ir.Value | int) -> ir.Value:
        return self.builder.bitcast(self.at(pointer, index), VECTOR.as_pointer())

    def at(self, pointer: ir.Value, index: ir.Value | int) -> ir.Value:
        """Return the address of pointer[index]."""
        index = ir.Constant(I64, index) if isinstance(index, int) else index
        return self.builder.gep(pointer, [index])

    def scalar(self, pointer: ir.Value, index: ir.Value | int) -> ir.Value:
        """Load the number at pointer[index]."""
        return self.builder.load(self.at(pointer, index))

    def splat(self, scalar: ir.Value) -> ir.Value:
        """Make a vector that holds ``scalar`` in every lane."""
        undefined = ir.Constant(VECTOR, ir.Undefined)
        zeros = ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES)
        one = self.builder.insert_element(undefined, scalar, ir.Constant(ir.IntType(32), 0))
        return self.builder.shuffle_vector(one, undefined, zeros)

    def splat_lane(self, vector: ir.Value, lane: int) -> ir.Value:
        """Make a vector that holds lane ``lane`` of ``vector`` in every lane."""
        mask = ir.Constant(ir.VectorType(ir.IntType(32), LANES), [lane] * LANES)
        return self.builder.shuffle_vector(vector, vector, mask)

    def splats(self, pointer: ir.Value, count: int) -> Iterator[ir.Value]:
        """Yield a vector of each of ``count`` numbers at ``pointer``.

        Multiply-adds of NEON take one lane of a register, so that four numbers need only one. One
        each, and Neoverse N1 spills the tile of 8 x 3.
        """
        if IS_NEON and count % LANES == 0:
            vectors = [self.load(pointer, m) for m in range(0, count, LANES)]
            yield from (self.splat_lane(vectors[m // LANES], m % LANES) for m in range(count))
        else:
            yield from (self.splat(self.scalar(pointer, m)) for m in range(count))

    def fma(self, a: ir.Value, b: ir.Value, c: ir.Value) -> ir.Value:
        """Compute a * b + c, rounded once where the processor can."""
        if not HAS_FMA:
            return self.builder.fadd(self.builder.fmul(a, b), c)
        kind = ir.FunctionType(VECTOR, [VECTOR] * 3)
        name = f"llvm.fma.v{LANES}f32"
        return self.builder.call(get_or_insert_function(self.builder.module, kind, name), [a, b, c])

    def positive(self, condition: ir.Value, value: ir.Value) -> ir.Value:
        """Select ``value`` in the lanes where ``condition`` > 0, else 0."""
        return self.builder.select(self.builder.fcmp_ordered(">", condition, _ZERO), value, _ZERO)

    def sum_lanes(self, vector: ir.Value) -> ir.Value:
        """Sum all lanes, by halves."""
        lanes = LANES
        while lanes > 1:
            lanes //= 2
            half = ir.VectorType(ir.IntType(32), lanes)
            low, high = (ir.Constant(half, list(range(s, s + lanes))) for s in (0, lanes))
            vector = self.builder.fadd(
                self.builder.shuffle_vector(vector, vector, low),
                self.builder.shuffle_vector(vector, vector, high),
            )
        return self.builder.extract_element(vector, ir.Constant(ir.IntType(32), 0))

    def transposed(self, vectors: Values) -> Values:
        """Bring lane 0 of all vectors together, then lane 1, ...; they are a power of two.

        So four vectors, one of each phase, become four of columns side by side.
        """
        order = [lane for k in range(LANES) for lane in (k, LANES + k)]
        kind = ir.VectorType(ir.IntType(32), LANES)
        masks = [ir.Constant(kind, part) for part in (order[:LANES], order[LANES:])]
        half = len(vectors) // 2
        for _ in range(half.bit_length()):
            pairs = zip(vectors[:half], vectors[half:], strict=True)
            vectors = [self.builder.shuffle_vector(a, b, m) for a, b in pairs for m in masks]
        return vectors

    def loop(
        self,
        count: ir.Value,
        step: int,
        state: Values,
        body: Callable[[ir.Value, Values], Values],
    ) -> Values:
        """Run ``for i in range(0, count, step): state = body(i, state)``; count > 0."""
        b = self.builder
        before, head, after = b.block, b.append_basic_block(), b.append_basic_block()
        b.branch(head)
        b.position_at_end(head)
        index = b.phi(I64)
        index.add_incoming(ir.Constant(I64, 0), before)
        carried = [b.phi(value.type) for value in state]
        for phi, value in zip(carried, state, strict=True):
            phi.add_incoming(value, before)
        state = body(index, carried)
        following = b.add(index, ir.Constant(I64, step), flags=["nsw"])
        for phi, value in zip([index, *carried], [following, *state], strict=True):
            phi.add_incoming(value, b.block)
        b.cbranch(b.icmp_signed("<", following, count), head, after)
        b.position_at_end(after)
        return state


Body = Callable[..., None]
"""Emits the code of a tile: ``body(emit, *shape, arguments)``."""


def sum_taps(emit: Emitter, rows: int, vectors: int, arguments: Values) -> Values:
    """Sum bias[m] + w[k, m] * x[off[k] + j] over k: the registers of one tile, row by row."""
    x, off, taps, w, bias = arguments
    b = emit.builder

    def tap(k: ir.Value, sums: Values) -> Values:
        there = emit.at(x, emit.scalar(off, k))
        pixels = [emit.load(there, v * LANES) for v in range(vectors)]
        weights = emit.at(w, b.mul(k, ir.Constant(I64, rows)))
        sums = list(sums)
        for m, weight in enumerate(emit.splats(weights, rows)):
            for v in range(vectors):
                sums[m * vectors + v] = emit.fma(weight, pixels[v], sums[m * vectors + v])
        return sums

    biases = [emit.splat(emit.scalar(bias, m)) for m in range(rows)]
    return emit.loop(taps, 1, [biases[m] for m in range(rows) for _ in range(vectors)], tap)


Act = Callable[[ir.Value, ir.Value], ir.Value]
"""Computes act of a value that goes to a place."""


def for_each_act(
    emit: Emitter, act: ir.Value, gate: ir.Value, write: Callable[[Act], None]
) -> None:
    """Emit what ``write`` does and a return, for LINEAR, RELU and GATE, of which ``act`` is one."""
    b = emit.builder
    linear, relu, gated = (b.append_basic_block() for _ in range(3))
    choice = b.switch(act, linear)
    choice.add_case(ir.Constant(I64, RELU), relu)
    choice.add_case(ir.Constant(I64, GATE), gated)
    acts: list[tuple[ir.Block, Act]] = [
        (linear, lambda value, place: value),
        (relu, lambda value, place: emit.positive(value, value)),
        (gated, lambda value, place: emit.positive(emit.load(gate, place), value)),
    ]
    for block, result in acts:
        b.position_at_end(block)
        write(result)
        b.ret_void()


def _forward_body(emit: Emitter, rows: int, vectors: int, arguments: Values) -> None:
    """Compute out[m, j] = act(bias[m] + sum over k of w[k, m] * x[off[k] + j]) for one tile."""
    out, ldo, act, gate = arguments[5:]
    b = emit.builder
    sums = sum_taps(emit, rows, vectors, arguments[:5])

    def write(result: Act) -> None:
        for m in range(rows):
            row = b.mul(ldo, ir.Constant(I64, m))
            for v in range(vectors):
                place = b.add(row, ir.Constant(I64, v * LANES))
                emit.store(result(sums[m * vectors + v], place), out, place)

    for_each_act(emit, act, gate, write)


def _dot_body(emit: Emitter, rows: int, taps: int, arguments: Values) -> None:
    """Add to dw[m, k] the sum over r, j of dy[m, r, j] * x[off[k] + r, j], for one tile."""
    dy, ldy, sy, x, off, first, sx, lines, n, dw, ldw = arguments
    b = emit.builder
    off = emit.at(off, first)
    maps = [emit.at(dy, b.mul(ldy, ir.Constant(I64, m))) for m in range(rows)]
    views = [emit.at(x, emit.scalar(off, k)) for k in range(taps)]

    def line(r: ir.Value, sums: Values) -> Values:
        y_line, x_line = b.mul(r, sy), b.mul(r, sx)
        starts = [emit.at(pointer, y_line) for pointer in maps]
        views_here = [emit.at(pointer, x_line) for pointer in views]
        few, many = (views_here, starts) if taps < rows else (starts, views_here)

        def vector(j: ir.Value, sums: Values) -> Values:
            held = [emit.load(start, j) for start in few]
            sums = list(sums)
            for passing, start in enumerate(many):
                loaded = emit.load(start, j)
                for kept, other in enumerate(held):
                    m, k = (passing, kept) if taps < rows else (kept, passing)
                    sums[m * taps + k] = emit.fma(other, loaded, sums[m * taps + k])
            return sums

        return emit.loop(n, LANES, sums, vector)

    sums = emit.loop(lines, 1, [_ZERO] * (rows * taps), line)
    for m in range(rows):
        for k in range(taps):
            place = emit.at(dw, b.add(b.mul(ldw, ir.Constant(I64, m)), ir.Constant(I64, k)))
            b.store(b.fadd(b.load(place), emit.sum_lanes(sums[m * taps + k])), place)
    b.ret_void()


def _outer_body(emit: Emitter, rows: int, vectors: int, arguments: Values) -> None:
    """Add to out[m, j] the sum over k < n of a[m, k] * x[k, j], for one tile."""
    a, lda, x, ldx, n, out, ldo = arguments
    b = emit.builder
    starts = [emit.at(a, b.mul(lda, ir.Constant(I64, m))) for m in range(rows)]
    places = [
        b.add(b.mul(ldo, ir.Constant(I64, m)), ir.Constant(I64, v * LANES))
        for m in range(rows)
        for v in range(vectors)
    ]

    def term(k: ir.Value, sums: Values) -> Values:
        there = emit.at(x, b.mul(ldx, k))
        seen = [emit.load(there, v * LANES) for v in range(vectors)]
        weights = [emit.splat(emit.scalar(start, k)) for start in starts]
        return [
            emit.fma(weights[p // vectors], seen[p % vectors], total)
            for p, total in enumerate(sums)
        ]

    sums = emit.loop(n, 1, [emit.load(out, place) for place in places], term)
    for place, total in zip(places, sums, strict=True):
        emit.store(total, out, place)
    b.ret_void()


def _turn_body(emit: Emitter, rows: int, vectors: int, arguments: Values) -> None:
    """Compute out[i, m] = x[m, i] of LANES times LANES numbers."""
    x, ldx, out, ldo = arguments
    b = emit.builder
    lines = [emit.load(x, b.mul(ldx, ir.Constant(I64, m))) for m in range(LANES)]
    for i, line in enumerate(emit.transposed(lines)):
        emit.store(line, out, b.mul(ldo, ir.Constant(I64, i)))
    b.ret_void()


def _copy_body(emit: Emitter, step: int, apart: int, arguments: Values) -> None:
    """Copy out[apart * t] = x[step * t], t < n, of which LLVM makes vectors."""
    x, out, n = arguments
    b = emit.builder

    def number(t: ir.Value, state: Values) -> Values:
        there, here = (b.mul(t, ir.Constant(I64, k), flags=["nsw"]) for k in (step, apart))
        b.store(emit.scalar(x, there), emit.at(out, here))
        return state

    emit.loop(n, 1, [], number)
    b.ret_void()


def call_once(
    builder: ir.IRBuilder, name: str, body: Body, shape: tuple[int, ...], values: Values
) -> None:
    """Call the function ``name``; write it into the module first if it is not there yet."""
    name = f"npsrcnn.{name}.{'x'.join(map(str, shape))}"
    function = builder.module.globals.get(name)
    if function is None:
        kind = ir.FunctionType(ir.VoidType(), [value.type for value in values])
        function = ir.Function(builder.module, kind, name)
        function.linkage = "linkonce_odr"
        function.attributes.add("noinline")
        function.attributes.add("nounwind")
        emit = Emitter(ir.IRBuilder(function.append_basic_block()))
        body(emit, *shape, list(function.args))
    builder.call(function, values)


def check_types(names: str, given: tuple[types.Type, ...]) -> None:
    """Refuse, while compiling, arrays that are not C-contiguous float32 (``off``: int64)."""
    for name, kind in zip(names.split(), given, strict=True):
        wanted = types.int64 if name == "off" else types.float32
        if not (isinstance(kind, types.Array) and kind.dtype == wanted and kind.layout == "C"):
            raise TypingError(f"{name} must be a C-contiguous array of {wanted}, not {kind}")


def tile_call(name: str, body: Body, shape: tuple[types.Literal[int], ...], *given: types.Type):
    """Return what :func:`~npsrcnn.runtime.jit.emitted` wants: a signature, and code for a call.

    ``shape`` are literals. The function ``name`` gets a pointer for each float32 array and
    the index after it, one for each array of offsets, and all other numbers as int64; not None.
    """
    kinds = [k if isinstance(k, types.Array | types.NoneType) else types.int64 for k in given]

    def generate(context, builder, signature, values):
        passed, arguments = [], zip(kinds, values[len(shape) :], strict=True)
        for kind, value in arguments:
            if isinstance(kind, types.Array):
                data = context.make_array(kind)(context, builder, value).data
                offsets = kind.dtype == types.int64
                passed.append(data if offsets else builder.gep(data, [next(arguments)[1]]))
            elif kind == types.int64:
                passed.append(value)
        call_once(builder, name, body, tuple(k.literal_value for k in shape), passed)
        return context.get_dummy_value()

    return types.void(*shape, *kinds), generate


@emitted
def _forward_tile(
    typing, rows, vectors, x, ix, off, taps, w, iw, bias, ib, out, io, ldo, act, gate, ig
):
    """Call the forward tile of rows x vectors (literals); each array comes with its start."""
    check_types("x off w bias out gate", (x, off, w, bias, out, gate))
    arguments = x, ix, off, taps, w, iw, bias, ib, out, io, ldo, act, gate, ig
    return tile_call("forward", _forward_body, (rows, vectors), *arguments)


@emitted
def copy_tile(typing, step, apart, x, ix, out, io, n):
    """Copy n > 0 numbers, ``step`` apart, to places ``apart`` apart (literals)."""
    check_types("x out", (x, out))
    return tile_call("copy", _copy_body, (step, apart), x, ix, out, io, n)


@emitted
def dot_tile(typing, rows, taps, dy, iy, ldy, sy, x, ix, off, ik, sx, lines, n, dw, iw, ldw):
    """Call the dot tile of rows x taps (literals); each array comes with its start."""
    check_types("dy x off dw", (dy, x, off, dw))
    arguments = dy, iy, ldy, sy, x, ix, off, ik, sx, lines, n, dw, iw, ldw
    return tile_call("dot", _dot_body, (rows, taps), *arguments)


@emitted
def outer_tile(typing, rows, vectors, a, ia, lda, x, ix, ldx, n, out, io, ldo):
    """Call the outer tile of rows x vectors (literals); each array comes with its start."""
    check_types("a x out", (a, x, out))
    arguments = a, ia, lda, x, ix, ldx, n, out, io, ldo
    return tile_call("outer", _outer_body, (rows, vectors), *arguments)


@emitted
def turn_tile(typing, rows, vectors, x, ix, ldx, out, io, ldo):
    """Call the turning tile, of LANES x 1 (literals); each array comes with its start."""
    check_types("x out", (x, out))
    arguments = x, ix, ldx, out, io, ldo
    return tile_call("turn", _turn_body, (rows, vectors), *arguments)


@helper
def forward(x, ix, off, taps, w, iw, ldw, bias, ib, out, io, ldo, maps, n, act, gate, ig):
    """Compute out[m, j] = act(bias[m] + sum over k of w[k, m] * x[off[k] + j]), m < maps, j < n.

    ``maps`` is a multiple of ROWS, ``n`` of LANES. ``w`` is packed by :func:`pack`, of ``ldw``
    taps, of which the first ``taps`` are summed; map m starts at ``out[io + m * ldo]`` and
    ``gate[ig + m * ldo]`` (any array will do as the gate unless ``act`` is GATE).
    """
    if BOUNDSCHECK:
        _check_forward(ROWS, x, ix, off, taps, w, iw, ldw, bias, ib, out, io, ldo, maps, n)
        if act == GATE:
            check_range(gate.size, ig, (maps - 1) * ldo + n)
    j = 0
    while j < n:
        vectors = tile_width(n - j)
        for m in range(0, maps, ROWS):
            xj, wm, bm = ix + j, iw + m * ldw, ib + m
            om, gm = io + m * ldo + j, ig + m * ldo + j
            if vectors == VECTORS:
                _forward_tile(ROWS, VECTORS, x, xj, off, taps, w, wm, bias, bm,
                              out, om, ldo, act, gate, gm)  # fmt: skip
            elif vectors == 2:
                _forward_tile(ROWS, 2, x, xj, off, taps, w, wm, bias, bm,
                              out, om, ldo, act, gate, gm)  # fmt: skip
            else:
                _forward_tile(ROWS, 1, x, xj, off, taps, w, wm, bias, bm,
                              out, om, ldo, act, gate, gm)  # fmt: skip
        j += vectors * LANES


@helper
def forward_few(x, ix, off, taps, w, iw, bias, ib, out, io, ldo, maps, n):
    """Compute :func:`forward` without ``act`` in tiles of FEW_ROWS, which divides ``maps``."""
    if BOUNDSCHECK:
        _check_forward(FEW_ROWS, x, ix, off, taps, w, iw, taps, bias, ib, out, io, ldo, maps, n)
    j = 0
    while j < n:
        vectors = FEW_VECTORS if n - j >= FEW_VECTORS * LANES else 1
        for m in range(0, maps, FEW_ROWS):
            xj, wm, bm, om = ix + j, iw + m * taps, ib + m, io + m * ldo + j
            if vectors == FEW_VECTORS:
                _forward_tile(FEW_ROWS, FEW_VECTORS, x, xj, off, taps, w, wm, bias, bm,
                              out, om, ldo, LINEAR, out, om)  # fmt: skip
            else:
                _forward_tile(FEW_ROWS, 1, x, xj, off, taps, w, wm, bias, bm,
                              out, om, ldo, LINEAR, out, om)  # fmt: skip
        j += vectors * LANES


@helper
def tile_width(n):
    """Return the vectors of the next tile of ROWS maps, where ``n`` floats are left.

    Two twos rather than three and one: a tile of one vector has too few sums to hide the latency
    of a multiply-add, and takes nearly as long as one of two.
    """
    left = n // LANES
    if left >= VECTORS and left != VECTORS + 1:
        return VECTORS
    return 2 if left > 1 else left


@helper
def forward_thin(x, ix, off, taps, w, iw, bias, ib, out, io, n, act, gate, ig):
    """Compute :func:`forward` for a single map; the last tile overlaps the one before."""
    if BOUNDSCHECK:
        _check_forward(1, x, ix, off, taps, w, iw, taps, bias, ib, out, io, n, 1, n)
    wide = THIN_VECTORS * LANES
    if n < wide:
        for j in range(0, n, LANES):
            _forward_tile(1, 1, x, ix + j, off, taps, w, iw, bias, ib, out, io + j, 0, act,
                          gate, ig + j)  # fmt: skip
        return
    for start in range(0, n, wide):
        j = start if start < n - wide else n - wide
        _forward_tile(1, THIN_VECTORS, x, ix + j, off, taps, w, iw, bias, ib, out, io + j, 0, act,
                      gate, ig + j)  # fmt: skip


@helper
def _check_forward(rows, x, ix, off, taps, w, iw, ldw, bias, ib, out, io, ldo, maps, n):
    if maps % rows or n % LANES:
        raise ValueError("the forward tile takes whole tiles of maps and whole vectors")
    for k in range(taps):
        check_range(x.size, ix + off[k], n)
    check_range(w.size, iw, (maps - rows) * ldw + rows * taps)
    check_range(bias.size, ib, maps)
    check_range(out.size, io, (maps - 1) * ldo + n)


@helper
def check_range(size, start, length):
    """Raise if ``length`` floats from ``start`` on are not all in an array of ``size``."""
    if start < 0 or start + length > size:
        raise IndexError("a tile would read or write out of bounds")


def round_up(n: int, step: int) -> int:
    """Return the smallest multiple of ``step`` that is at least ``n``."""
    return -(-n // step) * step


def pack(w: np.ndarray, rows: int) -> np.ndarray:
    """Lay filters (maps, taps) out as the forward tile reads them: (maps / rows, taps, rows), flat.

    Maps are filled up with zeros to a multiple of ``rows``.
    """
    maps, taps = w.shape
    filled = np.zeros((round_up(maps, rows), taps), np.float32)
    filled[:maps] = w
    return np.ascontiguousarray(filled.reshape(-1, rows, taps).swapaxes(1, 2)).ravel()
