"""The frame of the commands: one line and an exit code for an error, files whole or not at all."""

from __future__ import annotations

import argparse
import errno
import importlib
import io
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import npsrcnn
from npsrcnn import __main__, __version__
from npsrcnn.commands import frame
from npsrcnn.commands import frame as commands
from npsrcnn.commands.frame import COMMANDS
from npsrcnn.errors import UsageError, UserError
from npsrcnn.runtime import threads


def run(body, *argv):
    return commands.run(lambda: commands.parser("example", "An example."), body, argv)


def raiser(error):
    def body(options):
        raise error

    return body


def line_of(capsys):
    """The one line that a command wrote to stderr; nothing went to stdout."""
    out, err = capsys.readouterr()
    assert out == ""
    assert err.endswith("\n") and err.count("\n") == 1, err
    assert "Traceback" not in err
    return err.rstrip("\n")


# run: exit codes and one line


@pytest.mark.parametrize(("returned", "code"), [(None, 0), (0, 0), (1, 1), (130, 130)])
def test_run_returns_what_the_body_does_or_0(returned, code):
    assert run(lambda options: returned) == code


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (UserError("a.png: not an image"), 1, "a.png: not an image"),
        (UserError("a\n  b.png: not an image"), 1, r"a\n  b.png: not an image"),
        (UsageError("give --scale"), 2, "give --scale"),
        (KeyboardInterrupt(), 130, "interrupted"),
        (MemoryError(), 1, "out of memory"),
        (MemoryError("Unable to allocate 3 TiB"), 1, "out of memory (Unable to allocate 3 TiB)"),
        (BrokenPipeError(errno.EPIPE, "x"), 1, "the reader of this command's output went away"),
        (FileNotFoundError(errno.ENOENT, "x", "a/b"), 1, "a/b: No such file or directory"),
        (OSError(errno.ENOSPC, "x", "b"), 1,
         "b: No space left on device; free some space, or write elsewhere"),
        (PermissionError(errno.EACCES, "x", "c"), 1,
         "c: Permission denied; choose a place you may read and write"),
        (OSError(errno.EROFS, "x"), 1,
         "Read-only file system; choose a folder that can be written to"),
        (OSError("cannot identify image file"), 1, "cannot identify image file"),
    ],
)  # fmt: skip
def test_run_says_an_error_in_one_line(error, code, line, capsys):
    assert run(raiser(error)) == code
    assert line_of(capsys) == f"npsrcnn example: {line}"


@pytest.mark.parametrize("error", [UserError("x"), UsageError("x"), OSError(2, "x"), MemoryError()])
def test_debug_lets_an_error_through(error):
    with pytest.raises(type(error)) as caught:
        run(raiser(error), "--debug")
    assert caught.value is error


@pytest.mark.parametrize("error", [ValueError, TypeError, ZeroDivisionError])
def test_a_fault_of_the_program_is_not_hidden(error):
    with pytest.raises(error):
        run(raiser(error("a bug")))


@pytest.mark.parametrize(
    ("argv", "what"),
    [
        (["--nothing"], "--nothing"),
        (["--thread", "2"], "--thread"),  # no abbreviations: they break when an option is added
        (["extra"], "extra"),
        (["--threads"], "--threads"),
        *[(["--threads", text], repr(text)) for text in ("0", "-1", "two", "1.5", "")],
    ],
)
def test_wrong_options_are_refused_with_2(argv, what, capsys):
    assert run(raiser(AssertionError("the body must not run")), *argv) == 2
    line = line_of(capsys)
    assert what in line and line.endswith("(see npsrcnn example --help)")


def test_threads_are_set_before_the_body_runs():
    seen = []
    assert run(lambda options: seen.append(threads.get_num_threads()), "--threads", "3") == 0
    assert seen == [3]


@pytest.mark.parametrize("text", ["1", "17", "+2"])
def test_positive_int(text):
    assert commands.positive_int(text) == int(text)


@pytest.mark.parametrize(("text", "value"), [("2", 2.0), ("0.5", 0.5), ("1e-3", 0.001)])
def test_positive_float(text, value):
    assert commands.positive_float(text) == value


@pytest.mark.parametrize("text", ["0", "-1", "nan", "inf", "-inf", "x", ""])
def test_positive_float_refuses(text):
    with pytest.raises(commands.argparse.ArgumentTypeError, match="not a number above 0"):
        commands.positive_float(text)


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_a_name_that_standard_output_cannot_encode_is_escaped(encoding, monkeypatch):
    output = io.TextIOWrapper(io.BytesIO(), encoding, errors="strict")
    monkeypatch.setattr(sys, "stdout", output)
    assert run(lambda options: print("b\udcff.png", flush=True)) == 0
    assert output.buffer.getvalue() == b"b\\udcff.png\n"


# python -m npsrcnn, and what it lists


def module_of(name):
    return importlib.import_module(f"npsrcnn.commands.{name}")


@pytest.mark.parametrize("argv", [[], ["-h"], ["--help"]])
def test_the_commands_are_listed_with_an_example_each_in_80_columns(argv, capsys):
    assert __main__.main(argv) == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    for name, (description, example) in COMMANDS.items():
        assert sum(
            description in line and line.endswith(f" npsrcnn {name} {example}".rstrip())
            for line in lines
        ) == 1  # fmt: skip


@pytest.mark.parametrize("name", COMMANDS)
def test_the_example_of_a_command_parses(name):
    _, example = COMMANDS[name]
    module_of(name).make_parser().parse_args(example.split())


