"""The register tiles: what they compute, and what the compiler makes of them."""

from __future__ import annotations

import numba
import numpy as np
import pytest
from assembly import check_tile, knows_arm
from numba.core.errors import TypingError
from processes import run_python

from npsrcnn.kernels.cpu import tiles, winograd
from npsrcnn.kernels.cpu.tiles import (
    DOT_TAPS,
    FEW_ROWS,
    FEW_VECTORS,
    GATE,
    HAS_FMA,
    LANES,
    LINEAR,
    RELU,
    ROWS,
    THIN_DOT_TAPS,
    THIN_VECTORS,
    VECTORS,
    pack,
    round_up,
)


@numba.njit
def run_forward(rows, x, ix, off, w, bias, out, io, maps, n, act, gate):
    flat, ldo = out.ravel(), out.shape[1]
    if rows == ROWS:
        tiles.forward(x, ix, off, off.size, w, 0, off.size, bias, 0, flat, io, ldo, maps, n, act,
                      gate.ravel(), io)  # fmt: skip
    else:
        tiles.forward_few(x, ix, off, off.size, w, 0, bias, 0, flat, io, ldo, maps, n)


def forward_problem(rng, rows, maps, taps, n):
    """Random signed operands: x, off, w (maps, taps), bias, gate (maps, n)."""
    x = rng.standard_normal(3 * taps + n).astype(np.float32)
    off = rng.integers(0, 3 * taps, taps)
    w = rng.standard_normal((maps, taps)).astype(np.float32)
    bias = rng.standard_normal(round_up(maps, rows)).astype(np.float32)
    gate = rng.standard_normal((round_up(maps, rows), n)).astype(np.float32)
    return x, off, w, bias, gate


@pytest.mark.parametrize(
    ("rows", "act"), [(ROWS, LINEAR), (ROWS, RELU), (ROWS, GATE), (FEW_ROWS, LINEAR)]
)
@pytest.mark.parametrize("vectors", [1, VECTORS, 2 * VECTORS + 1])
def test_forward_tile_is_its_formula(rng, rows, vectors, act):
    maps, taps, n = 2 * rows - 1, 37, vectors * LANES
    x, off, w, bias, gate = forward_problem(rng, rows, maps, taps, n)
    out = np.full((round_up(maps, rows), n), np.nan, np.float32)
    run_forward(rows, x, 0, off, pack(w, rows), bias, out, 0, len(out), n, act, gate)
    windows = np.stack([x[o : o + n] for o in off]).astype(np.float64)
    exact = bias[:maps, None] + w.astype(np.float64) @ windows
    exact = {LINEAR: exact, RELU: np.maximum(exact, 0), GATE: exact * (gate[:maps] > 0)}[act]
    # 37 sums of products of size 1, each rounded to 24 bits: 37 * 6e-8 * |sum| at the very worst
    np.testing.assert_allclose(out[:maps], exact, rtol=0, atol=2e-5)


def test_forward_tile_writes_its_own_lanes_only(rng):
    n = LANES * (VECTORS + 1)
    x, off, w, bias, _ = forward_problem(rng, ROWS, ROWS, 5, n)
    out = np.full((ROWS, n + 7), 9, np.float32)
    run_forward(ROWS, x, 0, off, pack(w, ROWS), bias, out, 3, ROWS, n, LINEAR, out)
    assert np.all(out[:, :3] == 9)
    assert np.all(out[:, n + 3 :] == 9)
    assert not np.any(out[:, 3 : n + 3] == 9)


def test_every_lane_has_the_same_bits_whichever_tile_computes_it(rng):
    n = LANES * 4 * VECTORS
    x, off, w, bias, gate = forward_problem(rng, ROWS, ROWS, 81, n)
    whole = np.empty((ROWS, n), np.float32)
    run_forward(ROWS, x, 0, off, pack(w, ROWS), bias, whole, 0, ROWS, n, RELU, gate)
    for start in range(0, n - LANES, 5):  # one vector at a time, at any alignment
        part = np.empty((ROWS, LANES), np.float32)
        run_forward(ROWS, x, start, off, pack(w, ROWS), bias, part, 0, ROWS, LANES, RELU, gate)
        np.testing.assert_array_equal(part, whole[:, start : start + LANES])


