"""The one place that imports ``numba.cuda``, and that says what is missing where it cannot run.

Two packages offer ``numba.cuda``: Numba itself, whose target is frozen, and ``numba-cuda``, its
successor on the same import (the extra ``cuda``). Kernels use what both share: ``cuda.jit``,
shared memory, thread and block indices, ``syncthreads``. A package that is to replace them is
swapped in here. (Not ``min`` and ``max``: Numba's own target, 0.68, cannot compile them.)

``NUMBA_ENABLE_CUDASIM=1`` in the environment runs every kernel in Python threads, without a GPU:
slowly, for tests.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import inspect
from collections.abc import Callable, Iterator

import numpy as np
from numba.core import config

from npsrcnn.errors import UserError

INSTALL = "pip install 'npsrcnn[cuda]'"
_CPU = "or use --device cpu"
if not hasattr(np, "row_stack"):  # NumPy 2.5; without it numba-cuda 0.30 can compile nothing
    np.row_stack = np.vstack  # noqa: NPY201
MISSING = f"--device cuda needs the package numba-cuda: {INSTALL}, {_CPU}"
try:
    from numba import cuda
except ImportError:  # a Numba that has left its CUDA target to numba-cuda
    cuda = None
except AttributeError:  # numba-cuda below 0.30 with Numba 0.68
    cuda = None
    MISSING = f"numba-cuda is too old for this Numba: pip install -U 'numba-cuda[cu13]', {_CPU}"

SIMULATED = bool(config.ENABLE_CUDASIM)
OLDEST = (7, 5)
"""The compute capability that kernels are tested for (Turing, 2018), and all that are newer."""
SHARED = 48 << 10
"""Bytes of shared memory that a block may declare on every GPU."""


def registers(threads: int) -> int:
    """How many registers a thread may have for ``threads`` to fit: of 65,536, 255 at most."""
    return min(255, (1 << 16) // threads // 8 * 8)


def jit(threads: int, resident: int = 1) -> Callable[[Callable], Callable]:
    """Compile a kernel for blocks of up to ``threads``: IEEE float32, no fast-math.

    Registers are limited so that ``resident`` blocks fit a multiprocessor at once.

    Raises
    ------
    UserError
        numba-cuda is missing.
    """
    if cuda is None:
        raise UserError(MISSING)
    if SIMULATED:  # knows no such options
        return cuda.jit
    options: dict[str, object] = {"max_registers": registers(threads * resident)}
    if "lto" in inspect.signature(cuda.jit).parameters:  # numba-cuda
        options["lto"] = False  # compile once, not again when linking: to what tests have seen
    return cuda.jit(**options)


@functools.lru_cache(maxsize=1024)
def numbers(*values: int) -> object:
    """Whole numbers for kernels, on the device: the same again for the same values."""
    return cuda.to_device(np.array(values, np.int64))


def inline(function: Callable) -> Callable:
    """Let kernels call ``function``. (One that uses ``cuda`` works only in its own file.)"""
    if cuda is None:
        return function
    try:
        from numba.cuda.extending import register_jitable
    except ImportError:  # Numba's own target
        from numba.extending import register_jitable
    return register_jitable(function)


@functools.cache
def require() -> None:
    """Make sure that kernels can run here, on a GPU of the compute capability ``OLDEST`` at least.

    Raises
    ------
    UserError
        No numba-cuda, no driver, no GPU, one that is too old, or no compiler: one line that
        names the fix. Never a silent CPU.
    """
    if cuda is None:
        raise UserError(MISSING)
    if SIMULATED:
        return
    with errors_for_people():
        capability = tuple(cuda.get_current_device().compute_capability)
    if capability < OLDEST:
        raise UserError(
            f"this GPU has compute capability {capability[0]}.{capability[1]}, and "
            f"{OLDEST[0]}.{OLDEST[1]} is needed (Turing or newer); {_CPU[3:]}"
        )
    from numba.cuda.cudadrv import nvvm

    with errors_for_people():
        nvvm.NVVM()


@contextlib.contextmanager
def errors_for_people() -> Iterator[None]:
    """Turn what CUDA raises into one line that says what to do; other errors pass.

    Raises
    ------
    UserError
    """
    if cuda is None or SIMULATED:
        yield
        return
    try:
        yield
    except _cuda_errors() as e:
        raise UserError(explain(str(e))) from e
    except (OSError, RuntimeError) as e:  # a library that is not found, or a function of it
        if _meaning(str(e)) is None:
            raise
        raise UserError(explain(str(e))) from e


@functools.cache
def _cuda_errors() -> tuple[type[Exception], ...]:
    """What ``numba.cuda`` raises, and the packages of NVIDIA's that numba-cuda is built on."""
    from numba.cuda.cudadrv import driver, error

    found = [
        error.CudaSupportError, error.NvvmSupportError, error.NvvmError, error.CudaDriverError,
        driver.LinkerError,
    ]  # fmt: skip
    for module, name in (
        ("cuda.core._utils.cuda_utils", "CUDAError"), ("cuda.bindings.nvjitlink", "nvJitLinkError")
    ):  # fmt: skip
        with contextlib.suppress(ImportError, AttributeError):
            found.append(getattr(importlib.import_module(module), name))
    return tuple(found)


