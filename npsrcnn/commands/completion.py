"""`npsrcnn completion bash`: print a script with which a shell completes npsrcnn's commands.

The script holds all names, so that the Tab key starts no Python. For bash keep it in
~/.local/share/bash-completion/completions/npsrcnn; for zsh in a file _npsrcnn of its fpath.
"""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Sequence

from npsrcnn.commands import frame
from npsrcnn.errors import UserError


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of the command."""
    parser = frame.parser("completion", "Print a script for a shell's Tab key.", __doc__)
    parser.add_argument("shell", metavar="SHELL", help="bash, zsh, fish, tcsh or powershell")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; see ``--help``."""
    return frame.run(make_parser, run, argv)


def run(options: argparse.Namespace) -> None:
    """Print the script."""
    try:
        import shtab
    except ImportError as error:
        raise UserError('completion needs a package: pip install "npsrcnn[completion]"') from error
    if options.shell not in shtab.SUPPORTED_SHELLS:
        there = ", ".join(shtab.SUPPORTED_SHELLS)
        raise UserError(f"no completion for {options.shell!r}; there is one for {there}")
    whole = argparse.ArgumentParser(prog="npsrcnn", allow_abbrev=False)
    whole.add_argument("--version", action="store_true", help="print the version")
    commands = whole.add_subparsers()
    for name, (description, _) in frame.COMMANDS.items():
        parser = importlib.import_module(f"npsrcnn.commands.{name}").make_parser()
        for action in parser._actions:
            if action.nargs != 0 and action.choices is None:
                vars(action)["complete"] = shtab.FILE  # what shtab looks for
        commands.add_parser(name, help=description, parents=[parser], add_help=False)
    print(shtab.complete(whole, options.shell))
