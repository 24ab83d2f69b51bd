"""The command on Dask: a scheduler and workers in processes of their own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from random_inputs import random_image, random_net

from npsrcnn import images
from npsrcnn.commands.upscale import main
from npsrcnn.errors import UserError
from npsrcnn.runtime.threads import get_num_threads
from npsrcnn.upscaling import cluster
from npsrcnn.upscaling.cluster import connect

dask = pytest.importorskip("dask", reason="needs the extra dask")
distributed = pytest.importorskip("distributed", reason="needs the extra dask")
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def default_scheduler():
    """Leave other tests Dask's own: a client that finds no scheduler stays the default."""
    yield
    dask.config.config.pop("scheduler", None)


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    """Starts processes of Dask on loopback: a scheduler, workers; and ends them in the end."""
    folder = tmp_path_factory.mktemp("dask")
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "NPSRCNN_NUM_THREADS": "2"}
    running = []

    def start(kind, *options):
        command = [sys.executable, "-m", f"distributed.cli.dask_{kind}", *options]
        with open(folder / "log", "ab") as log:
            process = subprocess.Popen(command, env=environment, cwd=folder, stdout=log, stderr=log)
        running.append(process)
        return process

    yield start
    for process in running:
        process.kill()
    for process in running:
        process.wait()


class Scheduler(NamedTuple):
    """Where it is, and its process."""

    address: str
    process: subprocess.Popen


@pytest.fixture(scope="module")
def scheduler(start, tmp_path_factory):
    path = tmp_path_factory.mktemp("scheduler") / "file.json"
    options = "--host", "127.0.0.1", "--port", "0", "--dashboard-address", ":0"
    process = start("scheduler", *options, "--scheduler-file", str(path))
    while not path.exists() or not path.read_text().endswith("}"):
        assert process.poll() is None, "no scheduler"
        time.sleep(0.05)
    return Scheduler(json.loads(path.read_text())["address"], process)


@pytest.fixture(scope="module")
def workers(start, scheduler):
    """Three workers."""
    return start_workers(start, scheduler.address, 3)


def start_workers(start, address, number):
    """Workers of two threads each, that nobody will start again."""
    options = "--nthreads", "2", "--no-nanny", "--no-dashboard"
    processes = [start("worker", address, *options) for _ in range(number)]
    with distributed.Client(address, set_as_default=False) as client:
        client.wait_for_workers(number, timeout=120)
    return processes


@pytest.fixture
def pictures(made_pictures, monkeypatch):
    """Be beside a folder of pictures, a file that is none, and a scene that 280 MB do not hold."""
    monkeypatch.chdir(made_pictures)
    return made_pictures


