"""The command that converts weights between formats."""

from __future__ import annotations

import subprocess
import sys

import pytest
from networks import (
    assert_same,
    asymmetric,
)

from npsrcnn import load, model_files
from npsrcnn.commands import convert


def test_convert_command(rng, tmp_path, capsys):
    net = asymmetric(rng)
    net.save(tmp_path / "a.mat")
    target = tmp_path / "b.npz"
    assert convert.main([str(tmp_path / "a.mat"), str(target), "--scale", "3"]) == 0
    out = capsys.readouterr().out
    assert str(target) in out
    assert "9-1-5, y, x3, padding replicate" in out
    other = load(target)
    assert_same(net, other)
    assert other.scale == 3
    assert convert.main([str(target), str(tmp_path / "c.mat"), "--padding", "zeros"]) == 0
    assert load(tmp_path / "c.mat").padding == "zeros"


def test_help_of_convert_names_every_format(capsys):
    with pytest.raises(SystemExit, match="0"):
        convert.main(["--help"])
    words = capsys.readouterr().out.split("writes")
    assert all(suffix in words[0] for suffix in model_files.READERS)
    assert all(suffix in words[1] for suffix in model_files.WRITERS)


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["a.npz"], 2, "arguments are required: B"),
        (["a.npz", "b.npz", "--what"], 2, "--what"),
        (["a.npz", "b.npz", "--scale", "0"], 2, "--scale"),
        (["a.npz", "b.npz", "--padding", "mirror"], 2, "--padding"),
        (["a.npz", "b.npz", "--color", "rgb"], 1, "--color y"),
        (["missing.mat", "b.npz"], 1, "missing.mat: no such file"),
        (["missing", "b.npz"], 1, "no model 'missing'"),
        (["folder.npz", "b.npz"], 1, "a folder"),
        (["a.npz", "b.txt"], 1, "cannot write .txt files; there are .npz, .mat, .pth"),
        (["a.npz", "b"], 1, "without a suffix"),
        (["a.npz", "b.ckpt"], 1, "cannot write .ckpt"),
        (["text.txt", "b.npz"], 1, "cannot read .txt"),
        (["a.npz", "nowhere/b.npz"], 1, "nowhere/b.npz: No such file or directory"),
    ],
)
def test_convert_says_what_is_wrong_in_one_line(
    arguments, code, says, rng, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    asymmetric(rng).save("a.npz")
    (tmp_path / "text.txt").write_text("a text")
    (tmp_path / "folder.npz").mkdir()
    before = sorted(path.name for path in tmp_path.iterdir())
    assert convert.main(arguments) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert says in err
    assert "Traceback" not in err
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_debug_shows_where(tmp_path):
    command = [sys.executable, "-m", "npsrcnn", "convert", "none.npz", "b.npz", "--debug"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "Traceback" in done.stderr
    assert "no such file" in done.stderr
