"""Choose weights on a page: those that ship, or a file of one's own."""

from __future__ import annotations

from pathlib import Path

from npsrcnn.datasets import COLORS
from npsrcnn.errors import UserError
from npsrcnn.model.shipped import models

BEST, FAST, OWN = "best", "fast", "a file of mine"


def shipped_names() -> list[str]:
    """Return the names of weights that ship, but those of colour beside Y alone."""
    return [model.name for model in models() if model.color in COLORS]


def file_of(own: str | None) -> str:
    """Return the path of weights that were sent, or raise UserError if there are none."""
    if not own:
        raise UserError("no file of weights yet: drop one (.npz, .mat, .pth)")
    return str(Path(own))
