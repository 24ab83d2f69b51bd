"""`npsrcnn upscale - -o -`: a picture from standard input, its result to standard output."""

from __future__ import annotations

import argparse
import contextlib
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from npsrcnn import images
from npsrcnn.commands import clips
from npsrcnn.errors import UsageError, UserError
from npsrcnn.images.recognized import described
from npsrcnn.runtime.files import expand_pattern

PIPE = Path("-")
OF_FILES = ("also_bicubic", "skip_existing", "resume", "dask", "suffix")


def is_piped(options: argparse.Namespace) -> bool:
    """Return whether standard input or output is named; a file of that name is ``./-``."""
    return PIPE in (*options.sources, options.output)


@contextlib.contextmanager
def files_instead(options: argparse.Namespace) -> Iterator[argparse.Namespace]:
    """Yield options with temporary files in place of ``-``, then give the result to the output.

    Where the picture comes from standard input and no ``-o`` is given, its result goes to standard
    output. Nothing goes there but a whole result.

    Raises
    ------
    UsageError
        Options that have no meaning then, or a terminal in place of a pipe.
    UserError
        Nothing, or no picture, comes from standard input.
    """
    to_stdout = options.output in (None, PIPE)
    _check(options, to_stdout)
    with tempfile.TemporaryDirectory(prefix="npsrcnn-") as name:
        folder = Path(name)
        changed = argparse.Namespace(**vars(options))
        if options.sources == [PIPE]:
            changed.sources = [_received(folder)]
        if clips.among(changed.sources):
            raise UsageError("- is for pictures: a clip or an animation is given as a file")
        if to_stdout:
            changed.output, changed.called = folder / "out", "standard output"
        yield changed
        made = sorted(changed.output.iterdir()) if to_stdout and changed.output.is_dir() else []
        for path in made:
            sys.stdout.buffer.write(path.read_bytes())
            sys.stdout.buffer.flush()


def _check(options: argparse.Namespace, to_stdout: bool) -> None:
    """Raise UsageError where options do not fit a pipe."""
    sources = [path for source in options.sources for path in expand_pattern(source)]
    if len(sources) > 1 or sources[0].is_dir():
        raise UsageError("- stands for one picture, and IN is several")
    for option in OF_FILES:
        if getattr(options, option):
            raise UsageError(f"--{option.replace('_', '-')} is for files, not for -")
    if to_stdout and options.json == "-":
        raise UsageError("--json - and the result cannot both go to the output: give --json FILE")
    if to_stdout and sys.stdout.isatty():
        raise UsageError("the result would go to the terminal: give -o FILE, or > FILE")
    if PIPE in options.sources and sys.stdin.isatty():
        raise UsageError("- is standard input, and nothing is piped into it")


def _received(folder: Path) -> Path:
    """Write what comes from standard input to a file, with the suffix of its format."""
    data = sys.stdin.buffer.read()
    if not data:
        raise UserError("nothing came from standard input")
    suffix = images.suffix_of(data)
    if suffix is None:
        raise UserError(f"standard input: {described(data)}")
    path = folder / f"stdin{suffix}"
    path.write_bytes(data)
    return path
