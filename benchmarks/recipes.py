"""`python -m benchmarks.recipes T91 'BSDS500-train/3*.jpg'`: what each part of the recipe gives.

Trains 9-1-5 by the default recipe, by the same with Adam in SOAP's place, from He's initial
weights, without each of the other parts, and by the paper's recipe, all on equally many sub-images,
and prints PSNR as they are seen. Measure on images that are no test set. One thread is enough: runs
with --cases go side by side; --rows FILE --plot PICTURE draws what they have written with --json.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from npsrcnn import datasets
from npsrcnn.commands import frame as commands
from npsrcnn.datasets.paths import paths_of
from npsrcnn.errors import UsageError
from npsrcnn.evaluation import scores
from npsrcnn.evaluation.protocol import EvaluationImage
from npsrcnn.model.network import SRCNN
from npsrcnn.training.build import optimizer_of
from npsrcnn.training.recipes import RECIPES, Recipe
from npsrcnn.training.trainer import Trainer

BATCH = 128
LOOKS = 12  # at PSNR, in a run
DEFAULT = RECIPES["default"]
ADAM = DEFAULT.with_optimizer("adam")
HE = replace(ADAM, init="he")


@dataclass(frozen=True)
class Case:
    """Hold a recipe, and the rates of the layers relative to each other."""

    recipe: Recipe
    lr_factors: tuple[float, ...] | None = None


CASES = {
    "the default": Case(DEFAULT),
    "SOAP, He's initial weights": Case(replace(DEFAULT, init="he")),
    "Adam": Case(ADAM),
    "Adam, He's initial weights": Case(HE),
    "SGD": Case(HE.with_optimizer("sgd")),
    "no average of weights": Case(replace(HE, average=0.0)),
    "no decay of the rate": Case(replace(HE, decay="none")),
    "no flips and transposes": Case(replace(HE, orientations=False)),
    "no smaller copies": Case(replace(HE, rescale=())),
    "one rate for all layers": Case(replace(HE, rate=1e-3), (1.0, 1.0, 1.0)),
    "the paper's initial weights": Case(replace(HE, init="paper")),
    "the paper's recipe": Case(RECIPES["paper"]),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; see ``--help``."""
    return commands.run(make_parser, measure, argv)


def make_parser() -> argparse.ArgumentParser:
    """Return a parser of the command's options."""
    parser = commands.parser("benchmarks.recipes", "What each part of the recipe gives.", __doc__)
    parser.add_argument("data", nargs="?", help="images to train on: a folder, a pattern, t91")
    parser.add_argument("measured", nargs="?", help="images to measure on")
    parser.add_argument("--scale", type=int, choices=(2, 3, 4), default=3)
    parser.add_argument("--sub-images", type=commands.positive_int, default=320_000, metavar="N")
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES), metavar="CASE")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, metavar="FILE", help="append every run, a line each")
    parser.add_argument("--rows", type=Path, metavar="FILE", help="show these, measure nothing")
    parser.add_argument("--plot", type=Path, metavar="PICTURE", help="draw the curves")
    return parser


def measure(options: argparse.Namespace) -> None:
    """Print every run as it ends, or those of a file; draw them."""
    if options.rows:
        runs = [json.loads(line) for line in options.rows.read_text(encoding="utf-8").splitlines()]
        for run in runs:
            print(_row(run))
    elif options.measured:
        runs = _measured(options)
    else:
        raise UsageError("give images to train on and images to measure on, or --rows")
    if options.plot:
        from npsrcnn.evaluation import plots

        runs.sort(key=lambda run: run["psnr"][-1], reverse=True)
        series = {run["case"]: (run["seen"], run["psnr"]) for run in runs}
        figure = plots.curves(
            series, xlabel="sub-images seen", ylabel="PSNR, dB", log="x",
            levels={"bicubic": runs[0]["bicubic"]},
        )  # fmt: skip
        ends = [run["psnr"][-1] for run in runs]
        figure.axes[0].set_ylim(min(ends) - 0.3, max(ends) + 0.1)  # they begin far below
        figure.savefig(options.plot, dpi=150)


def _measured(options: argparse.Namespace) -> list[dict]:
    paths = paths_of(options.data)
    measured = [
        EvaluationImage.from_file(path, options.scale) for path in paths_of(options.measured)
    ]
    runs = []
    for case in options.cases:
        runs.append(_trained(case, paths, measured, options))
        print(_row(runs[-1]), flush=True)
        if options.json:
            with open(options.json, "a", encoding="utf-8") as file:
                file.write(json.dumps(runs[-1]) + "\n")
    return runs


def _trained(case: str, paths: list[Path], measured: list, options: argparse.Namespace) -> dict:
    """Train; return PSNR at moments, each 1.4 times as late as the last, and CPU seconds."""
    recipe, lr_factors = CASES[case].recipe, CASES[case].lr_factors
    source = datasets.sub_images(
        paths, options.scale, orientations=recipe.orientations, rescale=(1.0, *recipe.rescale)
    )
    net = SRCNN("9-1-5", init=recipe.init, seed=options.seed, metadata={"scale": options.scale})
    steps = options.sub_images // BATCH
    trainer = Trainer(
        net,
        source,
        optimizer_of(net, recipe, lr_factors),
        recipe.rate_at,
        batch=BATCH,
        seed=options.seed,
        clip=recipe.clip,
        average=recipe.average,
    )
    moments = {max(1, round(steps / 2 ** (k / 2))) for k in range(LOOKS)}
    bicubic = float(np.mean([image.psnr_bicubic for image in measured]))
    run = {"case": case, "seed": options.seed, "bicubic": bicubic, "seen": [], "psnr": []}
    began, looked = time.process_time(), 0.0
    for _ in trainer.train(steps):
        if trainer.step in moments:
            begin = time.process_time()
            run["seen"].append(trainer.sub_images)
            run["psnr"].append(scores.mean_psnr(trainer.averaged(), measured)[0])
            looked += time.process_time() - begin
    return run | {"seconds": time.process_time() - began - looked}


def _row(run: dict) -> str:
    psnr = " ".join(f"{value:.2f}" for value in run["psnr"])
    return f"{run['case']:28} {psnr} dB after {run['seen'][-1]:,}, {run['seconds']:.0f} s of CPU"


if __name__ == "__main__":
    sys.exit(main())
