"""Training that is killed, or loses its data, its disk or its folder: one line, nothing lost.

The runs train on a prepared set. Each is compared, bit for bit, with a run that nothing befell.
"""

from __future__ import annotations

import csv
import multiprocessing
import os
import random
import shutil
import signal
import sys

import numpy as np
import pytest
from PIL import Image

from npsrcnn.commands import train
from npsrcnn.datasets import dead_leaves, write_shards
from npsrcnn.model import load
from npsrcnn.training import runs
from npsrcnn.training.optimizers import parameters
from npsrcnn.training.runs import Run

EPOCHS = 40
STEPS = EPOCHS * 9
KILLS = 10
POSIX = pytest.mark.skipif(sys.platform == "win32", reason="processes of POSIX")


@pytest.fixture(scope="module")
def leaves():
    return list(dead_leaves(4, (111, 111), seed=3))


@pytest.fixture(scope="module")
def original(leaves, tmp_path_factory):
    """Make a folder with a set of 4 x 36 sub-images, 9 batches, in two shards; and an image."""
    folder = tmp_path_factory.mktemp("original")
    write_set(leaves, folder / "shards")
    Image.fromarray(leaves[0][:40, :40]).save(folder / "eval.png")
    return folder


@pytest.fixture(scope="module")
def straight(original):
    """Return the weights of the run that nothing befell."""
    assert train.main(arguments(original / "shards", original / "straight")) == 0
    assert last_step(original / "straight") == STEPS
    return weights(original / "straight")


@pytest.fixture
def shards(original, tmp_path):
    """Copy the prepared set."""
    shutil.copy(original / "eval.png", tmp_path)
    return shutil.copytree(original / "shards", tmp_path / "shards")


def write_set(leaves, folder):
    write_shards(leaves, folder, 3, shard_bytes=60 * 2182)


def arguments(shards, out, epochs=EPOCHS):
    return [
        "--data", str(shards), "--out", str(out), "--network", "5-3", "--batch", "16",
        "--epochs", str(epochs), "--eval", str(shards.parent / "eval.png"),
    ]  # fmt: skip


def weights(out):
    return parameters(load(out / "last.npz").layers)


def same(a, b):
    return all(np.array_equal(p, q) for p, q in zip(a, b, strict=True))


def last_step(out):
    with open(out / "log.csv", encoding="utf-8") as file:
        return int(list(csv.DictReader(file))[-1]["step"])


def one_line(capsys, *words):
    """Return the error that was printed, which has these words."""
    line = capsys.readouterr().err.strip()
    assert "\n" not in line and "Traceback" not in line, line
    for word in words:
        assert word in line, line
    return line