def test_float64_and_strided_arrays_do_not_compile(rng):
    x, off, w, bias, gate = forward_problem(rng, ROWS, ROWS, 5, LANES)
    arguments = [ROWS, x, 0, off, pack(w, ROWS), bias, gate.copy(), 0, ROWS, LANES, LINEAR, gate]
    for place, wrong in (
        (1, x.astype(np.float64)),
        (1, np.repeat(x, 2)[::2]),
        (3, off.astype("f")),
    ):
        bad = arguments.copy()
        bad[place] = wrong
        with pytest.raises(TypingError, match="C-contiguous"):
            run_forward(*bad)


def test_pack_lays_weights_out_as_the_tile_reads_them():
    w = np.arange(6 * 3, dtype=np.float32).reshape(6, 3)
    packed = pack(w, 4).reshape(2, 3, 4)
    for m in range(8):
        expected = w[m] if m < 6 else np.zeros(3)
        np.testing.assert_array_equal(packed[m // 4, :, m % 4], expected)


@numba.njit
def run_dots(thin, dy, iy, ldy, sy, x, ix, off, ik, sx, lines, n, dw, iw, ldw):
    if thin:
        tiles.dot_tile(1, THIN_DOT_TAPS, dy, iy, ldy, sy, x, ix, off, ik, sx, lines, n,
                        dw, iw, ldw)  # fmt: skip
        tiles.dot_tile(1, 1, dy, iy, ldy, sy, x, ix, off, ik, sx, lines, n, dw, iw, ldw)
    else:
        tiles.dot_tile(ROWS, DOT_TAPS, dy, iy, ldy, sy, x, ix, off, ik, sx, lines, n,
                        dw, iw, ldw)  # fmt: skip


def dot_problem(rng, rows, taps):
    """Random signed operands of three lines of five vectors, with gaps between everything."""
    n, lines = 5 * LANES, 3
    ldy, sy, sx = n + 3, rows * (n + 3) + 5, 2 * n + 7
    dy = rng.standard_normal(4 + lines * sy).astype(np.float32)
    x = rng.standard_normal(3 * n + lines * sx).astype(np.float32)
    off = rng.integers(0, n, 2 + taps)
    dw = rng.standard_normal(3 + rows * (taps + 2)).astype(np.float32)
    return dy, 4, ldy, sy, x, n, off, 2, sx, lines, n, dw, 3, taps + 2


@pytest.mark.parametrize("thin", [False, True])
def test_dot_tile_adds_its_formula(rng, thin):
    rows, taps = (1, THIN_DOT_TAPS) if thin else (ROWS, DOT_TAPS)
    dy, iy, ldy, sy, x, ix, off, ik, sx, lines, n, dw, iw, ldw = dot_problem(rng, rows, taps)
    exact = dw.astype(np.float64)
    for m, k, r in np.ndindex(rows, taps, lines):
        left = dy[iy + m * ldy + r * sy :][:n]
        right = x[ix + off[ik + k] + r * sx :][:n]
        product = np.dot(left.astype(np.float64), right)
        exact[iw + m * ldw + k] += product
        if thin and k == 0:  # the tile of one tap adds the same once more
            exact[iw] += product
    run_dots(thin, dy, iy, ldy, sy, x, ix, off, ik, sx, lines, n, dw, iw, ldw)
    # 5 * 3 sums in each lane, of products of size 1, rounded to 24 bits, then the lanes' sum
    np.testing.assert_allclose(dw, exact, rtol=0, atol=4e-5)


@numba.njit
def run_outer(a, lda, x, ldx, n, out, ldo):
    tiles.outer_tile(9, 1, a, 0, lda, x, 0, ldx, n, out, 0, ldo)


def test_outer_tile_adds_its_formula(rng):
    n = 5 * LANES
    a, x = rng.standard_normal((9, n + 3)), rng.standard_normal((n, LANES + 2))
    before = rng.standard_normal((9, LANES + 1))
    a, x, out = (array.astype(np.float32) for array in (a, x, before))
    run_outer(a.ravel(), n + 3, x.ravel(), LANES + 2, n, out.reshape(-1), LANES + 1)
    exact = before + np.pad(a[:, :n].astype(float) @ x[:, :LANES], ((0, 0), (0, 1)))
    np.testing.assert_allclose(out, exact, rtol=0, atol=2e-5)


@numba.njit
def run_turn(x, ldx, out, ldo):
    tiles.turn_tile(LANES, 1, x, 0, ldx, out, 0, ldo)


def test_turn_tile_swaps_rows_and_columns(rng):
    x = rng.standard_normal((LANES, LANES + 3)).astype(np.float32)
    out = np.zeros((LANES, LANES + 1), np.float32)
    run_turn(x.ravel(), LANES + 3, out.reshape(-1), LANES + 1)
    np.testing.assert_array_equal(out, np.pad(x[:, :LANES].T, ((0, 0), (0, 1))))


@numba.njit
def run_thin_forward(x, off, w, bias, out):
    tiles.forward_thin(x, 0, off, off.size, w, 0, bias, 0, out, 0, out.size, LINEAR, out, 0)


@pytest.mark.parametrize("vectors", [1, THIN_VECTORS, 2 * THIN_VECTORS + 1])
def test_forward_tile_of_a_single_map_is_its_formula(rng, vectors):
    n, taps = vectors * LANES, 37
    x, off, w, bias, _ = forward_problem(rng, 1, 1, taps, n)
    out = np.full(n, np.nan, np.float32)
    run_thin_forward(x, off, w.ravel(), bias, out)
    exact = bias[0] + sum(w[0, k].astype(np.float64) * x[o : o + n] for k, o in enumerate(off))
    np.testing.assert_allclose(out, exact, rtol=0, atol=2e-5)


@pytest.mark.skipif(not HAS_FMA or LANES == 4, reason="reads the assembly of x86 with AVX2 alone")
def test_tiles_compile_to_packed_multiply_adds_without_spills(rng):
    x, off, w, bias, gate = forward_problem(rng, ROWS, ROWS, 5, LANES)
    out = gate.copy()
    run_forward(ROWS, x, 0, off, pack(w, ROWS), bias, out, 0, ROWS, LANES, LINEAR, gate)
    (assembly,) = run_forward.inspect_asm().values()
    check_tile(assembly, ROWS, VECTORS, "%zmm" if LANES == 16 else "%ymm")
    check_tile(assembly, ROWS, 2, "%zmm" if LANES == 16 else "%ymm")
    check_tile(assembly, FEW_ROWS, FEW_VECTORS, "%zmm" if LANES == 16 else "%ymm")


@pytest.mark.skipif(not HAS_FMA or LANES == 4, reason="reads the assembly of x86 with AVX2 alone")
def test_tiles_of_training_compile_to_packed_multiply_adds_without_spills(rng):
    register = "%zmm" if LANES == 16 else "%ymm"
    run_dots(False, *dot_problem(rng, ROWS, DOT_TAPS))
    (assembly,) = run_dots.inspect_asm().values()
    check_tile(assembly, ROWS, DOT_TAPS, register, "dot")
    some = np.zeros(9 * LANES, np.float32)
    run_outer(some, 1, some, LANES, 1, some, LANES)
    (outer,) = run_outer.inspect_asm().values()
    check_tile(outer, 9, 1, register, "outer")
    check_tile(assembly, 1, THIN_DOT_TAPS, register, "dot")
    x, off, w, bias, _ = forward_problem(rng, 1, 1, 5, THIN_VECTORS * LANES)
    run_thin_forward(x, off, w.ravel(), bias, x[: THIN_VECTORS * LANES].copy())
    (assembly,) = run_thin_forward.inspect_asm().values()
    check_tile(assembly, 1, THIN_VECTORS, register)


@pytest.mark.skipif(not HAS_FMA or LANES == 4, reason="reads the assembly of x86 with AVX2 alone")
@pytest.mark.parametrize("phase", [None, LANES])
def test_tiles_in_groups_compile_to_packed_multiply_adds_without_spills(phase):
    x, off = np.zeros(LANES, np.float32), np.zeros(5, np.int64)
    run = run_groups_of(4)
    run(x, 1, off, x, x, np.zeros((4, ROWS, 4 * LANES), np.float32), 0, phase, LANES)
    (assembly,) = run.inspect_asm().values()
    name = "groups" if phase is None else "groups.phases"
    check_tile(assembly, ROWS, winograd.GROUP_VECTORS, "%zmm" if LANES == 16 else "%ymm", name)


@pytest.mark.parametrize("step", [4, 5])
@pytest.mark.parametrize("in_phases", [False, True])
@pytest.mark.parametrize("vectors", [1, 2, VECTORS, VECTORS + 1])
def test_groups_tile_is_the_convolution(rng, vectors, in_phases, step):
    if step == 5 and not in_phases:
        pytest.skip("columns side by side are of tiles of a power of two")
    maps, n, points = 2 * ROWS, vectors * LANES, step + 2
    w = rng.standard_normal((maps - 1, 2, 6, 6)).astype(np.float32)
    bias = rng.standard_normal(maps).astype(np.float32)
    image = rng.standard_normal((2, step + 5, step * n + 5))
    _, _, bt = (np.array(m, float) for m in winograd.cook_toom(winograd.GROUP, step))
    # what the tile reads: (points, points, channels, groups, groups, tiles)
    seen = np.array([[image[:, 3 * a : 3 * a + points, 3 * g : 3 * g + step * n + 2]
                      for g in (0, 1)] for a in (0, 1)])  # fmt: skip
    windows = np.stack([seen[..., k : k + step * n : step] for k in range(points)])
    x = np.einsum("iu,jv,vagcut->ijcagt", bt, bt, windows).astype(np.float32)
    taps, rows = 2 * 2 * 2, np.arange(step) * maps * step * n
    out = np.full((step, maps, step * n), np.nan, np.float32)
    RUN_GROUPS[step](x.ravel(), taps * n, np.append(np.arange(taps) * n, rows),
                     winograd.transform_filter_groups(w, step), bias, out, maps,
                     n if in_phases else None, n)  # fmt: skip
    if in_phases:
        out = out.reshape(step, maps, step, n).swapaxes(2, 3).reshape(step, maps, step * n)
    views = np.lib.stride_tricks.sliding_window_view(image, (6, 6), (1, 2))
    exact = np.einsum("ocuv,crjuv->roj", w, views) + bias[: maps - 1, None]
    np.testing.assert_allclose(out[:, :-1], np.maximum(exact, 0), rtol=0, atol=2e-4)
    np.testing.assert_array_equal(out[:, -1], max(bias[-1], 0))


def run_groups_of(step):
    forward_groups = winograd.groups_of(step)

    def run(x, plane, off, w, bias, out, maps, phase, n):
        forward_groups(x, 0, plane, off, off.size - step, w, 0, bias, 0, out.ravel(), 0,
                       out.shape[2], step * LANES if phase is None else LANES, phase, maps,
                       n)  # fmt: skip

    return numba.njit(run)


RUN_GROUPS = {step: run_groups_of(step) for step in (4, 5)}


OTHER = """
import numpy as np
import test_tiles
from assembly import check_tile
from npsrcnn.kernels.cpu import tiles
from numba import types

f32, i64 = types.float32, types.int64
floats = types.Array(f32, 1, "C")
maps = types.Array(f32, 2, "C")
offsets = types.Array(i64, 1, "C")
signature = (i64, floats, i64, offsets, floats, floats, maps, i64, i64, i64, i64, maps)
test_tiles.run_forward.compile(signature)
four = [i64] * 4
signature = (types.boolean, floats, *four[1:], floats, i64, offsets, *four, floats, i64, i64)
test_tiles.run_dots.compile(signature)
rows = types.Array(f32, 3, "C")
signature = (floats, i64, offsets, floats, floats, rows, i64, types.none, i64)
test_tiles.RUN_GROUPS[4].compile(signature)
"""


def run_as(cpu: str, features: str, code: str) -> None:
    """Run ``code`` where Numba compiles for another processor of the same kind."""
    run_python(
        OTHER + code, beside=__file__, NUMBA_CPU_NAME=cpu, NUMBA_CPU_FEATURES=features,
        NUMBA_CACHE_DIR="", NUMBA_DISABLE_ERROR_MESSAGE_HIGHLIGHTING="1",
    )  # fmt: skip


@pytest.mark.skipif(not HAS_FMA or LANES == 4, reason="needs an x86 with AVX2")
def test_tiles_for_avx512_compile_without_spills():
    run_as("skylake-avx512", "+avx512f,+avx512vl,+avx512dq,+avx2,+fma", """
assert (tiles.LANES, tiles.ROWS, tiles.VECTORS) == (16, 8, 3)
(assembly,) = test_tiles.run_forward.inspect_asm().values()
check_tile(assembly, 8, 3, "%zmm")
(assembly,) = test_tiles.run_dots.inspect_asm().values()
check_tile(assembly, 8, 3, "%zmm", "dot")
(assembly,) = test_tiles.RUN_GROUPS[4].inspect_asm().values()
check_tile(assembly, 8, 1, "%zmm", "groups")
""")  # fmt: skip


FORMULAS = """
rng = np.random.default_rng(0)
for rows, act in ((tiles.ROWS, 0), (tiles.FEW_ROWS, 0), (tiles.ROWS, 2)):
    test_tiles.test_forward_tile_is_its_formula(rng, rows, 7, act)
for thin in (False, True):
    test_tiles.test_dot_tile_adds_its_formula(rng, thin)
test_tiles.test_outer_tile_adds_its_formula(rng)
test_tiles.test_turn_tile_swaps_rows_and_columns(rng)
for in_phases in (False, True):
    test_tiles.test_groups_tile_is_the_convolution(rng, 4, in_phases, 4)
"""


@pytest.mark.skipif(LANES == 4, reason="needs an x86 with AVX")
@pytest.mark.parametrize(
    ("cpu", "features", "chosen"),
    [
        ("nehalem", "+sse4.2", (4, 4, 2, False)),
        ("sandybridge", "+avx", (8, 4, 2, False)),
        ("x86-64", "+avx,+fma", (8, 4, 3, True)),  # AVX without AVX2, as AMD Piledriver
    ],
)
def test_tiles_work_on_older_processors(cpu, features, chosen):
    choice = "(tiles.LANES, tiles.ROWS, tiles.VECTORS, tiles.HAS_FMA)"
    run_as(cpu, features, f"assert {choice} == {chosen}, {choice}" + FORMULAS)


def test_tiles_of_arm_are_their_formulas():
    choice = "(tiles.LANES, tiles.ROWS, tiles.VECTORS, tiles.FEW_VECTORS, tiles.HAS_FMA)"
    code = f"assert {choice} == (4, 8, 3, 4, True), {choice}" + FORMULAS
    run_python(OTHER + code, beside=__file__, NPSRCNN_TILES="neon", NUMBA_CACHE_DIR="")


@pytest.mark.skipif(not knows_arm(), reason="llvmlite has no compiler for Arm")
def test_tiles_of_arm_compile_to_packed_multiply_adds_without_spills():
    cpus = ["apple-m1", "cortex-a53", "cortex-a72", "cortex-a76", "neoverse-n1", "neoverse-v1"]
    code = f"import assembly; assert assembly.knows_arm(); assembly.check_arm_tiles(*{cpus})"
    run_python(code, NPSRCNN_TILES="neon")


def test_bounds_are_checked_where_asked_for():
    code = """
import numpy as np, pytest
import test_tiles as t
rng = np.random.default_rng(0)
x, off, w, bias, gate = t.forward_problem(rng, t.ROWS, t.ROWS, 5, t.LANES)
good = [t.ROWS, x, 0, off, t.pack(w, t.ROWS), bias, gate.copy(), 0, t.ROWS, t.LANES, 2, gate]
t.run_forward(*good)
for place, wrong in (
    (1, x[:-15]), (2, 16), (2, -1 - off.min()), (4, good[4][:-1]), (5, bias[:-1]),
    (6, gate[:-1].copy()), (7, 1), (7, -1), (11, gate[:-1].copy()),
):
    bad = good.copy()
    bad[place] = wrong
    with pytest.raises(IndexError, match="out of bounds"):
        t.run_forward(*bad)
"""
    run_python(code, beside=__file__, NPSRCNN_BOUNDSCHECK="1")
