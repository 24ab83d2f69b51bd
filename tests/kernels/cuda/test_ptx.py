"""Test what the compiler makes of GPU kernels without a GPU: libNVVM to PTX, ptxas to registers.

``pip install ".[cuda-test]"`` brings both. Without libNVVM all is skipped; without a ptxas of the
same release, or newer, only the PTX is looked at. With NPSRCNN_PTX=required in the environment, as
``.ci/run`` has it, nothing is left out: what is missing fails.
"""

from __future__ import annotations

import functools
import importlib
import os
import re
import shutil
import subprocess
import sys
import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

import pytest
from numba import types

from npsrcnn.errors import UserError
from npsrcnn.kernels.cuda import (
    convolution,
    device,
    fused,
    gradients,
    soap,
    steps,
    tiles,
)
from npsrcnn.kernels.cuda.convolution import Shape
from npsrcnn.kernels.cuda.device import cuda

ARCHITECTURES = ((7, 5), (8, 0), (9, 0))
FLOATS, NUMBERS = types.float32[::1], types.int64[::1]


class Case(NamedTuple):
    """A kernel, the types of its arguments, and what its PTX must show."""

    kernel: object
    arguments: tuple
    threads: int
    products: int = 0  # multiply-adds of a tile, at least
    loads: int = 0  # of four floats from shared memory, at least
    stores: int = 0  # of four floats to global memory, at least
    resident: int = 1  # blocks for which registers must suffice


def _convolution(shape: Shape, rows: int, columns: int, skew: int = 0) -> Case:
    parts = convolution.blocking(shape, rows, columns, skew)
    numbers = parts.maps * parts.rows * parts.columns
    window, high = tiles.window(parts.columns, shape.size, skew), parts.high
    loads = (parts.rows + high - 1) * window + device.round_up(4, parts.maps) * high * shape.size
    return Case(
        convolution.kernel(shape, parts), (*[FLOATS] * 5, NUMBERS), parts.threads,
        numbers * high * shape.size, loads // 4, numbers // 4, parts.resident,
    )  # fmt: skip


def _last(maps: int) -> Case:
    return _convolution(Shape(32, maps, 5, zeros=False), 1080, 1920, skew=2)


def _gradient(shape: Shape, columns: int) -> Case:
    parts = gradients.blocking(shape, columns)
    sums = parts.maps * parts.channels * shape.size
    loads = parts.maps + parts.channels * tiles.window(4, shape.size) // 4
    return Case(
        gradients.kernel(shape, parts, gradients.THREADS), (*[FLOATS] * 3, NUMBERS),
        gradients.THREADS, 4 * sums, loads,
    )  # fmt: skip


def _fused(*pair: int) -> Case:
    pair = fused.Pair(*pair)
    parts = fused.blocking(pair)
    pixels = fused.ROWS * fused.COLUMNS
    products = pixels * (parts.maps * pair.f2 + parts.hidden_maps * pair.f1)
    loads = 2 * (fused.ROWS + fused.ROWS) + parts.maps // 4 * pair.f2 + pair.f1
    return Case(
        fused.kernel(pair, parts), (*[FLOATS] * 6, NUMBERS), parts.threads, products, loads,
        parts.maps * pixels // 4, parts.resident,
    )  # fmt: skip


def _step(name: str) -> Case:
    threads = steps.THREADS
    update = (*[FLOATS] * 7, NUMBERS)
    kernel, arguments = {
        "relu": (steps.rectify_kernel(threads), [FLOATS] * 3),
        "loss": (steps.compare_kernel(threads), (*[FLOATS] * 4, NUMBERS)),
        "add": (steps.add_kernel(threads), (*[FLOATS] * 3, NUMBERS)),
        "sgd": (steps.update_kernel(threads, steps.SGD), update),
        "adam": (steps.update_kernel(threads, steps.ADAM), update),
        "check step": (steps.check_step_kernel(threads), (*[FLOATS] * 4, NUMBERS, FLOATS)),
        "gather": (steps.gather_kernel(threads),
            (FLOATS, NUMBERS, types.int32[::1], types.uint8[::1], FLOATS, NUMBERS, NUMBERS)),
    }[name]  # fmt: skip
    return Case(kernel, tuple(arguments), threads)


