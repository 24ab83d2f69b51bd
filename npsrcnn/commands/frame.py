"""The frame that every command shares: common options, one-line errors, exit codes."""

from __future__ import annotations

import argparse
import atexit
import difflib
import gc
import io
import json
import re
import shlex
import sys
import warnings
from collections.abc import Callable, Sequence
from typing import NoReturn, TextIO

from npsrcnn.errors import UsageError, UserError, describe
from npsrcnn.runtime.files import write_atomically
from npsrcnn.runtime.lean_blas import import_blas_alone
from npsrcnn.words import one_line

COMMANDS = {  # name: what it does, and the arguments of an example
    "upscale": ("Enlarge pictures and clips", "photo.jpg --scale 3"),
    "train": ("Train a network", "--data pictures --scale 2"),
    "evaluate": ("Measure by the paper's protocol", "--data set5 --scale 3"),
    "app": ("All of it in a browser", ""),
    "models": ("List the weights that ship", ""),
    "datasets": ("Fetch, prepare or make images", "fetch t91 set5"),
    "convert": ("Write weights in another format", "weights.mat weights.npz"),
    "gradcheck": ("Check all gradients numerically", ""),
    "warmup": ("Compile all kernels ahead of use", ""),
    "completion": ("Complete commands by the Tab key", "bash"),
}
"""The commands, each a module of this package with ``make_parser`` and ``main``."""

INTERRUPTED = 130  # what a shell reports for a process ended by Ctrl-C


class _Parser(argparse.ArgumentParser):
    """Raises UsageError instead of printing the whole usage before the one line that matters."""

    def error(self, message: str) -> NoReturn:
        if unknown := re.match("unrecognized arguments: (--[^ =]+)", message):
            options = self._option_string_actions
            for meant in difflib.get_close_matches(unknown[1], options, n=1, cutoff=0.75):
                message += f"; {meant}?"
        raise UsageError(f"{message} (see {self.prog} --help)")