def test_the_version(capsys):
    assert __main__.main(["--version"]) == 0
    assert capsys.readouterr().out.strip() == __version__


def test_an_unknown_command(capsys):
    assert __main__.main(["trian"]) == 2
    line = line_of(capsys)
    assert "'trian'" in line and "train" in line.split("there are")[1]


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself(name, capsys):
    with pytest.raises(SystemExit) as caught:
        __main__.main([name, "--help"])
    assert caught.value.code == 0
    out, err = capsys.readouterr()
    assert out.startswith(f"usage: npsrcnn {name} ") and err == ""
    assert "--threads" in out and "--debug" in out


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_refuses_an_unknown_option(name, capsys):
    assert __main__.main([name, "--no-such-option"]) == 2
    line = line_of(capsys)
    assert line.startswith(f"npsrcnn {name}: ")
    assert "--help" in line


def test_every_module_of_commands_that_has_a_main_is_listed():
    package = Path(frame.__file__).parent
    mains = {path.stem for path in package.glob("*.py") if "\ndef main(" in path.read_text()}
    assert mains == set(COMMANDS)


def test_only_the_commands_and_train_by_its_old_name_run_as_modules():
    package = Path(__main__.__file__).parent
    runnable = {
        path.relative_to(package).as_posix()
        for path in package.rglob("*.py")
        if 'if __name__ == "__main__":' in path.read_text(encoding="utf-8")
    }
    assert runnable == {"__main__.py", "train.py"}


@pytest.mark.parametrize("name", ["upscale", "models"])
def test_a_command_does_not_hide_the_function_of_its_name(name):
    module_of(name)
    assert callable(getattr(npsrcnn, name))


@pytest.mark.parametrize("argv", [None, ["models"]])
def test_only_a_whole_process_spares_the_garbage_collector(argv, monkeypatch):
    """It saves a command 0.4 s at its end, and would cost a program that calls one memory."""
    frozen = []
    monkeypatch.setattr(frame, "start_lean", lambda: frozen.append(True))
    monkeypatch.setattr(sys, "argv", ["npsrcnn", "models"])
    assert __main__.main(argv) == 0
    assert bool(frozen) == (argv is None)


def test_from_a_shell(tmp_path):
    """One real process: the exit code arrives, and stderr holds one line."""
    done = subprocess.run(
        [sys.executable, "-m", "npsrcnn", "upscale", "missing.png", "--scale", "3",
         "--model", "missing.npz"],
        capture_output=True, text=True, cwd=tmp_path, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stdout == "" and done.stderr.count("\n") == 1
    assert "missing.npz" in done.stderr and "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("command", "name"),
    [(["npsrcnn"], "COMMAND"), (["npsrcnn", "train"], "train"), (["npsrcnn.train"], "train")],
)
def test_python_runs_the_package_and_train_as_modules(command, name, tmp_path):
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", *command, "--help"],
        capture_output=True, text=True, cwd=tmp_path, check=True,
    )  # fmt: skip
    assert done.stdout.startswith(f"usage: npsrcnn {name} ")
    assert done.stderr == ""


# The Tab key


@pytest.fixture(scope="module")
def completed(tmp_path_factory):
    """Complete the last of some words in bash, by the script that the command prints."""
    pytest.importorskip("shtab", reason="needs the extra completion")
    if shutil.which("bash") is None:
        pytest.skip("needs bash")
    folder = tmp_path_factory.mktemp("completion")
    (folder / "photo.jpg").touch()
    script = subprocess.check_output([sys.executable, "-m", "npsrcnn", "completion", "bash"])
    (folder / "script").write_bytes(script)

    def complete(*words):
        code = '. ./script; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMP_LINE="$*"; '
        code += '_shtab_npsrcnn; echo "${COMPREPLY[@]}"'
        command = ["bash", "-c", code, "bash", "npsrcnn", *words]
        return subprocess.check_output(command, text=True, cwd=folder).split()

    return complete


def test_the_tab_key_completes_commands_options_choices_and_files(completed):
    assert set(completed("")) >= set(COMMANDS)
    assert completed("upsc") == ["upscale"]
    assert completed("upscale", "--also") == ["--also-bicubic"]
    assert set(completed("upscale", "--device", "")) == {"cpu", "cuda", "reference"}
    assert completed("upscale", "ph") == ["photo.jpg"]
    assert completed("datasets", "fe") == ["fetch"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "tcsh"])
def test_a_completion_script_names_all_commands(shell, capsys):
    pytest.importorskip("shtab", reason="needs the extra completion")
    assert __main__.main(["completion", shell]) == 0
    out = capsys.readouterr().out
    assert all(name in out for name in COMMANDS) and "also-bicubic" in out


def test_completion_says_what_is_missing(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "shtab", None)
    assert __main__.main(["completion", "bash"]) == 1
    assert 'pip install "npsrcnn[completion]"' in line_of(capsys)


def test_completion_refuses_another_shell(capsys):
    pytest.importorskip("shtab", reason="needs the extra completion")
    assert __main__.main(["completion", "csv"]) == 1
    assert "no completion for 'csv'; there is one for bash, zsh" in line_of(capsys)


def test_a_colour_has_no_more_than_255():
    assert frame.color("rgb(255, 0, 7)") == (255, 0, 7)
    with pytest.raises(argparse.ArgumentTypeError, match="is no colour"):
        frame.color("rgb(300, 0, 0)")