def _soap(name: str) -> Case:
    threads, parts = soap.THREADS, soap.PARTS
    rotate = *[FLOATS] * 3, NUMBERS, FLOATS
    step = FLOATS, NUMBERS, FLOATS  # plan, counter, step_ok
    kernel, arguments = {
        "rotate": (soap.rotate_kernel(threads, soap.TO, 0), rotate),
        "rotate back": (soap.rotate_kernel(threads, soap.BACK, 1), rotate),
        "rotate squares": (soap.rotate_kernel(threads, soap.SQUARES, 2), rotate),
        "update moments": (
            soap.update_moments_kernel(threads, parts),
            (*[FLOATS] * 4, NUMBERS, *step),
        ),
        "normalize": (soap.normalize_kernel(threads, parts), (*[FLOATS] * 4, NUMBERS, *step)),
        "apply": (soap.apply_kernel(threads), (*[FLOATS] * 4, *step)),
        "update covariances": (
            soap.update_covariances_kernel(threads, soap.SLICES),
            (*[FLOATS] * 2, NUMBERS, *step),
        ),
        "update vectors": (soap.update_vectors_kernel(threads), (*[FLOATS] * 4, NUMBERS, FLOATS)),
    }[name]
    return Case(kernel, arguments, threads)


def _back(channels: int, maps: int, size: int) -> Shape:
    return Shape(maps, channels, size, tiles.GATE, transposed=True)


# All of 9-1-5 in one channel, for every architecture.
MAIN = {
    "inference of layers 1 and 2": lambda: _fused(1, 64, 9, 32, 1),
    "inference of layer 3": lambda: _last(1),
    "layer 1": lambda: _convolution(Shape(1, 64, 9, tiles.RELU), 25, 25),
    "layer 2": lambda: _convolution(Shape(64, 32, 1, tiles.RELU), 25, 25),
    "layer 3": lambda: _convolution(Shape(32, 1, 5), 21, 21),
    "dx of layer 3": lambda: _convolution(_back(32, 1, 5), 25, 25),
    "dx of layer 2": lambda: _convolution(_back(64, 32, 1), 25, 25),
    "dw of layer 3": lambda: _gradient(Shape(32, 1, 5), 21),
    "dw of layer 2": lambda: _gradient(Shape(64, 32, 1), 25),
    "dw of layer 1": lambda: _gradient(Shape(1, 64, 9), 25),
    **{name: functools.partial(_step, name)
       for name in ("relu", "loss", "add", "sgd", "adam", "check step", "gather")},
    **{f"{name}, of SOAP": functools.partial(_soap, name)
       for name in ("rotate", "rotate back", "rotate squares", "update moments", "normalize",
                    "apply", "update covariances", "update vectors")},
}  # fmt: skip
# The other networks, for one of them.
MORE = {
    "9-3-5, layers 1 and 2": lambda: _fused(1, 64, 9, 32, 3),
    "9-5-5, layers 1 and 2": lambda: _fused(1, 64, 9, 32, 5),
    "9-1-5 in color, layers 1 and 2": lambda: _fused(3, 64, 9, 32, 1),
    "9-5-5 in color, layers 1 and 2": lambda: _fused(3, 64, 9, 32, 5),
    "color, inference of layer 3": lambda: _last(3),
    "9-5-5, layer 2": lambda: _convolution(Shape(64, 32, 5, tiles.RELU), 21, 21),
    "9-5-5, dx of layer 2": lambda: _convolution(_back(64, 32, 5), 25, 25),
    "9-5-5, dw of layer 2": lambda: _gradient(Shape(64, 32, 5), 21),
    "9-3-5, dw of layer 2": lambda: _gradient(Shape(64, 32, 3), 23),
    "color, dw of layer 3": lambda: _gradient(Shape(32, 3, 5), 21),
    "31 x 31": lambda: _convolution(Shape(1, 4, 31), 200, 200),
    "31 x 31, dw": lambda: _gradient(Shape(1, 4, 31), 200),
}

REQUIRED = os.environ.get("NPSRCNN_PTX") == "required"


@pytest.fixture(autouse=True)
def compiler():
    if not has_compiler():
        missing = pytest.fail if REQUIRED else pytest.skip
        missing("libNVVM is not there: pip install '.[cuda-test]'")


@functools.cache
def has_compiler() -> bool:
    if device.SIMULATED or cuda is None:
        return False
    from numba.cuda.cudadrv import nvvm

    try:
        with device.one_line_errors():
            nvvm.NVVM()
    except UserError:
        return False
    return True


