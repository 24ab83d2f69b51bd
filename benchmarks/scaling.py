"""`python -m benchmarks.scaling ROWS.json`: a model of training on 1 to 10,000 ranks.

ROWS.json is what ``python -m benchmarks mpi --json ROWS.json`` has measured. From its parts (the
time that a group of sub-images takes, what a step costs besides, a message's latency and the rate
of long ones) the model foretells the step on more ranks; first of all those that were measured
whole. docs/scaling.md says what it comes to.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from npsrcnn import SRCNN
from npsrcnn.commands import frame as commands
from npsrcnn.kernels.cpu.shares import SLOTS
from npsrcnn.kernels.cpu.tiles import LANES
from npsrcnn.training.optimizers import parameters

BATCH = 128
RANKS = (1, 2, 4, 16, 64, 256, 1024, 4096, 10_000)
ETHERNET = {"latency": 30e-6, "rate": 1.1e9}  # 10 Gbit/s by TCP: taken, not measured
PAPER = 8e8  # sub-images of the paper's training


@dataclass(frozen=True)
class Model:
    """Hold the seconds and bytes of which a step is made."""

    group: float  # LANES sub-images on one thread
    rest: float  # of a step on one rank: its optimizer, clipping, averages, packing, adding up
    latency: float  # of a message
    rate: float  # bytes a second of a long one
    gradient: int  # bytes

    def step(self, ranks: int, batch: int, tree: bool = False) -> float:
        """Return the seconds of a step; more than SLOTS partial sums where there are more ranks.

        What is built exchanges partial sums, everybody with everybody, then gathers the totals.
        A ``tree`` adds up the gradients of two ranks, of two pairs, ..., and hands the sum back.
        """
        groups = -(-batch // LANES)
        slots = min(groups, max(SLOTS, ranks))
        compute = -(-slots // ranks) * self.group * groups / slots + self.rest
        rounds = math.ceil(math.log2(ranks))
        agree = rounds * self.latency
        if tree:
            return compute + agree + 2 * rounds * (self.latency + self.gradient / self.rate)
        others = (ranks - 1) / ranks * self.gradient / self.rate
        exchange = (ranks - 1) * self.latency + slots / ranks * others
        return compute + agree + exchange + rounds * self.latency + others


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; see ``--help``."""
    return commands.run(make_parser, show, argv)


def make_parser() -> argparse.ArgumentParser:
    """Return a parser of the command's options."""
    parser = commands.parser("benchmarks.scaling", "A model of training on many ranks.", __doc__)
    parser.add_argument("rows", type=Path, help="what python -m benchmarks mpi has measured")
    return parser


def show(options: argparse.Namespace) -> None:
    """Print the model, its check, and what it foretells."""
    rows = json.loads(options.rows.read_text(encoding="utf-8"))["rows"]
    ms = {(row["case"], row["by"]): row["ms"] for row in rows if row["subject"] == "mpi"}
    model = _fitted({case: taken / 1e3 for (case, _), taken in ms.items()}, ms)
    print(f"{model}\n\n| ranks | measured ms | model ms | model / measured |\n|{' --- |' * 4}")
    for ranks in range(1, 1 + max(row["threads"] for row in rows)):
        for kind, batch in (("strong", BATCH), ("weak", BATCH * ranks)):
            taken = ms[f"9-1-5, step of {batch}, {kind} scaling", f"{ranks} ranks"]
            foretold = 1e3 * model.step(ranks, batch)
            print(f"| {ranks}, batch {batch} | {taken:.1f} | {foretold:.1f} | "
                  f"{foretold / taken:.2f} |")  # fmt: skip
    ethernet = replace(model, **ETHERNET)
    titles = ("ranks", "batch", "ms a step", "times one rank", "efficiency", "by a tree",
              "times one rank", "8e8 sub-images, days")  # fmt: skip
    print(f"\nOver Ethernet\n\n| {' | '.join(titles)} |\n|{' --- |' * len(titles)}")
    for ranks in RANKS:
        for batch in sorted({128, 512, 2048, LANES * ranks}):
            if LANES * ranks <= batch:
                _row(ethernet, ranks, batch)


def _row(model: Model, ranks: int, batch: int) -> None:
    one = model.step(1, batch)
    built, tree = (model.step(ranks, batch, way) for way in (False, True))
    print(f"| {ranks:,} | {batch:,} | {1e3 * built:.1f} | {one / built:,.1f} | "
          f"{one / built / ranks:.0%} | {1e3 * tree:.1f} | {one / tree:,.1f} | "
          f"{PAPER / batch * min(built, tree) / 86400:.3g} |")  # fmt: skip


def _fitted(seconds: dict[str, float], ms: dict[tuple[str, str], float]) -> Model:
    whole = ms[f"9-1-5, step of {BATCH}, strong scaling", "1 ranks"] / 1e3
    sums = seconds[f"partial sums of {BATCH:3} sub-images"]
    short, long = (seconds[f"a message of {n:,} bytes, one way"] for n in (8, 1 << 18))
    return Model(
        group=sums / (BATCH / LANES),
        rest=whole - sums,
        latency=short,
        rate=(1 << 18) / (long - short),
        gradient=sum(p.nbytes for p in parameters(SRCNN("9-1-5").layers)),
    )


if __name__ == "__main__":
    sys.exit(main())
