"""`python -m npsrcnn.train`: from images to weights.

Without arguments: 9-1-5 at x3 from generated dead-leaves images, in three minutes.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import itertools
import shlex
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from npsrcnn import commands, datasets, evaluate, model_files
from npsrcnn.datasets.cutting import check_batch_size
from npsrcnn.errors import UsageError, UserError
from npsrcnn.evaluate import Prepared
from npsrcnn.network import INITS, SRCNN
from npsrcnn.optimizers import SGD, Adam, Optimizer, paper_factors, rate_at
from npsrcnn.recipes import OPTIMIZERS, RECIPES, Recipe
from npsrcnn.renewal import renewed
from npsrcnn.runs import CHECKPOINT, Length, Run
from npsrcnn.soap import SOAP
from npsrcnn.trainer import Trainer, load_checkpoint, stop_on_signals

DEAD_LEAVES = "dead-leaves"
DEFAULT_MINUTES = 3.0
SUB_IMAGE = 33  # pixels, f_sub of the paper
LOOKED_AT = 1024  # sub-images at most, on which a map is found to be silent
DEAD_LEAVES_TRAINED = 400  # images
DEAD_LEAVES_MEASURED = 10  # others, where none are given to measure PSNR on
OPTIONS = {"rate": "lr"}  # settings whose option has another name
# What makes a run: --resume takes it from the checkpoint. None: as the recipe has it.
DEFAULTS: dict[str, Any] = {
    "data": [DEAD_LEAVES],
    "scale": 3,
    "network": "9-1-5",
    "channels": "y",
    "batch": 128,
    "sub_image": None,
    "renew": False,
    "seed": 0,
    "recipe": "default",
    "eval": None,
    "hold_out": 0,
    "lr_factors": None,
    **dict.fromkeys(asdict(RECIPES["default"])),
}


def make_parser() -> argparse.ArgumentParser:
    """The options of the command."""
    parser = commands.parser("npsrcnn.train", "Train SRCNN: from images to weights.", __doc__)
    what = parser.add_argument_group("what to train on, and what")
    what.add_argument("--data", nargs="+", metavar="FOLDER",
        help="folders of images, files or patterns; t91; dead-leaves, generated (default)")
    what.add_argument("--scale", "--zoom_factor", type=int, choices=(2, 3, 4),
        help="enlargement (default: 3)")
    what.add_argument("--network", metavar="F1-F2-F3", help="9-1-5 (default), 9-3-5, 9-5-5, ...")
    what.add_argument("--channels", choices=("y", "rgb", "ycbcr"), help="(default: y)")
    what.add_argument("--eval", nargs="+", metavar="FOLDER",
        help="images to measure PSNR on; also set5, set14 (default: dead leaves not trained on)")
    what.add_argument("--hold-out", type=commands.positive_int, metavar="N",
        help="measure PSNR on N images of --data, and do not train on them")

    run = parser.add_argument_group("how long, and where")
    length = run.add_mutually_exclusive_group()
    length.add_argument("--epochs", "--nb_epochs", "--nb_epoch", type=commands.positive_int,
        metavar="N", help="passes over the sub-images")
    length.add_argument("--minutes", type=commands.positive_float, metavar="M",
        help=f"time to train, compiling included (default: {DEFAULT_MINUTES:g})")
    run.add_argument("--out", type=Path, metavar="FOLDER",
        help="where the results go (default: a new folder in runs/)")
    run.add_argument("--resume", nargs="?", const=True, metavar="FOLDER",
        help="go on with the run in FOLDER (or --out), as if it had never stopped")
    run.add_argument("--seed", type=int, metavar="N", help="of weights and order (default: 0)")
    run.add_argument("--device", choices=("cpu", "cuda", "reference"), default="cpu")
    run.add_argument("--mpi", action="store_true",
        help="train on all ranks that mpiexec has started, to the same bits")
    run.add_argument("--cuda", action="store_const", const="cuda", dest="device",
        help="the same as --device cuda")

    how = parser.add_argument_group("the recipe, and what to change in it")
    how.add_argument("--recipe", choices=tuple(RECIPES),
        help="default: converges in minutes; paper: the authors', to the letter, for days")
    how.add_argument("--optimizer", choices=tuple(OPTIMIZERS))
    how.add_argument("--lr", type=commands.positive_float, dest="rate", metavar="RATE",
        help="learning rate, for the loss as a sum over pixels")
    how.add_argument("--lr-factors", type=commands.positive_floats, metavar="A,B,C",
        help="of each layer relative to --lr (default: the paper's 1,1,0.1)")
    how.add_argument("--batch", type=commands.positive_int, metavar="N",
        help="sub-images a step (default: 128)")
    how.add_argument("--sub-image", type=commands.positive_int, metavar="PIXELS",
        help=f"side of the sub-images (default: {SUB_IMAGE}, the paper's; 36 suits 9-5-5 better)")
    how.add_argument("--init", metavar=f"{'|'.join(INITS)}|MODEL",
        help="initial weights: random ones, or a model's, whose filters may be smaller")
    how.add_argument("--renew", action="store_const", const=True,
        help="let maps of the initial network that are silent share the work of others")
    how.add_argument("--momentum", type=_fraction, help="of SGD")
    how.add_argument("--warmup", type=int, metavar="STEPS", help="in which the rate rises")
    how.add_argument("--decay", choices=("none", "cosine"), help="of the rate")
    how.add_argument("--clip", type=commands.positive_float, metavar="NORM",
        help="largest norm of the gradient")
    how.add_argument("--average", type=_fraction, metavar="DECAY",
        help="of the exponential average of the weights; 0: none")
    how.add_argument("--l1", type=commands.positive_float, metavar="WEIGHT",
        help="penalty on the maps between layers, as in sparse coding: fewer are above zero")
    how.add_argument("--orientations", action=argparse.BooleanOptionalAction, default=None,
        help="train on flipped and transposed sub-images too")
    how.add_argument("--rescale", type=commands.positive_floats, metavar="A,B,...",
        help="train on rescaled copies of the images too")
    return parser  # fmt: skip


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
    return commands.run(make_parser, train, argv)


def train(options: argparse.Namespace) -> int:
    """One run, from its start or its checkpoint to its end, or to Ctrl-C."""
    prepare = functools.partial(prepare_run, options, time.monotonic())
    if not options.mpi:
        return carry_out(prepare(_trainer_on(options.device), *open_run(options)))
    if options.device != "cpu":
        raise UsageError(f"--mpi is for the CPU, not for --device {options.device}")
    from npsrcnn import mpi

    return mpi.train(
        functools.partial(open_run, options), prepare, carry_out, threads=options.threads
    )


def prepare_run(
    options: argparse.Namespace,
    started: float,
    make_trainer: Callable[..., Trainer],
    settings: dict[str, Any],
    folder: Path,
    state: dict[str, np.ndarray] | None,
    facts: dict[str, Any],
) -> Run:
    """All that a run needs, of what :func:`open_run` gives."""
    length = length_of(options, facts)
    recipe = recipe_of(settings)
    net = initial_network(settings, recipe, options.device)
    net.metadata["command"] = command_of(settings, length)
    training, evaluation = images_of(settings)
    source = source_of(settings, recipe, training, net.margin)
    check_batch_size(len(source), settings["batch"])
    if settings["renew"] and state is None:
        size = min(LOOKED_AT, len(source))
        with contextlib.closing(source.batches(settings["seed"], 0, size)) as batches:
            net = renewed(net, next(batches)[0], settings["seed"])
    optimizer = optimizer_of(net, recipe, settings["lr_factors"])
    trainer = make_trainer(
        net,
        source,
        optimizer,
        functools.partial(rate_at, peak=recipe.rate, warmup=recipe.warmup, decay=recipe.decay),
        batch=settings["batch"],
        seed=settings["seed"],
        clip=recipe.clip,
        average=recipe.average,
        l1=recipe.l1,
    )
    if state is not None:
        trainer.restore(state)
    return Run(folder, trainer, evaluation, length, settings, started, facts.get("log", []))


def carry_out(run: Run) -> int:
    """Train, and say what comes of it; the exit code."""
    run.folder.mkdir(parents=True, exist_ok=True)  # a run that cannot begin leaves none
    print(describe(run.settings, run.trainer, run.length))
    with stop_on_signals() as stop:
        run.go(stop)
    print(run.report())
    return commands.INTERRUPTED if stop.is_set() else 0


def _trainer_on(device: str) -> Callable[..., Trainer]:
    """The training loop for ``device``; a GPU's is imported only where it is asked for."""
    if device != "cuda":
        return Trainer
    from npsrcnn.device_trainer import DeviceTrainer

    return DeviceTrainer


