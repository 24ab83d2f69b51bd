"""A run from its settings: network, recipe, images, optimizer, trainer."""

from __future__ import annotations

import argparse
import contextlib
import functools
import itertools
import shlex
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from npsrcnn import datasets
from npsrcnn.datasets.cutting import check_batch_size
from npsrcnn.datasets.paths import paths_of
from npsrcnn.errors import UsageError, UserError
from npsrcnn.evaluation.protocol import EvaluationImage
from npsrcnn.model import load
from npsrcnn.model.dead_maps import renewed
from npsrcnn.model.network import INITS, SRCNN
from npsrcnn.training.optimizers import SGD, Adam, Optimizer, paper_factors, rate_at
from npsrcnn.training.recipes import OPTIMIZERS, RECIPES, Recipe
from npsrcnn.training.runs import CHECKPOINT, Length, Run
from npsrcnn.training.soap import SOAP
from npsrcnn.training.trainer import Trainer, load_checkpoint

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


def trainer_on(device: str) -> Callable[..., Trainer]:
    """The training loop for ``device``; a GPU's is imported only where it is asked for."""
    if device != "cuda":
        return Trainer
    from npsrcnn.training.device_trainer import DeviceTrainer

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
            raise UsageError(f"{folder} already holds a run: --resume it, or choose another --out")
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


def label_of(name: str) -> str:
    """What a folder, file or pattern is called where its place does not matter."""
    path = Path(name)
    return f"{path.parent.name}/{path.name}" if "*" in name else path.name


def _free_folder(settings: dict[str, Any]) -> Path:
    """runs/9-1-5-x3-dead-leaves, or the same with the first number that is free."""
    data = "-".join(dict.fromkeys(label_of(name).split("/")[0] for name in settings["data"]))
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
        "recipe": asdict(replace(recipe, init=label_of(recipe.init))),
        "data": [label_of(name) for name in settings["data"]],
        "eval": [label_of(name) for name in settings["eval"] or [DEAD_LEAVES]],
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
    net = load(recipe.init, device=device)
    if net.channels != channels:
        color = settings["channels"]
        raise UserError(f"{recipe.init} is for {net.color}, not for --channels {color}")
    net = net.grown(settings["network"])
    net.metadata = facts
    return net


def optimizer_of(net: SRCNN, recipe: Recipe, lr_factors: Sequence[float] | None) -> Optimizer:
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


def images_of(settings: dict[str, Any]) -> tuple[list[np.ndarray | Path], list[EvaluationImage]]:
    """What to train on, images or their files; and the images to measure PSNR on."""
    scale, seed = settings["scale"], settings["seed"]
    folders = [] if prepared_set(settings) else settings["data"]
    generated = DEAD_LEAVES in folders
    paths = [path for name in folders if name != DEAD_LEAVES for path in paths_of(name)]
    measured = [path for name in settings["eval"] or [] for path in paths_of(name)]
    if settings["hold_out"]:
        if settings["hold_out"] >= len(paths):
            raise UsageError(
                f"--hold-out {settings['hold_out']} leaves nothing of {len(paths)} images of --data"
            )
        order = np.random.default_rng(seed).permutation(len(paths))
        measured += [paths[i] for i in np.sort(order[: settings["hold_out"]])]
        paths = [paths[i] for i in np.sort(order[settings["hold_out"] :])]
    leaves = datasets.dead_leaves(DEAD_LEAVES_TRAINED, seed=seed) if generated else []
    prepared = [EvaluationImage.from_file(path, scale) for path in measured]
    if not prepared:
        unseen = datasets.dead_leaves(DEAD_LEAVES_MEASURED, seed=seed + 1)
        prepared = [EvaluationImage.from_array(image, scale) for image in unseen]
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
            words += [option, label_of(value)]
        elif name in ("data", "eval"):
            words += [option, *(label_of(item) for item in value)]
        elif isinstance(value, list):
            words += [option, ",".join(f"{item:g}" for item in value)]
        elif isinstance(value, float):
            words += [option, f"{value:g}"]
        else:
            words += [option, str(value)]
    return shlex.join(words)
