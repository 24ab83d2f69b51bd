"""A run from its settings: network, recipe, images, optimizer, trainer."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from npsrcnn import datasets
from npsrcnn.datasets.compression import middle_quality
from npsrcnn.datasets.cutting import check_batch_size
from npsrcnn.datasets.drawing import in_words
from npsrcnn.datasets.filming import middle_crf
from npsrcnn.datasets.paths import paths_of
from npsrcnn.datasets.protocols import Source
from npsrcnn.errors import UsageError, UserError
from npsrcnn.evaluation.protocol import EvaluationImage
from npsrcnn.model import load
from npsrcnn.model.dead_maps import revive_dead_maps
from npsrcnn.model.network import INITS, SRCNN, parse_name
from npsrcnn.training.optimizers import SGD, Adam, Optimizer, State, paper_factors
from npsrcnn.training.ranks import ALONE, Ranks
from npsrcnn.training.recipes import RECIPES, Recipe
from npsrcnn.training.runs import CHECKPOINT, Run, sample_of
from npsrcnn.training.settings import DEAD_LEAVES, DEFAULT_MINUTES, Length, RunSettings, label_of
from npsrcnn.training.soap import SOAP
from npsrcnn.training.trainer import Trainer, load_checkpoint
from npsrcnn.words import counted

SUB_IMAGE = 33  # pixels, f_sub of the paper
DEAD_LEAVES_TRAINED = 400  # images
DEAD_LEAVES_MEASURED = 10  # others, where none are given to measure PSNR on


@dataclass(frozen=True)
class Opened:
    """Hold settings and folder of a run; of one to resume also what its checkpoint holds."""

    settings: RunSettings
    folder: Path
    length: Length
    state: State | None = None  # of the trainer
    log: list[dict[str, Any]] = field(default_factory=list)


def build_run(
    given: Mapping[str, Any],
    *,
    started: float,
    folder: Path | None = None,
    resume: bool = False,
    typed: Mapping[str, str] | None = None,
    length: Length | None = None,
    device: str = "cpu",
    ranks: Ranks = ALONE,
) -> Run:
    """Build a run, ready to go, or one that goes on from its checkpoint.

    Parameters
    ----------
    given
        Fields of :class:`~npsrcnn.training.settings.RunSettings`; others have their defaults, or
        what they were when the run began.
    started
        ``time.monotonic()`` at which the run, or its resumption, began.
    folder
        Of the run. Default: a new one in runs/.
    resume
        Whether to go on with the run in ``folder``.
    typed
        Of options that have several names, by setting, the one that was given; for messages.
    length
        Default: as the resumed run was; else three minutes.
    device
        "cpu", "reference" or "cuda".
    ranks
        The processes that train together; all of them call this.

    Raises
    ------
    UserError
        Settings that do not fit each other, the data, or the run to go on with; images or a
        checkpoint that cannot be read.
    """
    opened = ranks.from_root(lambda: _open(given, typed or {}, folder, resume, length))
    run = ranks.on_all_ranks(lambda: _build(opened, started, device, ranks))
    ranks.check_alike({"sub-images": len(run.trainer.source)})
    return run


def _open(
    given: Mapping[str, Any],
    typed: Mapping[str, str],
    folder: Path | None,
    resume: bool,
    length: Length | None,
) -> Opened:
    if not resume:
        settings = RunSettings(**given)
        folder = folder or _free_folder(settings)
        if (folder / CHECKPOINT).exists():
            raise UsageError(f"{folder} already holds a run: --resume it, or choose another --out")
        return Opened(settings, folder, length or Length(minutes=DEFAULT_MINUTES))
    if folder is None:
        raise UsageError("--resume needs the folder of the run: --resume FOLDER")
    state, facts = load_checkpoint(folder / CHECKPOINT)
    settings = RunSettings.from_json(facts["settings"])
    if changed := settings.differences(given, typed):
        raise UsageError(
            f"--resume goes on as the run began, with another {' and '.join(changed)} "
            "it would be another run"
        )
    length = length or Length(**facts["length"])
    return Opened(settings, folder, length, state, facts["log"])


def _build(opened: Opened, started: float, device: str, ranks: Ranks) -> Run:
    settings, recipe = opened.settings, recipe_of(opened.settings)
    net = initial_network(settings, recipe, device)
    net.metadata["command"] = settings.command(opened.length)
    training, evaluation = images_of(settings)
    source = source_of(settings, recipe, training, net.margin)
    check_batch_size(len(source), settings.batch)
    if settings.revive_dead and opened.state is None:
        net = revive_dead_maps(net, sample_of(source, settings.seed), settings.seed)
    initial_filters = net.layers[0][0].copy()
    trainer = trainer_on(device)(
        net,
        source,
        optimizer_of(net, recipe, settings.lr_factors),
        recipe.rate_at,
        batch=settings.batch,
        seed=settings.seed,
        clip=recipe.clip,
        average=recipe.average,
        l1=recipe.l1,
        ranks=ranks,
    )
    if opened.state is not None:
        trainer.restore(opened.state)
    return Run(
        opened.folder,
        trainer,
        evaluation,
        opened.length,
        settings,
        started,
        initial_filters,
        list(opened.log),
    )


def trainer_on(device: str) -> type[Trainer]:
    """Return the training loop for ``device``; a GPU's is imported only where it is asked for."""
    if device != "cuda":
        return Trainer
    from npsrcnn.training.device_trainer import DeviceTrainer

    return DeviceTrainer


