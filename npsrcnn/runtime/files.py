"""Files that are whole or not there: written beside their place, then renamed."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import tempfile
import threading
from collections.abc import Collection, Iterator
from pathlib import Path

_asking = threading.Lock()


@contextlib.contextmanager
def write_atomically(path: str | Path) -> Iterator[Path]:
    """Give the path of a temporary file beside ``path``; rename it to ``path`` on success.

    Whoever reads ``path`` sees the old file or the new one, never a part. The temporary file
    keeps the suffix of ``path`` (writers choose a format by it) and is removed on any error.

    Raises
    ------
    OSError
        With ``filename`` set to ``path``: no such folder, no permission, no space.
    """
    path = Path(path)
    temporary = _beside(path)
    try:
        yield temporary
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        temporary.chmod(0o666 & ~_umask())  # mkstemp makes files for their owner alone
        os.replace(temporary, path)
    except OSError as error:
        if error.errno is None:
            raise
        raise OSError(error.errno, os.strerror(error.errno), str(path)) from error
    finally:
        temporary.unlink(missing_ok=True)


def check_writable(path: str | Path) -> None:
    """Find out before long work, and not after it, whether a file can be written.

    Raises
    ------
    OSError
        As :func:`write_atomically`, which would raise it too, or there is a folder at ``path``.
    """
    _beside(Path(path)).unlink()
    if Path(path).is_dir():
        raise OSError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))


def _beside(path: Path) -> Path:
    """A new file in the folder of ``path``, empty."""
    try:
        handle, name = tempfile.mkstemp(
            dir=path.parent, prefix=f".{path.stem}-", suffix=path.suffix
        )
    except OSError as error:
        raise OSError(error.errno, os.strerror(error.errno), str(path)) from error
    os.close(handle)
    return Path(name)


def leftovers(paths: Collection[Path]) -> Iterator[Path]:
    """The temporary files of :func:`write_atomically` for ``paths`` that killed processes left."""
    names = {(path.parent, path.stem, path.suffix) for path in paths}
    for folder in {path.parent for path in paths if path.parent.is_dir()}:
        for path in list(folder.iterdir()):
            match = re.fullmatch(r"\.(.*)-\w{8}", path.stem)
            if match and (folder, match[1], path.suffix) in names:
                yield path


def _umask() -> int:
    with _asking:  # the system tells only who changes it
        mask = os.umask(0)
        os.umask(mask)
    return mask