@pytest.fixture(scope="module")
def fork():
    """Start a training in a process of its own, from a server that has imported all of it."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["npsrcnn.train", "npsrcnn.kernels.cpu"])

    def start(target, *args):
        process = context.Process(target=target, args=args)
        process.start()
        return process

    return start


def killed(measurements, calls, argv):
    """Run the command, and kill it from within.

    It measures after every step. The kill comes so many calls of Python functions after so many
    measurements.
    """
    go, measure, left = Run.go, Run.measure, [measurements, calls]

    def count(frame, event, argument):
        left[1] -= event == "call"
        if left[1] < 0:
            os.kill(os.getpid(), signal.SIGKILL)

    def counted_go(self, stop):
        if measurements == 0:
            sys.setprofile(count)
        go(self, stop)

    def counted_measure(self):
        measure(self)
        left[0] -= 1
        if left[0] == 0:
            sys.setprofile(count)

    runs.MEASURE_EVERY, Run.go, Run.measure = 0.0, counted_go, counted_measure
    train.main(argv)


@POSIX
def test_killed_at_ten_random_moments_a_run_ends_in_the_same_bits(shards, straight, tmp_path, fork):
    """A step takes about 200 calls, a measurement 2,700, in which it writes the four files."""
    out, moments, steps = tmp_path / "killed", random.Random(10), []
    for kill in range(KILLS):
        measurements = moments.randrange(4) if kill % 3 else 0  # every third has not measured yet
        calls = moments.randrange(200 if kill % 2 else 3000)
        begun = (out / "checkpoint.npz").exists()
        argv = ["--resume", str(out)] if begun else arguments(shards, out)
        process = fork(killed, measurements, calls, argv)
        process.join()
        assert process.exitcode == -signal.SIGKILL
        steps.append(last_step(out) if (out / "log.csv").exists() else 0)
    assert steps == sorted(steps) and 0 < steps[-1] < STEPS
    assert train.main(["--resume", str(out)]) == 0
    assert same(straight, weights(out))
    assert last_step(out) == STEPS


def test_a_damaged_sub_image_ends_the_run_with_all_its_steps_saved(
    shards, leaves, straight, tmp_path, capsys
):
    out, path = tmp_path / "out", shards / "00001.bin"
    good = path.read_bytes()
    path.write_bytes(good[:70_000] + bytes([good[70_000] ^ 1]) + good[70_001:])
    capsys.readouterr()
    assert train.main(arguments(shards, out)) == 1
    line = one_line(capsys, f"{path}: the checksum of sub-image 32 is wrong: repeat the command")
    steps = last_step(out)
    assert 0 < steps < 9  # of the first epoch
    assert f"saved after {steps} steps: then --resume {out}" in line
    assert train.main(["--resume", str(out)]) == 1
    write_set(leaves, shards)
    assert path.read_bytes() == good
    assert train.main(["--resume", str(out)]) == 0
    assert same(straight, weights(out))


def test_a_set_that_is_removed_while_training(shards, straight, tmp_path, capsys, monkeypatch):
    out, away, epochs = tmp_path / "out", tmp_path / "away", []
    measure = Run.measure

    def spy(self):
        measure(self)
        epochs.append(self.trainer.epoch)
        if len(epochs) == 1:
            shards.rename(away)

    monkeypatch.setattr(Run, "measure", spy)
    capsys.readouterr()
    assert train.main(arguments(shards, out)) == 1
    one_line(capsys, f"{shards / '00000.bin'}: no such file", "saved after")
    assert 0 < last_step(out) < STEPS
    assert train.main(["--resume", str(out)]) == 1
    one_line(capsys, f"{shards}: ")
    away.rename(shards)
    assert train.main(["--resume", str(out)]) == 0
    assert same(straight, weights(out))


def test_a_run_whose_folder_is_removed_makes_it_again(
    shards, straight, tmp_path, capsys, monkeypatch
):
    out, measured = tmp_path / "out", []
    measure = Run.measure

    def spy(self):
        if len(measured) == 1:
            shutil.rmtree(out)
        measured.append(self.trainer.step)
        measure(self)

    monkeypatch.setattr(Run, "measure", spy)
    monkeypatch.setattr("npsrcnn.training.runs.LEAST_PAUSE", 0.0)
    assert train.main(arguments(shards, out)) == 0
    assert len(measured) > 2
    assert same(straight, weights(out))
    for line in capsys.readouterr().out.splitlines():
        if line.startswith(("best model", "last model", "log")):
            assert os.path.exists(line.split()[-1]), line


def test_a_log_that_is_open_elsewhere_ends_no_run(shards, straight, tmp_path, monkeypatch, capsys):
    replace, out, closed = os.replace, tmp_path / "out", []

    def refuse(source, target):
        if target.name == "log.csv" and not closed:
            error = PermissionError(13, "Access is denied")
            error.winerror = 32
            raise error
        replace(source, target)

    monkeypatch.setattr("npsrcnn.runtime.files.os.replace", refuse)
    monkeypatch.setattr("npsrcnn.runtime.files.PAUSES", ())
    assert train.main(arguments(shards, out, EPOCHS // 2)) == 0
    assert "log.csv: another program has it open" in capsys.readouterr().err
    assert not (out / "log.csv").exists()
    closed.append(True)
    assert train.main(["--resume", str(out), "--epochs", str(EPOCHS)]) == 0
    assert last_step(out) == STEPS
    assert len((out / "log.csv").read_text().splitlines()) > 2  # with what was measured before


def limited(largest, argv, file):
    """Run the command where no file can grow beyond so many bytes; its error goes to a file."""
    import contextlib
    import resource

    resource.setrlimit(resource.RLIMIT_FSIZE, (largest, largest))
    with open(file, "w") as errors, contextlib.redirect_stderr(errors):
        code = train.main(argv)
    os._exit(code)


@POSIX
def test_a_disk_that_fills_up_while_the_checkpoint_is_written(shards, tmp_path, fork):
    out = tmp_path / "out"
    assert train.main([*arguments(shards, out, 2), "--decay", "none"]) == 0
    kept = (out / "checkpoint.npz").read_bytes()
    largest = len(kept) - 1000
    assert (out / "last.npz").stat().st_size < largest  # it is the checkpoint that fails
    argv = ["--resume", str(out), "--epochs", "4"]
    process = fork(limited, largest, argv, tmp_path / "errors")
    process.join()
    assert process.exitcode == 1
    (line,) = (tmp_path / "errors").read_text().splitlines()
    assert f"{out / 'checkpoint.npz'}: File too large" in line
    assert (out / "checkpoint.npz").read_bytes() == kept
    assert sorted(path.name for path in out.iterdir()) == sorted(
        ["best.npz", "last.npz", "log.csv", "checkpoint.npz", "report.html"]
    )
    assert train.main(argv) == 0
    assert train.main([*arguments(shards, tmp_path / "whole", 4), "--decay", "none"]) == 0
    assert same(weights(tmp_path / "whole"), weights(out))


def test_a_prepared_set_is_used_as_it_was_prepared(shards, tmp_path, capsys):
    def fails(*more):
        capsys.readouterr()
        assert train.main([*arguments(shards, tmp_path / "out", 1), *map(str, more)]) == 2
        return one_line(capsys)

    assert "prepared for x3 in y: give --scale 3 --channels y" in fails("--scale", 2)
    assert "prepared for x3 in y" in fails("--channels", "rgb")
    assert "prepare --rescale" in fails("--rescale", "0.9")
    assert "use --eval" in fails("--hold-out", 1)
    assert "prepare --size" in fails("--sub-image", 36)
    assert "trained on alone" in fails("--data", shards, "dead-leaves")
    (shards / "shards.json").write_text("{}")
    assert train.main(arguments(shards, tmp_path / "out", 1)) == 1
    one_line(capsys, "shards.json: damaged")
