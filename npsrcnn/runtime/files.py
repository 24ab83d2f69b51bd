"""Write files atomically: beside their place, then renamed."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import tempfile
import threading
from collections.abc import Collection, Iterator
from pathlib import Path

_umask_lock = threading.Lock()


@contextlib.contextmanager
def write_atomically(path: str | Path) -> Iterator[Path]:
    """Yield the path of a temporary file beside ``path``; rename it to ``path`` on success.

    Whoever reads ``path`` sees the old file or the new one, never a part. The temporary file
    keeps the suffix of ``path`` (writers choose a format by it) and is removed on any error.

    Raises
    ------
    OSError
        With ``filename`` set to ``path``: no such folder, no permission, no space.
    """
    path = Path(path)
    temporary = _create_beside(path)
    try:
        yield temporary
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        temporary.chmod(0o666 & ~_umask())  # mkstemp makes files for their owner alone
        os.replace(temporary, path)
    except OSError as error:
        if error.errno is None:
            raise
        raise _for_path(error, path) from error
    finally:
        temporary.unlink(missing_ok=True)


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
    """Create an empty temporary file in the folder of ``path``."""
    try:
        handle, name = tempfile.mkstemp(
            dir=path.parent, prefix=f".{path.stem}-", suffix=path.suffix
        )
    except OSError as error:
        raise _for_path(error, path) from error
    os.close(handle)
    return Path(name)


def _for_path(error: OSError, path: Path) -> OSError:
    """Return the error, told of ``path`` and not of a temporary file."""
    return OSError(error.errno, os.strerror(error.errno or 0), str(path))


def leftovers(paths: Collection[Path]) -> Iterator[Path]:
    """Yield temporary files of :func:`write_atomically` that killed processes left of ``paths``."""
    names = {(path.parent, path.stem, path.suffix) for path in paths}
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
