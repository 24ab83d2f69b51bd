"""Enlarge one picture file: what a folder, a thread or a worker elsewhere does for each picture.

All that is asked for is in two small objects, :class:`Job` and :class:`EnlargeOptions`, which go
to other processes as they are; :func:`enlarge_file` does the work.
"""

from __future__ import annotations

import contextlib
import errno
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import numpy as np

from npsrcnn import images
from npsrcnn.errors import UserError
from npsrcnn.images import Picture, tiff, webp
from npsrcnn.images.compression import strength_of_file
from npsrcnn.images.encoding import AS_USUAL, Encoding
from npsrcnn.images.layout import read_tiff_layout
from npsrcnn.images.limits import pixel_limit
from npsrcnn.images.tiff_writer import LARGEST
from npsrcnn.images.upright import UprightReader
from npsrcnn.model.network import SRCNN
from npsrcnn.pixels.values import Values
from npsrcnn.runtime import memory
from npsrcnn.upscaling.choice import Automatic, BySize, Choice, Chosen
from npsrcnn.upscaling.outcomes import Enlarged, Failed, Outcome
from npsrcnn.upscaling.sizes import Fit, Shape, Size, fit, most_pixels
from npsrcnn.upscaling.source_quality import BY_HEADER, BY_TABLE, middle
from npsrcnn.upscaling.streaming import BASE, FLOATS, Compute, Scene, check_memory, enlarge_scene
from npsrcnn.upscaling.strips import STRIP, Progress, enlarge

MEMORY = 900 * 10**6  # bytes that the command takes, about, if it is not told otherwise
ENCODING = 2.5  # of a result's size: Pillow's copy of it, filtered lines, the compressed file
PIXEL = 50  # bytes of memory for each pixel of the largest picture taken: as RGB at x2 needs
NO_MORE_WRITES = {errno.ENOSPC, errno.EDQUOT, errno.EROFS}  # then no other picture can be written


@dataclass(frozen=True)
class Job:
    """One picture to enlarge, and the files it becomes.

    Attributes
    ----------
    source, target : Path
    fixed_format : bool
        The user chose the format of the target.
    fallback : Path or None
        Where the result goes if the target's format cannot hold it.
    also_bicubic : bool
        Write the picture enlarged by bicubic interpolation alone as well, to compare with.
    """

    source: Path
    target: Path
    fixed_format: bool = False
    fallback: Path | None = None
    also_bicubic: bool = False

    @property
    def targets(self) -> list[Path]:
        """The target, and the fallback if there is one."""
        return [path for path in (self.target, self.fallback) if path]

    def outputs(self, target: Path) -> list[tuple[Path, bool]]:
        """Return the files to write where the result goes to ``target``, and whether restored.

        Those that are not are enlarged by bicubic interpolation alone.
        """
        bicubic = target.with_stem(f"{target.stem}_bicubic"), False
        return [(target, True), *([bicubic] if self.also_bicubic else [])]

    def possible_outputs(self) -> set[Path]:
        """Return all files that the job may write."""
        return {path for target in self.targets for path, _ in self.outputs(target)}

    def finished(self) -> Path | None:
        """Return the target whose files are all there already, if there is one."""
        for target in self.targets:
            if all(os.path.exists(path) for path, _ in self.outputs(target)):
                return target
        return None


@dataclass(frozen=True)
class EnlargeOptions:
    """How to enlarge, the same for all pictures.

    Attributes
    ----------
    choice : Chosen, Automatic or BySize
        The networks; the last with a Size.
    scale : float or Size
    memory : int
        Bytes, for all that is in work in this process.
    resume : bool
        Go on with scenes that were begun.
    page : int or None
        The only page to enlarge of files of several, from 1 on.
    keep_times : bool
        Give results the dates of their sources.
    encoding : Encoding
        How to write results.
    strip : bool
        Leave out metadata but what tells of colours, and what goes with a picture in its file.
    keep_cmyk : bool
        Enlarge the four inks of CMYK, which becomes sRGB else.
    """

    choice: Choice | BySize
    scale: float | Size
    memory: int = MEMORY
    resume: bool = False
    page: int | None = None
    keep_times: bool = True
    encoding: Encoding = AS_USUAL
    strip: bool = False
    keep_cmyk: bool = False


class Need(NamedTuple):
    """What a picture takes to enlarge."""

    memory: int  # bytes, about, beyond BASE
    by_blocks: bool  # it need not be held whole, and is not


