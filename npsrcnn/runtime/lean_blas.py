"""Give Numba its BLAS without all of ``scipy.linalg``, which no kernel here needs.

When the first kernel is compiled or loaded, Numba imports ``scipy.linalg.cython_blas`` to see
whether there is a BLAS, and with it comes its package: 0.17 s of CPU time of a warm
`npsrcnn upscale`, which takes 0.95. The module alone takes 0.003 s, and is all that Numba's
products of matrices use.
"""

from __future__ import annotations

import contextlib
import sys
import types
from importlib import import_module, util

PACKAGE, MODULE = "scipy.linalg", "scipy.linalg.cython_blas"


def import_blas_alone() -> None:
    """Import ``scipy.linalg.cython_blas`` and not its package, which can be imported later.

    For a process that is a command's own, before it has other threads: meanwhile an empty package
    takes the place of ``scipy.linalg``. Does nothing where that is imported already; where SciPy
    wants more than the module, Numba imports all of it as ever.
    """
    scipy = sys.modules.get("scipy")
    if scipy is None or PACKAGE in sys.modules:
        return
    spec = util.find_spec(PACKAGE)
    if spec is None or spec.submodule_search_locations is None:
        return
    package = types.ModuleType(PACKAGE)
    package.__path__ = list(spec.submodule_search_locations)
    sys.modules[PACKAGE] = package
    try:
        with contextlib.suppress(ImportError):  # then Numba's own import has the last word
            import_module(MODULE)
    finally:
        del sys.modules[PACKAGE]
        vars(scipy).pop("linalg", None)
