"""The frame of the commands: one line and an exit code for an error, files whole or not at all."""

from __future__ import annotations

import errno
import importlib.util
import io
import subprocess
import sys
from pathlib import Path

import pytest

import npsrcnn
from npsrcnn import __main__, __version__
from npsrcnn.commands import frame as commands
from npsrcnn.errors import UsageError, UserError
from npsrcnn.runtime import threads


def run(body, *argv):
    return commands.run(lambda: commands.parser("npsrcnn.example", "An example."), body, argv)


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
        (UserError("in two\n  lines"), 1, "in two lines"),
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
    before = threads.get_num_threads()
    try:
        seen = []
        assert run(lambda options: seen.append(threads.get_num_threads()), "--threads", "3") == 0
        assert seen == [3]
    finally:
        threads.set_num_threads(before)


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


def body_of(name):
    return importlib.import_module(__main__.COMMANDS[name][0])


@pytest.mark.parametrize("argv", [[], ["-h"], ["--help"]])
def test_the_commands_are_listed(argv, capsys):
    assert __main__.main(argv) == 0
    out = capsys.readouterr().out
    for name, (_, description) in __main__.COMMANDS.items():
        assert f"npsrcnn {name}" in out and description in out


def test_the_version(capsys):
    assert __main__.main(["--version"]) == 0
    assert capsys.readouterr().out.strip() == __version__


def test_an_unknown_command(capsys):
    assert __main__.main(["trian"]) == 2
    line = line_of(capsys)
    assert "'trian'" in line and "train" in line.split("there are")[1]


@pytest.mark.parametrize("name", __main__.COMMANDS)
def test_every_command_explains_itself(name, capsys):
    with pytest.raises(SystemExit) as caught:
        __main__.main([name, "--help"])
    assert caught.value.code == 0
    out, err = capsys.readouterr()
    assert out.startswith(f"usage: npsrcnn {name} ") and err == ""
    assert "--threads" in out and "--debug" in out


@pytest.mark.parametrize("name", __main__.COMMANDS)
def test_every_command_refuses_an_unknown_option(name, capsys):
    assert __main__.main([name, "--no-such-option"]) == 2
    line = line_of(capsys)
    assert line.startswith(f"npsrcnn {name}: ")
    assert "--help" in line


@pytest.mark.parametrize("name", __main__.COMMANDS)
def test_every_command_runs_as_a_module_under_its_name(name):
    """`python -m npsrcnn.NAME` finds a module that ends with its main()."""
    spec = importlib.util.find_spec(f"npsrcnn.{name}")
    assert spec is not None
    if spec.submodule_search_locations is not None:
        spec = importlib.util.find_spec(f"npsrcnn.{name}.__main__")
    assert spec.name == body_of(name).__name__
    source = Path(spec.origin).read_text(encoding="utf-8")
    assert source.endswith('if __name__ == "__main__":\n    sys.exit(main())\n')


def test_no_module_that_can_be_run_is_left_out():
    """Whatever ends in a main() is listed."""
    package = Path(__main__.__file__).parent
    runnable = {
        ".".join(("npsrcnn", *path.relative_to(package).with_suffix("").parts))
        for path in package.rglob("*.py")
        if 'if __name__ == "__main__":' in path.read_text(encoding="utf-8")
    }
    assert runnable - {"npsrcnn.__main__"} == {module for module, _ in __main__.COMMANDS.values()}


@pytest.mark.parametrize("name", ["upscale", "models"])
def test_a_command_does_not_hide_the_function_of_its_name(name):
    """A subpackage that is imported late would take its name in npsrcnn."""
    body_of(name)
    assert callable(getattr(npsrcnn, name))


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