@functools.cache
def assembler() -> str | None:
    """ptxas: of the environment, else of the system."""
    places = [Path(folder) / "nvidia" / "cu13" / "bin" for folder in sys.path]
    return shutil.which("ptxas", path=":".join(map(str, places))) or shutil.which("ptxas")


def compiled(case: Case, architecture: tuple[int, int], monkeypatch) -> str:
    """PTX, though there is no device whose architecture could be asked for."""
    from numba.cuda import dispatcher

    here = SimpleNamespace(compute_capability=architecture)
    monkeypatch.setattr(dispatcher, "get_current_device", lambda: here)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what numba and libNVVM say of their own future
        return cuda.compile_ptx(case.kernel.py_func, case.arguments, cc=architecture)[0]


def resources(ptx: str, architecture: tuple[int, int], threads: int, folder: Path) -> dict | None:
    """What ptxas says of registers, spills and stack; None where it is not there or older."""
    if assembler() is None:
        return None
    (folder / "kernel.ptx").write_text(ptx, encoding="utf-8")
    run = subprocess.run(
        [assembler(), f"-arch=sm_{architecture[0]}{architecture[1]}", "-v",
         f"-maxrregcount={device.registers(threads)}", "kernel.ptx", "-o", "kernel.cubin"],
        capture_output=True, text=True, check=False, cwd=folder,
    )  # fmt: skip
    if "Unsupported .version" in run.stderr:
        return None
    assert run.returncode == 0, run.stderr
    patterns = {
        "registers": r"Used (\d+) registers",
        "stack": r"(\d+) bytes stack frame",
        "spills": r"(\d+) bytes spill stores",
        "shared": r"(\d+) bytes smem",
    }
    found = {name: re.search(pattern, run.stderr) for name, pattern in patterns.items()}
    return {name: int(match[1]) if match else 0 for name, match in found.items()}


CASES = [
    pytest.param(make, architecture, id=f"{name}, sm_{architecture[0]}{architecture[1]}")
    for table, architectures in (
        (MAIN, ARCHITECTURES), (MORE, [(8, 0)]),
    )
    for name, make in table.items()
    for architecture in architectures
]  # fmt: skip


@pytest.mark.parametrize(("make", "architecture"), CASES)
def test_kernel_compiles_to_float32_in_registers_without_spills(
    make, architecture, monkeypatch, tmp_path
):
    case = make()
    ptx = compiled(case, architecture, monkeypatch)
    assert f".target sm_{architecture[0]}{architecture[1]}" in ptx
    assert ptx.count(".entry") == 1
    assert not re.search(r"\.f64\b", ptx), "float64 arithmetic"
    assert "__local_depot" not in ptx and ".local." not in ptx, "arrays in local memory"
    assert not re.search(r"\bcall\b", ptx), "a helper that was not inlined"
    assert not re.search(r"\b(atom|red)\.", ptx), "atomics, whose order is anyone's guess"
    assert ptx.count("fma.rn.f32") >= case.products
    assert ptx.count("ld.shared.v4.") >= case.loads
    assert ptx.count("st.global.v4.") >= case.stores
    assert "tf32" not in ptx, "float32 throughout"
    if case.loads:  # vectors need it
        assert set(re.findall(r"\.shared \.align (\d+)", ptx)) == {"16"}
    if case.products:  # what the tiles read comes four floats at a time: loads of one are few
        assert len(re.findall(r"ld\.shared\.[fb]32", ptx)) < case.products / 4
    found = resources(ptx, architecture, case.threads * case.resident, tmp_path)
    assert found is not None or not REQUIRED, "no ptxas, or an older one"
    if found is not None:
        assert found["spills"] == 0 and found["stack"] == 0, found
        assert found["registers"] * case.threads * case.resident <= 1 << 16, found
        assert found["shared"] <= device.SHARED_BYTES, found


@pytest.mark.parametrize(
    ("module", "name"),
    [("cuda.core._utils.cuda_utils", "CUDAError"), ("cuda.bindings.nvjitlink", "nvJitLinkError")],
)
def test_errors_of_nvidias_packages_become_one_line(module, name):
    """Of numba-cuda; Numba's own target raises but its own."""
    pytest.importorskip("numba_cuda")
    kind = getattr(importlib.import_module(module), name)
    raised = kind.__new__(kind, "CUDA_ERROR_OUT_OF_MEMORY")  # nvJitLink's asks for a handle
    with pytest.raises(UserError, match="out of memory"), device.one_line_errors():
        raise raised
