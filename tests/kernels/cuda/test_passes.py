"""Test GPU kernels without a GPU: on the simulator, and tile by tile on the CPU.

What the simulator runs is the kernels' Python, and each tile's meaning in Python; that a tile's
instructions mean the same is tested here by running them on the CPU.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numba
import numpy as np
import pytest
from PIL import Image

from npsrcnn import SRCNN
from npsrcnn.errors import UserError
from npsrcnn.kernels.cuda import device, tiles

CONTRACT = Path(__file__).with_name("cuda_contract.py")
# One process for each: the simulator is slow, and pytest -n runs them side by side.
PARTS = [
    "convolution or relu or filter",
    "forward or strips or loss_and_gradients",
    "follows_the_cpus or by_soap",
    "goes_on or divergence",
]


@pytest.mark.parametrize("part", PARTS)
def test_kernels_keep_the_contract_on_the_simulator(part):
    words = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist"]
    environment = {**os.environ, "NUMBA_ENABLE_CUDASIM": "1", "NUMBA_DISABLE_JIT": "0"}
    run = subprocess.run(
        [*words, str(CONTRACT), "-k", part],
        capture_output=True, text=True, check=False, env=environment, timeout=300,
    )  # fmt: skip
    assert run.returncode == 0, run.stdout[-5000:] + run.stderr[-2000:]


def test_every_part_of_the_contract_runs_once():
    lines = CONTRACT.read_text(encoding="utf-8").splitlines()
    for name in (line.split("(")[0] for line in lines if line.startswith("def test_")):
        assert sum(any(word in name for word in part.split(" or ")) for part in PARTS) == 1, name


def normal(rng, *shape):
    return rng.standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize(("maps", "rows", "columns", "high", "size", "skew", "act"), [
    (8, 2, 4, 1, 9, 0, tiles.RELU), (8, 2, 4, 1, 1, 0, tiles.GATE),
    (3, 4, 8, 5, 5, 2, tiles.LINEAR), (1, 8, 4, 4, 4, 3, tiles.RELU),
    (4, 2, 4, 1, 3, 1, tiles.GATE),
])  # fmt: skip
def test_instructions_of_the_convolution_tile_mean_what_its_python_says(
    rng, maps, rows, columns, high, size, skew, act
):
    wide, limit = device.round_up(4, maps), maps - maps // 3
    shape = maps, rows, columns

    def both(bias_tile, convolution_tile, store_tile):
        def run(x, w, b, y, gate, limit):
            acc = bias_tile(maps, rows, columns, b, 2, limit)
            for u in range(2):
                acc = convolution_tile(
                    acc, maps, rows, columns, high, size, skew,
                    x, 8 + 40 * u, 40, w, wide * u, wide,
                )  # fmt: skip
            store_tile(acc, maps, rows, columns, act, y, 4, 128, 16, limit, gate)

        return run

    x, w, b = normal(rng, 600), normal(rng, wide * (high * size + 2)), normal(rng, maps + 2)
    gate, before = normal(rng, 128 * (maps + 1)), normal(rng, 128 * (maps + 1))
    result, expected = before.copy(), before.copy()
    names = tiles.bias_tile, tiles.convolution_tile, tiles.store_tile
    numba.njit(both(*names))(x, w, b, result, gate, limit)
    both(*(tiles.MEANINGS[name] for name in names))(x, w, b, expected, gate, limit)
    # At most 51 products each; fused multiply-adds round once where Python's round twice.
    np.testing.assert_allclose(result, expected, rtol=1e-5, atol=1e-5, err_msg=str(shape))


@pytest.mark.parametrize(("maps", "channels", "size"), [(8, 1, 9), (8, 8, 1), (3, 4, 5)])
def test_instructions_of_the_gradient_tile_mean_what_its_python_says(rng, maps, channels, size):
    def both(zero_tile, gradient_tile, add_tile):
        def run(dy, x, y, fresh):
            acc = zero_tile(maps, channels, size)
            for k in range(3):
                acc = gradient_tile(acc, maps, channels, size, dy, 4 * k, 12, x, 4 * k, 32)
            add_tile(acc, maps, channels, size, y, 3, fresh)

        return run

    dy, x = normal(rng, 12 * maps), normal(rng, 32 * channels + 16)
    names = tiles.zero_tile, tiles.gradient_tile, tiles.add_tile
    run, meaning = numba.njit(both(*names)), both(*(tiles.MEANINGS[name] for name in names))
    for fresh in (True, False):
        before = normal(rng, maps * channels * size + 7)
        result, expected = before.copy(), before.copy()
        run(dy, x, result, fresh)
        meaning(dy, x, expected, fresh)
        np.testing.assert_allclose(result, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("count", [1, 4])
@pytest.mark.parametrize("valid", [-3, 0, 2, 7])
def test_instructions_of_the_copy_tile_mean_what_its_python_says(rng, count, valid):
    def both(copy_tile):
        def run(x, y, valid, fill):
            copy_tile(count, x, 8, valid, fill, y, 4)

        return run

    x, before = normal(rng, 16), normal(rng, 12)
    result, expected = before.copy(), before.copy()
    numba.njit(both(tiles.copy_tile))(x, result, valid, np.float32(5))
    both(tiles.MEANINGS[tiles.copy_tile])(x, expected, valid, np.float32(5))
    assert np.array_equal(result, expected) and not np.array_equal(result, before)


@pytest.mark.parametrize(
    ("message", "meaning"),
    [
        ("Error at driver init: CUDA driver library cannot be found.", "no NVIDIA driver"),
        ("Call to cuInit results in CUDA_ERROR_NO_DEVICE (100)", "no NVIDIA GPU is visible"),
        ("Call to cuMemAlloc results in CUDA_ERROR_OUT_OF_MEMORY", "smaller --batch"),
        ("[222] Call to cuLinkAddData results in CUDA_ERROR_UNSUPPORTED_PTX_VERSION", "update"),
        ('Function "cuDevSmResourceSplit" not found', "update the driver"),
        ("CUDA_ERROR_NO_BINARY_FOR_GPU: no kernel image is available", "update the driver"),
        ("Driver missing function: cuLibraryLoadData", "update the driver"),
        ("CUDA driver version is insufficient for CUDA runtime version", "too old: update it"),
        ("libNVVM cannot be found. Do `conda install cudatoolkit`", "pip install"),
        ('Failure finding "libnvvm.so": No such file', "pip install"),
        ("Call to cuInit results in CUDA_ERROR_SYSTEM_DRIVER_MISMATCH", "restart"),
        ("Call to cuLaunchKernel results in UNKNOWN_CUDA_ERROR", "reports an error"),
    ],
)
def test_what_cuda_says_becomes_one_line_with_the_fix(message, meaning):
    line = device.explain(message)
    assert meaning in line and "--device cpu" in line and "\n" not in line


def test_errors_of_cuda_and_no_others_become_one_line():
    from numba.cuda.cudadrv import driver, error

    for raised in (
        driver.CudaAPIError(2, "Call to cuMemAlloc results in CUDA_ERROR_OUT_OF_MEMORY"),
        error.CudaSupportError("Error at driver init: CUDA driver library cannot be found."),
        error.NvvmSupportError("libNVVM cannot be found."),
        error.NvvmError("NVVM_ERROR_COMPILATION"),
        error.CudaDriverError("Driver missing function: cuLibraryLoadData"),
        RuntimeError('Failure finding "libnvJitLink.so": none'),
        RuntimeError('Function "cuKernelGetFunction" not found'),
    ):
        with pytest.raises(UserError, match="use --device cpu"), device.one_line_errors():
            raise raised
    for raised in (RuntimeError("a fault of ours"), ValueError("another"), OSError("disk full")):
        with pytest.raises(type(raised), match=str(raised)), device.one_line_errors():
            raise raised


@pytest.mark.parametrize(
    ("error", "meaning"),
    [("ImportError", "needs the package numba-cuda"), ("AttributeError", "too old for this Numba")],
)
def test_without_numba_cuda_that_imports_the_line_says_what_to_install(error, meaning):
    code = f"""
