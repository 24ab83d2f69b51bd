"""`python -m benchmarks.dead_leaves 'BSDS500-train/3*.jpg'`: the worth of each property of leaves.

Trains 9-1-5 once for each change to the default style, all alike, and measures it on photographs.
Choose with some that are no test set. Three minutes each on four cores. With --init MODEL each
training goes on from one that has long been trained on leaves: then the final quality counts, not
the speed.
"""

from __future__ import annotations

import argparse
import functools
import sys
from collections.abc import Sequence

from npsrcnn import datasets, load
from npsrcnn.commands import frame as commands
from npsrcnn.datasets.paths import paths_of
from npsrcnn.evaluation.protocol import EvaluationImage
from npsrcnn.evaluation.scores import mean_psnr
from npsrcnn.images import read_array
from npsrcnn.model.network import SRCNN
from npsrcnn.training.optimizers import Adam, paper_factors, rate_at
from npsrcnn.training.trainer import Trainer

CASES = {
    "default": {},
    "power -2": {"power": -2.0},
    "power -2.7": {"power": -2.7},
    "power -3.3": {"power": -3.3},
    "smallest radius 1": {"r_min": (1.0, 1.0)},
    "smallest radius 3": {"r_min": (3.0, 3.0)},
    "ellipses alone": {"polygons": 0.0},
    "polygons alone": {"polygons": 1.0},
    "longer": {"elongation": 1.0},
    "less contrast": {"contrast": (0.05, 0.2)},
    "more contrast": {"contrast": (0.2, 0.4)},
    "no gradients": {"gradient": 0.0},
    "steeper gradients": {"gradient": 0.3},
    "no waves": {"textured": 0.0},
    "more and stronger waves": {"textured": 0.5, "amplitude": 0.3},
    "soft edges in part": {"soft": 0.3},
    "all edges soft": {"soft": 1.0},
    "blurred a little": {"filter": (0.0, 0.04)},
    "blurred": {"filter": (0.0, 0.1)},
    "blurred or sharpened": {"filter": (-0.04, 0.04)},
    "sharpened": {"filter": (-0.06, 0.0)},
    "fine waves": {"textured": 0.5, "wavelength": (3.0, 12.0)},
    "noise": {"noise": 0.01},
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; see ``--help``."""
    return commands.run(make_parser, measure, argv)


def make_parser() -> argparse.ArgumentParser:
    """The options of the command."""
    parser = commands.parser(
        "benchmarks.dead_leaves", "Measure the worth of each property of dead leaves.", __doc__
    )
    parser.add_argument("measured", help="images to measure on: a folder or a pattern")
    parser.add_argument(
        "--every",
        type=commands.positive_int,
        default=1,
        metavar="N",
        help="take every N-th of them (default: 1)",
    )
    parser.add_argument("--init", metavar="MODEL", help="begin with these weights")
    parser.add_argument("--lr", type=commands.positive_float, default=1e-3, help="(default: 0.001)")
    parser.add_argument("--steps", type=commands.positive_int, default=5000, help="(default: 5000)")
    parser.add_argument("--images", type=commands.positive_int, default=400, help="(default: 400)")
    parser.add_argument("--scale", type=int, choices=(2, 3, 4), default=3)
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES), metavar="CASE")
    return parser


def measure(options: argparse.Namespace) -> None:
    """Print a table: each case's mean PSNR, and its distance to the default's."""
    paths = paths_of(options.measured)[:: options.every]
    measured = [EvaluationImage.from_array(read_array(path), options.scale) for path in paths]
    print(f"PSNR on {len(paths)} images at x{options.scale}, after {options.steps} steps of 128")
    default = None
    for case in options.cases:
        psnr, bicubic = mean_psnr(_trained(CASES[case], options), measured)
        default = psnr if default is None else default
        print(f"{case:25} {psnr:.3f} dB  {psnr - default:+.3f}  bicubic {bicubic:.3f}", flush=True)


def _trained(changes: dict, options: argparse.Namespace) -> SRCNN:
    style = datasets.Style(**changes)
    leaves = datasets.dead_leaves(options.images, seed=1, style=style)
    net = SRCNN("9-1-5", seed=0) if options.init is None else load(options.init)
    trainer = Trainer(
        net,
        datasets.sub_images(leaves, options.scale, orientations=True),
        Adam(net.layers, paper_factors(3)),
        functools.partial(rate_at, peak=options.lr, warmup=500, decay="cosine"),
        batch=128,
        seed=0,
        clip=None,
        average=0.999,
    )
    for _ in trainer.train(options.steps):
        pass
    return trainer.averaged()


if __name__ == "__main__":
    sys.exit(main())
