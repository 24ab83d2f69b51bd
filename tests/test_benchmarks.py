"""The command that measures runs; what it finds is looked at, not tested."""

from __future__ import annotations

import importlib
import json
from pathlib import Path

import pytest

import benchmarks
from benchmarks.__main__ import main
from npsrcnn.runtime.threads import get_num_threads, set_num_threads

MODULES = sorted(path.stem for path in Path(benchmarks.__path__[0]).glob("[!_]*.py"))


@pytest.fixture(autouse=True)
def threads_as_before():
    """A command sets them for its process."""
    before = get_num_threads()
    yield
    set_num_threads(before)


def test_all_defaults_but_few_repeats(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("benchmarks.training.STEPS", 2)
    few = ["--networks", "3-1", "--sizes", "256", "--threads", "1", "--repeats", "1"]
    assert main(["inference", "training", *few, "--json", str(tmp_path / "rows.json")]) == 0
    assert "3-1 step of 128" in capsys.readouterr().out
    rows = json.loads((tmp_path / "rows.json").read_text(encoding="utf-8"))["rows"]
    assert {row["subject"] for row in rows if row["by"] == "npsrcnn"} == {"inference", "training"}


@pytest.mark.parametrize("name", MODULES)
def test_every_benchmark_imports_and_explains_itself(name, capsys):
    module = importlib.import_module(f"benchmarks.{name}")
    if hasattr(module, "main"):
        with pytest.raises(SystemExit, match="0"):
            module.main(["--help"])
        assert "usage: " in capsys.readouterr().out
