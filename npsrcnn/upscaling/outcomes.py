"""Outcomes of a job: a picture is enlarged, skipped, or failed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from npsrcnn.errors import UserError, describe
from npsrcnn.pixels.values import Values


class ClusterError(UserError):
    """The scheduler, or the last worker, has gone: there is nobody left to do anything."""


@dataclass(frozen=True)
class Enlarged:
    """A picture that was enlarged, and the files that were written.

    Attributes
    ----------
    source, target : Path
    size, enlarged : (columns, rows)
        Of the picture, and of the result.
    seconds : float
        For reading, enlarging and writing.
    source_quality : int or None
        The JPEG quality that the picture was taken to have; None: never compressed.
    decided_by : str
        From what that was decided.
    model : tuple of str
        Names of the networks.
    comment : str
        What was decided, in words, where it was compressed.
    bicubic : Path or None
        The picture enlarged by bicubic interpolation alone, if that was written too.
    peak_memory : int or None
        Bytes that the process has had resident at most, where the picture went block by block.
    values : tuple of Values
        What the numbers of each page mean: black and white, and what stands for no value.
    lost : tuple of str
        What the file held as well, and is not kept, in words.
    compiled : bool
        Kernels were compiled meanwhile, so that it took longer than it will again.
    """

    source: Path
    target: Path
    size: tuple[int, int]
    enlarged: tuple[int, int]
    seconds: float
    source_quality: int | None
    decided_by: str
    model: tuple[str, ...]
    comment: str = ""
    bicubic: Path | None = None
    peak_memory: int | None = None
    values: tuple[Values, ...] = ()
    lost: tuple[str, ...] = ()
    compiled: bool = False

    def row(self) -> dict[str, object]:
        """Return what ``--json`` writes of it."""
        row: dict[str, object] = {"source": str(self.source), "target": str(self.target)}
        if self.bicubic is not None:
            row["bicubic"] = str(self.bicubic)
        row |= {"size": self.size, "enlarged": self.enlarged}
        row |= {"source_quality": self.source_quality, "decided_by": self.decided_by}
        row["model"] = self.model
        if len(self.values) > 1:
            row["pages"] = len(self.values)
        ranges = [(one.black, one.white) for one in self.values]
        row["range"] = ranges[0] if len(ranges) == 1 else ranges
        if self.lost:
            row["lost"] = self.lost
        if self.peak_memory is not None:
            row["peak_memory"] = self.peak_memory
        return row | {"seconds": round(self.seconds, 3)}


@dataclass(frozen=True)
class Skipped:
    """A picture whose result was there already, in ``target``."""

    source: Path
    target: Path

    def row(self) -> dict[str, object]:
        """Return what ``--json`` writes of it."""
        return {"source": str(self.source), "target": str(self.target.resolve()), "skipped": True}


@dataclass(frozen=True)
class Failed:
    """A picture that could not be enlarged, or a folder that could not be used, and why."""

    source: Path
    error: Exception

    @property
    def message(self) -> str:
        """The error in one line."""
        text = describe(self.error)
        return f"{self.source}: {text}" if isinstance(self.error, MemoryError) else text

    def row(self) -> dict[str, object]:
        """Return what ``--json`` writes of it."""
        return {"source": str(self.source), "error": self.message}


Outcome = Enlarged | Skipped | Failed
T = TypeVar("T")


def outcome_of(source: Path, enlarge: Callable[[], T]) -> T | Failed:
    """Call ``enlarge()``, and return what it returns, or the error of a picture that it raises."""
    try:
        return enlarge()
    except (UserError, OSError, MemoryError) as error:
        return Failed(source, error)
