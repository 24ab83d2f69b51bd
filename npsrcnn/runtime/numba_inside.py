"""Use what Numba has inside: the only module that imports what is not its public interface.

Numba promises nothing of all this. Where a new Numba changes it, the import or a test says what
(`tests/runtime/test_numba_inside.py`), and this file is what to mend.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Hashable, Iterator
from typing import Any, TypeAlias

import llvmlite.binding
import numba
from numba import types
from numba.extending import intrinsic

try:
    from numba.core import cgutils, config, event
    from numba.core.caching import FunctionCache, IndexDataCacheFile
    from numba.core.codegen import get_host_cpu_features
    from numba.core.dispatcher import Dispatcher
    from numba.core.errors import TypingError
    from numba.core.typing.templates import Signature
except ImportError as error:
    raise ImportError(
        f"Numba {numba.__version__} has changed what npsrcnn takes from it ({error}): install an "
        "earlier Numba or a later npsrcnn, or mend npsrcnn/runtime/numba_inside.py"
    ) from error

__all__ = ["Dispatcher", "Kernel", "Signature", "TypingError"]

Kernel: TypeAlias = "Dispatcher[Callable[..., object]]"
COMPILING = "numba:compile"  # the event of a function that no cache has
SIMULATES_CUDA = bool(vars(config)["ENABLE_CUDASIM"])  # as NUMBA_ENABLE_CUDASIM says
get_or_insert_function = cgutils.get_or_insert_function


def cpu_features() -> list[str]:
    """Return what Numba compiles for, as "+fma": the processor's, or as NUMBA_CPU_FEATURES says."""
    chosen: str | None = vars(config)["CPU_FEATURES"]
    return (get_host_cpu_features() if chosen is None else chosen).split(",")


# The cache ----------------------------------------------------------------------------------


class StampedCache(FunctionCache):
    """Cache a kernel as Numba does, but notice edits elsewhere than in its own file too.

    A kernel of another ``stamp`` is compiled anew. On a full disk, as in a folder that is
    read-only, there is no cache.

    Raises
    ------
    RuntimeError
        "no locator available": no folder can be written to.
    """

    def __init__(self, function: Callable[..., object], stamp: Hashable) -> None:
        super().__init__(function)
        both = self._impl.locator.get_source_stamp(), stamp
        self._cache_file = IndexDataCacheFile(self._cache_path, self._impl.filename_base, both)

    def save_overload(self, sig: object, data: object) -> None:
        """Keep the compiled kernel."""
        with contextlib.suppress(OSError):
            super().save_overload(sig, data)


def keep(kernel: Dispatcher[Any], cache: StampedCache) -> None:
    """Give a kernel a cache, as ``cache=True`` would give it Numba's own."""
    vars(kernel)["_cache"] = cache


def is_new(kernel: Kernel) -> bool:
    """Return whether a kernel has a cache without its code, from its files as they are now.

    Before Numba is ready to compile or load, which takes 0.15 s.
    """
    cache = vars(kernel)["_cache"]
    if not isinstance(cache, StampedCache):
        return False
    chosen: str | None = vars(config)["CPU_NAME"]
    target = chosen or llvmlite.binding.get_host_cpu_name(), ",".join(cpu_features())
    return all(processor[1:] != target for _, processor, _ in cache._cache_file._load_index())


def cache_path(kernel: Kernel) -> str | None:
    """Return the folder that keeps a kernel, if any does."""
    return kernel.stats.cache_path or None


# What is compiled ---------------------------------------------------------------------------


@contextlib.contextmanager
def compilations() -> Iterator[list[Kernel]]:
    """Collect all functions that are compiled meanwhile because no cache has them."""
    compiled: list[Kernel] = []
    with event.install_recorder(COMPILING) as recorder:
        yield compiled
    compiled += [entry.data["dispatcher"] for _, entry in recorder.buffer if entry.is_start]


class _Watcher(event.Listener):
    """Calls ``begin(kernel)`` when a function begins to be compiled."""

    def __init__(self, begin: Callable[[Kernel], None]) -> None:
        self.begin = begin

    def on_start(self, event: event.Event) -> None:
        self.begin(event.data["dispatcher"])

    def on_end(self, event: event.Event) -> None:
        pass


def when_compiling(begin: Callable[[Kernel], None]) -> contextlib.AbstractContextManager[object]:
    """Call ``begin(kernel)`` whenever meanwhile a function begins to be compiled."""
    return event.install_listener(COMPILING, _Watcher(begin))


# Calls by address ---------------------------------------------------------------------------


def address(kernel: Kernel, signature: Signature) -> int:
    """Return the address of ``kernel``'s code for ``signature``, compiled if no cache has it.

    A kernel that calls another by name is compiled together with it, and LLVM may write the one's
    code into the other's. Called by its address a kernel stays apart: it is compiled once for all
    that call it, on its own, at the same time as others in other processes.
    """
    kernel.compile(signature)
    compiled: Any = kernel.overloads[signature.args]  # a named tuple, unknown to Numba's stubs
    return int(compiled.library.get_pointer_to_function(compiled.fndesc.llvm_func_name))


def caller(signature: Signature) -> Callable[..., object]:
    """Make a function for kernels that calls another one: ``call(address, (argument, ...))``.

    Arguments must be of the very types of ``signature``, which returns nothing.
    """

    @intrinsic
    def call(typing, address, arguments):
        if arguments != types.Tuple(signature.args):
            raise TypingError(f"{arguments} are not the arguments of {signature}")

        def generate(context, builder, whole, values):
            kind = context.call_conv.get_function_type(types.void, signature.args)
            code = builder.inttoptr(values[0], kind.as_pointer())
            status, _ = context.call_conv.call_function(
                builder, code, types.void, signature.args, cgutils.unpack_tuple(builder, values[1])
            )
            with cgutils.if_unlikely(builder, status.is_error):
                context.call_conv.return_status_propagate(builder, status)
            return context.get_dummy_value()

        return types.void(types.int64, arguments), generate

    return call
