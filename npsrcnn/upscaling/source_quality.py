"""Decide how strongly a picture was compressed: as told, by its file's table, or by its pixels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from npsrcnn.errors import UserError
from npsrcnn.pixels.jpeg import quality_of_strength
from npsrcnn.pixels.jpeg_traces import find_trace

AUTO, CLEAN = "auto", "clean"
EARLIER = 1.25  # times the strength of the table: then the pixels were compressed before that
WINDOW = 1024  # rows and columns that are looked at of a picture that memory does not hold

AS_TOLD = "as told"
BY_MODEL = "the model that was named"
BY_TABLE = "its table"
BY_HEADER = "its header"
BY_PIXELS = "its pixels"
BY_EARLIER = "its pixels, which show an earlier, stronger compression"
NO_TRACE = "its pixels, which show no compression"


@dataclass(frozen=True)
class Decision:
    """The JPEG quality that a picture is taken to have; None: never compressed."""

    quality: int | None
    decided_by: str

    def __str__(self) -> str:
        """Return it in words; empty of what was never compressed."""
        if self.quality is None:
            return ""
        if self.decided_by == BY_TABLE:
            return f"JPEG of quality {self.quality}"
        if self.decided_by == BY_HEADER:
            return f"WebP, about as JPEG of quality {self.quality}"
        if self.decided_by == AS_TOLD:
            return f"JPEG of quality {self.quality}, as told"
        return f"compressed before, as JPEG of quality {self.quality} by its pixels"


def check_source_quality(value: str | int) -> str | int:
    """Return "auto", "clean" or a quality from 1 to 100, given also as text.

    Raises
    ------
    UserError
        Anything else.
    """
    if value in (AUTO, CLEAN):
        return value
    whole = str(value).isdecimal()
    if not whole or not 1 <= int(value) <= 100:
        raise UserError(f"source quality {value}: it is auto, clean, or 1 to 100")
    return int(value)


def decide(pixels: np.ndarray, strength: float | None, said_by: str = BY_TABLE) -> Decision:
    """Decide by a picture's pixels, and by what its file says.

    Parameters
    ----------
    pixels : ndarray, (H, W) or (H, W, 3)
    strength : float or None
        What :func:`npsrcnn.images.compression.strength_of_file` returns, or
        :func:`npsrcnn.images.webp.read_strength`.
    said_by : str
        ``BY_TABLE`` of the one, ``BY_HEADER`` of the other.
    """
    finite = pixels.dtype.kind == "u" or np.isfinite(pixels).all()
    trace = find_trace(pixels) if finite else None
    if strength is not None and (trace is None or trace.strength < EARLIER * strength):
        return Decision(_quality(strength), said_by)
    if trace is None:
        return Decision(None, NO_TRACE)
    return Decision(_quality(trace.strength), BY_PIXELS if strength is None else BY_EARLIER)


def middle(size: tuple[int, int]) -> tuple[tuple[int, int], tuple[int, int]]:
    """Return rows and columns in the middle of an image (H, W), at most ``WINDOW`` of each."""
    starts = [max(0, (length - WINDOW) // 2) for length in size]
    rows, columns = (
        (start, min(start + WINDOW, length)) for start, length in zip(starts, size, strict=True)
    )
    return rows, columns


def _quality(strength: float) -> int:
    return min(100, max(1, round(quality_of_strength(strength))))
