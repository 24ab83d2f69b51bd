"""The command that measures runs; what it finds is looked at, not tested."""

from __future__ import annotations

import json

import pytest

from benchmarks.__main__ import main
from npsrcnn.runtime.threads import get_num_threads, set_num_threads


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