def _free_folder(settings: RunSettings) -> Path:
    """Return runs/9-1-5-x3-dead-leaves, or -x3-q75-, with the first number that is free."""
    data = "-".join(dict.fromkeys(label_of(name).split("/")[0] for name in settings.data))
    quality = f"-q{in_words(settings.jpeg)}" if settings.jpeg else ""
    quality += f"-crf{in_words(settings.crf)}" if settings.crf else ""
    name = f"{settings.network}-x{settings.scale}{quality}-{data}"
    tries = (Path("runs") / (name if i == 1 else f"{name}-{i}") for i in itertools.count(1))
    return next(folder for folder in tries if not (folder / CHECKPOINT).exists())


def recipe_of(settings: RunSettings) -> Recipe:
    """Return the named recipe with the changes that were asked for."""
    recipe = RECIPES[settings.recipe]
    if settings.optimizer not in (None, recipe.optimizer):
        recipe = recipe.with_optimizer(settings.optimizer)
    if settings.data == (DEAD_LEAVES,) or prepared_set(settings):
        # Leaves come in all sizes, so that copies gain nothing; a prepared set has its own.
        recipe = replace(recipe, rescale=())
    changes = {f.name: getattr(settings, f.name) for f in fields(recipe)}
    return replace(recipe, **{name: v for name, v in changes.items() if v is not None})


def initial_network(settings: RunSettings, recipe: Recipe, device: str) -> SRCNN:
    """Return random weights, or those of a model file, grown where it is smaller."""
    facts = {
        "scale": settings.scale,
        "color": settings.channels,
        "recipe": asdict(replace(recipe, init=label_of(recipe.init))),
        "data": [label_of(name) for name in settings.data],
        "eval": [label_of(name) for name in settings.eval or (DEAD_LEAVES,)],
        "seed": settings.seed,
        "batch": settings.batch,
    }
    if settings.jpeg is not None:
        facts.update(jpeg=list(settings.jpeg), quality=middle_quality(settings.jpeg))
    if settings.crf is not None:
        facts.update(crf=middle_crf(settings.crf), crfs=list(settings.crf))
    channels = datasets.COLORS[settings.channels]
    if recipe.init in INITS:
        _check_maps(settings, least=channels if recipe.init == "bicubic" else 1)
        return SRCNN(
            settings.network,
            channels,
            n=settings.maps,
            init=recipe.init,
            seed=settings.seed,
            device=device,
            metadata=facts,
        )
    net = load(recipe.init, device=device)
    if net.channels != channels:
        color = settings.channels
        raise UserError(f"{recipe.init} is for {net.color}, not for --channels {color}")
    grown = net.grown(settings.network, settings.maps)
    if grown.n != net.n and not settings.revive_dead:
        raise UsageError(
            f"--maps {_listed(grown.n)}: {recipe.init} has {_listed(net.n)}, and more of them "
            "learn with --revive-dead only"
        )
    net = grown
    net.metadata = facts
    return net


def _check_maps(settings: RunSettings, least: int) -> None:
    """Raise UsageError where --maps does not fit the network, each at least ``least``."""
    inner = len(parse_name(settings.network)) - 1
    if settings.maps and (len(settings.maps) != inner or min(settings.maps) < least):
        raise UsageError(
            f"--maps {_listed(settings.maps)}: {settings.network} takes "
            f"{counted(inner, 'number')} of at least {least}"
        )


def _listed(numbers: Sequence[int]) -> str:
    return ",".join(map(str, numbers))


def optimizer_of(net: SRCNN, recipe: Recipe, lr_factors: Sequence[float] | None) -> Optimizer:
    """Return the recipe's optimizer, each layer at its rate."""
    depth = len(net.layers)
    factors = paper_factors(depth)
    if lr_factors is not None:
        if len(lr_factors) != depth:
            layers = counted(depth, "layer")
            raise UsageError(f"--lr-factors: {net.name} has {layers}, not {len(lr_factors)}")
        factors = [(f, b) for f, (_, b) in zip(lr_factors, factors, strict=True)]
    if recipe.optimizer == "sgd":
        return SGD(net.layers, factors, recipe.momentum)
    kind = SOAP if recipe.optimizer == "soap" else Adam
    return kind(net.layers, factors)


