"""The only place that names Numba options.

Every kernel is compiled without the GIL, so that :mod:`npsrcnn.kernels.threads` can run it on
several Python threads, and cached on disk, so that only the first start pays for compiling.

``NPSRCNN_BOUNDSCHECK=1`` in the environment compiles kernels with index checks (slow, for tests).
"""

from __future__ import annotations

import os
from collections.abc import Callable

import numba

BOUNDSCHECK = os.environ.get("NPSRCNN_BOUNDSCHECK") == "1"


def jit(function: Callable) -> Callable:
    """Compile ``function`` with Numba: no GIL, NumPy's error model, cached where a cache can be.

    Numba's cache knows a kernel by its own file alone: whoever edits a helper in another file
    (an intrinsic of ``tiles.py``, say) touches the kernel's file too, or clears ``__pycache__``.
    """
    options = {"nogil": True, "error_model": "numpy", "boundscheck": BOUNDSCHECK}
    if BOUNDSCHECK:  # checked code must not be found later by a run without checks
        return numba.njit(**options)(function)
    try:
        return numba.njit(cache=True, **options)(function)
    except RuntimeError as error:  # neither the package's folder nor the user's can be written
        if "no locator available" not in str(error):
            raise
        return numba.njit(**options)(function)


def helper(function: Callable) -> Callable:
    """Compile ``function`` as a part of kernels, which alone may call it, never Python.

    Its code is in each kernel that calls it, so it has no wrapper for Python and no cache of its
    own, which shortens compiling.
    """
    return numba.njit(
        nogil=True,
        error_model="numpy",
        boundscheck=BOUNDSCHECK,
        no_cpython_wrapper=True,
        no_cfunc_wrapper=True,
    )(function)


def inlined(function: Callable) -> Callable:
    """A helper that is compiled as if written out where it is called."""
    return numba.njit(inline="always")(function)
