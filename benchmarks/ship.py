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
from npsrcnn.model.shipped import CHROMA

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
    parser.add_argument(
        "--chroma",
        action="store_true",
        help="take Cb and Cr alone of the run's last network, of Y, Cb and Cr",
    )
    parser.add_argument("--debug", action="store_true")
    parser.add_argument("--threads", type=commands.positive_int)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; see ``--help``."""
    return commands.run(make_parser, ship, argv)


def ship(options: argparse.Namespace) -> None:
    """Measure, describe, and write; on compressed pictures what was trained for these."""
    # A run chooses its best by Y.
    net = npsrcnn.load(options.run / ("last.npz" if options.chroma else "best.npz"))
    quality = net.metadata.get("quality")
    net.metadata["psnr"], net.metadata["ssim"] = {}, {}
    data = ["Set5", "Set14"] if net.scale > 1 else ["Set5", "Set14", "LIVE1"]
    if options.chroma:
        net.metadata["restores"] = CHROMA
        data = ["Set5"]  # the others have grey images
    for name in data:
        folder = paths_of(name.lower())[0].parent
        mean = evaluate(net, folder, net.scale, jpeg=quality, crf=net.metadata.get("crf"))["mean"]
        if net.keeps_y:
            gains = {key: round(mean[f"psnr_{key}"], 3) for key in ("cb", "cr")}
            net.metadata.setdefault("psnr_chroma", {})[name] = gains
            continue
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
