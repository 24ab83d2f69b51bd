"""Import ``numba.cuda``, here alone, and say what is missing where it cannot run.

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
from typing import Any, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from npsrcnn.errors import UserError
from npsrcnn.runtime.numba_inside import SIMULATES_CUDA

INSTALL = 'pip install "npsrcnn[cuda]"'
_CPU = "or use --device cpu"
if not hasattr(np, "row_stack"):  # NumPy 2.5; without it numba-cuda 0.30 can compile nothing
    np.row_stack = np.vstack  # noqa: NPY201
MISSING = f"--device cuda needs the package numba-cuda: {INSTALL}, {_CPU}"
cuda: Any  # it has no types: what it holds, it decides as it is imported
try:
    cuda = importlib.import_module("numba.cuda")
except ImportError:  # a Numba that has left its CUDA target to numba-cuda
    cuda = None
except AttributeError:  # numba-cuda below 0.30 with Numba 0.68
    cuda = None
    MISSING = f'numba-cuda is too old for this Numba: pip install -U "numba-cuda[cu13]", {_CPU}'

SIMULATED = SIMULATES_CUDA
OLDEST_CAPABILITY = (7, 5)
"""The oldest compute capability that kernels are tested for (Turing, 2018)."""
SHARED_BYTES = 48 << 10
"""Shared memory that a block may declare on every GPU."""

Function = TypeVar("Function", bound=Callable[..., object])


class DeviceArray(Protocol):
    """An array of one dimension in the GPU's memory, as far as it is used here."""

    @property
    def size(self) -> int:
        """Number of elements."""

    def __getitem__(self, part: slice) -> DeviceArray:
        """Return a view of a part."""

    def copy_to_host(self) -> np.ndarray:
        """Return a copy in main memory."""

    def copy_to_device(self, array: np.ndarray) -> None:
        """Overwrite the elements with those of an array in main memory."""


DeviceLayer = tuple[DeviceArray, DeviceArray]
"""Weights and biases of a layer."""


class Kernel(Protocol):
    """A compiled kernel."""

    def __getitem__(self, configuration: tuple[object, ...]) -> Callable[..., None]:
        """Return what launches it: on a grid of blocks, of so many threads, in a stream."""

    def specialize(self, *arguments: DeviceArray) -> Kernel:
        """Return the kernel for arguments of these types alone."""


def registers(threads: int) -> int:
    """Return how many registers a thread may have for ``threads`` to fit: 255 at most of 65,536."""
    return min(255, (1 << 16) // threads // 8 * 8)


def jit(threads: int, resident: int = 1) -> Callable[[Callable[..., None]], Kernel]:
    """Compile a kernel for blocks of up to ``threads``: IEEE float32, no fast-math.

    Registers are limited so that ``resident`` blocks fit a multiprocessor at once.

    Raises
    ------
    UserError
        numba-cuda is missing.
    """
    if cuda is None:
        raise UserError(MISSING)
    decorate: Callable[[Callable[..., None]], Kernel] = cuda.jit
    if SIMULATED:  # knows no such options
        return decorate
    options: dict[str, object] = {"max_registers": registers(threads * resident)}
    if "lto" in inspect.signature(cuda.jit).parameters:  # numba-cuda
        options["lto"] = False  # compile once, not again when linking: to what tests have seen
    decorate = cuda.jit(**options)
    return decorate


@functools.lru_cache(maxsize=1024)
def integers(*values: int) -> DeviceArray:
    """Return an int64 array on the device for kernels to read, cached by its values."""
    return to_device(np.array(values, np.int64))


def inline(function: Function) -> Function:
    """Let kernels call ``function``. (One that uses ``cuda`` works only in its own file.)"""
    if cuda is None:
        return function
    try:
        extending = importlib.import_module("numba.cuda.extending")
        register: Callable[[Function], Function] = extending.register_jitable
    except (ImportError, AttributeError):  # Numba's own target
        register = importlib.import_module("numba.extending").register_jitable
    return register(function)


@functools.cache
def require() -> None:
    """Make sure that kernels can run here, on a GPU that is new enough.

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
    with one_line_errors():
        capability = tuple(cuda.get_current_device().compute_capability)
    if capability < OLDEST_CAPABILITY:
        oldest = ".".join(map(str, OLDEST_CAPABILITY))
        raise UserError(
            f"this GPU has compute capability {capability[0]}.{capability[1]}, and "
            f"{oldest} is needed (Turing or newer); {_CPU[3:]}"
        )
    with one_line_errors():
        importlib.import_module("numba.cuda.cudadrv.nvvm").NVVM()


@contextlib.contextmanager
def one_line_errors() -> Iterator[None]:
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
    """Return the exceptions of ``numba.cuda``, and of NVIDIA's packages below numba-cuda."""
    error = importlib.import_module("numba.cuda.cudadrv.error")
    found = [
        error.CudaSupportError,
        error.NvvmSupportError,
        error.NvvmError,
        error.CudaDriverError,
        importlib.import_module("numba.cuda.cudadrv.driver").LinkerError,
    ]
    for module, name in (
        ("cuda.core._utils.cuda_utils", "CUDAError"),
        ("cuda.bindings.nvjitlink", "nvJitLinkError"),
    ):
        with contextlib.suppress(ImportError, AttributeError):
            found.append(getattr(importlib.import_module(module), name))
    return tuple(found)


_FULL = "the GPU is out of memory: close what else uses it, or train with a smaller --batch"
_OLD = (
    "the NVIDIA driver is older than the CUDA compiler: update the driver, or install a compiler "
    'as old: pip install "numba-cuda[cu12]"'
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
    """Return one line for what CUDA said: what happened, and the fix."""
    meaning = _meaning(message)
    if meaning is None:
        text = " ".join(message.split())
        return f"the GPU reports an error: {text}; {_CPU[3:]} if it stays"
    return f"{meaning}, {_CPU}"


def free_memory() -> int:
    """Return how many bytes of the GPU's memory can be allocated now."""
    free = cuda.current_context().get_memory_info()[0]
    return int(min(free, 1 << 50))  # the simulator's is infinite


def floats(count: int) -> DeviceArray:
    """Allocate ``count`` float32 on the device, their values undefined."""
    array: DeviceArray = cuda.device_array(count, np.float32)
    return array


def to_device(values: npt.ArrayLike) -> DeviceArray:
    """Copy an array to the device: flat, its dtype kept."""
    array: DeviceArray = cuda.to_device(np.ascontiguousarray(values).reshape(-1))
    return array


def divide_up(value: int, parts: int) -> int:
    """Return ``value / parts``, rounded up."""
    return -(-value // parts)


def round_up(multiple: int, value: int) -> int:
    """Return ``value``, or the next multiple of ``multiple`` above it."""
    return divide_up(value, multiple) * multiple


def even(total: int, most: int) -> int:
    """Return the size of equal parts of ``total``, of at most ``most`` each."""
    return divide_up(total, divide_up(total, most))