def images_of(settings: RunSettings) -> tuple[list[np.ndarray | Path], list[EvaluationImage]]:
    """Return what to train on, images or their files; and the images to measure PSNR on."""
    scale, seed = settings.scale, settings.seed
    jpeg = None if settings.jpeg is None else middle_quality(settings.jpeg)
    crf = None if settings.crf is None else middle_crf(settings.crf)
    folders = () if prepared_set(settings) else settings.data
    generated = DEAD_LEAVES in folders
    paths = [path for name in folders if name != DEAD_LEAVES for path in paths_of(name)]
    measured = [path for name in settings.eval or () for path in paths_of(name)]
    if settings.hold_out:
        if settings.hold_out >= len(paths):
            raise UsageError(
                f"--hold-out {settings.hold_out} leaves nothing of "
                f"{counted(len(paths), 'image')} of --data"
            )
        order = np.random.default_rng(seed).permutation(len(paths))
        measured += [paths[i] for i in np.sort(order[: settings.hold_out])]
        paths = [paths[i] for i in np.sort(order[settings.hold_out :])]
    leaves = list(datasets.dead_leaves(DEAD_LEAVES_TRAINED, seed=seed)) if generated else []
    prepared = [EvaluationImage.from_file(path, scale, jpeg=jpeg, crf=crf) for path in measured]
    if not prepared:
        unseen = datasets.dead_leaves(DEAD_LEAVES_MEASURED, seed=seed + 1)
        prepared = [
            EvaluationImage.from_array(image, scale, name=f"dead leaves {i}", jpeg=jpeg, crf=crf)
            for i, image in enumerate(unseen, 1)
        ]
    return [*leaves, *paths], prepared


def prepared_set(settings: RunSettings) -> Path | None:
    """Return the folder of the prepared set that --data names, if it does."""
    prepared = [name for name in settings.data if datasets.is_prepared(name)]
    if not prepared:
        return None
    if len(settings.data) > 1:
        raise UsageError(f"--data: {prepared[0]} is a prepared set, which is trained on alone")
    settled = {
        "rescale": "images are rescaled by prepare --rescale",
        "hold_out": "images are cut; use --eval",
        "sub_image": "sub-images are cut by prepare --size",
    }
    for name, how in settled.items():
        if getattr(settings, name):
            raise UsageError(
                f"--{name.replace('_', '-')}: {prepared[0]} is a prepared set, whose {how}"
            )
    return Path(prepared[0])


def source_of(
    settings: RunSettings, recipe: Recipe, images: list[np.ndarray | Path], margin: int
) -> Source:
    """Return sub-images of the images, or those of a prepared set."""
    folder = prepared_set(settings)
    if folder is None:
        side = settings.sub_image or SUB_IMAGE
        if side <= margin:
            raise UsageError(
                f"--sub-image {side}: {settings.network} takes {counted(margin, 'pixel')} of each "
                "side, "
                f"so it must be {margin + 1} or more"
            )
        return datasets.sub_images(
            images,
            settings.scale,
            side,
            side - margin,
            color=settings.channels,
            orientations=recipe.orientations,
            rescale=sorted({1.0, *recipe.rescale}, reverse=True),
            jpeg=settings.jpeg,
            crf=settings.crf,
            seed=settings.seed,
        )
    source = datasets.Shards(folder, margin=margin, orientations=recipe.orientations)
    cut = source.cut
    jpeg = None if cut.jpeg is None else cut.jpeg.ends
    crf = None if cut.film is None else cut.film.ends
    if (cut.scale, cut.color, jpeg, crf) != (
        settings.scale,
        settings.channels,
        settings.jpeg,
        settings.crf,
    ):
        compressed, options = "", f"--scale {cut.scale} --channels {cut.color}"
        for name, title, held, asked in (
            ("jpeg", "JPEG", jpeg, settings.jpeg),
            ("crf", "CRF", crf, settings.crf),
        ):
            if held is not None:
                compressed += f", {title} {in_words(held)}"
                options += f" --{name} {in_words(held)}"
            elif asked is not None and (jpeg or crf) is None:
                compressed += f", without {title}"
                options += f" without --{name}"
        raise UsageError(
            f"{folder} is prepared for x{cut.scale} in {cut.color}{compressed}: "
            f"give {options}, or prepare it anew"
        )
    return source


@contextlib.contextmanager
def join_ranks(mpi: bool, threads: int | None) -> Iterator[Ranks]:
    """Enter a training with all ranks that ``mpiexec`` has started, or alone.

    Parameters
    ----------
    mpi
        Whether to train with others. mpi4py is imported only then.
    threads
        Of each rank; None: its share of the cores.
    """
    if not mpi:
        yield ALONE
        return
    from npsrcnn.training.mpi import join

    with join(threads) as ranks:
        yield ranks
