"""Plan which picture goes to which file, before the first is read."""

from __future__ import annotations

import dataclasses
import errno
import os
from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from pathlib import Path

from npsrcnn import images
from npsrcnn.errors import UsageError, UserError
from npsrcnn.images.encoding import Encoding
from npsrcnn.runtime.files import check_writable, identity
from npsrcnn.upscaling.files import Job
from npsrcnn.upscaling.outcomes import Failed
from npsrcnn.upscaling.sources import OTHER_PICTURES, Found, find_pictures


def is_file_name(output: Path) -> bool:
    """Return whether ``output`` names a picture, and not a folder."""
    return output.suffix.lower() in images.SUFFIXES | OTHER_PICTURES and not output.is_dir()


def chosen_format(output: Path | None, kind: str | None) -> str | None:
    """Return the suffix of the files to write, ".png", where the user chose one.

    Parameters
    ----------
    output : Path, optional
        The file or folder that the user named.
    kind : str, optional
        The format that the user named, "png" or ".PNG".

    Raises
    ------
    UsageError
        A format that cannot be written, or two different ones.
    """
    chosen = None if kind is None else "." + kind.lower().removeprefix(".")
    try:
        if output is not None and is_file_name(output):
            named = output.suffix.lower()
            if chosen and images.writable(named) != images.writable(chosen):
                raise UsageError(f"-o {output} and --format {kind}: choose one")
            chosen = named
        if chosen:
            images.writable(chosen)
    except UserError as error:
        raise UsageError(str(error)) from error
    return chosen


def check_encoding(format_suffix: str | None, encoding: Encoding) -> None:
    """Raise UsageError where what was asked for says nothing of the format that was chosen."""
    if encoding.lossless and encoding.quality is not None:
        raise UsageError("--quality says how much may be lost, --lossless nothing: choose one")
    if format_suffix is None:
        return
    kind = images.writable(format_suffix)
    if encoding.lossless and not kind.can_be_lossless:
        raise UsageError(f"--lossless: {kind.name} loses something: choose PNG, TIFF or WebP")
    if encoding.quality is not None and not kind.has_quality:
        raise UsageError(
            f"--quality: {kind.name} has none: choose JPEG, WebP, AVIF, HEIC or JPEG XL"
        )
    if encoding.background is not None and kind.alpha:
        raise UsageError(f"--background: {kind.name} keeps transparency: leave it out")


def plan_jobs(
    sources: Sequence[Path],
    output: Path | None = None,
    *,
    suffix: str,
    format_suffix: str | None = None,
    also_bicubic: bool = False,
    recursive: bool = False,
    skip_existing: bool = False,
    is_clip: Callable[[Path], bool] = lambda path: False,
) -> tuple[list[Job], Found]:
    """Plan a job for each picture, and make the folders that results go to.

    A result is named after its source, with ``suffix`` appended: photo.jpg becomes photo_x2.jpg,
    or, where its format changes, with the old suffix in the name: photo.gif becomes
    photo_gif_x2.png.

    Parameters
    ----------
    sources : sequence of Path
        Pictures, and folders of pictures.
    output : Path, optional
        A folder, or for one picture a file; default: beside each picture, and for a folder a new
        one beside it.
    suffix : str
    format_suffix : str, optional
        ".png": the format of all results; default: each picture's own where it can be written.
    also_bicubic : bool
        See :class:`npsrcnn.upscaling.files.Job`.
    recursive : bool
        Take folders within folders too, and keep the tree.
    skip_existing : bool
        Leave out sources that are results of others, which a pattern finds when it is used again.
    is_clip
        See :func:`npsrcnn.upscaling.sources.find_pictures`.

    Returns
    -------
    jobs, found
        The latter tells failures: folders that cannot be used.

    Raises
    ------
    UsageError
        A result would overwrite a source or another result, or arguments that do not fit.
    OSError
        The folder ``output`` cannot be made.
    """
    if output is not None and is_file_name(output):
        if len(sources) > 1 or os.path.isdir(sources[0]):
            raise UsageError(f"-o {output} names one file, but IN is several pictures")
        jobs = [Job(sources[0], output, fixed_format=True, also_bicubic=also_bicubic)]
        _check_outputs(jobs)
        return jobs, Found()
    if output is not None and output.exists() and not output.is_dir():
        raise UsageError(f"-o {output} is neither a folder nor the name of a picture")
    if Path(suffix).name != suffix and suffix:
        raise UsageError(f"--suffix {suffix!r} is no part of a file's name")
    found = find_pictures(sources, output, suffix, recursive=recursive, is_clip=is_clip)
    jobs = _name_results(found.pictures, suffix, format_suffix, also_bicubic)
    if skip_existing:
        jobs = _without_results(jobs)
    jobs = _without_doubtful_fallbacks(jobs)
    _check_outputs(jobs)
    return _with_names(_with_folders(jobs, found, output), found), found


