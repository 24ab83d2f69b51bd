"""`python -m benchmarks.noise`: what weights for compressed pictures make of noise.

Gaussian noise is added to Y of the small images, which are rounded to 8 bits and enlarged. Mean
PSNR of Y in dB: bicubic interpolation, the weights for clean pictures, and those for qualities.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

import numpy as np

import npsrcnn
from npsrcnn.commands import frame
from npsrcnn.datasets.paths import paths_of
from npsrcnn.evaluation.protocol import EvaluationImage
from npsrcnn.model.shipped import best_for
from npsrcnn.pixels.resize import imresize

SIGMAS = (0, 2, 3, 5, 7, 10)  # of 255 levels
QUALITIES = (90, 82, 75, 60, 40, 20, 10)


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of the command's options."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.noise", description=__doc__)
    parser.add_argument("data", nargs="?", default="set5", help="set5, set14, live1 or a folder")
    parser.add_argument("--scale", type=frame.positive_int, default=2)
    parser.add_argument("--fast", action="store_true", help="the weights with few maps")
    parser.add_argument("--debug", action="store_true")
    parser.add_argument("--threads", type=frame.positive_int)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; see ``--help``."""
    return frame.run(make_parser, measure, argv)


def measure(options: argparse.Namespace) -> None:
    """Print a row for each sigma."""
    scale = options.scale
    names = [best_for(scale, quality=quality, fast=options.fast) for quality in QUALITIES]
    nets = [npsrcnn.load(name) for name in (best_for(scale, fast=options.fast), *names)]
    images = [EvaluationImage.from_file(path, scale) for path in paths_of(options.data)]
    columns = ["bicubic", "clean", *(f"q{quality}" for quality in QUALITIES)]
    print(f"{options.data} x{scale}  sigma", *(f"{column:>7}" for column in columns))
    for sigma in SIGMAS:
        rows = []
        for seed, image in enumerate(images):
            noise = np.random.default_rng(seed).normal(0, sigma / 255, image.low.shape)
            low = np.round((image.low + noise).clip(0, 1) * 255) / 255
            bicubic = imresize(low, scale)
            made = [net.forward(bicubic.astype(np.float32)) for net in nets]
            rows.append([image.psnr(y) for y in (bicubic, *made)])
        mean = np.mean(rows, axis=0)
        print(
            f"{sigma:>{len(options.data) + 10}}", *(f"{value:7.2f}" for value in mean), flush=True
        )


if __name__ == "__main__":
    sys.exit(main())
