"""Limits that all formats share, and one line for each file that cannot be read."""

from __future__ import annotations

import contextlib
import struct
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from tokenize import TokenError

from npsrcnn.errors import UserError

MISSING = 'this format needs a package: pip install "npsrcnn[models]"'
LIMIT = 64 << 20  # bytes, unpacked: hundreds of times what the paper's largest network takes
STAND_INS = {  # what downloads often leave in place of a file, by its first bytes
    b"version https://git-lfs": "a pointer of Git LFS: `git lfs pull` fetches the file itself",
    b"<!doctype html": "a web page, not the file: download it again",
    b"<html": "a web page, not the file: download it again",
}
# Raised by libraries that read a file which is not what it should be.
DAMAGED: tuple[type[Exception], ...] = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    RuntimeError,
    OverflowError,
    MemoryError,
    OSError,
    SyntaxError,
    TokenError,
)


@contextlib.contextmanager
def reading(kind: str, *more: type[Exception]) -> Iterator[None]:
    """Turn whatever fails in reading what a file holds into a UserError of one line."""
    expected = (*DAMAGED, *more)
    try:
        yield
    except UserError:
        raise
    except expected as error:
        if isinstance(error, OSError) and error.filename:
            raise  # it cannot be opened, which says nothing of what it holds
        raise UserError(f"not {kind}, or damaged ({str(error)[:200]})") from error


def check_size(path: Path) -> None:
    """Refuse a file too large to be an SRCNN, before any of it is read."""
    size = path.stat().st_size
    if size > LIMIT:
        raise UserError(
            f"{size / 2**20:.0f} MiB is too large for an SRCNN (at most {LIMIT >> 20} MiB)"
        )
    if size == 0:
        raise UserError("the file is empty")
    with open(path, "rb") as file:
        begin = file.read(64).lower()
    for first, what in STAND_INS.items():
        if begin.startswith(first):
            raise UserError(what)


@contextlib.contextmanager
def open_archive(path: Path) -> Iterator[zipfile.ZipFile]:
    """Open a zip archive whose members unpack to no more than LIMIT, all together.

    No member gives more than the size that it declares, and here these are added up.
    """
    with zipfile.ZipFile(path) as archive:
        total = sum(member.file_size for member in archive.infolist())
        if total > LIMIT:
            raise UserError(
                f"unpacks to {total / 2**20:.0f} MiB, too large for an SRCNN "
                f"(at most {LIMIT >> 20} MiB)"
            )
        yield archive
