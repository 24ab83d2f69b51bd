"""`npsrcnn models`: list the weights that ship."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence

from npsrcnn.commands import frame
from npsrcnn.model.shipped import models, path_of


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of the command's options."""
    parser = frame.parser("models", "List the weights that ship.", __doc__)
    parser.add_argument("name", nargs="?", help="print all that is known of this one, as JSON")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; see ``--help``."""
    return frame.run(make_parser, show, argv)


def show(options: argparse.Namespace) -> None:
    """Print the table, or all that is known of one model."""
    there = models()
    if options.name is None:
        print(there)
        return
    path = path_of(options.name)
    facts = next(model.facts for model in there if model.path == path)
    print(json.dumps({"path": str(path), **facts}, indent=1))
