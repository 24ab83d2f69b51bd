"""Write the report of pictures that were enlarged: each beside bicubic interpolation."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np

from npsrcnn import images
from npsrcnn.errors import UserError, describe
from npsrcnn.evaluation.comparison import largest_square
from npsrcnn.images import Picture
from npsrcnn.report import compare
from npsrcnn.report.compare import LARGEST_SIDE, Gallery, Panel, as_shown, embedded, slider
from npsrcnn.report.machine import machine_facts
from npsrcnn.report.page import Page
from npsrcnn.upscaling.outcomes import Enlarged, Failed, Outcome
from npsrcnn.upscaling.sizes import Size, fit
from npsrcnn.upscaling.strips import enlarge
from npsrcnn.words import counted


def write_upscale_report(
    outcomes: Sequence[Outcome], scale: float | Size, command: str, path: Path
) -> None:
    """Write ``path``, one HTML file: a slider for each picture, in their order, and a table.

    Of a result larger than 512 pixels a side, the part that the network changed most.

    Raises
    ------
    OSError
        The report cannot be written.
    """
    done = [outcome for outcome in outcomes if isinstance(outcome, Enlarged)]
    gallery, notes = Gallery(), []
    for i, outcome in enumerate(done):
        if outcome.peak_memory is not None:
            notes.append(f"{outcome.source.name}: too large to be shown; it was made in blocks")
            continue
        try:
            gallery.add(i, partial(_compared, outcome, scale))
        except (UserError, OSError) as error:
            notes.append(f"{outcome.source.name} is not shown: {describe(error)}")
    notes += [outcome.message for outcome in outcomes if isinstance(outcome, Failed)]
    if isinstance(scale, Size):
        title = "Enlarged to a size by SRCNN"
    else:
        title = f"Enlarged x{scale:g} by SRCNN" if scale > 1 else "Restored by SRCNN"
    page = Page(title, compare.STYLE)
    count = counted(len(done), "picture")
    page.text(f"{count} in {sum(outcome.seconds for outcome in done):.1f} s of work.", "lead")
    page.text("Drag the border; 4:1 shows single pixels.", "note")
    page.html(gallery.html())
    for note in notes:
        page.text(note)
    page.heading("Files")
    page.table(["picture", "before", "after", "seconds", "weights"], [_row(one) for one in done])
    page.heading("How it was made")
    page.facts({"command": command, **machine_facts()})
    page.write(path)


def _row(outcome: Enlarged) -> list[str]:
    before, after = (f"{width} x {height}" for width, height in (outcome.size, outcome.enlarged))
    weights = ", ".join(outcome.model)
    return [outcome.target.name, before, after, f"{outcome.seconds:.2f}", weights]


def _compared(outcome: Enlarged, scale: float | Size) -> str:
    small, result = images.read(outcome.source), images.read(outcome.target)
    height, width = small.pixels.shape[:2]
    factor, shape = fit(scale, (height, width))
    pixels, alpha = enlarge(small.pixels, small.alpha, (), factor, shape=shape)
    bicubic = Picture(pixels, alpha, small.metadata)
    crop = most_changed(bicubic.pixels, result.pixels, LARGEST_SIDE)
    title = f"{outcome.target.name}, {outcome.enlarged[0]} x {outcome.enlarged[1]}"
    height, width = result.pixels[crop].shape[:2]
    if (width, height) != outcome.enlarged:
        title += f", of which {width} x {height}"
    if outcome.comment:
        title += f": {outcome.comment}"
    return slider(
        title,
        (height, width),
        Panel("SRCNN", _embedded(result, crop)),
        [Panel("bicubic" if factor != 1 else "before", _embedded(bicubic, crop))],
        alt=outcome.source.name,
    )


def most_changed(before: np.ndarray, after: np.ndarray, side: int) -> tuple[slice, slice]:
    """Find the square, ``side`` pixels wide at most, in which two pictures differ most."""
    if max(after.shape[:2]) <= side:
        return slice(0, after.shape[0]), slice(0, after.shape[1])
    difference = np.square(as_shown(after).astype(np.float32) - as_shown(before))
    return largest_square(difference.reshape(*after.shape[:2], -1).sum(axis=2, dtype=float), side)


def _embedded(picture: Picture, crop: tuple[slice, slice]) -> str:
    pixels = as_shown(picture.pixels[crop])
    if not picture.is_opaque() and picture.alpha is not None:
        color = pixels if pixels.ndim == 3 else np.dstack([pixels] * 3)
        pixels = np.dstack([color, as_shown(picture.alpha[crop])])
    return embedded(pixels, picture.metadata.icc_profile)
