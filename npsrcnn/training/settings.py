"""The settings of a run: from options, to and from a checkpoint, and to the command again."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from npsrcnn.datasets.drawing import in_words
from npsrcnn.errors import UsageError
from npsrcnn.words import counted

DEAD_LEAVES = "dead-leaves"
DEFAULT_MINUTES = 3.0
PATHS = ("data", "eval", "init")  # settings that name folders, files or patterns
OTHER_OPTIONS = {"rate": "lr"}  # settings whose option has another name
OLD_NAMES = {"renew": "revive_dead"}  # of settings, in checkpoints that were written earlier


@dataclass(frozen=True)
class Length:
    """Say how long to train: a number of epochs, or of minutes."""

    epochs: int | None = None
    minutes: float | None = None

    def progress(self, step: int, steps_per_epoch: int, seconds: float) -> float:
        """Return the part of the run that is done: 1 and more at its end."""
        if self.epochs is not None:
            return step / (self.epochs * steps_per_epoch)
        return seconds / (60 * (self.minutes or DEFAULT_MINUTES))

    def __str__(self) -> str:
        if self.epochs is not None:
            return counted(self.epochs, "epoch")
        minutes = self.minutes or DEFAULT_MINUTES
        return counted(minutes, "minute", "g")


@dataclass(frozen=True)
class RunSettings:
    """Hold what makes a run, and stays when it is resumed: options of `npsrcnn train`.

    The fields from ``init`` on change the recipe; None: as the recipe has it.
    """

    data: tuple[str, ...] = (DEAD_LEAVES,)
    scale: int = 3
    jpeg: tuple[int, int] | None = None  # the lowest and the highest quality
    crf: tuple[int, int] | None = None  # the lowest and the highest
    network: str = "9-1-5"
    maps: tuple[int, ...] | None = None  # n1, n2; None: the paper's, or those of ``init``
    channels: str = "y"
    batch: int = 128
    sub_image: int | None = None
    revive_dead: bool = False
    seed: int = 0
    recipe: str = "default"
    eval: tuple[str, ...] | None = None
    hold_out: int = 0
    lr_factors: tuple[float, ...] | None = None
    init: str | None = None
    optimizer: str | None = None
    rate: float | None = None
    momentum: float | None = None
    warmup: int | None = None
    decay: str | None = None
    clip: float | None = None
    average: float | None = None
    orientations: bool | None = None
    rescale: tuple[float, ...] | None = None
    l1: float | None = None

    def __post_init__(self) -> None:
        if self.scale == 1 and self.jpeg is None:
            raise UsageError("--scale 1 enlarges nothing: give --jpeg QUALITY to restore")
        if self.crf is not None and (self.jpeg is not None or self.channels != "y"):
            raise UsageError("--crf films in Y: leave out --jpeg, and --channels")

    @classmethod
    def from_json(cls, facts: Mapping[str, Any]) -> RunSettings:
        """Return the settings of a checkpoint, where defaults may be missing."""
        facts = {OLD_NAMES.get(name, name): value for name, value in facts.items()}
        known = {field.name for field in fields(cls)} & facts.keys()
        return cls(**{name: _frozen(facts[name]) for name in known})

    def to_json(self) -> dict[str, Any]:
        """Return the settings as a checkpoint keeps them."""
        return asdict(self)

    def differences(self, given: Mapping[str, Any], typed: Mapping[str, str]) -> list[str]:
        """Return the options that set something else than these settings, as they were typed.

        ``typed`` names the option of a setting that has several.
        """
        return [
            typed.get(name) or _option(name, value)
            for name, value in given.items()
            if getattr(self, name) != value
        ]

    def command(self, length: Length) -> str:
        """Return the command that repeats the run, for the model's metadata."""
        words = ["python", "-m", "npsrcnn.train"]
        changed = {
            field.name: value
            for field in fields(self)
            if (value := getattr(self, field.name)) != field.default
        }
        for name, value in {**changed, **asdict(length)}.items():
            option = _option(name, value)
            if value is None:
                continue
            if isinstance(value, bool):
                words.append(option)
            elif name in PATHS:
                paths = value if isinstance(value, tuple) else (value,)
                words += [option, *map(label_of, paths)]
            elif name in ("jpeg", "crf"):
                words += [option, in_words(value)]
            elif isinstance(value, tuple):
                words += [option, ",".join(f"{item:g}" for item in value)]
            elif isinstance(value, float):
                words += [option, f"{value:g}"]
            else:
                words += [option, str(value)]
        return shlex.join(words)


def given_settings(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings that were given as options, as fields of :class:`RunSettings`.

    Folders become absolute paths, so that a run can be resumed from anywhere.
    """
    given = {field.name: options[field.name] for field in fields(RunSettings)}
    given = {name: _frozen(value) for name, value in given.items() if value is not None}
    for name in given.keys() & set(PATHS):
        value = given[name]
        given[name] = tuple(map(_absolute, value)) if name != "init" else _absolute(value)
    return given


def label_of(name: str) -> str:
    """Return what a folder, file or pattern is called where its place does not matter."""
    path = Path(name)
    return f"{path.parent.name}/{path.name}" if "*" in name else path.name


def _absolute(name: str) -> str:
    """Return the absolute path of a folder, file or pattern; other names as they are."""
    return str(Path(name).resolve()) if Path(name).exists() or "*" in name else name


def _option(name: str, value: object) -> str:
    """Return the option that sets a field to ``value``."""
    negation = "no-" if value is False else ""
    return f"--{negation}{OTHER_OPTIONS.get(name, name).replace('_', '-')}"


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
