"""`python -m benchmarks.initial_weights T91 'BSDS500-train/3*.jpg'`: what to begin training with.

Trains 9-1-5 of one size (62 and 32 maps) from each kind of initial weights, on the same sub-images
in the same order, at several learning rates, and prints for the best rate of each: PSNR against
sub-images seen, filters that died, how far the layers moved. Measure on images that are no test
set. A minute a training on one core; run several with --cases and --threads 1 side by side.
"""

from __future__ import annotations

import argparse
import functools
import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from npsrcnn import datasets
from npsrcnn.commands import frame as commands
from npsrcnn.datasets.paths import paths_of
from npsrcnn.evaluation import scores
from npsrcnn.evaluation.protocol import PEAK, EvaluationImage
from npsrcnn.model import inspection
from npsrcnn.model.network import SRCNN
from npsrcnn.sparse_coding.as_network import residual
from npsrcnn.sparse_coding.fitting import fit_srcnn
from npsrcnn.training.optimizers import Adam, paper_factors, rate_at
from npsrcnn.training.trainer import Trainer

SIZE = (62, 32)  # of 30 atoms and two steps of ISTA
MOMENTS = (0, 1_000, 3_000, 10_000, 30_000, 60_000)  # sub-images: when to measure


def _random(images: Sequence[np.ndarray], scale: int, seed: int, init: str) -> SRCNN:
    return SRCNN("9-1-5", n=SIZE, init=init, seed=seed, metadata={"scale": scale})


def _from_bicubic(images: Sequence[np.ndarray], scale: int, seed: int) -> SRCNN:
    """Take He's weights, the last layer's zero, added to the image: bicubic at first."""
    net = SRCNN("9-1-5", n=[n - 2 for n in SIZE], seed=seed, metadata={"scale": scale})
    net.layers[-1][0][:] = 0
    return residual(net)


def _first_layer(images: Sequence[np.ndarray], scale: int, seed: int, kind: str) -> SRCNN:
    """Take layer 1 from a dictionary network, its filters as large as He's; the others He's."""
    net = _random(images, scale, seed, "he")
    w, b = fit_srcnn(images, scale, kind, seed=seed).layers[0]
    gain = np.linalg.norm(net.layers[0][0]) / np.linalg.norm(w)
    net.layers[0] = (w * gain, b * gain)
    return net


Start = Callable[[Sequence[np.ndarray], int, int], SRCNN]
CASES: dict[str, Start] = {
    "gaussian": functools.partial(_random, init="paper"),
    "he": functools.partial(_random, init="he"),
    "bicubic": _from_bicubic,
    "learned": functools.partial(fit_srcnn, dictionary="learned"),
    "pca": functools.partial(fit_srcnn, dictionary="pca"),
    "dct": functools.partial(fit_srcnn, dictionary="dct"),
    "haar": functools.partial(fit_srcnn, dictionary="haar"),
    "learned-layer-1": functools.partial(_first_layer, kind="learned"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; see ``--help``."""
    return commands.run(make_parser, measure, argv)


def make_parser() -> argparse.ArgumentParser:
    """Return a parser of the command's options."""
    parser = commands.parser("benchmarks.initial_weights", "What to begin training with.", __doc__)
    parser.add_argument("data", help="images to train on: a folder, a pattern, t91")
    parser.add_argument("measured", help="images to measure on")
    parser.add_argument("--scale", type=int, choices=(2, 3, 4), default=3)
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES), metavar="CASE",
        help=f"of {', '.join(CASES)} (default: all)")  # fmt: skip
    parser.add_argument("--rates", nargs="+", type=commands.positive_float, metavar="RATE",
        default=[1e-3, 3e-3, 1e-2],
        help="peak of Adam's (default: 0.001 0.003 0.01)")  # fmt: skip
    parser.add_argument("--last", type=commands.positive_float, default=0.1, metavar="FACTOR",
        help="rate of the last layer, relative to the others (default: 0.1)")  # fmt: skip
    parser.add_argument("--sub-images", type=commands.positive_int, default=MOMENTS[-1])
    parser.add_argument("--batch", type=commands.positive_int, default=32)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, metavar="FILE", help="append every run, a line each")
    return parser


