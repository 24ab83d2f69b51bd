"""`npsrcnn train`: from images to weights.

Without arguments: 9-1-5 at x3 from generated dead-leaves images, in three minutes.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from npsrcnn.commands import frame
from npsrcnn.errors import UsageError
from npsrcnn.model.loading import load
from npsrcnn.model.network import INITS
from npsrcnn.training.build import SUB_IMAGE, build_run, join_ranks, recipe_of
from npsrcnn.training.recipes import OPTIMIZERS, RECIPES
from npsrcnn.training.runs import BEST, Run
from npsrcnn.training.settings import DEFAULT_MINUTES, Length, given_settings
from npsrcnn.training.trainer import stop_on_signals

OPEN_MPI_SIZE = "OMPI_COMM_WORLD_SIZE"  # how many processes an mpiexec has started


def make_parser() -> argparse.ArgumentParser:
    """Return a parser of the command's options."""
    parser = frame.parser("train", "Train SRCNN: from images to weights.", __doc__)
    what = parser.add_argument_group("what to train on, and what")
    what.add_argument(
        "--data",
        nargs="+",
        metavar="FOLDER",
        help="folders of images, files or patterns; t91; dead-leaves, generated (default)",
    )
    what.add_argument(
        "--scale",
        "--zoom_factor",
        action=_AsTyped,
        type=int,
        choices=(1, 2, 3, 4),
        help="enlargement (default: 3); 1, with --jpeg, restores pictures at their size",
    )
    what.add_argument(
        "--jpeg",
        type=frame.qualities,
        metavar="QUALITY",
        help="restore pictures that were JPEG files: of quality 75, or any of 60-80",
    )
    what.add_argument(
        "--crf",
        type=frame.crfs,
        metavar="CRF",
        help="restore frames of clips: each image moves in a short one, by x264 or x265 at CRF 27,"
        " or any of 20-32 (extra: video)",
    )
    what.add_argument("--network", metavar="F1-F2-F3", help="9-1-5 (default), 9-3-5, 9-5-5, ...")
    what.add_argument(
        "--maps",
        type=frame.positive_ints,
        metavar="N1,N2",
        help="filters of each layer but the last (default: the paper's 64,32; 16,8 is fast)",
    )
    what.add_argument("--channels", choices=("y", "rgb", "ycbcr"), help="(default: y)")
    what.add_argument(
        "--eval",
        nargs="+",
        metavar="FOLDER",
        help="images to measure PSNR on; also set5, set14 (default: dead leaves not trained on)",
    )
    what.add_argument(
        "--hold-out",
        type=frame.positive_int,
        metavar="N",
        help="measure PSNR on N images of --data, and do not train on them",
    )

    run = parser.add_argument_group("how long, and where")
    length = run.add_mutually_exclusive_group()
    length.add_argument(
        "--epochs",
        "--nb_epochs",
        "--nb_epoch",
        type=frame.positive_int,
        metavar="N",
        help="passes over the sub-images",
    )
    length.add_argument(
        "--minutes",
        type=frame.positive_float,
        metavar="M",
        help=f"time to train, compiling included (default: {DEFAULT_MINUTES:g})",
    )
    run.add_argument(
        "--out",
        type=Path,
        metavar="FOLDER",
        help="where the results go (default: a new folder in runs/)",
    )
    run.add_argument(
        "--resume",
        nargs="?",
        const=True,
        metavar="FOLDER",
        help="go on with the run in FOLDER (or --out), as if it had never stopped",
    )
    run.add_argument("--seed", type=int, metavar="N", help="of weights and order (default: 0)")
    frame.add_device(run, ("cpu", "cuda", "reference"))
    run.add_argument(
        "--mpi",
        action="store_true",
        help="train on all ranks that mpiexec has started, to the same bits",
    )

    how = parser.add_argument_group("the recipe, and what to change in it")
    how.add_argument(
        "--recipe",
        choices=tuple(RECIPES),
        help="default: converges in minutes; paper: the authors', to the letter, for days",
    )
    how.add_argument("--optimizer", choices=tuple(OPTIMIZERS))
    how.add_argument(
        "--lr",
        type=frame.positive_float,
        dest="rate",
        metavar="RATE",
        help="learning rate, for the loss as a sum over pixels",
    )
    how.add_argument(
        "--lr-factors",
        type=frame.positive_floats,
        metavar="A,B,C",
        help="of each layer relative to --lr (default: the paper's 1,1,0.1)",
    )
    how.add_argument(
        "--batch", type=frame.positive_int, metavar="N", help="sub-images a step (default: 128)"
    )
    how.add_argument(
        "--sub-image",
        type=frame.positive_int,
        metavar="PIXELS",
        help=f"side of the sub-images (default: {SUB_IMAGE}, the paper's; 36 suits 9-5-5 better)",
    )
    how.add_argument(
        "--init",
        metavar=f"{'|'.join(INITS)}|MODEL",
        help="initial weights: random ones, or a model's, whose filters may be smaller",
    )
    for name, text in (
        ("--revive-dead", "let dead ReLU maps of the initial network share the work of others"),
        ("--renew", argparse.SUPPRESS),  # the option's old name
    ):
        how.add_argument(name, action=_AsTyped, nargs=0, const=True, dest="revive_dead", help=text)
    how.add_argument("--momentum", type=_fraction, help="of SGD")
    how.add_argument("--warmup", type=int, metavar="STEPS", help="in which the rate rises")
    how.add_argument("--decay", choices=("none", "cosine"), help="of the rate")
    how.add_argument(
        "--clip", type=frame.positive_float, metavar="NORM", help="largest norm of the gradient"
    )
    how.add_argument(
        "--average",
        type=_fraction,
        metavar="DECAY",
        help="of the exponential average of the weights; 0: none",
    )
    how.add_argument(
        "--l1",
        type=frame.positive_float,
        metavar="WEIGHT",
        help="penalty on the maps between layers, as in sparse coding: fewer are above zero",
    )
    how.add_argument(
        "--orientations",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="train on flipped and transposed sub-images too",
    )
    how.add_argument(
        "--rescale",
        type=frame.positive_floats,
        metavar="A,B,...",
        help="train on rescaled copies of the images too",
    )
    parser.set_defaults(typed={})
    return parser


