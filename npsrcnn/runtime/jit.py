"""Compile kernels with Numba: the only module that names its options.

Every kernel is compiled without the GIL, so that :mod:`npsrcnn.runtime.threads` can run it on
several Python threads, and cached on disk, so that only the first start pays for compiling.

``NPSRCNN_BOUNDSCHECK=1`` in the environment compiles kernels with index checks (slow, for tests).
``NPSRCNN_TILES=neon`` takes the register tiles of 64-bit Arm on any processor, to test them there.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import numba
from numba.extending import intrinsic

from npsrcnn.runtime import numba_inside
from npsrcnn.runtime.numba_inside import Dispatcher, Kernel, StampedCache, cache_path, keep

PACKAGE = Path(__file__).resolve().parents[1]
BOUNDSCHECK = os.environ.get("NPSRCNN_BOUNDSCHECK") == "1"
NEON_TILES = os.environ.get("NPSRCNN_TILES") == "neon"
# Any: Numba's stubs lack the two options that leave wrappers out.
_OPTIONS: dict[str, Any] = {"nogil": True, "error_model": "numpy", "boundscheck": BOUNDSCHECK}
_NO_WRAPPERS: dict[str, Any] = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}
F = TypeVar("F", bound=Callable[..., object])


def jit(function: F) -> Dispatcher[F]:
    """Compile ``function`` with Numba: no GIL, NumPy's error model, cached where a cache can be."""
    kernel: Dispatcher[F] = numba.njit(**_OPTIONS)(function)
    if not BOUNDSCHECK:  # checked code must not be found later by a run without checks
        try:
            keep(kernel, StampedCache(function, _stamp(function)))
        except RuntimeError as error:  # neither the package's folder nor the user's can be written
            if "no locator available" not in str(error):
                raise
    return kernel


def helper(function: F) -> Dispatcher[F]:
    """Compile ``function`` as a part of kernels, which alone may call it, never Python.

    Its code is in each kernel that calls it, so it has no wrapper for Python and no cache of its
    own, which shortens compiling.
    """
    kernel: Dispatcher[F] = numba.njit(**_NO_WRAPPERS, **_OPTIONS)(function)
    return kernel


def inlined(function: F) -> Dispatcher[F]:
    """Compile ``function`` as if it were written out where it is called."""
    return numba.njit(inline="always")(function)


def emitted(function: Callable[..., object]) -> Callable[..., Any]:
    """Make a function of kernels from one that emits its LLVM code.

    ``function(typing, *types)`` returns a signature and what generates the code. Constants come
    as literal types.
    """
    return intrinsic(prefer_literal=True)(function)


def _stamp(function: Callable[..., object]) -> str:
    """Return what changes with the files that a kernel is compiled from, beside its own.

    Numba itself looks at that only, and would run old code after an upgrade.
    """
    return _all_kernels() if function.__module__.startswith("npsrcnn.kernels.") else ""


@functools.lru_cache(maxsize=1)
def _all_kernels() -> str:
    """Return a fingerprint of all files that CPU kernels are compiled from."""
    digest = hashlib.sha256(b"neon" * NEON_TILES)
    for folder in ("runtime", "kernels", "kernels/cpu"):
        for path in sorted((PACKAGE / folder).glob("*.py")):
            digest.update(path.read_bytes())
    return digest.hexdigest()


@contextlib.contextmanager
def compilations() -> Iterator[list[Kernel]]:
    """Collect the kernels and helpers that are compiled meanwhile because no cache has them."""
    compiled: list[Kernel] = []
    with numba_inside.compilations() as found:
        yield compiled
    compiled += [one for one in found if one.py_func.__module__.startswith("npsrcnn.")]


def when_compiling(begin: Callable[[], None]) -> contextlib.AbstractContextManager[object]:
    """Call ``begin`` once if meanwhile something must be compiled that the next start will find."""
    waiting = [begin]

    def look(kernel: Kernel) -> None:
        if waiting and cache_path(kernel):
            waiting.pop()()

    return numba_inside.when_compiling(look)


def cache_folders(compiled: Iterable[Kernel]) -> set[Path]:
    """Return the folders that keep compiled kernels for the next start; empty if none does."""
    return {Path(path) for path in map(cache_path, compiled) if path}
