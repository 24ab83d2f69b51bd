"""Training in a process of its own."""

from __future__ import annotations

import subprocess
import sys

import pytest

from npsrcnn.app.training import TrainingProcess
from npsrcnn.errors import UserError


@pytest.fixture
def started(monkeypatch):
    """Start sleepers instead of trainings; return the commands."""
    commands, popen = [], subprocess.Popen

    def sleeper(command, **options):
        commands.append(command)
        code = (
            "import signal, sys, time\n"
            "signal.signal(signal.SIGTERM, lambda *_: sys.exit(130))\n"
            "print('ready', flush=True)\ntime.sleep(600)"
        )
        return popen([sys.executable, "-c", code], **options)

    monkeypatch.setattr("npsrcnn.app.training.subprocess.Popen", sleeper)
    return commands


def wait_until_ready(run):
    while not run._said.read_text():
        assert run.running


def test_it_is_the_command(started, tmp_path):
    run = TrainingProcess(tmp_path / "run")
    run.start(0.5, scale=2, network="9-1-5", data=[tmp_path / "a.png"])
    assert run.running
    assert started[0][3:] == [
        "npsrcnn.train", "--minutes", "0.5", "--out", str(tmp_path / "run"),
        "--scale", "2", "--network", "9-1-5", "--data", str(tmp_path / "a.png"),
    ]  # fmt: skip
    with pytest.raises(UserError, match="stop it first"):
        run.resume(1)
    wait_until_ready(run)
    run.stop()
    assert not run.running and run.failure() == ""
    run.stop()  # twice


def test_it_goes_on_for_some_more_minutes(started, tmp_path):
    run = TrainingProcess(tmp_path / "run")
    with pytest.raises(UserError, match="nothing to go on with"):
        run.resume(1)
    assert run.log() == [] and run.weights() is None
    run.folder.mkdir()
    (run.folder / "checkpoint.npz").write_bytes(b"")
    (run.folder / "log.csv").write_text("seconds,psnr\n60,30.5\n90,31\n")
    run.resume(2)
    assert started[0][4:] == ["--minutes", "3.5", "--resume", str(run.folder)]
    wait_until_ready(run)
    run.stop()
    assert run.log()[-1] == {"seconds": 90, "psnr": 31}


def test_what_does_not_end_is_killed(started, tmp_path, monkeypatch):
    monkeypatch.setattr("npsrcnn.app.training.PATIENCE", 0.01)
    run = TrainingProcess(tmp_path / "run")
    run.start(1, scale=2, network="9-1-5")
    run.stop()
    assert not run.running


def test_why_it_failed_in_one_line(tmp_path):
    (tmp_path / "a.png").write_text("no picture")
    run = TrainingProcess(tmp_path / "run")
    run.start(1, scale=3, network="9-1-5", data=[tmp_path / "a.png"])
    run._process.wait(120)
    assert "the first, a.png: not an image" in run.failure()
    assert str(tmp_path) not in run.failure() and "\n" not in run.failure()