def _name_results(
    pictures: Sequence[tuple[Path, Path]],
    suffix: str,
    format_suffix: str | None,
    also_bicubic: bool,
) -> list[Job]:
    """Name the results, and, unless the user chose a format, PNG files to fall back to."""
    jobs = []
    for path, folder in pictures:
        kind = path.suffix if path.suffix.lower() in images.WRITABLE else ".png"
        target = folder / result_name(path, suffix, format_suffix or kind)
        fallback = None if format_suffix else folder / result_name(path, suffix, ".png")
        jobs.append(Job(path, target, bool(format_suffix), fallback, also_bicubic))
    return jobs


def _without_results(jobs: Sequence[Job]) -> list[Job]:
    """Leave out jobs whose source is the result of another."""
    results = {identity(path): job for job in jobs for path in job.possible_outputs()}
    return [job for job in jobs if results.get(identity(job.source), job) is job]


def _without_doubtful_fallbacks(jobs: Sequence[Job]) -> list[Job]:
    """Leave out each fallback that might be another's result, or is a source."""
    uses = Counter(name for job in jobs for name in {identity(path) for path in job.targets})
    known = {identity(job.source) for job in jobs}
    return [
        dataclasses.replace(job, fallback=None)
        if job.fallback and (uses[identity(job.fallback)] > 1 or identity(job.fallback) in known)
        else job
        for job in jobs
    ]


def result_name(path: Path, suffix: str, kind: str) -> str:
    """Return photo_x2.png for photo.png, and photo_jpg_x2.png for photo.jpg."""
    changed = kind.lower() != path.suffix.lower()
    return f"{path.stem}{path.suffix.replace('.', '_') if changed else ''}{suffix}{kind}"


def _check_outputs(jobs: Sequence[Job]) -> None:
    """Raise UsageError where a result would overwrite a source or another result."""
    sources = {identity(job.source): job.source for job in jobs}
    made: dict[Hashable, Path] = {}
    for job in jobs:
        for target in job.possible_outputs():
            name = identity(target)
            if source := sources.get(name):
                raise UsageError(
                    f"{source} would be overwritten by the result of {job.source}: "
                    "give another -o, --suffix or --format"
                )
            first = made.setdefault(name, job.source)
            if first != job.source:
                raise UsageError(
                    f"{first} and {job.source} would both become {target}: "
                    "enlarge them one after the other, with another -o or --suffix"
                )


def _with_folders(jobs: Sequence[Job], found: Found, output: Path | None) -> list[Job]:
    """Make the folders of results; leave out jobs whose folder cannot be made or written to.

    Raises
    ------
    OSError
        The folder ``output`` cannot be.
    """
    errors: dict[Path, OSError | None] = {}
    for job in jobs:
        if job.target.parent not in errors:
            errors[job.target.parent] = error = _error_of_folder(job)
            if error is not None and output is not None:
                raise error
            if error is not None:
                found.failures.append(Failed(job.source.parent, error))
    return [job for job in jobs if errors[job.target.parent] is None]


def _error_of_folder(job: Job) -> OSError | None:
    """Make the folder of a job's result, and return why it cannot be made or written to."""
    try:
        if job.target.parent != job.source.parent:
            job.target.parent.mkdir(parents=True, exist_ok=True)
        # A target that is a folder, or has too long a name, is that picture's fault alone, and a
        # source that is missing or forbidden says so when it is read.
        if not os.access(job.source, os.R_OK) or _error_of_name(job.target):
            return None
        if not job.target.is_dir():
            check_writable(job.target)
    except OSError as error:
        return error
    return None


def _with_names(jobs: Sequence[Job], found: Found) -> list[Job]:
    """Leave out jobs whose results would have longer names than files can have."""
    kept = []
    for job in jobs:
        errors = [error for path, _ in job.outputs(job.target) if (error := _error_of_name(path))]
        if errors:
            found.failures.append(Failed(job.source, errors[0]))
        else:
            kept.append(job)
    return kept


def _error_of_name(path: Path) -> OSError | None:
    """Return the error that the system raises for a path because it is too long, if it does."""
    try:
        os.lstat(path)
    except OSError as error:
        return error if error.errno == errno.ENAMETOOLONG else None
    return None
