"""TF32 without a GPU: its rounding, its tiles on the CPU, what it costs, and who refuses it.

The kernels themselves run on the simulator (cuda_contract.py) and through the compiler
(test_cuda_ptx.py).
"""

from __future__ import annotations

from types import SimpleNamespace

import numba
import numpy as np
import pytest
import tf32_emulation
from llvmlite import ir

import npsrcnn
from npsrcnn import datasets
from npsrcnn.commands import evaluate
from npsrcnn.commands.upscale import main as upscale_main
from npsrcnn.errors import UserError
from npsrcnn.kernels import cpu
from npsrcnn.kernels.cuda import device, tensor_tiles, tf32
from npsrcnn.kernels.cuda.tensor_tiles import FRAGMENT, ROUNDED
from npsrcnn.kernels.cuda.tiles import RELU, zero_tile


def normal(rng, *shape):
    return rng.standard_normal(shape).astype(np.float32)


def test_rounding(rng):
    one = 1 + 2.0**-10  # the number after 1
    given = [1, 1 + 2.0**-12, 1 + 2.0**-11, one - 2.0**-20, -1 - 2.0**-11, 2 - 2.0**-12, -0.0]
    expected = [1, 1, one, one, -one, 2, -0.0]
    assert tensor_tiles.tf32(given).tobytes() == np.float32(expected).tobytes()
    not_finite = np.array([0x7FFFFFFF, 0x7F800001, 0x7F800000, 0xFF800000], np.uint32)
    not_finite = not_finite.view(np.float32)  # NaN as a GPU writes it, and another; infinities
    np.testing.assert_array_equal(tensor_tiles.tf32(not_finite), not_finite)
    x = normal(rng, 1000)
    off = np.abs(tensor_tiles.tf32(x) - x) / np.abs(x)
    assert 0.8 * 2.0**-11 < off.max() <= 2.0**-11
    assert not (tensor_tiles.tf32(x).view(np.uint32) & 0x1FFF).any()


def test_fragments_are_what_the_ptx_isa_says(rng):
    weights = tensor_tiles.tf32(normal(rng, 11, 21))  # taps and maps, padded to 16 and 32
    padded = np.zeros((16, 32), np.float32)
    padded[:11, :21] = weights
    flat = tensor_tiles.fragments(weights).reshape(2, 2, 32, 4)
    for step, tile, lane, i in np.ndindex(flat.shape):
        row = lane // 4 + (8 if i in (1, 3) else 0)
        column = lane % 4 + (4 if i >= 2 else 0)
        assert flat[step, tile, lane, i] == padded[8 * step + column, 16 * tile + row]


@pytest.mark.parametrize("act", [RELU, ROUNDED])
def test_tiles_load_and_store_what_they_mean(rng, monkeypatch, act):
    """All but the two instructions that only a GPU has: others of the same operands here."""

    def multiplied(e, a, b, c):
        return [e.fma(a[i], b[i % 2], c[i]) for i in range(4)]

    def products(a, b):
        return a[:, None, :] * b[None][..., [0, 1, 0, 1]]

    def truncation(e, value):
        bits = e.builder.bitcast(value, ir.IntType(32))
        bits = e.builder.and_(bits, ir.IntType(32)(0xFFFFE000))
        return e.builder.bitcast(bits, ir.FloatType())

    def truncated(x):
        return (np.asarray(x, np.float32).view(np.uint32) & np.uint32(0xFFFFE000)).view(np.float32)

    monkeypatch.setattr(tensor_tiles, "multiplied", multiplied)
    monkeypatch.setattr(tensor_tiles, "products", products)
    monkeypatch.setattr(tensor_tiles, "rounded", truncation)
    monkeypatch.setattr(tensor_tiles, "tf32", truncated)
    tall, wide, limit = 2, 3, 20

    def both(zero_tile, mma_tile, store_mma_tile, round_tile):
        def run(w, x, b, y):
            acc = zero_tile(tall, wide, 4)
            for k in range(2):
                acc = mma_tile(acc, tall, wide, w, 8 + k * FRAGMENT, x, 3 + k, 50, 16)
            store_mma_tile(acc, tall, wide, act, b, 1, y, 2, 40, 12, limit)
            round_tile(y, 4)

        return run

    names = tensor_tiles.mma_tile, tensor_tiles.store_mma_tile, tensor_tiles.round_tile
    w, x, b = normal(rng, 4 * FRAGMENT), normal(rng, 100), normal(rng, 32)
    before = normal(rng, 1400)
    result, expected = before.copy(), before.copy()
    numba.njit(both(zero_tile, *names))(w, x, b, result)

    meanings = [tensor_tiles.MEANINGS[name] for name in names]
    both(lambda *shape: np.zeros(shape, np.float32), *meanings)(w, x, b, expected)
    assert np.count_nonzero(expected != before) > 3 * wide * 2  # maps 0, 8 and 16 of 20
    # Fused multiply-adds round once where Python's round twice; then up to a TF32 apart.
    tolerance = 1e-5 if act == RELU else 2.0**-9
    np.testing.assert_allclose(result, expected, rtol=tolerance, atol=1e-5)
    assert np.array_equal(result == before, expected == before)


def cost(network, image):
    """What TF32 changes: PSNR in dB, and grey levels of 255 at most."""
    x = np.ascontiguousarray(image.bicubic, np.float32)[None, None]
    exact = network.forward(x)
    result = tf32_emulation.forward(network.layers, x, network.padding, cpu.conv2d)
    change = image.psnr(result[0, 0]) - image.psnr(exact[0, 0])
    return abs(change), 255 * np.abs(result - exact).max()


def test_what_tf32_costs():
    """The figures in npsrcnn/kernels/cuda/tf32.py are of Set5 and Set14: here others."""
    for name in ("9-1-5-x2", "9-1-5-x3", "9-1-5-x4"):
        network = npsrcnn.load(name)
        for leaves in datasets.dead_leaves(2, seed=9):
            decibels, levels = cost(network, evaluate.prepare(leaves, network.scale))
            assert 0 < decibels < 0.02 and 0.05 < levels < 3


def test_what_tf32_costs_the_authors_networks(data_folder):
    for name in ("9-1-5_91-images_x3", "9-5-5_ImageNet_x3"):
        network = npsrcnn.load(data_folder / "authors" / f"{name}.mat")
        image = evaluate.read(data_folder / "Set5" / "butterfly_GT.bmp", 3)
        decibels, levels = cost(network, image)
        assert 0 < decibels < 0.006 and 0.05 < levels < 0.5


@pytest.mark.parametrize("command", [evaluate.main, upscale_main])
def test_precision_is_refused_on_the_cpu(command, capsys, tmp_path):
    words = ["--data", "."] if command is evaluate.main else [str(tmp_path)]
    assert command([*words, "--scale", "3", "--precision", "tf32"]) == 2
    line = capsys.readouterr().err
    assert "add --cuda, or leave it out" in line and line.count("\n") == 1


def test_other_methods_never_use_the_cpu_in_silence(capsys):
    assert evaluate.main(["--method", "zeyde", "--data", ".", "--scale", "3", "--cuda"]) == 2
    assert "--device is for --method srcnn" in capsys.readouterr().err


def test_a_gpu_that_is_too_old_is_named(monkeypatch):
    turing = SimpleNamespace(compute_capability=(7, 5))
    monkeypatch.setattr(device, "cuda", SimpleNamespace(get_current_device=lambda: turing))
    monkeypatch.setattr(device, "SIMULATED", False)
    with pytest.raises(UserError, match=r"has compute capability 7\.5, and 8\.0 is needed"):
        tf32.require()
