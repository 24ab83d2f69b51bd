"""Numba's BLAS without scipy.linalg: it works, and the package can still be imported."""

from __future__ import annotations

from processes import run_python

PRODUCT = """
import sys
import numba, numpy as np
from npsrcnn.runtime.lean_blas import import_blas_alone
{before}
import_blas_alone()
product = numba.njit(lambda a, b: a @ b)
a = np.arange(6.0).reshape(2, 3)
assert np.array_equal(product(a, a.T), a @ a.T)
print("scipy.linalg" in sys.modules)
{after}
"""
AFTERWARDS = """
import scipy, scipy.linalg
assert "scipy.linalg" in sys.modules and scipy.linalg.__file__
assert np.allclose(scipy.linalg.inv(np.diag([2.0, 4.0])), np.diag([0.5, 0.25]))
assert np.allclose(scipy.linalg.blas.dgemm(1.0, a, a.T), a @ a.T)
solve = numba.njit(lambda m: np.linalg.inv(m))
assert np.allclose(solve(np.diag([2.0, 4.0])), np.diag([0.5, 0.25]))
"""


def test_products_of_matrices_do_without_the_package():
    assert run_python(PRODUCT.format(before="", after=AFTERWARDS)).split() == ["False"]


def test_a_package_that_is_there_stays():
    before = "import scipy.linalg; there = scipy.linalg"
    after = "assert sys.modules['scipy.linalg'] is there is scipy.linalg"
    assert run_python(PRODUCT.format(before=before, after=after)).split() == ["True"]


def test_where_the_module_needs_its_package_numba_imports_both():
    before = (
        "import npsrcnn.runtime.lean_blas as lean\n"
        "def missing(name): raise ImportError(name)\n"
        "lean.import_module = missing"
    )
    assert run_python(PRODUCT.format(before=before, after=AFTERWARDS)).split() == ["True"]
