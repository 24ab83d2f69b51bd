"""Find the pictures that names and folders stand for, and name what is left out."""

from __future__ import annotations

import glob
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from npsrcnn import images
from npsrcnn.errors import UserError
from npsrcnn.images.formats import EXTRA, IN_EXTRA
from npsrcnn.runtime.files import quoted
from npsrcnn.upscaling.outcomes import Failed

NAMED = 8  # of what is left out, in the line that says so
OTHER_PICTURES = frozenset({
    ".heic", ".heif", ".hif", ".jxl", ".qoi", ".jxr", ".wdp", ".psd", ".svg", ".exr", ".hdr",
    ".dng", ".cr2", ".cr3", ".nef", ".arw", ".raw", ".pdf", ".ico", ".tga", ".eps", ".dds",
})  # fmt: skip
"""Suffixes of pictures that may not be read or written; none is the name of a folder."""


@dataclass
class Found:
    """The pictures that sources stand for.

    Attributes
    ----------
    pictures : list of (Path, Path)
        Each picture, and the folder that its result goes to.
    failures : list of Failed
        Folders that hold none, or that cannot be read.
    left_out : list of Path
        Files in folders that are no pictures by their suffix, hidden ones aside.
    clips : list of Path
        Clips and animated pictures in folders.
    subfolders : list of Path
        Folders in folders that were not entered.
    """

    pictures: list[tuple[Path, Path]] = field(default_factory=list)
    failures: list[Failed] = field(default_factory=list)
    left_out: list[Path] = field(default_factory=list)
    clips: list[Path] = field(default_factory=list)
    subfolders: list[Path] = field(default_factory=list)

    def lines(self) -> Iterator[str]:
        """Say what was left out, each kind in a line; of clips how to enlarge them."""
        links = [path for path in self.subfolders if path.is_symlink()]
        if self.clips:
            yield (
                f"{len(self.clips)} left out, clips, which are named by themselves (npsrcnn upscale"
                f" {self._first_clips()}): {_names([path.name for path in self.clips])}"
            )
        there = [path for path in self.left_out if path.exists()]
        in_extra = [path for path in there if path.suffix.lower() in IN_EXTRA]
        for what, paths in (
            (f"left out, {EXTRA}", in_extra),
            ("left out by their suffix", [p for p in there if p not in in_extra]),
            ("left out, links that lead nowhere", [p for p in self.left_out if p not in there]),
            (
                "left out, folders within, which -r takes",
                [p for p in self.subfolders if p not in links],
            ),
            ("left out, links to folders", links),
        ):
            if paths:
                yield f"{len(paths)} {what}: {_names([path.name for path in paths])}"

    def _first_clips(self) -> str:
        """Return the clips like the first one as a pattern, or it alone where stills match that."""
        folder, suffix = self.clips[0].parent, self.clips[0].suffix
        others = [*self.left_out, *(path for path, _ in self.pictures)]
        if any((path.parent, path.suffix) == (folder, suffix) for path in others):
            return quoted(self.clips[0])
        return quoted(Path(glob.escape(str(folder)), f"*{suffix}"))


def find_pictures(
    sources: Sequence[Path],
    output: Path | None,
    suffix: str,
    *,
    recursive: bool = False,
    is_clip: Callable[[Path], bool] = lambda path: False,
) -> Found:
    """Find each picture and the folder that its result goes to.

    Parameters
    ----------
    sources
        Pictures, and folders of pictures.
    output
        See :func:`npsrcnn.upscaling.jobs.plan_jobs`.
    suffix
        Appended to the name of a folder for that of its results.
    recursive
        Take folders within folders too, but ``output``; the tree is kept.
    is_clip
        Whether a file in a folder is a clip or an animated picture, which is left out.
    """
    found = Found()
    for source in sources:
        if os.path.isdir(source):
            whole = source.resolve()
            folder = output or whole.parent / (whole.name + suffix)
            _search(found, source, folder, recursive, is_clip)
            if recursive and not found.pictures:
                none = UserError(f"{source}: no image files in this folder, nor within")
                found.failures.append(Failed(source, none))
        else:  # what is missing or forbidden says so when it is read
            found.pictures.append((source, output or source.parent))
    found.pictures = list(dict.fromkeys(found.pictures))
    return found


def _search(
    found: Found, source: Path, folder: Path, recursive: bool, is_clip: Callable[[Path], bool]
) -> None:
    """Add the pictures of a folder, or why it has none."""
    before = len(found.pictures)
    try:
        for path in sorted(source.iterdir()):
            if path.name.startswith("."):
                continue
            if os.path.isdir(path):
                if not recursive or path.is_symlink():
                    found.subfolders.append(path)
                elif path.resolve() != folder.resolve():
                    _search(found, path, folder / path.name, recursive, is_clip)
            elif is_clip(path):
                found.clips.append(path)
            elif path.suffix.lower() in images.SUFFIXES and os.path.isfile(path):
                found.pictures.append((path, folder))
            else:
                found.left_out.append(path)
    except OSError as error:
        found.failures.append(Failed(source, error))
        return
    if len(found.pictures) == before and not recursive:
        none = UserError(f"{source}: no image files in this folder")
        found.failures.append(Failed(source, none))


def _names(names: Sequence[str]) -> str:
    more = len(names) - NAMED
    return ", ".join(names[:NAMED]) + (f" and {more} more" if more > 0 else "")
