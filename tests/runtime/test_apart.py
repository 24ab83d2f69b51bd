"""Processes of the package's own: where they import from, what they return, and how they end."""

from __future__ import annotations

import math
import operator
import os
import subprocess
import sys

import pytest
from processes import PACKAGE, run_python

from npsrcnn.errors import UserError
from npsrcnn.images.formats import writable
from npsrcnn.runtime import apart
from npsrcnn.runtime.apart import call_apart, python_calling
from npsrcnn.version import __version__


def test_results_and_errors_come_back():
    assert call_apart(operator.add, [1, "a"], [2.5]) == [1, "a", 2.5]
    with pytest.raises(UserError, match=r"^cannot write \.doc: use "):
        call_apart(writable, ".doc")


def test_a_crash_is_an_error():
    with pytest.raises(UserError, match="its reader crashed"):
        call_apart(os.abort)


def test_what_does_not_end_is_ended(monkeypatch):
    monkeypatch.setattr(apart, "LONGEST", 0.5)
    with pytest.raises(UserError, match=r"takes more than 0\.5 s"):
        call_apart(math.factorial, 10**9)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems set no such limit")
def test_memory_has_a_limit():
    assert len(call_apart(bytes, 1000)) == 1000
    with pytest.raises(UserError, match="ran out of memory"):
        call_apart(bytes, 2 * apart.MOST_BYTES)


def test_no_module_of_the_current_folder_is_imported(tmp_path, monkeypatch):
    for name in ("pickle", "numpy", "operator", "npsrcnn"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('run')")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path])
    assert call_apart(operator.add, 1, 2) == 3
    command = python_calling("npsrcnn.__main__", "--version")
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, __version__ + "\n"), done.stderr


def test_every_process_is_started_in_this_way():
    sources = {path.name: path.read_text(encoding="utf-8") for path in PACKAGE.rglob("*.py")}
    assert [name for name, text in sources.items() if "sys.executable" in text] == ["apart.py"]


@pytest.mark.parametrize("place", ["the current folder", "PYTHONPATH"])
def test_the_package_is_found_where_this_process_has_found_it(place, tmp_path):
    code = "import operator, npsrcnn.runtime.apart as a; print(a.call_apart(operator.add, 1, 2))"
    found = {"PYTHONPATH": str(PACKAGE.parent) if place == "PYTHONPATH" else ""}
    folder = tmp_path if place == "PYTHONPATH" else PACKAGE.parent
    command = [sys.executable, "-c", code]
    assert subprocess.check_output(command, cwd=folder, env=os.environ | found) == b"3\n"


@pytest.mark.skipif(sys.platform != "linux", reason="other systems set no such limit")
def test_within_a_limit_that_there_is_already():
    code = "; ".join(
        [
            "import operator, resource",
            "from npsrcnn.runtime.apart import call_apart",
            "resource.setrlimit(resource.RLIMIT_AS, (1 << 40, 1 << 40))",
            "print(call_apart(operator.add, 1, 2))",
        ]
    )
    assert run_python(code) == "3\n"
