"""Memory: what is measured of it, and that the C library keeps what a picture leaves."""

from __future__ import annotations

import ctypes
import math
import platform

import pytest
from processes import run_python

from npsrcnn.runtime import memory


def test_the_peak_counts_memory_that_was_freed_and_is_less_than_the_machine_has():
    code = """
import numpy as np
from npsrcnn.runtime import memory
before = memory.peak_resident_bytes()
np.ones(16 << 20)  # 128 MB, freed at once
print(before, memory.peak_resident_bytes())
"""
    if memory.peak_resident_bytes() is None:
        pytest.skip("the system does not tell")
    before, after = map(int, run_python(code).split())
    assert 100 << 20 < after - before < 160 << 20
    assert after < memory.physical_bytes()


def test_windows_is_asked_for_the_memory_of_the_machine():
    class Kernel32:
        known = 1

        def GlobalMemoryStatusEx(self, status):
            memory_status = status._obj
            assert memory_status.length == ctypes.sizeof(memory_status) == 64  # winbase.h
            view = ctypes.cast(status, ctypes.POINTER(ctypes.c_uint64))
            view[1] = 16 << 30  # ullTotalPhys, after two numbers of 32 bits
            view[2] = 3 << 30
            return self.known

    kernel32 = Kernel32()
    assert memory.windows_physical_bytes(kernel32) == 16 << 30
    kernel32.known = 0
    assert memory.windows_physical_bytes(kernel32) == math.inf


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="of glibc's malloc")
def test_a_pictures_memory_is_kept_for_the_next_one():
    code = """
import resource
import numpy as np
from npsrcnn.runtime import memory

def pages():  # that the system gave meanwhile
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(20):
        arrays = [np.ones(1 << 18) for _ in range(12)]  # of 2 MB
        del arrays
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

pages()
before = pages()
memory.keep_freed_memory()
pages()
print(before, pages())
"""
    before, after = map(int, run_python(code).split())
    assert before > 20_000 and after < before / 10