def measure(options: argparse.Namespace) -> None:
    """Print every run as it ends, then the best rate of each case."""
    sharp, paths = [], paths_of(options.data)
    for path in paths:
        sharp.append(EvaluationImage.from_file(path, options.scale).truth / np.float32(PEAK))
    measured = [
        EvaluationImage.from_file(path, options.scale) for path in paths_of(options.measured)
    ]
    source = datasets.sub_images(paths, options.scale, orientations=True)
    bicubic = np.mean([image.psnr_bicubic for image in measured])
    print(f"{len(source):,} sub-images of {len(paths)} images at x{options.scale}; PSNR on "
          f"{len(measured)} others, bicubic {bicubic:.3f} dB")  # fmt: skip
    print(f"{'case':16} {'rate':>6}  {'PSNR after sub-images':{8 * len(MOMENTS)}} "
          "dead     turned  moved 1, 2, 3      active 1, 2")  # fmt: skip
    runs = []
    for case in options.cases:
        start = CASES[case](sharp, options.scale, seed=options.seed)
        for rate in options.rates:
            runs.append({"case": case, "rate": rate, "seed": options.seed, "last": options.last})
            runs[-1] |= _trained(start, source, measured, rate, options)
            print(_row(runs[-1]), flush=True)
            if options.json:
                with open(options.json, "a", encoding="utf-8") as file:
                    file.write(json.dumps(runs[-1]) + "\n")
    print("\nthe best rate of each")
    for case in options.cases:
        print(_row(max((r for r in runs if r["case"] == case), key=lambda r: r["psnr"][-1])))


def _trained(start: SRCNN, source, measured, rate: float, options: argparse.Namespace) -> dict:
    """Train a copy; return PSNR at each of the moments, and what became of the weights."""
    net = SRCNN.from_layers(start.layers, metadata=start.metadata)
    factors = [*paper_factors(3)[:2], (options.last, 0.1)]
    steps = options.sub_images // options.batch
    trainer = Trainer(
        net,
        source,
        Adam(net.layers, factors),
        functools.partial(rate_at, peak=rate, warmup=100, decay="cosine"),
        batch=options.batch,
        seed=options.seed,
        average=0.99,
    )
    seen, psnr = [], []
    moments = [moment for moment in MOMENTS if moment <= options.sub_images]
    began = time.monotonic()

    def look() -> None:
        while moments and trainer.sub_images + options.batch > moments[0]:
            moments.pop(0)
            seen.append(trainer.sub_images)
            psnr.append(scores.mean_psnr(trainer.averaged(), measured)[0])

    look()
    for _ in trainer.train(steps):
        look()
    image = measured[0].bicubic.astype(np.float32)
    end = trainer.averaged()
    return {
        "seen": seen,
        "psnr": psnr,
        "dead": [int(inspection.dead_filters(n, image).sum()) for n in (start, end)],
        "turned": _turned(start.layers[0][0], end.layers[0][0]),
        "moved": [
            float(np.linalg.norm(after - before) / np.linalg.norm(before))
            for (before, _), (after, _) in zip(start.layers, end.layers, strict=True)
            if before.any()
        ],
        "active": [layer.density for layer in inspection.activity(end, image)],
        "seconds": time.monotonic() - began,
    }


def _turned(before: np.ndarray, after: np.ndarray) -> float:
    """Return the median angle between a filter of layer 1 and what it began as, in degrees."""
    before, after = (w.reshape(len(w), -1).astype(np.float64) for w in (before, after))
    norms = np.linalg.norm(before, axis=1) * np.linalg.norm(after, axis=1)
    cosine = (before * after).sum(axis=1)[norms > 0] / norms[norms > 0]
    return float(np.degrees(np.median(np.arccos(cosine.clip(-1, 1)))))


def _row(run: dict) -> str:
    psnr = " ".join(f"{value:7.3f}" for value in run["psnr"])
    moved = " ".join(f"{value:.3g}" for value in run["moved"])
    active = " ".join(f"{value:.0%}" for value in run["active"])
    dead = " > ".join(map(str, run["dead"]))
    return (
        f"{run['case']:16} {run['rate']:6g}  {psnr:{8 * len(MOMENTS)}} {dead:>7} "
        f"{run['turned']:6.1f}°  {moved:18} {active}"
    )


if __name__ == "__main__":
    sys.exit(main())