def open_run(
    options: argparse.Namespace,
) -> tuple[dict[str, Any], Path, dict[str, np.ndarray] | None, dict[str, Any]]:
    """Settings and folder of a new run; of one to resume also the checkpoint's state and facts."""
    given = {name: getattr(options, name) for name in DEFAULTS}
    given = {name: value for name, value in given.items() if value is not None}
    for name in ("data", "eval", "init"):
        if name in given:
            given[name] = _absolute(given[name])
    if options.resume is None:
        settings = {**DEFAULTS, **given}
        folder = options.out or _free_folder(settings)
        if (folder / CHECKPOINT).exists():
            raise UsageError(
                f"{folder} already holds a run: --resume it, or choose another --out"
            )
        return settings, folder, None, {}
    folder = options.out if options.resume is True else Path(options.resume)
    if folder is None:
        raise UsageError("--resume needs the folder of the run: --resume FOLDER")
    state, facts = load_checkpoint(folder / CHECKPOINT)
    settings = {**DEFAULTS, **facts["settings"]}
    changed = [f"--{n.replace('_', '-')}" for n, v in given.items() if settings.get(n) != v]
    if changed:
        raise UsageError(
            f"--resume goes on as the run began, with another {' and '.join(changed)} "
            "it would be another run"
        )
    return settings, folder, state, facts


