"""`npsrcnn` lists the commands; `npsrcnn train ...` runs one of them."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Sequence

from npsrcnn.commands import frame
from npsrcnn.commands.frame import COMMANDS
from npsrcnn.version import __version__

TAB = "~/.local/share/bash-completion/completions/npsrcnn"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command named first in ``argv``; without one, list them."""
    name, *arguments = (sys.argv[1:] if argv is None else argv) or ["--help"]
    if name in ("-h", "--help"):
        print("usage: npsrcnn COMMAND ...\n\nSuper-resolution by three convolutions (SRCNN).\n")
        for command, (description, example) in COMMANDS.items():
            print(f"  {description:36} npsrcnn {command} {example}".rstrip())
        print("\nnpsrcnn COMMAND --help explains a command, npsrcnn --version says which this is.")
        print("The Tab key completes commands and options after (or zsh, fish, ...):")
        print(f"  npsrcnn completion bash > {TAB}")
        return 0
    if name == "--version":
        print(__version__)
        return 0
    if name not in COMMANDS:
        print(f"npsrcnn: no command {name!r}; there are {', '.join(COMMANDS)}", file=sys.stderr)
        return 2
    run: Callable[[Sequence[str]], int] = importlib.import_module(f"npsrcnn.commands.{name}").main
    if argv is None:
        frame.start_lean()
        frame.shorten_warnings()
    return run(arguments)


if __name__ == "__main__":
    sys.exit(main())
