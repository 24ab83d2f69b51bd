"""One picture in, one picture out: what a folder, a thread or a worker elsewhere does per file.

All that is asked for is in two small objects, :class:`Job` and :class:`Settings`, which go to
other processes as they are; :func:`enlarge_file` does the work.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from npsrcnn import images
from npsrcnn.errors import UserError
from npsrcnn.images import Picture, tiff
from npsrcnn.model.network import SRCNN
from npsrcnn.runtime import memory
from npsrcnn.upscaling.arrays import STRIP, enlarge
from npsrcnn.upscaling.streaming import BASE, FLOATS, Compute, enlarge_scene

MEMORY = 900 * 10**6  # bytes that the command takes, about, if it is not told otherwise
ENCODING = 2.5  # of a result's size: Pillow's copy of it, filtered lines, the compressed file


@dataclass(frozen=True)
class Job:
    """One picture to enlarge, and the file it goes to."""

    source: Path
    target: Path
    fixed: bool = False  # the user chose the format of the target
    fallback: Path | None = None  # where it goes if the target's format cannot hold it

    def finished(self, also_bicubic: bool = False) -> Path | None:
        """What has been made already, with what ``--also-bicubic`` writes if that is asked for."""
        for path in filter(None, (self.target, self.fallback)):
            beside = not also_bicubic or os.path.exists(beside_it(path))
            if beside and os.path.exists(path):
                return path
        return None


@dataclass(frozen=True)
class Settings:
    """How to enlarge: the same for all pictures."""

    nets: Sequence[SRCNN]
    scale: float
    also_bicubic: bool = False
    memory: int = MEMORY  # bytes, for all that is in work in this process
    resume: bool = False  # go on with scenes that were begun


class Need(NamedTuple):
    """What a picture takes to enlarge."""

    memory: int  # bytes, about, beyond BASE
    by_blocks: bool  # it need not be held whole, and is not


def need_of(job: Job, settings: Settings) -> Need:
    """What a picture takes, by its headers; raises as :func:`npsrcnn.images.read`."""
    layout = None
    if job.source.suffix.lower() in tiff.SUFFIXES:
        layout = tiff.read_layout(job.source)
    height, width, channels, bytes_each = layout or images.read_layout(job.source)
    rows, columns = math.ceil(settings.scale * height), math.ceil(settings.scale * width)
    small, large = (n * channels * bytes_each for n in (height * width, rows * columns))
    in_work = min(rows * columns, max(STRIP, 64 * columns)) * FLOATS * 4
    needed = 3 * small + large + max(in_work, ENCODING * large)
    too_large = BASE + needed > settings.memory or large > tiff.LARGEST // 2
    if too_large and layout and job.target.suffix.lower() in tiff.SUFFIXES:
        return Need(settings.memory - BASE, True)
    return Need(int(needed), False)


def enlarge_file(
    job: Job,
    settings: Settings,
    compute: Compute | None = None,
    progress: Callable[[int, int], None] = lambda done, blocks: None,
    say: Callable[[str], None] = lambda line: None,
) -> dict[str, object]:
    """Read, enlarge and write one picture.

    Parameters
    ----------
    job, settings
    compute, progress
        For a TIFF file that memory does not hold: see
        :func:`npsrcnn.upscaling.streaming.enlarge_scene`.
    say
        Called with a line on the memory that is needed, before more is taken than was set.

    Returns
    -------
    dict
        A row of what ``--json`` writes: "source", "target", "size", "enlarged", "seconds"...

    Raises
    ------
    UserError, OSError, MemoryError
        As :func:`npsrcnn.images.read` and :func:`npsrcnn.images.write`.
    """
    started = time.perf_counter()
    row: dict[str, object] = {"source": str(job.source)}
    need = need_of(job, settings)
    if need.by_blocks:
        row |= _by_blocks(job, settings, compute, progress)
        row["peak_memory"] = memory.peak_resident_bytes()
    else:
        if BASE + need.memory > settings.memory:
            say(_too_much(job, BASE + need.memory))
        row |= _whole(job, settings)
    return row | {"seconds": round(time.perf_counter() - started, 3)}


def _too_much(job: Job, needed: int) -> str:
    """What to say of a picture that takes more memory than was set, if the machine has it."""
    text = f"{job.source}: in memory as a whole, which takes about {needed / 1e9:.1f} GB"
    total = memory.physical_bytes()
    if needed > total:
        raise UserError(
            f"{text}, and this machine has {total / 1e9:.1f}: from TIFF to TIFF it goes in blocks"
        )
    return text


def _whole(job: Job, settings: Settings) -> dict[str, object]:
    small = images.read(job.source)
    large = _enlarged(small, settings.nets, settings.scale)
    target = job.target
    reason = images.misfit(large, images.writable(target.suffix))
    if reason and not job.fixed:
        if job.fallback is None:
            raise UserError(
                f"{job.source}: no room for {target.with_suffix('.png')}: give --format tif"
            )
        target = job.fallback
    images.write(target, large)
    row: dict[str, object] = {"target": str(target.resolve())}
    if settings.also_bicubic:
        beside = beside_it(target)
        images.write(beside, _enlarged(small, [], settings.scale))
        row["bicubic"] = str(beside.resolve())
    return row | {"size": small.pixels.shape[1::-1], "enlarged": large.pixels.shape[1::-1]}


def _enlarged(picture: Picture, nets: Sequence[SRCNN], scale: float) -> Picture:
    pixels, alpha = enlarge(picture.pixels, picture.alpha, nets, scale)
    return Picture(pixels, alpha, picture.metadata.enlarged(scale, pixels.shape[:2]))


def _by_blocks(
    job: Job,
    settings: Settings,
    compute: Compute | None,
    progress: Callable[[int, int], None],
) -> dict[str, object]:
    results = {"target": (job.target, settings.nets)}
    if settings.also_bicubic:
        results["bicubic"] = (beside_it(job.target), ())
    row: dict[str, object] = {}
    for key, (target, nets) in results.items():
        size, enlarged = enlarge_scene(
            job.source, target, nets, settings.scale, memory=settings.memory,
            resume=settings.resume, compute=compute, progress=progress,
        )  # fmt: skip
        row[key] = str(target.resolve())
    return row | {"size": size[::-1], "enlarged": enlarged[::-1]}


def beside_it(target: Path) -> Path:
    """Where ``--also-bicubic`` writes."""
    return target.with_stem(f"{target.stem}_bicubic")
