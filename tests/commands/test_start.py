"""Starting: commands find kernels compiled, or compile them in several processes at once."""

from __future__ import annotations

import errno
import os

import numba.core.caching
import numpy as np
import pytest
from processes import run_python

from npsrcnn import images
from npsrcnn.commands import warmup
from npsrcnn.model.network import SRCNN
from npsrcnn.runtime import jit
from npsrcnn.upscaling import compiling


def test_after_a_warmup_commands_compile_nothing(tmp_path):
    environment = {"NUMBA_CACHE_DIR": str(tmp_path / "cache")}
    rng = np.random.default_rng(0)
    images.write(tmp_path / "a.png", rng.integers(0, 256, (40, 45, 4), np.uint8))
    images.write(tmp_path / "b.jpg", rng.integers(0, 256, (80, 90, 3), np.uint8))
    run_python("from npsrcnn.commands import warmup; assert warmup.main([]) == 0", **environment)
    code = f"""
from npsrcnn import SRCNN
from npsrcnn.commands import evaluate, gradcheck, train
from npsrcnn.commands.upscale import main as upscale
from npsrcnn.runtime.jit import compilations
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
print(sorted({{one.__qualname__ for one in compiled}}))
"""
    assert run_python(code, **environment).splitlines()[-1] == "[]"


def test_the_first_picture_is_compiled_for_in_several_processes(tmp_path):
    images.write(tmp_path / "a.png", np.zeros((8, 9, 3), np.uint8))
    SRCNN("3-1", n=(8,), metadata={"scale": 2}).save(tmp_path / "model.npz")
    code = f"""
from npsrcnn.commands.upscale import main
from npsrcnn.runtime.jit import compilations
folder = {str(tmp_path)!r}
options = [folder + "/a.png", "--model", folder + "/model.npz", "-o"]
for target in ("/b.png", "/c.png"):
    with compilations() as compiled:
        assert main([*options, folder + target]) == 0
    kernels = [one.__qualname__ for one in compiled if one.stats.cache_path]
    print(*kernels, sep=", ")
"""
    environment = {"NUMBA_CACHE_DIR": str(tmp_path / "cache"), "NPSRCNN_NUM_THREADS": "4"}
    said, _, here, _, then = run_python(code, **environment).splitlines()
    assert "kernels compiled for this processor" in said
    assert here.startswith("_run")  # the first job; who does the others depends on the machine
    assert then == ""


def test_another_process_does_what_is_in_the_queue_once(tmp_path):
    code = """
import contextlib, os
from npsrcnn.runtime.jit import compilations
from npsrcnn.upscaling import compiling
with compiling.queue_of(["resizing", "png"]) as queue:
    with contextlib.ExitStack() as processes:
        compiling.start(queue, processes)
    assert not os.read(queue, 1)
with compilations() as compiled:
    for job in ("resizing", "png", "last"):
        compiling.JOBS[job]()
print(*(one.__qualname__ for one in compiled if one.stats.cache_path))
"""
    environment = {"NUMBA_CACHE_DIR": str(tmp_path), "NPSRCNN_NUM_THREADS": "2"}
    assert run_python(code, **environment).split() == ["last"]


def test_each_job_is_done_by_one_and_errors_end_it(monkeypatch):
    done = []
    jobs = {name: lambda name=name: done.append(name) for name in "abcd"}
    monkeypatch.setattr(compiling, "JOBS", jobs | {"e": lambda: 1 // 0})
    with compiling.queue_of("dba") as queue:
        assert os.read(queue, 1) == b"\x03"  # another process
        compiling.do_jobs(queue)
        compiling.do_jobs(queue)
    assert done == ["b", "a"]
    with compiling.queue_of("e") as queue, pytest.raises(ZeroDivisionError):
        compiling.do_jobs(queue)


def test_warmup_does_the_jobs_that_are_named_and_no_others(monkeypatch, capsys):
    done = []
    jobs = {name: lambda name=name: done.append(name) for name in ("a", "b", "c")}
    monkeypatch.setattr(warmup, "JOBS", jobs)
    assert warmup.main(["c", "a"]) == 0
    assert done == ["c", "a"]
    assert warmup.main(["d"]) == 2
    assert "no 'd': there are a, b, c" in capsys.readouterr().err


def test_warmup_says_what_it_compiled_and_where_it_is(
    fresh_function, tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr(warmup, "JOBS", {"a job": lambda: jit.jit(fresh_function)(1)})
    assert warmup.main([]) == 0
    out = capsys.readouterr().out
    assert "a job: 1 function compiled" in out
    assert str(tmp_path) in out
    assert warmup.main([]) == 0
    assert "compiled before" in capsys.readouterr().out


def test_warmup_fails_if_nothing_can_be_kept(fresh_function, capsys, monkeypatch):
    def refuse(self):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(numba.core.caching._CacheLocator, "ensure_cache_path", refuse)
    monkeypatch.setattr(warmup, "JOBS", {"a job": lambda: jit.jit(fresh_function)(1)})
    assert warmup.main([]) == 1
    assert "NUMBA_CACHE_DIR" in capsys.readouterr().err
