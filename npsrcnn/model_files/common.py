"""What the formats share: limits, one line for what cannot be read, the text beside the weights."""

from __future__ import annotations

import contextlib
import json
import struct
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from tokenize import TokenError
from typing import Any

import numpy as np

from npsrcnn.errors import UserError
from npsrcnn.layers import Layers

LIMIT = 64 << 20  # bytes, unpacked: hundreds of times what the paper's largest network takes
DAMAGED = (  # what the libraries raise that read a file which is not what it should be
    zipfile.BadZipFile, zlib.error, struct.error, EOFError, ValueError, TypeError, LookupError,
    AttributeError, RuntimeError, OverflowError, MemoryError, OSError, SyntaxError, TokenError,
)  # fmt: skip


@contextlib.contextmanager
def reading(kind: str, *more: type[Exception]) -> Iterator[None]:
    """Whatever fails in reading what a file holds becomes a UserError of one line."""
    try:
        yield
    except UserError:
        raise
    except (*DAMAGED, *more) as error:
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


@contextlib.contextmanager
def open_archive(path: Path) -> Iterator[zipfile.ZipFile]:
    """A zip archive whose members unpack to no more than LIMIT, all together.

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


def text_of(facts: dict[str, Any]) -> str:
    """Return what is known of a network, as JSON."""
    return json.dumps(facts, default=_plain, allow_nan=False)


def _plain(value: Any) -> Any:
    """NumPy's numbers and arrays as Python's."""
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    raise TypeError(f"metadata of a network is JSON: {type(value).__name__} is not")


def facts_of(text: str, layers: Layers) -> dict[str, Any]:
    """The inverse of :func:`text_of`: metadata and "padding", checked against the weights.

    Raises
    ------
    UserError
        Not such a text, or one that does not fit the weights.
    """
    try:
        facts = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UserError(f"what it says of its weights is not JSON ({error})") from error
    if not isinstance(facts, dict):
        raise UserError("what it says of its weights is not a JSON object")
    shown = {
        "network": "-".join(str(w.shape[2]) for w, _ in layers),
        "channels": layers[0][0].shape[1],
        "n": [len(b) for _, b in layers[:-1]],
    }
    for key, value in shown.items():
        if facts.pop(key, value) != value:
            raise UserError(f"says another {key} than its weights have ({value})")
    scale, color = facts.get("scale"), facts.get("color", "y")
    if scale is not None and (type(scale) not in (int, float) or not 1 < scale <= 16):
        raise UserError(f"says scale {scale!r}: expected a number above 1, at most 16")
    if color not in ("y", "rgb", "ycbcr") or (color == "y") != (shown["channels"] == 1):
        raise UserError(f"says color {color!r}, which {shown['channels']} channels cannot be")
    return facts
