"""`python -m benchmarks.ship RUN NAME`: take a run's best model into the package.

Measures it on Set5 and Set14, to report (the run chose it on other images), and writes it to
`npsrcnn/weights/NAME.npz` with all that is known of it.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import npsrcnn
from npsrcnn.commands import frame as commands
from npsrcnn.datasets.paths import paths_of
from npsrcnn.evaluation.scores import evaluate
from npsrcnn.model.interpolation import MIXES_WITH

WEIGHTS = Path(npsrcnn.__file__).parent / "weights"


def make_parser() -> argparse.ArgumentParser:
    """Return a parser of the command's options."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ship", description=__doc__)
    parser.add_argument("run", type=Path, help="the folder of a run of npsrcnn.train")
    parser.add_argument("name", help="such as 9-1-5-x3")
    parser.add_argument("--licence", required=True, help="of the images it was trained on")
    parser.add_argument("--before", nargs="+", default=[], metavar="RUN|MODEL",
        help="what its initial weights come from, the first one first: the folders of runs, "
        "and models that ship, whose own history goes along")  # fmt: skip
    parser.add_argument(
        "--mixes-with",
        nargs="+",
        default=[],
        metavar="NAME",
        help="weights for stronger compression that ship: between the two, means of both were "
        "measured, and restore better than either",
    )
    parser.add_argument("--debug", action="store_true")
    parser.add_argument("--threads", type=commands.positive_int)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; see ``--help``."""
    return commands.run(make_parser, ship, argv)


def ship(options: argparse.Namespace) -> None:
    """Measure, describe, and write; on compressed pictures what was trained for these."""
    net = npsrcnn.load(options.run / "best.npz")
    quality = net.metadata.get("quality")
    net.metadata["psnr"], net.metadata["ssim"] = {}, {}
    for name in ("Set5", "Set14", *(["LIVE1"] if net.scale == 1 else [])):
        folder = paths_of(name.lower())[0].parent
        mean = evaluate(net, folder, net.scale, jpeg=quality)["mean"]
        net.metadata["psnr"][name] = round(mean["psnr"], 3)
        net.metadata["ssim"][name] = round(mean["ssim"], 4)
    net.metadata["licence"] = options.licence
    if options.mixes_with:
        net.metadata[MIXES_WITH] = options.mixes_with
    net.metadata["before"] = [part for name in options.before for part in history(name)]
    net.save(WEIGHTS / f"{options.name}.npz")
    print(npsrcnn.models())


def history(name: str) -> list[dict]:
    """Return the trainings behind a run's last model, or one that ships: command, how long."""
    last = Path(name) / "last.npz"
    known = npsrcnn.load(last if last.exists() else name).metadata
    facts = {fact: known[fact] for fact in ("command", "sub_images", "minutes")}
    return [*known.get("before", []), facts]


if __name__ == "__main__":
    sys.exit(main())