def need_of(job: Job, options: EnlargeOptions) -> Need:
    """Estimate from its headers what a picture takes.

    Raises
    ------
    UserError, OSError
        As :func:`npsrcnn.images.read`.
    """
    layout = None
    if job.source.suffix.lower() in tiff.SUFFIXES:
        layout = read_tiff_layout(job.source)
    with pixel_limit.at_least(options.memory // PIXEL):
        height, width, channels, bytes_each, pages = layout or images.read_layout(job.source)
    rows, columns = most_pixels(options.scale, (height, width))
    small, large = (n * channels * bytes_each for n in (height * width, rows * columns))
    wide = 8 * channels if bytes_each > 2 else 0  # see Values.from_network
    in_work = min(rows * columns, max(STRIP, 64 * columns)) * (FLOATS * 4 + wide)
    needed = 3 * small + large + max(in_work, ENCODING * large)
    if pages > 1 and options.page is None:
        needed += (pages - 1) * (small + large)  # before all are written
    too_large = BASE + needed > options.memory or pages * large > LARGEST // 2
    if too_large and layout and job.target.suffix.lower() in tiff.SUFFIXES:
        return Need(options.memory - BASE, True)
    return Need(int(needed), False)


def enlarge_file(
    job: Job,
    options: EnlargeOptions,
    compute: Compute | None = None,
    progress: Progress = lambda done, parts: None,
    say: Callable[[str], None] = lambda line: None,
) -> Enlarged:
    """Read, enlarge and write one picture.

    Parameters
    ----------
    job, options
    compute
        For a TIFF file that memory does not hold: see
        :func:`npsrcnn.upscaling.streaming.enlarge_scene`.
    progress
        Called with the number of parts done, and of all, of a picture that is computed in several:
        pages, strips, or blocks.
    say
        Called with a line on the memory that is needed, before more is taken than was set.

    Raises
    ------
    UserError, OSError, MemoryError
        As :func:`npsrcnn.images.read` and :func:`npsrcnn.images.write`.
    """
    started = time.perf_counter()
    need = need_of(job, options)
    if need.by_blocks:
        target = job.target
        chosen, scene = _enlarge_by_blocks(job, options, compute, progress)
    else:
        if BASE + need.memory > options.memory:
            say(_too_much(job, BASE + need.memory))
        chosen, target, scene = _enlarge_whole(job, options, progress)
    for path, _ in job.outputs(target):
        _like(job.source, path, options.keep_times)
    return Enlarged(
        source=job.source,
        target=target.resolve(),
        size=(scene.size[1], scene.size[0]),
        enlarged=(scene.enlarged[1], scene.enlarged[0]),
        seconds=time.perf_counter() - started,
        source_quality=chosen.decision.quality,
        decided_by=chosen.decision.decided_by,
        model=chosen.names,
        comment=chosen.comment,
        bicubic=next(
            (path.resolve() for path, restored in job.outputs(target) if not restored), None
        ),
        peak_memory=memory.peak_resident_bytes() if need.by_blocks else None,
        values=tuple(scene.values),
        lost=scene.lost,
    )


def _like(source: Path, result: Path, keep_times: bool) -> None:
    """Give a result the permissions of its source, and its dates if they are to be kept."""
    status = source.stat()
    result.chmod(status.st_mode & 0o777)
    if keep_times:
        os.utime(result, ns=(status.st_atime_ns, status.st_mtime_ns))


def ends_run(job: Job, outcome: Outcome) -> bool:
    """Return whether no other picture can be written either: the disk is full, the folder gone.

    A picture whose own folder is missing or forbidden says nothing about others.
    """
    if not isinstance(outcome, Failed):
        return False
    full = isinstance(outcome.error, OSError) and outcome.error.errno in NO_MORE_WRITES
    return full or (os.path.exists(job.source) and not os.path.isdir(job.target.parent))


def _too_much(job: Job, needed: int) -> str:
    """Say that a picture takes more memory than was set, or raise if the machine has not that."""
    text = f"{job.source}: in memory as a whole, which takes about {needed / 1e9:.1f} GB"
    total = memory.physical_bytes()
    if needed > total:
        raise UserError(
            f"{text}, and this machine has {total / 1e9:.1f}: from TIFF to TIFF it goes in blocks"
        )
    return text


def _enlarge_whole(
    job: Job, options: EnlargeOptions, progress: Progress
) -> tuple[Chosen, Path, Scene]:
    """Enlarge the pages of a file in memory; return by what, where they went, and their sizes."""
    with pixel_limit.at_least(options.memory // PIXEL):
        pages = list(images.read_pages(job.source, options.page, keep_cmyk=options.keep_cmyk))
    pages = [page.stripped() for page in pages] if options.strip else pages
    with _naming(job):
        values = [page.values() for page in pages]
    fits = [_fit(job, options, _size(page)) for page in pages]
    chosen = _choice(job, options, fits[0])
    if isinstance(chosen, Automatic):
        strength, said_by = strength_of_file(job.source), BY_TABLE
        if strength is None:
            strength, said_by = webp.read_strength(job.source), BY_HEADER
        first = _in_network(pages[0].pixels, values[0])
        chosen = _chosen(chosen, job, first, strength, said_by)
    if pages[0].pixels.ndim == 2 or pages[0].black is not None:
        chosen = chosen.without_chroma()

    def enlarged(nets: Sequence[SRCNN]) -> Iterator[Picture]:
        alone = len(pages) == 1
        for number, page in enumerate(pages):
            strips = progress if alone and nets else None
            yield _enlarged(page, nets, fits[number], values[number], strips)
            if nets and not alone:
                progress(number + 1, len(pages))

    larger = enlarged(chosen.nets)
    first_larger = next(larger)
    target = job.target
    kind = images.writable(target.suffix)
    if not job.fixed_format and images.misfit(first_larger, kind, encoding=options.encoding):
        if job.fallback is None:
            raise UserError(
                f"{job.source}: no room for {target.with_suffix('.png')}: give --format tif"
            )
        target = job.fallback
    for path, restored in job.outputs(target):
        results = chain([first_larger], larger) if restored else enlarged(())
        if len(pages) == 1:
            images.write(path, next(results), options.encoding)
        else:
            images.write_pages(path, results, options.encoding)
    lost = [*first_larger.lost]
    if images.writable(target.suffix).name != "JPEG":
        lost += map(str, first_larger.others)
    return chosen, target, Scene(_size(pages[0]), _size(first_larger), values, tuple(lost))


def _in_network(pixels: np.ndarray, values: Values) -> np.ndarray:
    """Return pixels as networks take them."""
    return values.to_network(pixels, values.missing(pixels))


def _chosen(
    choice: Automatic,
    job: Job,
    pixels: np.ndarray,
    strength: float | None = None,
    said_by: str = BY_TABLE,
) -> Chosen:
    with _naming(job):
        return choice.chosen(pixels, strength, said_by)


def _fit(job: Job, options: EnlargeOptions, size: Shape) -> Fit:
    with _naming(job):
        return fit(options.scale, size)


def _choice(job: Job, options: EnlargeOptions, how: Fit) -> Choice:
    """Return the networks for a picture that becomes as much larger."""
    if not isinstance(options.choice, BySize):
        return options.choice
    with _naming(job):
        return options.choice.for_factor(how.factor)


@contextlib.contextmanager
def _naming(job: Job) -> Iterator[None]:
    """Name the source in errors."""
    try:
        yield
    except UserError as error:
        raise UserError(f"{job.source}: {error}") from error


def _enlarged(
    picture: Picture,
    nets: Sequence[SRCNN],
    how: Fit,
    values: Values,
    progress: Progress | None = None,
) -> Picture:
    factor, shape = how
    pixels, alpha = enlarge(picture.pixels, picture.alpha, nets, factor, values, shape, progress)
    others = []
    for other in picture.others:
        alike = how if _size(other.picture) == _size(picture) else Fit(factor)
        own = () if other.is_gain_map else nets
        large = _enlarged(other.picture, own, alike, other.picture.values())
        others.append(replace(other, picture=large))
    metadata = picture.metadata.enlarged(factor, pixels.shape[:2])
    black = picture.black
    if black is not None:
        black, _ = enlarge(black, None, nets, factor, values, shape)
    result = Picture(pixels, alpha, metadata, others=others, lost=picture.lost, black=black)
    return replace(result, lossless=picture.lossless)


def _size(picture: Picture) -> Shape:
    height, width = picture.pixels.shape[:2]
    return height, width


def _enlarge_by_blocks(
    job: Job,
    options: EnlargeOptions,
    compute: Compute | None,
    progress: Progress,
) -> tuple[Chosen, Scene]:
    """Enlarge a TIFF file into another, block by block; return by what, and the sizes.

    What was compressed shows in the middle of its first page.
    """
    with contextlib.closing(tiff.TiffReader(job.source, (options.page or 1) - 1)) as stored:
        reader = UprightReader(stored)
        how = _fit(job, options, reader.kind.size)
        check_memory(reader, how, options.memory)
        pixels, alpha = reader.read(*middle(reader.kind.size))
        chosen = _choice(job, options, how)
    if isinstance(chosen, Automatic):
        values = Values.measured([(pixels, alpha)], pixels.dtype, stored.nodata)
        chosen = _chosen(chosen, job, _in_network(pixels, values))
    elif pixels.ndim == 2:
        chosen = chosen.without_chroma()
    for path, restored in job.outputs(job.target):
        scene = enlarge_scene(
            job.source,
            path,
            chosen.nets if restored else (),
            options.scale,
            memory=options.memory,
            resume=options.resume,
            page=options.page,
            strip=options.strip,
            compute=compute,
            progress=progress,
        )
    return chosen, scene