import sys

class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == "numba.cuda":
            raise {error}("as where it is missing or broken")

sys.meta_path.insert(0, Finder())
import npsrcnn.errors
try:
    npsrcnn.SRCNN(device="cuda")
except npsrcnn.errors.UserError as line:
    print(line)
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert meaning in run.stdout and "or use --device cpu" in run.stdout
    assert "pip install" in run.stdout


def test_a_gpu_that_is_too_old_is_named(monkeypatch):
    volta = SimpleNamespace(compute_capability=(7, 0))
    monkeypatch.setattr(device, "cuda", SimpleNamespace(get_current_device=lambda: volta))
    monkeypatch.setattr(device, "SIMULATED", False)
    device.require.cache_clear()
    with pytest.raises(UserError, match=r"has compute capability 7\.0, and 7\.5 is needed"):
        device.require()


def test_without_a_gpu_the_commands_say_so_and_never_use_the_cpu(tmp_path):
    if device.cuda is not None and device.cuda.is_available():
        pytest.skip("there is a GPU")
    SRCNN("3-1-3", metadata={"scale": 3}).save(tmp_path / "model.npz")
    Image.new("L", (20, 20)).save(tmp_path / "picture.png")
    model = ["--model", "model.npz"]
    for words in (
        ["train", "--cuda"],
        ["evaluate", "--cuda", *model, "--data", ".", "--scale", "3"],
        ["upscale", "--device", "cuda", *model, "--scale", "3", "picture.png"],
    ):
        run = subprocess.run(
            [sys.executable, "-m", "npsrcnn", *words],
            capture_output=True, text=True, check=False, cwd=tmp_path,
        )  # fmt: skip
        assert run.returncode == 1 and "or use --device cpu" in run.stderr, run
        assert run.stderr.count("\n") == 1, run.stderr
    assert sorted(path.name for path in tmp_path.glob("*.p*")) == ["picture.png"]