class _AsTyped(argparse.Action):
    """Store a value, or ``const`` of an option without one, and by which name it was given."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        setattr(namespace, self.dest, self.const if self.nargs == 0 else values)
        namespace.typed = {**namespace.typed, self.dest: option_string}


def _fraction(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number in 0..1 (below 1)")
    return value


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; see ``--help``."""
    return frame.run(make_parser, train, argv)


def train(options: argparse.Namespace) -> int:
    """Train from the start or from a checkpoint, to the end or to Ctrl-C; return the exit code."""
    started = time.monotonic()
    if options.mpi and options.device != "cpu":
        raise UsageError(f"--mpi is for the CPU, not for --device {options.device}")
    started_together = int(os.environ.get(OPEN_MPI_SIZE, 1))
    if started_together > 1 and not options.mpi:
        raise UsageError(
            f"mpiexec has started {started_together} trainings of one folder: give --mpi, which "
            "makes them one"
        )
    given_length = options.epochs is not None or options.minutes is not None
    with join_ranks(options.mpi, options.threads) as ranks:
        run = build_run(
            given_settings(vars(options)),
            started=started,
            folder=options.out if options.resume in (None, True) else Path(options.resume),
            resume=options.resume is not None,
            typed=options.typed,
            length=Length(options.epochs, options.minutes) if given_length else None,
            device=options.device,
            ranks=ranks,
        )
        with stop_on_signals() as stop:
            run.go(stop)
        if not ranks.is_root:
            return 0
        print(run.report())
        if run.log:
            print(f"report      {write_report(run)}")
        return frame.INTERRUPTED if stop.is_set() else 0


def write_report(run: Run) -> Path:
    """Write report.html into the folder of a run, and return its path."""
    from npsrcnn.report.trained import REPORT, Training, write_training_report

    settings, path = run.settings, run.folder.resolve() / REPORT
    recipe = ", ".join(f"{k} {v}" for k, v in asdict(recipe_of(settings)).items())
    facts = {"command": settings.command(run.length), "recipe": recipe, "folder": path.parent}
    training = Training(load(run.folder / BEST), run.initial_filters, run.images, run.log, facts)
    write_training_report(training, path)
    return path
