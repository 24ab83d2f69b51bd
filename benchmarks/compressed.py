"""`python -m benchmarks.compressed`: what weights for compressed pictures gain on these.

For each scale and JPEG quality, mean PSNR of Y in dB: the input (at x1 the JPEG file, else enlarged
by bicubic interpolation), the weights for clean pictures, and those for the quality. At x1 also
PSNR-B of the first and the last.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Sequence

import npsrcnn
from npsrcnn.commands import frame
from npsrcnn.evaluation.scores import evaluate
from npsrcnn.model.shipped import best_for

QUALITIES = (100, 95, 90, 85, 75, 60, 40, 30, 20, 10)


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of the command's options."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.compressed", description=__doc__)
    parser.add_argument("data", nargs="?", default="set5", help="set5, set14, live1 or a folder")
    parser.add_argument("--scale", type=frame.positive_int, default=2)
    parser.add_argument("--quality", type=frame.positive_ints, default=QUALITIES, metavar="Q,Q,...")
    parser.add_argument("--fast", action="store_true", help="the weights with few maps")
    parser.add_argument("--debug", action="store_true")
    parser.add_argument("--threads", type=frame.positive_int)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; see ``--help``."""
    return frame.run(make_parser, measure, argv)


def measure(options: argparse.Namespace) -> None:
    """Print a row for each quality."""
    scale = options.scale
    clean = npsrcnn.load(best_for(scale, fast=options.fast)) if scale > 1 else None
    print(f"{options.data} x{scale}  quality   input   clean   restored       by")
    for quality in options.quality:
        name = best_for(scale, quality=quality, fast=options.fast)
        restored = evaluate(npsrcnn.load(name), options.data, scale, jpeg=quality)["mean"]
        before = restored["psnr_bicubic" if scale > 1 else "psnr_jpeg"]
        other = math.nan
        if clean:
            other = evaluate(clean, options.data, scale, jpeg=quality)["mean"]["psnr"]
        blocking = ""
        if scale == 1:
            blocking = f"  PSNR-B {restored['psnr_b_jpeg']:.2f} -> {restored['psnr_b']:.2f}"
        print(
            f"{quality:>17} {before:9.2f} {other:7.2f} {restored['psnr']:10.2f}   {name}{blocking}",
            flush=True,
        )


if __name__ == "__main__":
    sys.exit(main())
