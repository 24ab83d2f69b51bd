"""Starting: the cache of compiled kernels, several processes, threads and forks at once."""

from __future__ import annotations

import errno
import importlib.util
import os
import shutil
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numba.core.caching
import numpy as np
import pytest

from npsrcnn import images
from npsrcnn.commands import warmup
from npsrcnn.kernels import cpu
from npsrcnn.kernels.cpu import training
from npsrcnn.model.network import SRCNN
from npsrcnn.runtime import jit, threads
from npsrcnn.upscaling.compiling import _parts

PACKAGE = Path(jit.__file__).parents[1]

WORK = """
import hashlib
import numpy as np
from npsrcnn.kernels.jit import compilations
from npsrcnn.kernels import cpu, inference, training

rng = np.random.default_rng(0)
w = rng.standard_normal((3, 1, 3, 3), np.float32), rng.standard_normal((1, 3, 2, 2), np.float32)
layers = [(w[0], np.ones(3, np.float32)), (w[1], np.ones(1, np.float32))]
x = rng.standard_normal((19, 1, 9, 8)).astype(np.float32)
t = rng.standard_normal((19, 1, 6, 5)).astype(np.float32)

def plain():
    return [cpu.conv2d(x, *layers[0])]

def fused_inference():
    return [inference.forward(layers, x)]

def fused_training():
    return [array for pair in training.loss_and_grads(layers, x, t)[1] for array in pair]

def work(*parts):
    return [hashlib.sha256(b"".join(a.tobytes() for a in part())).hexdigest() for part in parts]
"""


def run(code: str, **environment: str) -> list[str]:
    """Run ``code`` in a process of its own; what it prints, line by line."""
    return subprocess.run(
        [sys.executable, "-c", WORK + code],
        env={**os.environ, **environment},
        check=True,
        capture_output=True,
        text=True,
        timeout=300,  # a child that waits for threads which it has not
    ).stdout.splitlines()


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """A folder that two processes filled, starting when it was empty, and what they computed."""
    folder = str(tmp_path_factory.mktemp("cache"))
    with ThreadPoolExecutor() as pool:
        both = [
            pool.submit(run, f"print(*work(plain, {part}), sep='\\n')", NUMBA_CACHE_DIR=folder)
            for part in ("fused_inference", "fused_training")
        ]
        return folder, [future.result() for future in both]


def test_two_processes_that_start_at_once_on_an_empty_cache_both_finish(cache):
    _, (one, other) = cache
    assert len(one) == len(other) == 2
    assert one[0] == other[0]


def test_the_second_start_compiles_nothing(cache):
    folder, (one, other) = cache
    code = """
with compilations() as compiled:
    result = work(plain, fused_inference, fused_training)
print(*result, len(compiled), sep="\\n")
"""
    assert run(code, NUMBA_CACHE_DIR=folder) == [*one, other[1], "0"]


def test_a_forked_child_computes_the_same(cache):
    code = """
import os
from npsrcnn.runtime import threads
assert threads.get_num_threads() == 3
parts = plain, fused_inference, fused_training
result = work(*parts)
child = os.fork()
if child == 0:
    os._exit(0 if work(*parts) == result else 3)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), work(*parts) == result)
"""
    # Python 3.12 warns of forks of processes with threads: that is what is tried here.
    environment = {"NPSRCNN_NUM_THREADS": "3", "PYTHONWARNINGS": "ignore::DeprecationWarning"}
    assert run(code, NUMBA_CACHE_DIR=cache[0], **environment) == ["0 True"]


def test_kernels_run_in_several_python_threads_at_once():
    net = SRCNN("3-3", n=(5,))
    rng = np.random.default_rng(0)
    inputs = rng.standard_normal((8, 12, 1, 11, 9)).astype(np.float32)
    labels = rng.standard_normal((8, 12, 1, 7, 5)).astype(np.float32)

    def work(i):
        loss, grads = training.loss_and_grads(net.layers, inputs[i], labels[i])
        y = cpu.conv2d(inputs[i], *net.layers[0])
        return loss, y.tobytes(), [a.tobytes() for pair in grads for a in pair]

    one_by_one = [work(i) for i in range(8)]
    with ThreadPoolExecutor(8) as pool:
        for _ in range(5):
            assert list(pool.map(work, range(8))) == one_by_one