def _absolute(value: str | list[str]) -> str | list[str]:
    """Folders as absolute paths, so that a run can be resumed from anywhere; names as they are."""
    if isinstance(value, list):
        return [_absolute(item) for item in value]
    return str(Path(value).resolve()) if Path(value).exists() or "*" in value else value


def _label(name: str) -> str:
    """What a folder, file or pattern is called where its place does not matter."""
    path = Path(name)
    return f"{path.parent.name}/{path.name}" if "*" in name else path.name


def _free_folder(settings: dict[str, Any]) -> Path:
    """runs/9-1-5-x3-dead-leaves, or the same with the first number that is free."""
    data = "-".join(dict.fromkeys(_label(name).split("/")[0] for name in settings["data"]))
    name = f"{settings['network']}-x{settings['scale']}-{data}"
    tries = (Path("runs") / (name if i == 1 else f"{name}-{i}") for i in itertools.count(1))
    return next(folder for folder in tries if not (folder / CHECKPOINT).exists())


def length_of(options: argparse.Namespace, facts: dict[str, Any]) -> Length:
    """As asked for; else as the resumed run was; else three minutes."""
    if options.epochs is not None or options.minutes is not None:
        return Length(options.epochs, options.minutes)
    return Length(**facts.get("length", {"minutes": DEFAULT_MINUTES}))


def recipe_of(settings: dict[str, Any]) -> Recipe:
    """The named recipe with the changes that were asked for."""
    recipe = RECIPES[settings["recipe"]]
    if settings["optimizer"] not in (None, recipe.optimizer):
        recipe = replace(recipe, **OPTIMIZERS[settings["optimizer"]])
    if settings["data"] == [DEAD_LEAVES] or prepared_set(settings):
        # Leaves come in all sizes, so that copies gain nothing; a prepared set has its own.
        recipe = replace(recipe, rescale=())
    changes = {name: settings[name] for name in asdict(recipe) if settings[name] is not None}
    return replace(recipe, **changes)


def initial_network(settings: dict[str, Any], recipe: Recipe, device: str) -> SRCNN:
    """Random weights, or those of a model file, grown where its filters are smaller."""
    facts = {
        "scale": settings["scale"],
        "color": settings["channels"],
        "recipe": asdict(replace(recipe, init=_label(recipe.init))),
        "data": [_label(name) for name in settings["data"]],
        "eval": [_label(name) for name in settings["eval"] or [DEAD_LEAVES]],
        "seed": settings["seed"],
        "batch": settings["batch"],
    }
    channels = datasets.COLORS[settings["channels"]]
    if recipe.init in INITS:
        return SRCNN(
            settings["network"],
            channels,
            init=recipe.init,
            seed=settings["seed"],
            device=device,
            metadata=facts,
        )
    net = model_files.load(recipe.init, device=device)
    if net.channels != channels:
        color = settings["channels"]
        raise UserError(f"{recipe.init} is for {net.color}, not for --channels {color}")
    net = net.grown(settings["network"])
    net.metadata = facts
    return net


def optimizer_of(
    net: SRCNN, recipe: Recipe, lr_factors: Sequence[float] | None
) -> Optimizer:
    """The recipe's optimizer, each layer at its rate."""
    depth = len(net.layers)
    factors = paper_factors(depth)
    if lr_factors is not None:
        if len(lr_factors) != depth:
            raise UsageError(f"--lr-factors: {net.name} has {depth} layers, not {len(lr_factors)}")
        factors = [(f, b) for f, (_, b) in zip(lr_factors, factors, strict=True)]
    if recipe.optimizer == "sgd":
        return SGD(net.layers, factors, recipe.momentum)
    return {"adam": Adam, "soap": SOAP}[recipe.optimizer](net.layers, factors)


