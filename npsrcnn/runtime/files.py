"""Write files atomically, beside their place, then renamed; find files, and know them again."""

from __future__ import annotations

import contextlib
import errno
import glob
import hashlib
import os
import re
import shlex
import subprocess
import tempfile
import threading
import time
from collections.abc import Collection, Hashable, Iterator
from pathlib import Path

from npsrcnn.errors import UserError
from npsrcnn.words import CONTROLS

HELD = {5, 32}  # Windows: access denied, sharing violation
PAUSES = (0.05, 0.1, 0.2, 0.4, 0.8, 1.6)  # seconds between tries; scanners take less than one
LONGEST = 100  # bytes of a name that its temporary file repeats; file systems take 255 in all
LONGEST_BESIDE = 255 - len(".journal")  # that a file beside another repeats, before its ending

_umask_lock = threading.Lock()


@contextlib.contextmanager
def write_atomically(path: str | Path) -> Iterator[Path]:
    """Yield the path of a temporary file beside ``path``; rename it to ``path`` on success.

    Whoever reads ``path`` sees the old file or the new one, never a part. The temporary file
    keeps the suffix of ``path`` (writers choose a format by it) and is removed on any error. Where
    ``path`` is a symbolic link, the file that it leads to is replaced, and the link stays.

    Raises
    ------
    OSError
        With ``filename`` set to ``path``: no such folder, no permission, no space.
    UserError
        On Windows: another program has ``path`` open, and keeps it so.
    """
    path = Path(path)
    place = Path(os.path.realpath(path)) if path.is_symlink() else path
    temporary = _create_beside(path)
    try:
        yield temporary
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        temporary.chmod(0o666 & ~_umask())  # mkstemp makes files for their owner alone
        replace(temporary, place)
    except OSError as error:
        if error.errno is None:
            raise
        raise _for_path(error, path) from error
    finally:
        temporary.unlink(missing_ok=True)


def replace(source: Path, target: Path) -> None:
    """Rename ``source`` to ``target``, which it replaces.

    On Windows a file cannot be replaced while a viewer, a spreadsheet or a virus scanner has it
    open. So it is tried again for three seconds.

    Raises
    ------
    UserError
        Another program still has ``target`` open.
    OSError
        As ``os.replace``.
    """
    for pause in (*PAUSES, None):
        try:
            os.replace(source, target)
            return
        except PermissionError as error:
            # A folder is no file that somebody has open.
            if getattr(error, "winerror", None) not in HELD or target.is_dir():
                raise
            if pause is None:
                raise UserError(
                    f"{target}: another program has it open: close it there, and try again"
                ) from error
            time.sleep(pause)


def expand_pattern(name: str | Path) -> list[Path]:
    """Return the files that a pattern (``*.jpg``, ``**/*.jpg``) stands for, sorted; else ``name``.

    Shells of Windows leave patterns to programs. A file of that very name goes first, and a
    pattern that nothing fits stays, to be named in an error.
    """
    if os.path.exists(name) or not glob.has_magic(str(name)):
        return [Path(name)]
    return sorted(set(_fitting(Path(name)))) or [Path(name)]


def _fitting(pattern: Path) -> Iterator[Path]:
    """Yield what fits a pattern; ``**`` enters no links, of which a few could lead on for ever."""
    parts = pattern.parts
    if "**" not in parts[:-1]:
        yield from map(Path, glob.glob(str(pattern)))
        return
    place = parts.index("**")
    for top in glob.glob(str(Path(*parts[:place]))):
        for folder, inner, _ in os.walk(top):
            inner[:] = [name for name in inner if not name.startswith(".")]
            yield from _fitting(Path(glob.escape(folder), *parts[place + 1 :]))


def identity(path: Path) -> Hashable:
    """Return what all names of one file have in common: links, and letters of either case.

    Of a file that is not there yet, what the names have in common that it could have.
    """
    with contextlib.suppress(OSError):
        status = os.stat(path)
        if status.st_ino:  # some network drives number no files
            return status.st_dev, status.st_ino
    whole = Path(os.path.realpath(path))
    return whole.parent, whole.name.casefold() if _ignores_case(whole.parent) else whole.name


def _ignores_case(folder: Path) -> bool:
    """Return whether names in ``folder`` that differ in case are one, as its own name's are."""
    other = folder.with_name(folder.name.swapcase()) if folder.name else folder
    return other != folder and os.path.exists(other) and os.path.samefile(folder, other)


def quoted(path: str | Path) -> str:
    """Return a path as it is typed in a shell, or at Windows' prompt: quoted where it must be."""
    text = str(path)
    if os.name == "nt":
        return subprocess.list2cmdline([text])
    if not CONTROLS.search(text):
        return shlex.quote(text)
    text = text.replace("\\", "\\\\").replace("'", "\\'")
    return "$'" + CONTROLS.sub(lambda found: _bytes_typed(found[0]), text) + "'"


def _bytes_typed(character: str) -> str:
    return "".join(f"\\x{byte:02x}" for byte in character.encode())


def beside(path: Path, ending: str) -> Path:
    """Return the path of a file that belongs to another: its name, short enough, and an ending."""
    return path.with_name(_short(path.name, LONGEST_BESIDE) + ending)


def check_writable(path: str | Path) -> None:
    """Raise, before long work and not after it, if a file cannot be written.

    Raises
    ------
    OSError
        What :func:`write_atomically` would raise: no such folder, no permission, or ``path`` is
        itself a folder.
    """
    _create_beside(Path(path)).unlink()
    if Path(path).is_dir():
        raise OSError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))


def _create_beside(path: Path) -> Path:
    """Create an empty temporary file in the folder of ``path``, or of what it is a link to."""
    place = Path(os.path.realpath(path)) if path.is_symlink() else path
    try:
        handle, name = tempfile.mkstemp(
            dir=place.parent, prefix=f".{_short(place.stem)}-", suffix=path.suffix
        )
    except OSError as error:
        raise _for_path(error, path) from error
    os.close(handle)
    return Path(name)


def _short(stem: str, longest: int = LONGEST) -> str:
    """Return a name of at most so many bytes, for a long one its beginning and its hash."""
    encoded = os.fsencode(stem)
    if len(encoded) <= longest:
        return stem
    digest = hashlib.blake2b(encoded, digest_size=8).hexdigest()
    return encoded[: longest - 17].decode(errors="ignore") + f"-{digest}"


def _for_path(error: OSError, path: Path) -> OSError:
    """Return the error, told of ``path`` and not of a temporary file."""
    return OSError(error.errno, os.strerror(error.errno or 0), str(path))


def leftovers(paths: Collection[Path]) -> Iterator[Path]:
    """Yield temporary files of :func:`write_atomically` that killed processes left of ``paths``."""
    names = {(path.parent, _short(path.stem), path.suffix) for path in paths}
    for folder in {path.parent for path in paths if path.parent.is_dir()}:
        for path in list(folder.iterdir()):
            match = re.fullmatch(r"\.(.*)-\w{8}", path.stem)
            if match and (folder, match[1], path.suffix) in names:
                yield path


def _umask() -> int:
    """Return the process's file mode creation mask."""
    with _umask_lock:  # the mask can be read only by setting it
        mask = os.umask(0)
        os.umask(mask)
    return mask