def test_a_limit_holds_for_the_python_thread_that_asked_for_it():
    def among(n):
        seen = set()
        barrier = threading.Barrier(n, timeout=60)

        def piece(i):
            seen.add(threading.get_ident())
            barrier.wait()  # until n threads are at it

        threads.parallel(piece, n)
        return len(seen)

    before = threads.get_num_threads()
    threads.set_num_threads(3)
    try:
        with threads.limited(2):
            assert threads.get_num_threads() == 2 == among(2)
            with threads.limited(1), ThreadPoolExecutor(1) as other:
                assert threads.get_num_threads() == 1 == among(1)
                assert other.submit(threads.get_num_threads).result() == 3
            with threads.limited(5):
                assert threads.get_num_threads() == 2
        assert threads.get_num_threads() == 3 == among(3)
    finally:
        threads.set_num_threads(before)


@pytest.fixture
def function(tmp_path):
    """A function in a file and a cache of its own, as if it were one of the kernels."""
    path = tmp_path / "fresh.py"
    path.write_text("def fresh(x):\n    return x + 1\n")
    spec = importlib.util.spec_from_file_location("npsrcnn.kernels.fresh", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.fresh


@pytest.fixture(autouse=True)
def own_cache(monkeypatch):
    """Let Numba keep what the tests compile beside it, whatever the environment says."""
    monkeypatch.setattr("numba.core.config.CACHE_DIR", "")


def compiled_by_calling(function):
    with jit.compilations() as compiled:
        assert jit.jit(function)(1) == 2
    return len(compiled)


def test_edits_of_helpers_in_other_files_are_noticed(function, monkeypatch):
    assert compiled_by_calling(function) == 1
    assert compiled_by_calling(function) == 0
    monkeypatch.setattr(jit, "_all_kernels", lambda: "edited")
    assert compiled_by_calling(function) == 1
    assert compiled_by_calling(function) == 0


def test_the_fingerprint_covers_every_file_of_kernels(tmp_path, monkeypatch):
    monkeypatch.setattr(jit, "PACKAGE", tmp_path)
    files = [path for path in PACKAGE.rglob("*.py") if not path.match("cuda/*")]
    files = [
        path.relative_to(PACKAGE) for path in files if path.is_relative_to(PACKAGE / "kernels")
    ]
    files.append(Path("runtime", "jit.py"))
    for path in files:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text("before")
    for path in files:
        before = jit._all_kernels.__wrapped__()
        (tmp_path / path).write_text("after")
        assert jit._all_kernels.__wrapped__() != before, path


def test_a_full_disk_costs_the_cache_and_nothing_else(function, monkeypatch):
    def full(self, key, data):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(numba.core.caching.IndexDataCacheFile, "save", full)
    assert compiled_by_calling(function) == 1
    assert compiled_by_calling(function) == 1


RELU = """
import sys, numpy as np
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


def test_after_a_warmup_commands_compile_nothing(tmp_path):
    environment = {"NUMBA_CACHE_DIR": str(tmp_path / "cache")}
    rng = np.random.default_rng(0)
    images.write(tmp_path / "a.png", rng.integers(0, 256, (40, 45, 4), np.uint8))
    images.write(tmp_path / "b.jpg", rng.integers(0, 256, (80, 90, 3), np.uint8))
    run("from npsrcnn import warmup; assert warmup.main([]) == 0", **environment)
    code = f"""
import sys
from npsrcnn import SRCNN, evaluate, gradcheck, train
from npsrcnn.upscale.__main__ import main as upscale
a, b, out = ({str(tmp_path)!r} + name for name in ("/a.png", "/b.jpg", "/out"))
SRCNN("9-5-5", metadata={{"scale": 3}}).save(out + ".npz")
with compilations() as compiled:
    assert upscale([a, "--scale", "3", "-o", out + ".png"]) == 0
    assert upscale([b, "--scale", "2.5", "-o", out + ".jpg", "--ensemble"]) == 0
    assert upscale([b, "--scale", "3", "-o", out + ".tif", "--model", out + ".npz"]) == 0
    assert evaluate.main(["--data", b, "--scale", "3", "--model", out + ".npz"]) == 0
    for options in ([], ["--network", "9-5-5"], ["--channels", "rgb"], ["--recipe", "paper"]):
        run = ["--data", b, "--eval", b, "--epochs", "1", "--batch", "2", "--out"]
        assert train.main([*run, out + "-".join(options), *options]) == 0
    assert gradcheck.main([]) == 0
print(*{{one.__qualname__ for one in compiled}}, file=sys.stderr)
print(len(compiled))
"""
    assert run(code, **environment)[-1] == "0"


def test_the_first_picture_is_compiled_for_in_several_processes(tmp_path):
    images.write(tmp_path / "a.png", np.zeros((8, 9, 3), np.uint8))
    SRCNN("3-1", n=(8,), metadata={"scale": 2}).save(tmp_path / "model.npz")
    code = f"""
from npsrcnn.upscale.__main__ import main
folder = {str(tmp_path)!r}
options = [folder + "/a.png", "--model", folder + "/model.npz", "-o"]
for target in ("/b.png", "/c.png"):
    with compilations() as compiled:
        assert main([*options, folder + target]) == 0
    kernels = [one.__qualname__ for one in compiled if one.stats.cache_path]
    print(*kernels, sep=", ")
"""
    environment = {"NUMBA_CACHE_DIR": str(tmp_path / "cache"), "NPSRCNN_NUM_THREADS": "4"}
    said, _, here, _, then = run(code, **environment)
    assert "kernels compiled for this processor" in said
    assert here == "last, _run"  # the first stage's and those of resizing, colour, PNG were found
    assert then == ""


@pytest.mark.parametrize("cores", [1, 2, 3, 4, 9])
def test_processes_share_all_there_is_to_compile(cores):
    parts = _parts(["winograd", "rows_in_phases", "transform_row"], cores)
    jobs = ["winograd", "rows_in_phases", "transform_row", "resizing", "pictures"]
    assert sorted(job for part in parts for job in part) == sorted(jobs)
    assert all(parts[1:])  # warmup without a job would do all


def test_other_processes_begin_once_and_only_if_a_cache_keeps_what_it_compiles(
    function, monkeypatch
):
    begun, kernel = [], jit.jit(function)
    with jit.when_compiling(lambda: begun.append("one")):
        kernel(1)
        kernel(1.0)
    with jit.when_compiling(lambda: begun.append("nothing to compile")):
        jit.jit(function)(1)
    monkeypatch.setattr(jit, "BOUNDSCHECK", True)
    with jit.when_compiling(lambda: begun.append("nothing is kept")):
        jit.jit(function)(1)
    assert begun == ["one"]


def test_warmup_does_the_jobs_that_are_named_and_no_others(monkeypatch, capsys):
    done = []
    jobs = {name: lambda name=name: done.append(name) for name in ("a", "b", "c")}
    monkeypatch.setattr(warmup, "JOBS", jobs)
    assert warmup.main(["c", "a"]) == 0
    assert done == ["c", "a"]
    assert warmup.main(["d"]) == 2
    assert "no 'd': there are a, b, c" in capsys.readouterr().err


def test_warmup_says_what_it_compiled_and_where_it_is(function, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(warmup, "JOBS", {"a job": lambda: jit.jit(function)(1)})
    assert warmup.main([]) == 0
    out = capsys.readouterr().out
    assert "a job: 1 functions compiled" in out
    assert str(tmp_path) in out
    assert warmup.main([]) == 0
    assert "compiled before" in capsys.readouterr().out


def test_warmup_fails_if_nothing_can_be_kept(function, capsys, monkeypatch):
    def refuse(self):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(numba.core.caching._CacheLocator, "ensure_cache_path", refuse)
    monkeypatch.setattr(warmup, "JOBS", {"a job": lambda: jit.jit(function)(1)})
    assert warmup.main([]) == 1
    assert "NUMBA_CACHE_DIR" in capsys.readouterr().err
