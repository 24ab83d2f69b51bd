"""Test what the host asks of a GPU's driver: of ``fake_driver.c``, compiled here.

Its kernels do nothing, so results mean nothing; but that commands run through numba.cuda itself and
not the simulator, within a GPU's limits, is tested here. Needs what ``test_ptx.py`` needs, and
a C compiler.
"""

from __future__ import annotations

import csv
import ctypes
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import test_ptx
from PIL import Image

from npsrcnn import SRCNN, images
from npsrcnn.errors import UserError
from npsrcnn.kernels.cuda import launches


@pytest.fixture(scope="module")
def driver(tmp_path_factory):
    """The folder of the driver's library."""
    compiler = shutil.which("cc")
    if sys.platform != "linux" or compiler is None:
        pytest.skip("no C compiler here")
    if not test_ptx.has_compiler():
        pytest.skip("libNVVM is not there: pip install '.[cuda-test]'")
    folder = tmp_path_factory.mktemp("driver")
    words = ["-shared", "-fPIC", "-O1", "-o", str(folder / "libcuda.so.1")]
    source = Path(__file__).with_name("fake_driver.c")
    subprocess.run([compiler, *words, str(source), "-ldl", "-lpthread"], check=True)
    return folder


@pytest.fixture
def run(driver, tmp_path):
    """Run a command of npsrcnn's, or code: its exit code, its output, and what it launched."""

    def run(command, *words, gigabytes=2.0):
        environment = {
            **os.environ,
            "LD_LIBRARY_PATH": str(driver),
            "FAKE_DRIVER_BYTES": str(int(gigabytes * (1 << 30))),
            "FAKE_DRIVER_COUNTS": str(tmp_path / "counts.json"),
        }
        start = ["-c"] if command == "-c" else ["-m", "npsrcnn", command]
        done = subprocess.run(
            [sys.executable, *start, *words],
            capture_output=True, text=True, check=False, cwd=tmp_path, env=environment,
        )  # fmt: skip
        counts = json.loads((tmp_path / "counts.json").read_text(encoding="utf-8"))
        return done.returncode, done.stdout + done.stderr, counts

    return run


@pytest.fixture
def picture(rng, tmp_path):
    """A picture file of 120 x 150 pixels, alone in its folder."""
    path = tmp_path / "pictures" / "picture.png"
    path.parent.mkdir()
    Image.fromarray((rng.random((120, 150)) * 255).astype(np.uint8)).save(path)
    return path


@pytest.mark.parametrize(("recipe", "kinds"), [("default", 2), ("paper", 1)])
def test_a_step_of_training_is_one_call(run, picture, tmp_path, recipe, kinds):
    words = ["--data", "pictures", "--eval", "pictures", "--recipe", recipe, "--batch", "8"]
    code, output, counts = run("train", "--cuda", *words, "--epochs", "4", "--out", "run")
    assert code == 0, output
    with open(tmp_path / "run" / "log.csv", encoding="utf-8") as file:
        steps = int(list(csv.DictReader(file))[-1]["sub_images"]) // 8
    # SOAP has two kinds of step. The first of each is not yet recorded.
    assert counts["graphs"] == steps - kinds > 10, output
    code, output, counts = run("train", "--resume", "run", "--epochs", "5")
    assert code == 0 and counts["graphs"] > 0, output


def test_images_are_enlarged_and_measured(run, picture, tmp_path):
    for name in ("9-1-5", "9-5-5"):
        SRCNN(name, metadata={"scale": 3}).save(tmp_path / f"{name}.npz")
        words = ["--model", f"{name}.npz", "--scale", "3"]
        out = f"{name}.png"
        code, output, counts = run("upscale", "--cuda", *words, str(picture), "-o", out)
        assert code == 0, output
        assert counts == {"kernels": 2, "graphs": 0}
        assert images.read_array(tmp_path / out).shape == (360, 450)
    code, output, counts = run("evaluate", "--cuda", *words, "--data", "pictures")
    assert code == 0 and counts["kernels"] == 2, output


def test_little_memory_makes_strips_and_too_little_one_line(run, picture, tmp_path):
    SRCNN("9-1-5", metadata={"scale": 3}).save(tmp_path / "model.npz")
    words = ["upscale", "--cuda", "--model", "model.npz", "--scale", "3", str(picture)]
    code, output, counts = run(*words, gigabytes=0.02)
    assert code == 0, output
    assert counts["kernels"] > 2, "not in strips"
    code, output, _ = run(*words, gigabytes=0.001)
    assert code == 1 and "too little free memory" in output and output.count("\n") == 1
    code, output, _ = run("train", "--cuda", "--data", "pictures", gigabytes=0.005)
    assert code == 1 and "out of memory" in output and output.count("\n") == 1
    assert not (tmp_path / "runs").exists()


def test_our_side_of_the_benchmark_runs(run):
    """Its other side is PyTorch's, which must have a GPU. Ours is timed as what it is there."""
    code = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parents[3])!r})
import functools
import numpy as np
from benchmarks import cuda
from npsrcnn import SRCNN
from npsrcnn.kernels.cuda import inference, planes, steps, training

net = SRCNN("9-1-5", padding="zeros")
x = planes.upload(np.zeros((1, 1, 50, 60), np.float32))
network = inference.Network(net.layers, net.padding)
print(cuda.timed("image", "npsrcnn", lambda: cuda.ours(
    lambda: network.run(x, (0, 50), 50), 3, cuda.IMAGES), 1e9, 1e6, {{
    "float32 TFLOP/s": 1.0, "copy TB/s": 1.0}}))
for rule in (steps.SGD, steps.SOAP):
    session = training.Session(net.layers, [(1.0, 0.1)] * 3, rule, 128, 33, 21)
    begin = functools.partial(session.begin, cuda.plan_of_steps())
    print(cuda.timed("step", "npsrcnn", lambda: cuda.ours(session.step, 3, cuda.STEPS, begin)))
print(cuda.timed("nothing", "nobody", lambda: cuda.check(np.ones(3), np.zeros(3), False)))
"""
    code, output, counts = run("-c", code)
    assert code == 0, output
    assert output.count("'ms': ") == 3 and output.count("'error': ") == 1, output
    assert counts["graphs"] == 2 * 8 * 21 - 3


def test_a_driver_without_graphs_is_too_old(driver, monkeypatch):
    library = ctypes.CDLL(str(driver / "libcuda.so.1"))
    monkeypatch.setattr(launches, "_driver", lambda: library)
    with pytest.raises(UserError, match="too old: update it"):
        launches._call("cuGraphOfTheFuture")
    with pytest.raises(UserError, match="cuStreamEndCapture"):
        launches._call("cuStreamEndCapture", None, None)
