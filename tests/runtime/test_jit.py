"""The cache of compiled kernels: what is found there, what is compiled anew, and where it lies."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numba.core.caching
import pytest
from processes import PACKAGE, run_python

from npsrcnn.runtime import jit


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """A folder that two processes filled, starting when it was empty, and what they computed."""
    folder = str(tmp_path_factory.mktemp("cache"))

    def start(part):
        code = f"from small_work import *\nprint(*digests(plain, {part}))"
        return run_python(code, beside=__file__, NUMBA_CACHE_DIR=folder).split()

    with ThreadPoolExecutor() as pool:
        return folder, list(pool.map(start, ["fused_inference", "fused_training"]))


def test_two_processes_that_start_at_once_on_an_empty_cache_both_finish(cache):
    _, (one, other) = cache
    assert len(one) == len(other) == 2
    assert one[0] == other[0]


def test_the_second_start_compiles_nothing(cache):
    folder, (one, other) = cache
    code = """
from npsrcnn.runtime.jit import compilations
with compilations() as compiled:
    from small_work import *
    result = digests(plain, fused_inference, fused_training)
print(*result, len(compiled))
"""
    said = run_python(code, beside=__file__, NUMBA_CACHE_DIR=folder).split()
    assert said == [*one, other[1], "0"]


def compiled_by_calling(function):
    with jit.compilations() as compiled:
        assert jit.jit(function)(1) == 2
    return len(compiled)


def test_edits_of_helpers_in_other_files_are_noticed(fresh_function, monkeypatch):
    assert compiled_by_calling(fresh_function) == 1
    assert compiled_by_calling(fresh_function) == 0
    monkeypatch.setattr(jit, "_all_kernels", lambda: "edited")
    assert compiled_by_calling(fresh_function) == 1
    assert compiled_by_calling(fresh_function) == 0


def test_the_fingerprint_covers_every_file_of_kernels(tmp_path, monkeypatch):
    monkeypatch.setattr(jit, "PACKAGE", tmp_path)
    kernels = PACKAGE / "kernels"
    files = [path for path in kernels.rglob("*.py") if not path.is_relative_to(kernels / "cuda")]
    assert kernels / "cpu" / "tiles.py" in files
    files = [path.relative_to(PACKAGE) for path in (*files, Path(jit.__file__).resolve())]
    for path in files:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text("before")
    for path in files:
        before = jit._all_kernels.__wrapped__()
        (tmp_path / path).write_text("after")
        assert jit._all_kernels.__wrapped__() != before, path


def test_kernels_of_every_room_of_kernels_have_the_fingerprint():
    code = """
from npsrcnn.runtime import jit
from npsrcnn.runtime.numba_inside import StampedCache
jit._all_kernels = lambda: seen.append(1) or "fingerprint"
seen = []
from npsrcnn.kernels.cpu import inference, inference_stages, passes, training, training_winograd
kernels = [k for m in (inference, inference_stages, passes, training, training_winograd)
           for k in vars(m).values() if type(getattr(k, "_cache", None)) is StampedCache]
kernels = {id(k): k for k in kernels if k.__module__.startswith("npsrcnn.kernels.")}
print(len(seen), len(kernels))
"""
    seen, kernels = map(int, run_python(code, NPSRCNN_BOUNDSCHECK="0").split())
    assert seen == kernels > 15


def test_a_full_disk_costs_the_cache_and_nothing_else(fresh_function, monkeypatch):
    def full(self, key, data):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(numba.core.caching.IndexDataCacheFile, "save", full)
    assert compiled_by_calling(fresh_function) == 1
    assert compiled_by_calling(fresh_function) == 1


RELU = """
import numpy as np
from npsrcnn.kernels.cpu import passes
np.testing.assert_array_equal(passes.relu(np.array([[-1.0, 2.0]])), [[0, 2]])
print(passes._relu.stats.cache_path)
"""


@pytest.fixture
def installation(tmp_path):
    """An installation that cannot be written to, not even by root: runs code in it."""
    place = tmp_path / "installed"
    shutil.copytree(PACKAGE, place / "npsrcnn", ignore=shutil.ignore_patterns("__pycache__"))
    for folder in [place, *(path for path in place.rglob("*") if path.is_dir())]:
        (folder / "__pycache__").write_text("a file where Python and Numba want a folder")
    environment = {k: v for k, v in os.environ.items() if k != "NUMBA_CACHE_DIR"}

    def run(home: Path) -> str:
        homes = dict.fromkeys(("HOME", "XDG_CACHE_HOME", "LOCALAPPDATA"), str(home))
        return subprocess.run(
            [sys.executable, "-W", "error", "-c", RELU],
            env={**environment, **homes, "PYTHONPATH": str(place)},
            cwd=place,
            check=True,
            capture_output=True,
            text=True,
        ).stdout.strip()

    return run


def test_a_read_only_installation_keeps_kernels_in_the_users_cache(installation, tmp_path):
    home = tmp_path / "home"
    home.mkdir()
    assert Path(installation(home)).is_relative_to(home)


def test_where_nothing_can_be_written_kernels_work_without_a_cache(installation, tmp_path):
    home = tmp_path / "home"
    home.write_text("a file where a folder should be")
    assert installation(home) == "None"


def test_other_processes_begin_once_and_only_if_a_cache_keeps_what_it_compiles(
    fresh_function, monkeypatch
):
    begun, kernel = [], jit.jit(fresh_function)
    with jit.when_compiling(lambda: begun.append("one")):
        kernel(1)
        kernel(1.0)
    with jit.when_compiling(lambda: begun.append("nothing to compile")):
        jit.jit(fresh_function)(1)
    monkeypatch.setattr(jit, "BOUNDSCHECK", True)
    with jit.when_compiling(lambda: begun.append("nothing is kept")):
        jit.jit(fresh_function)(1)
    assert begun == ["one"]
