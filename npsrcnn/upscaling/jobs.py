"""Which picture goes to which file, decided before the first is read."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from npsrcnn import images
from npsrcnn.errors import UsageError, UserError
from npsrcnn.upscaling.files import Job, beside_it

Failure = tuple[Path, Exception]  # a folder, and what is wrong with it


def is_file_name(output: Path | None) -> bool:
    return output is not None and output.suffix.lower() in images.SUFFIXES and not output.is_dir()


def one_job(sources: Sequence[Path], output: Path) -> Job:
    """The picture that goes to a file which the user named."""
    if len(sources) > 1 or os.path.isdir(sources[0]):
        raise UsageError(f"-o {output} names one file, but IN is several pictures")
    return Job(sources[0], output, True)


def find(
    sources: Sequence[Path], output: Path | None, suffix: str
) -> tuple[list[tuple[Path, Path]], list[Failure]]:
    """Each picture with the folder that its result goes to, and folders that hold none."""
    if output is not None and output.exists() and not output.is_dir():
        raise UsageError(f"-o {output} is neither a folder nor the name of a picture")
    if Path(suffix).name != suffix and suffix:
        raise UsageError(f"--suffix {suffix!r} is no part of a file's name")
    pictures, failures = [], []
    for source in sources:
        if not os.path.isdir(source):  # what is not there, or not for us, says so when it is read
            pictures.append((source, output or source.parent))
            continue
        whole = source.resolve()
        folder = output or whole.parent / (whole.name + suffix)
        try:
            pictures += [(path, folder) for path in images.list_images(source)]
        except (UserError, OSError) as error:
            failures.append((source, error))
    return list(dict.fromkeys(pictures)), failures


def plan(
    pictures: Sequence[tuple[Path, Path]], suffix: str, format_suffix: str | None
) -> list[Job]:
    """Which picture goes to which file.

    Of several that would go to one, those whose suffix changes keep the old one in the name.
    """
    kinds = [
        format_suffix or (path.suffix if path.suffix.lower() in images.WRITABLE else ".png")
        for path, _ in pictures
    ]
    names = [_names(*pair, suffix, kind) for pair, kind in zip(pictures, kinds, strict=True)]
    wanted = Counter(short for short, _ in names)
    targets = [
        long if wanted[short] > 1 and kind != path.suffix else short
        for (path, _), kind, (short, long) in zip(pictures, kinds, names, strict=True)
    ]
    if format_suffix:
        return [Job(path, to, True) for (path, _), to in zip(pictures, targets, strict=True)]
    pngs = [_names(*pair, suffix, ".png") for pair in pictures]
    taken = Counter(path for to, two in zip(targets, pngs, strict=True) for path in {to, *two})
    known = {os.path.realpath(path) for path, _ in pictures}
    jobs = []
    for (path, _), to, two in zip(pictures, targets, pngs, strict=True):
        free = (png for png in two if taken[png] == 1 and os.path.realpath(png) not in known)
        jobs.append(Job(path, to, fallback=next(free, None)))
    return jobs


def _names(path: Path, folder: Path, suffix: str, kind: str) -> tuple[Path, Path]:
    """Where a result goes, photo_x2.png, or if that is another's, photo_jpg_x2.png."""
    long = f"{path.stem}_{path.suffix.removeprefix('.')}"
    return folder / f"{path.stem}{suffix}{kind}", folder / f"{long}{suffix}{kind}"


def make_folders(jobs: list[Job], output: Path | None, failures: list[Failure]) -> list[Job]:
    """Make the folders that results go to; without the jobs of those that cannot be made."""
    if output is not None:
        if jobs and not is_file_name(output):
            output.mkdir(parents=True, exist_ok=True)
        return jobs
    folders = {job.target.parent: job.source.parent for job in jobs}
    for folder, source in folders.items():
        try:
            if folder != source:
                folder.mkdir(exist_ok=True)
        except OSError as error:
            failures.append((source, error))
            jobs = [job for job in jobs if job.target.parent != folder]
    return jobs


def check_targets(jobs: Sequence[Job], also_bicubic: bool) -> None:
    """No picture may be written over a source, its own or another's, or over another result."""
    sources = {os.path.realpath(job.source): job.source for job in jobs}
    made: dict[Path, Path] = {}
    for job in jobs:
        targets = [job.target]
        if also_bicubic:
            targets += {beside_it(path) for path in (job.target, job.fallback) if path}
        for target in targets:
            if source := sources.get(os.path.realpath(target)):
                raise UsageError(
                    f"{source} would be overwritten by the result of {job.source}: "
                    "give another -o, --suffix or --format"
                )
            first = made.setdefault(target, job.source)
            if first != job.source:
                raise UsageError(
                    f"{first} and {job.source} would both become {target}: "
                    "enlarge them one after the other, with another -o or --suffix"
                )
