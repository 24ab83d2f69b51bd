"""The command that measures runs; what it finds is looked at, not tested."""

from __future__ import annotations

import ast
import importlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from random_inputs import random_net

import benchmarks
from benchmarks import fuzzing, video
from benchmarks.__main__ import main
from benchmarks.peers import PEERS, Peer
from npsrcnn.errors import UserError

MODULES = sorted(path.stem for path in Path(benchmarks.__path__[0]).glob("[!_]*.py"))


def test_all_defaults_but_few_repeats(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("benchmarks.training.STEPS", 2)
    few = ["--networks", "3-1", "--sizes", "256", "--threads", "1", "--repeats", "1"]
    few += ["--beside", "ONNX Runtime", "PyTorch"]  # others take long to compile
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


@pytest.mark.parametrize("step", ["making", "running", "result"])
def test_a_peer_that_fails_says_so_and_ends_nothing(step, tmp_path, capsys, monkeypatch):
    def make(net, x, threads):
        if step == "making":
            raise RuntimeError("no compiler\nand many more lines")
        if step == "running":
            return lambda: [][0]
        return lambda: x * 0

    monkeypatch.setitem(PEERS, "JAX", Peer("numpy", make))
    few = ["--networks", "3-1", "--sizes", "256", "--threads", "1", "--repeats", "1"]
    file = tmp_path / "rows.json"
    assert main(["inference", *few, "--beside", "JAX", "--json", str(file)]) == 0
    rows = {row["by"]: row for row in json.loads(file.read_text(encoding="utf-8"))["rows"]}
    assert rows["JAX"]["value"].startswith("failed: ")
    assert "more lines" not in rows["JAX"]["value"]
    assert "ms" not in rows["JAX"]
    assert rows["npsrcnn"]["ms"] > 0


def test_an_engine_that_fails_behind_a_clip_says_so_and_ends_nothing(
    tmp_path, capsys, monkeypatch, rng
):
    pytest.importorskip("av", reason="needs the extra video")

    def make(net, x, threads):
        raise RuntimeError("no such instruction\nand many more lines")

    monkeypatch.setattr(video, "SIZE", (48, 32))
    monkeypatch.setitem(PEERS, "ONNX Runtime", Peer("numpy", make))
    monkeypatch.setitem(PEERS, "OpenVINO", Peer("numpy", lambda net, x, threads: lambda: [][0]))
    random_net(scale=2).save(tmp_path / "model.npz")
    picture = np.kron(rng.integers(0, 256, (9, 13)), np.ones((8, 8))).astype(np.uint8)
    Image.fromarray(picture).save(tmp_path / "picture.png")
    words = [tmp_path / "picture.png", "--models", tmp_path / "model.npz"]
    assert video.main([*map(str, words), "--frames", "3", "--repeats", "1"]) == 0
    *_, here, ort, openvino = capsys.readouterr().out.splitlines()
    assert "whole, by npsrcnn" in here and here.endswith("%")
    assert ort.endswith("whole, by ONNX Runtime: not measured (no such instruction)")
    assert openvino.endswith("whole, by OpenVINO: not measured (list index out of range)")


def read_as_named(path, way):
    """Do with a file what its name says."""
    kind = path.stem.partition("_")[2]
    if path.stem.startswith("good"):
        return
    if kind == "refuse":
        raise UserError("not taken")
    if kind == "lines":
        raise UserError("two\nlines")
    if kind == "memory":
        bytes(2 * fuzzing.MORE_BYTES)
    if kind == "print":
        os.write(2, b"what a library says")
    if kind == "crash":
        os.abort()
    while kind == "hang":
        time.sleep(1)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems set no limit of memory")
def test_whatever_escapes_a_reader_is_told_and_can_be_repeated(capsys, monkeypatch):
    monkeypatch.setattr(fuzzing, "HANGS", 5.0)
    kinds = ("crash", "hang", "lines", "memory", "print", "read", "refuse")
    seeds = {f"{kind}.x": b"some bytes" for kind in kinds}
    assert fuzzing.run("a.module", "", lambda folder: seeds, read_as_named, ["7"]) == 1
    *said, counted = capsys.readouterr().out.splitlines()
    once = {"crashed": 1, "hung": 1, "escaped": 2, "printed": 1, "read": 1, "refused": 1}
    assert ast.literal_eval(counted.rpartition(" ")[0]) == once
    assert "what a library says" in "".join(said) and "MemoryError" in "".join(said)
    assert said[1].endswith("-m a.module 1 --seed=0 --first=0")
    few = ["2", "--suffix", ".x", "--first", "5"]
    assert fuzzing.run("a.module", "", lambda folder: seeds, read_as_named, few) == 0


def test_asv_finds_nothing_wrong_with_its_benchmarks():
    pytest.importorskip("asv")
    folder = Path(benchmarks.__path__[0]) / "asv"
    command = ["-m", "asv", "check", "-E", f"existing:{sys.executable}"]
    done = subprocess.run([sys.executable, *command], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "No problems found" in done.stdout