_FULL = "the GPU is out of memory: close what else uses it, or train with a smaller --batch"
_OLD = (
    "the NVIDIA driver is older than the CUDA compiler: update the driver, or install a compiler "
    "as old: pip install 'numba-cuda[cu12]'"
)
_MISSING = f"a library of CUDA's compiler is missing: {INSTALL}"
_NO_DRIVER = "no NVIDIA driver on this machine: install it"
_NO_GPU = "no NVIDIA GPU is visible (nvidia-smi lists them, CUDA_VISIBLE_DEVICES hides)"
_EXPLANATIONS = (
    # (what CUDA's message has in it, in capitals; what to say)
    ("OUT_OF_MEMORY", _FULL),
    ("UNSUPPORTED_PTX", _OLD),
    ("UNSUPPORTED TOOLCHAIN", _OLD),
    ("NO_BINARY_FOR_GPU", _OLD),
    ("MISSING FUNCTION", _OLD),
    ('FUNCTION "CU', _OLD),
    ("INSUFFICIENT", "the NVIDIA driver is too old: update it"),
    ("MISMATCH", "the NVIDIA driver in memory is not the one installed: restart the machine"),
    ("LIBNVVM CANNOT BE FOUND", _MISSING),
    ("LIBNVVM IS NOT AVAILABLE", _MISSING),
    ("MISSING LIBDEVICE", _MISSING),
    ("FAILURE FINDING", _MISSING),
    ("NO_DEVICE", _NO_GPU),
    ("NO CUDA-CAPABLE", _NO_GPU),
    ("LIBRARY CANNOT BE FOUND", _NO_DRIVER),
    ("DRIVER LIBRARY", _NO_DRIVER),
)


def _meaning(message: str) -> str | None:
    capitals = message.upper()
    return next((meaning for sign, meaning in _EXPLANATIONS if sign in capitals), None)


def explain(message: str) -> str:
    """One line for what CUDA said: what happened, and the fix."""
    meaning = _meaning(message)
    if meaning is None:
        text = " ".join(message.split())
        return f"the GPU reports an error: {text}; {_CPU[3:]} if it stays"
    return f"{meaning}, {_CPU}"


def free_memory() -> int:
    """Bytes of the GPU's memory that can be allocated now."""
    free = cuda.current_context().get_memory_info()[0]
    return int(min(free, 1 << 50))  # the simulator's is infinite


def floats(count: int) -> object:
    """An array of ``count`` float32 on the device, its values undefined."""
    return cuda.device_array(count, np.float32)


def up(multiple: int, value: int) -> int:
    """``value``, or the next multiple of ``multiple`` above it."""
    return -(-value // multiple) * multiple
