"""The frame that every command shares: options, one-line errors, exit codes, atomic files."""

from __future__ import annotations

import argparse
import atexit
import contextlib
import errno
import gc
import io
import os
import re
import sys
import tempfile
import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import NoReturn

from npsrcnn.errors import UsageError, UserError

INTERRUPTED = 130  # what a shell reports for a process ended by Ctrl-C
_asking = threading.Lock()


class _Parser(argparse.ArgumentParser):
    """Raises UsageError instead of printing the whole usage before the one line that matters."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message} (see {self.prog} --help)")


def parser(module: str, description: str, epilog: str | None = None) -> argparse.ArgumentParser:
    """An argument parser for ``python -m <module>`` with the options all commands share."""
    result = _Parser(
        prog=f"python -m {module}",
        description=description,
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    result.add_argument("--debug", action="store_true", help="show the traceback of an error")
    result.add_argument(
        "--threads", type=positive_int, metavar="N", help="CPU threads (default: all usable cores)"
    )
    return result


def positive_int(text: str) -> int:
    """An argparse type: an integer of at least 1."""
    value = int(text) if text.lstrip("+-").isdigit() else 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 1")
    return value


def positive_float(text: str) -> float:
    """An argparse type: a finite number above 0."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0")
    return value


def positive_floats(text: str) -> list[float]:
    """An argparse type: numbers above 0, with commas between them."""
    return [positive_float(part) for part in text.split(",") if part]


def add_precision(parser: argparse.ArgumentParser) -> None:
    """The option ``--precision`` of commands that restore images."""
    parser.add_argument(
        "--precision", choices=("float32", "tf32"), default="float32",
        help="tf32: on tensor cores of a GPU, off by 0.1 to 0.3 of 255 grey levels (rms) "
        "(default: float32)",
    )  # fmt: skip


def device_of(options: argparse.Namespace) -> str:
    """What ``--device`` and ``--precision`` mean together; see :func:`npsrcnn.kernels.choose`."""
    if options.precision == "float32":
        return options.device
    if options.device != "cuda":
        raise UsageError(
            f"--precision tf32 is for a GPU's tensor cores, not for --device {options.device}: "
            "add --cuda, or leave it out"
        )
    return f"{options.device}-{options.precision}"


def run(
    make_parser: Callable[[], argparse.ArgumentParser],
    body: Callable[[argparse.Namespace], int | None],
    argv: Sequence[str] | None = None,
) -> int:
    """Parse ``argv``, call ``body(options)``, and turn an error into one line and an exit code.

    Returns 0, or what ``body`` returns; 1 for a :class:`UserError`, a file system error or too
    little memory; 2 for a :class:`UsageError`; 130 after Ctrl-C. ``--debug`` lets errors through.
    """
    if argv is None:
        _spare_the_collector()
    if isinstance(sys.stdout, io.TextIOWrapper):  # names of files may be more than it can write
        sys.stdout.reconfigure(errors="backslashreplace")  # as standard error does anyway
    argv = sys.argv[1:] if argv is None else list(argv)
    the_parser = make_parser()
    try:
        options = the_parser.parse_args(argv)
        if options.threads is not None:
            from npsrcnn.kernels.threads import set_num_threads

            set_num_threads(options.threads)
        return body(options) or 0
    except KeyboardInterrupt:
        return _fail(the_parser.prog, "interrupted", INTERRUPTED)
    except (UserError, OSError, MemoryError) as error:
        if "--debug" in argv:
            raise
        return _fail(the_parser.prog, describe(error), getattr(error, "exit_code", 1))


def _spare_the_collector() -> None:
    """Let Python not look for garbage among all that was imported, when it ends above all.

    Of a second start's 1.6 s, as a whole process, this saves 0.4: Numba brings many objects.
    """
    gc.freeze()
    atexit.register(gc.freeze)


def describe(error: BaseException) -> str:
    """One line for people: what happened, and what to do where that is known."""
    if isinstance(error, MemoryError):
        return f"out of memory ({error})" if str(error) else "out of memory"
    if isinstance(error, BrokenPipeError):
        return "the reader of this command's output went away"
    if isinstance(error, OSError) and error.errno is not None:
        place = f"{error.filename}: " if error.filename else ""
        advice = {
            errno.ENOSPC: "; free some space, or write elsewhere",
            errno.EACCES: "; choose a place you may read and write",
            errno.EROFS: "; choose a folder that can be written to",
        }.get(error.errno, "")
        return f"{place}{os.strerror(error.errno)}{advice}"
    return " ".join(str(error).split())


def _fail(prog: str, message: str, exit_code: int) -> int:
    print(f"{prog}: {message}", file=sys.stderr)
    return exit_code


@contextlib.contextmanager
def write_atomically(path: str | Path) -> Iterator[Path]:
    """Give the path of a temporary file beside ``path``; rename it to ``path`` on success.

    Whoever reads ``path`` sees the old file or the new one, never a part. The temporary file
    keeps the suffix of ``path`` (writers choose a format by it) and is removed on any error.

    Raises
    ------
    OSError
        With ``filename`` set to ``path``: no such folder, no permission, no space.
    """
    path = Path(path)
    temporary = _beside(path)
    try:
        yield temporary
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        temporary.chmod(0o666 & ~_umask())  # mkstemp makes files for their owner alone
        os.replace(temporary, path)
    except OSError as error:
        if error.errno is None:
            raise
        raise OSError(error.errno, os.strerror(error.errno), str(path)) from error
    finally:
        temporary.unlink(missing_ok=True)


def check_writable(path: str | Path) -> None:
    """Find out before long work, and not after it, whether a file can be written.

    Raises
    ------
    OSError
        As :func:`write_atomically`, which would raise it too, or there is a folder at ``path``.
    """
    _beside(Path(path)).unlink()
    if Path(path).is_dir():
        raise OSError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))


def _beside(path: Path) -> Path:
    """A new file in the folder of ``path``, empty."""
    try:
        handle, name = tempfile.mkstemp(
            dir=path.parent, prefix=f".{path.stem}-", suffix=path.suffix
        )
    except OSError as error:
        raise OSError(error.errno, os.strerror(error.errno), str(path)) from error
    os.close(handle)
    return Path(name)


def leftovers(paths: Collection[Path]) -> Iterator[Path]:
    """The temporary files of :func:`write_atomically` for ``paths`` that killed processes left."""
    names = {(path.parent, path.stem, path.suffix) for path in paths}
    for folder in {path.parent for path in paths if path.parent.is_dir()}:
        for path in list(folder.iterdir()):
            match = re.fullmatch(r"\.(.*)-\w{8}", path.stem)
            if match and (folder, match[1], path.suffix) in names:
                yield path


def _umask() -> int:
    with _asking:  # the system tells only who changes it
        mask = os.umask(0)
        os.umask(mask)
    return mask
