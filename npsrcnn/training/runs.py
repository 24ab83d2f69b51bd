"""A training run: its progress, its log, and the files in its folder."""

from __future__ import annotations

import contextlib
import csv
import datetime
import math
import sys
import threading
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from tqdm import tqdm

from npsrcnn.datasets.drawing import in_words
from npsrcnn.datasets.protocols import Source
from npsrcnn.errors import DataError, UserError, describe
from npsrcnn.evaluation.protocol import EvaluationImage, input_name
from npsrcnn.evaluation.scores import mean_psnr
from npsrcnn.model.dead_maps import count_dead_maps
from npsrcnn.runtime.files import quoted, write_atomically
from npsrcnn.training.settings import Length, RunSettings, label_of
from npsrcnn.training.trainer import Trainer, save_checkpoint
from npsrcnn.words import counted

MEASURE_EVERY, LEAST_PAUSE = 30.0, 2.0  # seconds: where an epoch takes longer; between any two
CHECKPOINT, LOG, BEST, LAST = "checkpoint.npz", "log.csv", "best.npz", "last.npz"
SUB_IMAGES_TO_FIND_DEAD_MAPS = 1024  # at most
MOST_DEAD = 0.1  # of a layer's maps: with more of them dead, a training says so at its end
COLUMNS = ("seconds", "epoch", "step", "sub_images", "rate", "loss", "psnr", "psnr_bicubic")


