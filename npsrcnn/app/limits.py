"""Limit what browsers send: how many files, how large, of how many pixels."""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from pathlib import Path

from npsrcnn import images
from npsrcnn.errors import UserError, describe
from npsrcnn.video.kinds import is_animation, is_clip
from npsrcnn.words import counted

MOST_FILES = 200
MOST_FILE_BYTES = 200 * 10**6
MOST_PIXELS = 40 * 10**6  # of an upload
MOST_RESULT_PIXELS = 200 * 10**6  # 600 MB in colour of 8 bits
MOST_FRAMES = 20_000  # of a clip: thirteen minutes of 25 a second


def take_pictures(
    uploads: Sequence[str], folder: Path, scale: float, *, clips: bool = False
) -> tuple[list[Path], list[str]]:
    """Copy uploads into ``folder``, each under a name of its own, but those that are refused.

    Parameters
    ----------
    uploads : sequence of str
        Paths that the server chose for them.
    folder : Path
    scale : float
        By which they will be enlarged.
    clips : bool
        Take clips and animated pictures as well.

    Returns
    -------
    pictures, refusals
        The latter are lines that say why.

    Raises
    ------
    UserError
        Nothing was sent, or too many files.
    """
    if not uploads:
        raise UserError("no picture yet: drop one or more above")
    if len(uploads) > MOST_FILES:
        raise UserError(f"{len(uploads)} files: at most {MOST_FILES} at a time")
    pictures, refusals = [], []
    for upload in map(Path, uploads):
        try:
            if clips and is_moving(upload):
                _check_bytes(upload)  # what is in it, the process that decodes it finds out
            else:
                check_picture(upload, scale)
        except (UserError, OSError) as error:
            refusals.append(without_folder(describe(error), upload))
            continue
        target = _free_name(folder, upload)
        shutil.copyfile(upload, target)
        pictures.append(target)
    return pictures, refusals


def check_picture(path: Path, scale: float = 1) -> None:
    """Raise UserError for a file that is no picture, or is too large; only headers are read."""
    _check_bytes(path)
    height, width = images.read_size(path)
    pixels = height * width
    if pixels > MOST_PIXELS:
        raise UserError(
            f"{path}: {width} x {height} pixels: at most {MOST_PIXELS / 1e6:.0f} million here; "
            "the command npsrcnn upscale takes larger ones"
        )
    if pixels * scale**2 > MOST_RESULT_PIXELS:
        raise UserError(
            f"{path}: {width} x {height} pixels at x{scale:g} make more than "
            f"{MOST_RESULT_PIXELS / 1e6:.0f} million: choose a smaller scale"
        )


def is_moving(path: Path) -> bool:
    """Return whether a file is a clip or an animated picture."""
    return is_clip(path) or is_animation(path)


def check_moving(
    path: Path, size: tuple[int, int], frames: int, scale: float, *, at_once: bool = False
) -> None:
    """Raise UserError for a clip or an animated picture that is too large.

    Parameters
    ----------
    path : Path
    size : (width, height)
        Of its frames.
    frames : int
        That are to be enlarged.
    scale : float
    at_once : bool
        Memory holds all frames, as of animated pictures.
    """
    width, height = size
    pixels = width * height * (frames if at_once else 1)
    what = f"{path}: {counted(frames, 'frame')} of {width} x {height}"
    if frames > MOST_FRAMES:
        raise UserError(
            f"{what}: at most {MOST_FRAMES} here; the command npsrcnn upscale takes more"
        )
    if pixels > MOST_PIXELS or pixels * scale**2 > MOST_RESULT_PIXELS:
        raise UserError(
            f"{what} at x{scale:g}: too large here; the command npsrcnn upscale takes larger ones"
        )


def _check_bytes(path: Path) -> None:
    if path.stat().st_size > MOST_FILE_BYTES:
        raise UserError(f"{path}: more than {MOST_FILE_BYTES / 1e6:.0f} MB")


def without_folder(text: str, path: Path) -> str:
    """Return a message that names a file, and not the server's folder where it lies."""
    return text.replace(f"{path.parent}/", "")


def _free_name(folder: Path, upload: Path) -> Path:
    """Return a path in ``folder`` that is not taken: photo.jpg, photo-2.jpg."""
    stem = re.sub(r"[^\w.() -]", "_", upload.stem).strip(". ") or "picture"
    target, number = folder / f"{stem}{upload.suffix}", 2
    while target.exists():
        target, number = folder / f"{stem}-{number}{upload.suffix}", number + 1
    return target