def parser(name: str, description: str, epilog: str | None = None) -> argparse.ArgumentParser:
    """Return an argument parser for ``npsrcnn NAME`` with the options that all commands share."""
    result = _Parser(
        prog=f"npsrcnn {name}",
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
    """Parse an integer of at least 1 for argparse."""
    value = int(text) if text.lstrip("+-").isdigit() else 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 1")
    return value


def positive_ints(text: str) -> list[int]:
    """Parse integers of at least 1, with commas between them, for argparse."""
    return [positive_int(part) for part in text.split(",")]


def positive_float(text: str) -> float:
    """Parse a finite number above 0 for argparse."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0")
    return value


def positive_floats(text: str) -> list[float]:
    """Parse numbers above 0, with commas between them, for argparse."""
    return [positive_float(part) for part in text.split(",") if part]


def qualities(text: str) -> tuple[int, int]:
    """Parse a JPEG quality, "75", or a range, "60-80", for argparse: lowest and highest."""
    return _range(text, "a quality", 1, 100)


def crfs(text: str) -> tuple[int, int]:
    """Parse a CRF, "27", or a range, "20-32", for argparse: lowest and highest."""
    return _range(text, "a CRF", 0, 51)


def crf(text: str) -> int:
    """Parse a CRF, for argparse."""
    lowest, highest = crfs(text)
    if lowest != highest:
        raise argparse.ArgumentTypeError(f"{text!r} is a range: it takes one CRF, as in 27")
    return lowest


def _range(text: str, what: str, least: int, most: int) -> tuple[int, int]:
    match = re.fullmatch(r"(\d{1,3})(?:-(\d{1,3}))?", text)
    lowest, highest = (int(match[1]), int(match[2] or match[1])) if match else (-1, -1)
    if not least <= lowest <= highest <= most:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not {what} from {least} to {most}, nor a range of them, the lower first"
        )
    return lowest, highest


def run(
    make_parser: Callable[[], argparse.ArgumentParser],
    body: Callable[[argparse.Namespace], int | None],
    argv: Sequence[str] | None = None,
) -> int:
    """Parse ``argv``, call ``body(options)``, and turn an error into one line and an exit code.

    Returns 0, or what ``body`` returns; 1 for a :class:`UserError`, a file system error or too
    little memory; 2 for a :class:`UsageError`; 130 after Ctrl-C. ``--debug`` lets errors through.
    """
    command = make_parser()
    if argv is None:  # the process is this command's own
        start_lean()
        shorten_warnings()
    if isinstance(sys.stdout, io.TextIOWrapper):  # names of files may be more than it can write
        sys.stdout.reconfigure(errors="backslashreplace")  # as standard error does anyway
    argv = sys.argv[1:] if argv is None else list(argv)
    try:
        options = command.parse_args(argv)
        options.command_line = shlex.join([*command.prog.split(), *argv])  # for reports
        if options.threads is not None:
            from npsrcnn.runtime.threads import set_num_threads

            set_num_threads(options.threads)
        return body(options) or 0
    except KeyboardInterrupt:
        return _fail(command.prog, "interrupted", INTERRUPTED)
    except (UserError, OSError, MemoryError) as error:
        if "--debug" in argv:
            raise
        return _fail(command.prog, describe(error), getattr(error, "exit_code", 1))


def shorten_warnings() -> None:
    """Print warnings as one line without a place in the code, in a process of a command."""
    warnings.formatwarning = lambda message, *_: f"npsrcnn: warning: {message}\n"


def start_lean() -> None:
    """Spare a process that is the command's own what it need not do.

    Python does not look for garbage among all that was imported, above all when it ends: of a
    second start's 1.6 s, as a whole process, that saves 0.4, as Numba brings many objects.
    """
    import_blas_alone()
    gc.freeze()
    atexit.register(gc.freeze)


def add_device(
    parser: argparse.ArgumentParser | argparse._ArgumentGroup, devices: Sequence[str]
) -> None:
    """Add --device, and --cuda, which other ports of SRCNN have."""
    parser.add_argument("--device", choices=devices, default="cpu")
    parser.add_argument(
        "--cuda",
        action="store_const",
        const="cuda",
        dest="device",
        help="the same as --device cuda",
    )


def say(line: str, stream: TextIO) -> None:
    """Print a line, at once, which no name in it breaks."""
    print(one_line(line), file=stream, flush=True)


def _fail(prog: str, message: str, exit_code: int) -> int:
    say(f"{prog}: {message}", sys.stderr)
    return exit_code


def write_json(place: str, facts: object) -> None:
    """Write what ``--json`` asks for; see :func:`write_text`."""
    write_text(place, json.dumps(facts, indent=1) + "\n")


def write_text(place: str, text: str) -> None:
    """Write text to a file, or where ``place`` is "-" to standard output."""
    if place == "-":
        sys.stdout.write(text)
        return
    with write_atomically(place) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")


def quality(text: str) -> int:
    """Parse --quality for argparse."""
    value = positive_int(text)
    if value > 100:
        raise argparse.ArgumentTypeError(f"{text!r} is more than 100")
    return value


def color(text: str) -> tuple[int, int, int]:
    """Parse a colour for argparse, as white, #1e90ff or rgb(30, 144, 255)."""
    from PIL import ImageColor

    try:
        found = ImageColor.getrgb(text)
        if max(found) > 255:  # which Pillow takes
            raise ValueError(f"{max(found)} is more than 255")
    except ValueError as error:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no colour: give white, #1e90ff..."
        ) from error
    if len(found) > 3:
        raise argparse.ArgumentTypeError(f"{text!r} is transparent itself")
    return found[0], found[1], found[2]


def byte_count(text: str) -> int:
    """Parse bytes for argparse, as 2G, 600M or 2e9."""
    factor = {"K": 1e3, "M": 1e6, "G": 1e9, "T": 1e12}.get(text[-1:].upper())
    return int(positive_float(text[:-1] if factor else text) * (factor or 1))