@pytest.fixture(scope="module")
def made_pictures(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(7)
    random_net("9-5-5", scale=2, n=(64, 32)).save(folder / "model.npz")
    (folder / "in").mkdir()
    for i in range(8):
        image = random_image(rng, (60 + i, 50, 3), np.uint8)
        images.write(folder / "in" / f"{i}.png", image)
    images.write(folder / "in" / "scene.tif", random_image(rng, (330, 500, 3), np.uint8))
    (folder / "in" / "none.jpg").write_text("this is no picture")
    return folder


def command(out, *options):
    """The command, here, on the folder of pictures."""
    return main(["in", "--model", "model.npz", "--memory", "280M", "-o", str(out), *options])


def wait_for(folder, pattern):
    """Until there is a file of such a name."""
    for _ in range(100_000):
        if any(folder.glob(pattern)):
            return
        time.sleep(0.001)
    raise TimeoutError(f"no {pattern} in {folder}")


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_nobody_is_there(scheduler, pictures, tmp_path, monkeypatch, capsys):
    patience = cluster.CONNECT
    monkeypatch.setattr(cluster, "CONNECT", 0.5)
    monkeypatch.setattr(cluster, "WORKERS", 0.5)
    for address in ("tcp://127.0.0.1:9", "tcp://no.such.host.invalid:8786", "tcp://127.0.0.1:x"):
        assert command(tmp_path, "--dask", address) == 1
        out, error = capsys.readouterr()
        assert out == "" and error.count("\n") == 1
        assert f"npsrcnn upscale: no Dask scheduler at {address}: start one" in error
    monkeypatch.setattr(cluster, "CONNECT", patience)  # this one is there, if busy
    with (
        pytest.raises(UserError, match=f"no workers at {scheduler.address}: start"),
        connect(scheduler.address),
    ):
        pass
    for address in ("", "local", "local:", "local:0", "local:x", "4"):
        assert command(tmp_path, "--dask", address) == 2
        assert "give local:N, or tcp://HOST:PORT" in capsys.readouterr().err


def test_another_version(workers, scheduler, monkeypatch):
    monkeypatch.setattr(cluster, "__version__", "0.0.0")
    with pytest.raises(UserError, match=r"npsrcnn 0.0.0 there"), connect(scheduler.address):
        pass


def test_order_and_threads(workers, scheduler):
    def work(piece):
        time.sleep(0.05 / (1 + piece % 3))
        return piece, get_num_threads()

    with connect(scheduler.address) as place:
        assert list(place.ordered(work, range(9))) == [(i, 1) for i in range(9)]
        done = [(piece, result()) for piece, result in place.unordered(work, range(9))]
        assert sorted(done) == [(i, (i, 1)) for i in range(9)]
        assert [result() for _, result in place.unordered(work, [0])] == [(0, 2)]
        assert list(place.ordered(work, [])) == []


def test_a_folder_that_workers_do_not_have(workers, scheduler, pictures, monkeypatch, capsys):
    """Relative to each process, /proc/self/cwd is a folder that only the command has."""
    if not Path("/proc/self/cwd").exists():
        pytest.skip("needs /proc")
    monkeypatch.chdir(pictures / "in")
    here = Path("/proc/self/cwd")
    options = "--model", "../model.npz", "--dask", scheduler.address
    assert main([str(here / "0.png"), *options, "-o", str(pictures / "out.png")]) == 1
    assert f"{here}/0.png: not there for a worker: workers need the same" in capsys.readouterr().err
    assert main(["0.png", "missing.png", *options, "-o", str(here / "new")]) == 1
    error = capsys.readouterr().err
    assert "missing.png: No such file" in error and "0_x2.png: not there for a worker" in error


def test_workers_that_die_cost_time_and_nothing_else(
    workers, scheduler, pictures, tmp_path, capsys
):
    here, there = tmp_path / "here", tmp_path / "there"
    assert command(here) == 1
    expected = capsys.readouterr()

    def kill():
        for worker, begun in zip(workers, ("[0-9]_x2.png", "scene_x2.tif.journal"), strict=False):
            wait_for(there, begun)
            worker.kill()
        (there / f".7_x2-{'a' * 8}.png").write_text("what it had begun to write")

    with ThreadPoolExecutor(1) as pool:
        killed = pool.submit(kill)
        assert command(there, "--dask", scheduler.address) == 1
        killed.result()
    assert contents(there) == contents(here)
    assert set(contents(here)) == {*(f"{i}_x2.png" for i in range(8)), "scene_x2.tif"}
    found = capsys.readouterr()
    for error in (found.err, expected.err):
        assert error.endswith("in/none.jpg: not an image, or of an unknown format\n")
    assert "9 enlarged, 0 skipped, 1 failed" in found.out


def test_nobody_is_left(start, workers, scheduler, pictures, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(cluster, "NOBODY", 0.5)

    def end(processes, out):
        wait_for(out, "[0-9]_x2.png")
        for process in processes:
            process.kill()

    def run(processes, out):
        with ThreadPoolExecutor(1) as pool:
            ended = pool.submit(end, processes, out)
            assert command(out, "--dask", scheduler.address) == 1
            ended.result()
        out, error = capsys.readouterr()
        assert " not begun: run it again with --skip-existing" in out
        return error

    error = run(workers, tmp_path / "a")
    assert f"npsrcnn upscale: no workers are left at {scheduler.address}: start some" in error
    assert not any(path.name.startswith(".") for path in (tmp_path / "a").iterdir())
    start_workers(start, scheduler.address, 1)
    error = run([scheduler.process], tmp_path / "b")
    assert f"npsrcnn upscale: the Dask scheduler at {scheduler.address} went away" in error


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="kills a process")
def test_workers_on_this_machine():
    def die(piece):
        os.kill(os.getpid(), signal.SIGKILL)

    with (
        dask.config.set({"distributed.scheduler.allowed-failures": 0}),
        connect("local:1") as place,
    ):
        ((_, result),) = place.unordered(die, [0])
        with pytest.raises(MemoryError, match="one worker after the other died of it"):
            result()
        assert list(place.ordered(str, [1, 2])) == ["1", "2"]
