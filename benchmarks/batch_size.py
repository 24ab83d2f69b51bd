"""`python -m benchmarks.batch_size T91 'BSDS500-train/3*.jpg'`: what larger batches cost in PSNR.

Trains 9-1-5 with batches of several sizes, all on equally many sub-images, each at several learning
rates, and prints PSNR as sub-images are seen. What counts in steps (the warm-up of the rate, the
average of the weights) is scaled so that it takes equally many sub-images too. Measure on images
that are no test set. One thread is enough: runs with --batches and --rates go side by side.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from npsrcnn import datasets
from npsrcnn.commands import frame as commands
from npsrcnn.datasets.paths import paths_of
from npsrcnn.evaluation import scores
from npsrcnn.evaluation.protocol import EvaluationImage
from npsrcnn.model.network import SRCNN
from npsrcnn.training.build import optimizer_of
from npsrcnn.training.recipes import RECIPES
from npsrcnn.training.trainer import Trainer

USUAL = 128  # the batch that recipes are made for
LOOKS = 4  # at PSNR, in a run


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; see ``--help``."""
    return commands.run(make_parser, measure, argv)


def make_parser() -> argparse.ArgumentParser:
    """Return a parser of the command's options."""
    parser = commands.parser("benchmarks.batch_size", "What larger batches cost in PSNR.", __doc__)
    parser.add_argument("data", help="images to train on: a folder, a pattern, t91")
    parser.add_argument("measured", help="images to measure on")
    parser.add_argument("--scale", type=int, choices=(2, 3, 4), default=3)
    parser.add_argument("--batches", nargs="+", type=commands.positive_int, metavar="N",
        default=[128, 512, 2048])  # fmt: skip
    parser.add_argument("--rates", nargs="+", type=commands.positive_float, metavar="RATE",
        default=[1.5e-3, 3e-3, 6e-3, 12e-3], help="of Adam, usually 0.003")  # fmt: skip
    parser.add_argument("--maps", nargs=2, type=commands.positive_int, metavar="N",
        default=[64, 32], help="n1 and n2 (default: 64 32)")  # fmt: skip
    parser.add_argument("--sub-images", type=commands.positive_int, default=500_000, metavar="N")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, metavar="FILE", help="append every run, a line each")
    return parser


def measure(options: argparse.Namespace) -> None:
    """Print every run while it goes on."""
    source = datasets.sub_images(paths_of(options.data), options.scale, orientations=True)
    measured = [
        EvaluationImage.from_file(path, options.scale) for path in paths_of(options.measured)
    ]
    bicubic = np.mean([image.psnr_bicubic for image in measured])
    print(f"{len(source):,} sub-images at x{options.scale}; PSNR on {len(measured)} images, "
          f"bicubic {bicubic:.3f} dB")  # fmt: skip
    for batch in options.batches:
        for rate in options.rates:
            run = _trained(source, measured, batch, rate, options)
            if options.json:
                with open(options.json, "a", encoding="utf-8") as file:
                    file.write(json.dumps(run) + "\n")


def _trained(source, measured, batch: int, rate: float, options: argparse.Namespace) -> dict:
    """Train; return PSNR at some moments, as many of one run as of another."""
    net = SRCNN("9-1-5", n=options.maps, seed=options.seed, metadata={"scale": options.scale})
    scale = batch / USUAL
    adam = RECIPES["default"].with_optimizer("adam")
    recipe = replace(adam, rate=rate, warmup=max(1, round(100 / scale)))
    steps = options.sub_images // batch
    trainer = Trainer(
        net,
        source,
        optimizer_of(net, recipe, None),
        recipe.rate_at,
        batch=batch,
        seed=options.seed,
        average=0.99**scale,
    )
    moments = [steps * (i + 1) // LOOKS for i in range(LOOKS)]
    run = {"maps": options.maps, "batch": batch, "rate": rate, "seed": options.seed}
    run |= {"seen": [], "psnr": []}
    print(f"batch {batch:5} rate {rate:6g} ", end="", flush=True)
    for _ in trainer.train(steps):
        if trainer.step in moments:
            run["seen"].append(trainer.sub_images)
            run["psnr"].append(scores.mean_psnr(trainer.averaged(), measured)[0])
            print(f" {run['psnr'][-1]:.3f}", end="", flush=True)
    print(flush=True)
    return run


if __name__ == "__main__":
    sys.exit(main())
