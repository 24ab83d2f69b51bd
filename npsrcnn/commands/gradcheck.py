"""`npsrcnn gradcheck`: check every gradient of a network; see npsrcnn.model.gradients."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence

from npsrcnn.commands import frame
from npsrcnn.errors import UsageError
from npsrcnn.model.gradients import CHECKS, Row, check, random_problem
from npsrcnn.model.network import parse_name


def report(rows: list[Row], write: Callable[[str], None] = print) -> bool:
    """Write a table of all errors and which are wrong; returns whether every gradient is right."""
    write("layer gradient" + "".join(f"{c.name:>13}" for c in CHECKS))
    for row in rows:
        cells = [f"{row.errors[c]:.1e}" if c in row.errors else "" for c in CHECKS]
        line = f"{row.layer:5} {row.gradient:8}" + "".join(f"{cell:>13}" for cell in cells)
        write(line + ("  right" if row.right else "  WRONG"))
    write(f"{'allowed':14}" + "".join(f"{c.allowed:13.0e}" for c in CHECKS))
    for c in CHECKS:
        write(f"  {c.name} may differ by {c.allowed:.0e}: {c.why}")
    wrong = [f"{row.gradient} of layer {row.layer}" for row in rows if not row.right]
    write(f"WRONG: {', '.join(wrong)}" if wrong else f"All {len(rows)} gradients are right.")
    return not wrong


def make_parser() -> argparse.ArgumentParser:
    parser = frame.parser("gradcheck", "Check every gradient of a network, in float64.")
    parser.add_argument("--network", default="9-1-5", help="filter sizes (default: %(default)s)")
    parser.add_argument("--channels", type=int, choices=(1, 3), default=1, help="default: 1")
    parser.add_argument(
        "--filters",
        type=frame.positive_int,
        default=4,
        metavar="N",
        help="of each layer but the last; every weight is moved, so a few (default: %(default)s)",
    )
    parser.add_argument("--seed", type=int, default=0, help="of all numbers (default: 0)")
    return parser


def _run(options: argparse.Namespace) -> int:
    if options.seed < 0:
        raise UsageError(f"--seed must be 0 or more, not {options.seed}")
    n = [options.filters] * (len(parse_name(options.network)) - 1)
    layers, inputs, labels = random_problem(options.network, options.channels, n, seed=options.seed)
    size = " x ".join(map(str, inputs.shape))
    print(f"Gradients of {options.network}, inputs {size}, relative errors:\n")
    return 0 if report(check(layers, inputs, labels, options.seed)) else 1


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns 0 if every gradient is right, 1 if one is not."""
    return frame.run(make_parser, _run, argv)
