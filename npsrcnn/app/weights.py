"""Choose weights on a page: those that ship, or a file of one's own."""

from __future__ import annotations

from pathlib import Path

from npsrcnn.errors import UserError
from npsrcnn.model.shipped import models

BEST, FAST, OWN = "best", "fast", "a file of mine"
FASTEST = "9-1-5"


def shipped_names() -> list[str]:
    """Return the names of weights that ship."""
    return [model.name for model in models()]


def model_for(kind: str, scale: float, own: str | None) -> str | None:
    """Return what to enlarge with: a name, a file, or None for the best that ship.

    Raises
    ------
    UserError
        No file was given, or no fast weights ship for the scale.
    """
    if kind == BEST:
        return None
    if kind == OWN:
        return file_of(own)
    name = f"{FASTEST}-x{scale:g}"
    if name not in shipped_names():
        raise UserError(f"no fast weights for x{scale:g}: choose x2, x3 or x4, or the best weights")
    return name


def file_of(own: str | None) -> str:
    """Return the path of weights that were sent, or raise UserError if there are none."""
    if not own:
        raise UserError("no file of weights yet: drop one (.npz, .mat, .pth)")
    return str(Path(own))
