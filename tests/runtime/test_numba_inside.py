"""Of what Numba has inside all is there that is used, and does what it is used for.

A new Numba may change it. Then the first of these tests that fails says what, and the module they
test is the only one to mend.
"""

from __future__ import annotations

import ast
from pathlib import Path

import numba
import numpy as np
import pytest
from llvmlite import ir
from numba import types
from processes import PACKAGE, run_python

from npsrcnn.runtime import numba_inside as inside

HERE = PACKAGE / "runtime" / "numba_inside.py"
CHANGED = f"Numba {numba.__version__} has changed it: mend {HERE.relative_to(PACKAGE.parent)}"


def private_imports(path: Path) -> set[tuple[str, str]]:
    """Modules and names that a file imports of what is not Numba's public interface."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [(node.module, alias.name) for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [(alias.name, "") for alias in node.names]
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            names = [(node.value, "")] if node.value.isprintable() else []
        else:
            continue
        found |= {
            (module, name)
            for module, name in names
            if module.startswith("numba.")
            and " " not in module
            and module.split(".")[1] not in ("extending", "cuda")
        }
    return found


def test_only_one_module_imports_what_is_private():
    assert len(private_imports(HERE)) > 6
    for path in PACKAGE.rglob("*.py"):
        assert path == HERE or not private_imports(path), path


def test_what_is_gone_is_named_and_what_to_do():
    said = run_python("""
from numba.core import caching
del caching.FunctionCache
try:
    import npsrcnn.runtime.jit
except ImportError as error:
    print(error)
""")
    assert f"Numba {numba.__version__} has changed" in said and "'FunctionCache'" in said
    assert "install an earlier Numba" in said and said.count("\n") == 1


def test_variables_of_the_environment_are_read():
    code = (
        "from npsrcnn.runtime.numba_inside import SIMULATES_CUDA, cpu_features\n"
        "print(SIMULATES_CUDA, *cpu_features())"
    )
    said = run_python(code, NUMBA_CPU_FEATURES="+sse2,-fma", NUMBA_ENABLE_CUDASIM="1").split()
    assert said == ["True", "+sse2", "-fma"], f"numba.core.config: {CHANGED}"
    assert all(one[:1] in "+-" for one in inside.cpu_features()), f"cpu features: {CHANGED}"


def test_a_kernel_is_kept_under_its_stamp(fresh_function, monkeypatch):
    """The cache: attributes of Numba's classes, and what a kernel does with it."""
    hits = []
    for stamp in ("one", "one", "other"):
        kernel = numba.njit(fresh_function)
        cache = inside.StampedCache(fresh_function, stamp)
        inside.keep(kernel, cache)
        assert inside.is_new(kernel) == (len(hits) != 1), f"the cache's index: {CHANGED}"
        assert kernel(1) == 2
        assert not inside.is_new(kernel), f"the cache's index: {CHANGED}"
        with monkeypatch.context() as patch:
            patch.setattr(inside.config, "CPU_NAME", "another")
            assert inside.is_new(kernel), f"the name of the processor: {CHANGED}"
        assert inside.cache_path(kernel) == str(cache.cache_path), f"stats: {CHANGED}"
        hits.append(sum(kernel.stats.cache_hits.values()))
    assert hits == [0, 1, 0], f"caching: {CHANGED}"
    assert list(Path(cache.cache_path).glob("*.nbi")), f"caching: {CHANGED}"
    assert inside.cache_path(numba.njit(fresh_function)) is None, f"stats: {CHANGED}"


def test_what_is_compiled_is_told(fresh_function):
    begun, kernel = [], numba.njit(fresh_function)
    with inside.compilations() as compiled, inside.when_compiling(begun.append):
        assert kernel(1) == 2 and kernel(1) == 2
    assert compiled == begun == [kernel], f"the event {inside.COMPILING}: {CHANGED}"


def test_kernels_call_each_other_by_address():
    signature = types.void(types.int64, types.float32[::1])

    @numba.njit
    def fill(value, into):
        if value < 0:
            raise ValueError("below 0")
        into[:] = value

    call = inside.caller(signature)

    @numba.njit
    def kernel(place, value, into):
        call(place, (value, into))

    place = inside.address(fill, signature)
    result = np.zeros(3, np.float32)
    kernel(place, 7, result)
    np.testing.assert_array_equal(result, 7, err_msg=f"call_conv: {CHANGED}")
    with pytest.raises(ValueError, match="below 0"):  # errors come back as from any kernel
        kernel(place, -1, result)
    with pytest.raises(inside.TypingError, match="are not the arguments"):
        kernel(place, 1.0, result)


def test_functions_of_llvm_are_declared_once():
    module, kind = ir.Module(), ir.FunctionType(ir.FloatType(), [ir.FloatType()] * 3)
    declared = [inside.get_or_insert_function(module, kind, "llvm.fma.f32") for _ in range(2)]
    assert declared[0] is declared[1] and declared[0].name == "llvm.fma.f32", f"cgutils: {CHANGED}"
