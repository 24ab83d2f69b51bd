"""`python -m benchmarks.front MODEL ...`: decibels against milliseconds, and the front of both.

Each model is measured on Set5 at its scale, and in turns on an image of 1080 x 1920 on one thread.
Names of weights that ship, files, and the authors' .mat files are taken.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

import npsrcnn
from benchmarks.measure import interleaved
from benchmarks.peers import npsrcnn_threads
from npsrcnn.commands import frame
from npsrcnn.errors import UserError
from npsrcnn.evaluation.scores import evaluate

SIZE = (1080, 1920)
THREADS = 1
OURS, THEIRS = "#1b6ca8", "#c0504d"


class Point(NamedTuple):
    """One network: what it takes, and what it gives."""

    label: str
    milliseconds: float
    psnr: float
    by_authors: bool


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of the command's options."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.front", description=__doc__)
    parser.add_argument("models", nargs="+", metavar="MODEL")
    parser.add_argument("--plot", type=Path, metavar="PNG", help="draw it as well")
    parser.add_argument("--debug", action="store_true")
    parser.add_argument("--threads", type=frame.positive_int)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; see ``--help``."""
    return frame.run(make_parser, run, argv)


def run(options: argparse.Namespace) -> None:
    """Print a row for each network, the fastest first, and draw them."""
    points = measure(options.models)
    print("network               ms   dB on Set5")
    for point in points:
        print(f"{point.label:<18} {point.milliseconds:6.1f} {point.psnr:8.2f}")
    if options.plot:
        draw(points, options.plot)


def measure(models: Sequence[str]) -> list[Point]:
    """Return what each takes and gives, the fastest first."""
    nets = {name: npsrcnn.load(name) for name in models}
    x = np.random.default_rng(0).random((1, 1, *SIZE), np.float32)
    with npsrcnn_threads(THREADS):
        times = interleaved({name: lambda net=net: net.forward(x) for name, net in nets.items()})
        scores = {name: evaluate(net, "set5", net.scale) for name, net in nets.items()}
    points = [
        Point(
            f"{net.name} ({', '.join(str(len(w)) for w, _ in net.layers[:-1])})",
            1e3 * times[name],
            scores[name]["mean"]["psnr"],
            name.endswith(".mat"),
        )
        for name, net in nets.items()
    ]
    return sorted(points, key=lambda point: point.milliseconds)


def draw(points: Sequence[Point], path: Path) -> None:
    """Draw the points, and a line through those that nothing faster exceeds."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise UserError("to draw, install matplotlib: pip install 'npsrcnn[bench]'") from error
    best = np.maximum.accumulate([point.psnr for point in points])
    front = [point for point, most in zip(points, best, strict=True) if point.psnr == most]
    figure = Figure(figsize=(7.2, 4.4), layout="constrained")
    ax = figure.subplots()
    ax.plot([p.milliseconds for p in front], [p.psnr for p in front], color=OURS, linewidth=1)
    for point in points:
        color = THEIRS if point.by_authors else OURS
        ax.plot(point.milliseconds, point.psnr, "s" if point.by_authors else "o", color=color)
        label = point.label + " by the authors" * point.by_authors
        ax.annotate(
            label,
            (point.milliseconds, point.psnr),
            xytext=(-6, 5) if point in front[::2] else (6, -11),  # neighbours' names lie apart
            ha="right" if point in front[::2] else "left",
            textcoords="offset points",
            fontsize=8,
            color=color,
        )
    ax.set_xscale("log")
    ax.set_xlabel(f"milliseconds for {SIZE[0]} x {SIZE[1]} on {THREADS} thread")
    ax.set_ylabel("PSNR on Set5, dB")
    ax.margins(x=0.2, y=0.1)
    ax.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    sys.exit(main())