@dataclass
class Run:
    """Train in a folder: measure, log and save on the way.

    Every measurement writes the last and, if it is, the best model, then the checkpoint, which
    holds the log too, and the log, each beside the old one and renamed: a kill at any moment loses
    at most the work since the last measurement. A log that somebody has open ends no run.
    """

    folder: Path
    trainer: Trainer
    images: list[EvaluationImage]  # to measure PSNR on
    length: Length
    settings: RunSettings
    started: float  # time.monotonic() at which the run, or its resumption, began
    initial_filters: np.ndarray  # of layer 1, before the first step
    log: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        # A resumed run goes on with the time of its last measurement.
        self._seconds_before = self.log[-1]["seconds"] if self.log else 0.0
        self._losses: list[float] = []
        self._measured = time.monotonic()
        self._pause = 0.0  # seconds from the last measurement to the next, at least

    @property
    def seconds(self) -> float:
        """Return how long the run has lasted, not counting the time it was stopped."""
        return self._seconds_before + time.monotonic() - self.started

    def progress(self, step: int) -> float:
        """Return the part of the run that is done."""
        trainer = self.trainer
        steps_per_epoch = len(trainer.source) // trainer.batch
        return self.length.progress(step, steps_per_epoch, self.seconds)

    def description(self) -> str:
        """Return what is about to happen, in one line; with several ranks in two."""
        settings, source = self.settings, self.trainer.source
        compressed = f"JPEG of quality {in_words(settings.jpeg)}, " if settings.jpeg else ""
        compressed += f"filmed at CRF {in_words(settings.crf)}, " if settings.crf else ""
        return "\n".join(
            [
                *self.trainer.ranks.announcement(self.folder),
                f"{settings.network} at x{settings.scale} from "
                f"{counted(len(source), 'sub-image', ',')} of "
                f"{', '.join(map(label_of, settings.data))}, {compressed}"
                f"recipe {settings.recipe}, for {self.length}",
            ]
        )

    def go(self, stop: threading.Event) -> None:
        """Train until the end, or until ``stop`` is set; describe, measure and save on the way.

        On a rank other than the root: follow it.

        Raises
        ------
        DataError
            Training data became unreadable during the run. All steps until then are saved.
        """
        if not self.trainer.ranks.is_root:
            self.trainer.follow()
            return
        try:
            self.folder.mkdir(parents=True, exist_ok=True)  # a run that cannot begin leaves none
            print(self.description())
            self._train_and_measure(stop)
        except (UserError, OSError):
            self.trainer.stop_followers()
            raise
        self.trainer.stop_followers()

    def _train_and_measure(self, stop: threading.Event) -> None:
        try:
            self._train(stop)
        except DataError as error:
            self.measure()
            if not self.log:
                raise
            raise DataError(
                f"{error}; saved after {counted(self.trainer.step, 'step', ',')}: then "
                f"--resume {quoted(self.folder)}"
            ) from error
        self.measure()

    def _train(self, stop: threading.Event) -> None:
        trainer = self.trainer
        with self._bar() as bar:
            while self.progress(trainer.step) < 1 and not stop.is_set():
                epoch = trainer.run_epoch(self.progress)
                with contextlib.closing(epoch):
                    for loss in epoch:
                        self._losses.append(loss)
                        self._show(bar, loss)
                        if stop.is_set() or self.progress(trainer.step) >= 1:
                            break
                        if time.monotonic() - self._measured > MEASURE_EVERY:
                            self.measure()
                if time.monotonic() - self._measured > self._pause:
                    self.measure()

    def measure(self) -> None:
        """Measure PSNR, print it, and save everything."""
        if not self._losses:
            return
        began = time.monotonic()
        trainer = self.trainer
        net = trainer.averaged()
        psnr, bicubic = mean_psnr(net, self.images)
        best = max((row["psnr"] for row in self.log), default=-float("inf"))
        row = {
            "seconds": round(self.seconds, 3),
            "epoch": trainer.epoch,
            "step": trainer.step,
            "sub_images": trainer.sub_images,
            "rate": trainer.rate(trainer.step, self.progress(trainer.step)),
            "loss": sum(self._losses) / len(self._losses),
            "psnr": psnr,
            "psnr_bicubic": bicubic,
        }
        self.log.append(row)
        self._losses.clear()
        tqdm.write(
            f"{_clock(row['seconds'])}  epoch {row['epoch']}  "
            f"{row['sub_images']:>9,} sub-images  loss {row['loss']:.4f}  "
            f"PSNR {psnr:.2f} dB ({input_name(self.settings.scale)} {bicubic:.2f})"
        )
        found = {"psnr_validation": psnr, "psnr_bicubic_validation": bicubic}
        net.metadata.update(
            {name: round(value, 4) for name, value in found.items() if math.isfinite(value)},
            sub_images=row["sub_images"],
            minutes=round(row["seconds"] / 60, 2),
            date=datetime.date.today().isoformat(),
        )
        self.folder.mkdir(parents=True, exist_ok=True)  # somebody may have removed it
        if psnr > best or not (self.folder / BEST).exists():
            net.save(self.folder / BEST)
        net.save(self.folder / LAST)
        facts = {
            "settings": self.settings.to_json(),
            "length": asdict(self.length),
            "log": self.log,
        }
        save_checkpoint(self.folder / CHECKPOINT, trainer, facts)
        try:
            self._write_log()
        except (UserError, OSError) as error:
            tqdm.write(f"{describe(error)} (the next measurement writes all of it)", sys.stderr)
        self._measured = time.monotonic()
        # Where epochs are short, measuring takes no more than a tenth of the time. The first one
        # compiles what it needs: no later one takes as long.
        cost = self._measured - began if len(self.log) > 1 else 0.0
        self._pause = max(LEAST_PAUSE, 10 * cost)

    def report(self) -> str:
        """Return the result: the gain, every file, and how to use the model."""
        if not self.log:
            return f"not one step was done in {self.length}: nothing is saved"
        folder = self.folder.resolve()
        row = max(self.log, key=lambda row: row["psnr"])
        settings, best = self.settings, folder / BEST
        return "\n".join(
            [
                f"PSNR        {row['psnr_bicubic']:.2f} dB {input_name(settings.scale)}, "
                f"{row['psnr']:.2f} dB now: "
                f"{row['psnr'] - row['psnr_bicubic']:+.2f} dB, "
                f"on {counted(len(self.images), 'image')}"
                + ("" if settings.eval or settings.hold_out else " of dead leaves"),
                *self._dead_maps(),
                f"best model  {best}",
                f"last model  {folder / LAST}",
                f"log         {folder / LOG}",
                f"checkpoint  {folder / CHECKPOINT}  (go on: --resume {quoted(folder)})",
                f"use it      npsrcnn upscale PICTURE --scale {settings.scale} "
                f"--model {quoted(best)}",
            ]
        )

    def _dead_maps(self) -> list[str]:
        """Return a line that says how many ReLU maps of the last model are dead, if many are."""
        net = self.trainer.averaged()
        counts = count_dead_maps(net, sample_of(self.trainer.source, self.settings.seed))
        found = [
            f"{dead} of {counted(maps, 'map')} of layer {layer}"
            for layer, (dead, maps) in enumerate(zip(counts, net.n, strict=True), 1)
            if dead > MOST_DEAD * maps
        ]
        if not found:
            return []
        last = quoted(self.folder.resolve() / LAST)
        return [
            f"dead        {', '.join(found)}: go on with --init {last} --revive-dead "
            "and a lower --lr"
        ]

    def _write_log(self) -> None:
        with (
            write_atomically(self.folder / LOG) as path,
            open(path, "w", newline="", encoding="utf-8") as file,
        ):
            writer = csv.DictWriter(file, COLUMNS)
            writer.writeheader()
            writer.writerows(self.log)

    def _bar(self) -> tqdm[NoReturn]:
        tqdm.set_lock(threading.RLock())  # its own is for processes, and takes one to watch it
        return tqdm(
            total=1.0,
            initial=min(1.0, self.progress(self.trainer.step)),
            bar_format="{percentage:3.0f}% {bar} {elapsed}<{remaining} {postfix}",
            disable=None,  # where nobody watches: no bar, only a line for each measurement
            file=sys.stderr,
        )

    def _show(self, bar: tqdm[NoReturn], loss: float) -> None:
        rate = len(self._losses) * self.trainer.batch / (time.monotonic() - self._measured)
        bar.set_postfix_str(f"loss {loss:.4f}, {rate:,.0f} sub-images/s", refresh=False)
        bar.update(min(1.0, self.progress(self.trainer.step)) - bar.n)


def sample_of(source: Source, seed: int) -> np.ndarray:
    """Return sub-images, (N, c, H, W), that show which maps are dead: those trained on first."""
    size = min(SUB_IMAGES_TO_FIND_DEAD_MAPS, len(source))
    with contextlib.closing(source.batches(seed, 0, size)) as batches:
        return next(batches)[0]


def _clock(seconds: float) -> str:
    return str(datetime.timedelta(seconds=int(seconds)))
