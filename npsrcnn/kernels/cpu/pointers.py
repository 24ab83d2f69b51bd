"""Call kernels from other kernels by their address.

A kernel that calls another by name is compiled together with it, and LLVM may write the one's code
into the other's. Called by its address a kernel stays apart: it is compiled once for all that call
it, on its own, at the same time as others in other processes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba import types
from numba.core import cgutils
from numba.core.errors import TypingError
from numba.core.typing.templates import Signature
from numba.extending import intrinsic

from npsrcnn.runtime.jit import Kernel


def address(kernel: Kernel, signature: Signature) -> int:
    """Return the address of ``kernel``'s code for ``signature``, compiled if no cache has it."""
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
