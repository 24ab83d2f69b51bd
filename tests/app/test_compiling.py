"""What the page says of kernels that are compiled while it loads."""

from __future__ import annotations

import sys

import pytest

from npsrcnn.app import compiling


@pytest.fixture
def started(monkeypatch):
    """Commands that were started: each in place of what compiles, a process that soon ends."""
    commands, start = [], compiling.subprocess.Popen

    def instead(command, **options):
        commands.append(command)
        return start([sys.executable, "-c", "pass"], **options)

    monkeypatch.setattr(compiling.subprocess, "Popen", instead)
    return commands


def test_once_is_said_where_a_folder_keeps_kernels(started, monkeypatch):
    monkeypatch.setattr(compiling, "folders", lambda: ["/a", "/b"])
    kernels = compiling.Kernels()
    kernels.start()
    *lines, last = kernels.lines()
    kernels.close()
    assert len(started) == 1 and last == ""
    assert set(lines) == {
        "Kernels are being compiled for this processor: only this once, kept in /a and /b. "
        "Go ahead."
    }


def test_work_waits_for_them_and_says_so_until_it_is_cancelled(started, monkeypatch):
    monkeypatch.setattr(compiling, "folders", lambda: ["/a"])
    kernels, told, checks = compiling.Kernels(), [], []
    kernels.wait(told.append, pytest.fail)  # for none that were not started
    kernels.start()
    kernels.wait(told.append, lambda: checks.append(True))
    line = "Kernels are being compiled for this processor: only this once, kept in /a."
    assert set(told) == {line} and len(checks) == len(told)
    kernels.wait(told.append, pytest.fail)  # for none that has ended

    def cancelled():
        raise ZeroDivisionError

    kernels.start()
    with pytest.raises(ZeroDivisionError):
        kernels.wait(told.append, cancelled)
    kernels.close()


def test_where_none_does_that_is_said_and_no_other_process_compiles_in_vain(started, monkeypatch):
    monkeypatch.setattr(compiling, "folders", list)
    kernels = compiling.Kernels()
    kernels.start()
    assert started == []
    (line,) = kernels.lines()
    assert "at every start" in line and "NUMBA_CACHE_DIR" in line and "once" not in line
    kernels.close()