def images_of(settings: dict[str, Any]) -> tuple[list[np.ndarray | Path], list[Prepared]]:
    """What to train on, images or their files; and the images to measure PSNR on."""
    scale, seed = settings["scale"], settings["seed"]
    folders = [] if prepared_set(settings) else settings["data"]
    generated = DEAD_LEAVES in folders
    paths = [path for name in folders if name != DEAD_LEAVES for path in evaluate.paths_of(name)]
    measured = [path for name in settings["eval"] or [] for path in evaluate.paths_of(name)]
    if settings["hold_out"]:
        if settings["hold_out"] >= len(paths):
            raise UsageError(
                f"--hold-out {settings['hold_out']} leaves nothing of {len(paths)} images of --data"
            )
        order = np.random.default_rng(seed).permutation(len(paths))
        measured += [paths[i] for i in np.sort(order[: settings["hold_out"]])]
        paths = [paths[i] for i in np.sort(order[settings["hold_out"] :])]
    leaves = datasets.dead_leaves(DEAD_LEAVES_TRAINED, seed=seed) if generated else []
    prepared = [evaluate.read(path, scale) for path in measured]
    if not prepared:
        unseen = datasets.dead_leaves(DEAD_LEAVES_MEASURED, seed=seed + 1)
        prepared = [evaluate.prepare(image, scale) for image in unseen]
    return [*leaves, *paths], prepared


def prepared_set(settings: dict[str, Any]) -> Path | None:
    """The prepared set that --data names, if it does."""
    prepared = [name for name in settings["data"] if datasets.is_prepared(name)]
    if not prepared:
        return None
    if len(settings["data"]) > 1:
        raise UsageError(f"--data: {prepared[0]} is a prepared set, which is trained on alone")
    settled = {
        "rescale": "images are rescaled by prepare --rescale",
        "hold_out": "images are cut; use --eval",
        "sub_image": "sub-images are cut by prepare --size",
    }
    for name, how in settled.items():
        if settings[name]:
            raise UsageError(
                f"--{name.replace('_', '-')}: {prepared[0]} is a prepared set, whose {how}"
            )
    return Path(prepared[0])


def source_of(
    settings: dict[str, Any], recipe: Recipe, images: list[np.ndarray | Path], margin: int
) -> datasets.SubImages | datasets.Stream | datasets.Shards:
    """Sub-images of the images, or those of a prepared set."""
    folder = prepared_set(settings)
    if folder is None:
        side = settings["sub_image"] or SUB_IMAGE
        if side <= margin:
            raise UsageError(
                f"--sub-image {side}: {settings['network']} takes {margin} pixels of each side, "
                f"so it must be {margin + 1} or more"
            )
        return datasets.sub_images(
            images,
            settings["scale"],
            side,
            side - margin,
            color=settings["channels"],
            orientations=recipe.orientations,
            rescale=sorted({1.0, *recipe.rescale}, reverse=True),
        )
    source = datasets.Shards(folder, margin=margin, orientations=recipe.orientations)
    cut = source.cut
    if (cut.scale, cut.color) != (settings["scale"], settings["channels"]):
        raise UsageError(
            f"{folder} is prepared for x{cut.scale} in {cut.color}: "
            f"give --scale {cut.scale} --channels {cut.color}, or prepare it anew"
        )
    return source


def command_of(settings: dict[str, Any], length: Length) -> str:
    """The command that repeats the run, for the model's metadata."""
    words = ["python", "-m", "npsrcnn.train"]
    changed = {name: value for name, value in settings.items() if value != DEFAULTS[name]}
    for name, value in {**changed, **vars(length)}.items():
        option = f"--{OPTIONS.get(name, name).replace('_', '-')}"
        if value is None:
            continue
        if isinstance(value, bool):
            words.append(option if value else option.replace("--", "--no-", 1))
        elif name == "init":
            words += [option, _label(value)]
        elif name in ("data", "eval"):
            words += [option, *(_label(item) for item in value)]
        elif isinstance(value, list):
            words += [option, ",".join(f"{item:g}" for item in value)]
        elif isinstance(value, float):
            words += [option, f"{value:g}"]
        else:
            words += [option, str(value)]
    return shlex.join(words)


def describe(settings: dict[str, Any], trainer: Trainer, length: Length) -> str:
    """One line: what is about to happen."""
    return (
        f"{settings['network']} at x{settings['scale']} from {len(trainer.source):,} sub-images "
        f"of {', '.join(map(_label, settings['data']))}, recipe {settings['recipe']}, for {length}"
    )


if __name__ == "__main__":
    sys.exit(main())
