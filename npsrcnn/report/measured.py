"""Show images that were measured: original, what was made of it, and the figures."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from npsrcnn.evaluation.comparison import hardest, picture_of
from npsrcnn.evaluation.protocol import EvaluationImage, input_name
from npsrcnn.report import compare
from npsrcnn.report.compare import LARGEST_SIDE, Gallery, Panel, embedded, slider
from npsrcnn.report.machine import machine_facts
from npsrcnn.report.page import Page
from npsrcnn.words import counted

WORST_FIRST = "The smallest gain comes first. Drag the border; 4:1 shows single pixels."


def compared(
    image: EvaluationImage,
    restored: np.ndarray,
    scores: Mapping[str, Any],
    title: str = "",
    name: str = "SRCNN",
) -> str:
    """Return a slider between an image before, after, and as it was.

    Of an image larger than 512 pixels a side, the part that bicubic interpolation restores worst.

    Parameters
    ----------
    image : EvaluationImage
    restored : ndarray
        Y or YCbCr, as the method made it.
    scores : mapping
        The row of :func:`npsrcnn.evaluation.scores.score`.
    title : str
        Default: the image's name, its size and the gain.
    name : str
        Of the method.
    """
    before = input_name(image.scale)
    crop = hardest(image, LARGEST_SIDE)
    bicubic, result, original = (
        picture[crop]
        for picture in (
            picture_of(image, image.bicubic),
            picture_of(image, restored),
            image.picture,
        )
    )
    size = f"{image.picture.shape[1]} x {image.picture.shape[0]}"
    if result.shape[:2] != image.picture.shape[:2]:
        size += f", of which {result.shape[1]} x {result.shape[0]} from"
        size += f" column {crop[1].start}, row {crop[0].start}"
    was, now = scores[f"psnr_{before.lower()}"], scores["psnr"]
    return slider(
        title or f"{image.name}, {size}: {_gain(was, now):+.2f} dB",
        result.shape[:2],
        Panel(f"{name}, {now:.2f} dB", embedded(result)),
        [
            Panel(f"{before}, {was:.2f} dB", embedded(bicubic)),
            Panel("original", embedded(original)),
        ],
        alt=image.name,
    )


def gain_of(scores: Mapping[str, Any]) -> float:
    """Return by how many dB of PSNR a row is better than what was to be restored."""
    before = next(key for key in ("psnr_bicubic", "psnr_jpeg") if key in scores)
    return _gain(scores[before], scores["psnr"])


class EvaluationReport:
    """The report of `npsrcnn evaluate`: for each quality of JPEG, or once, pictures and a table.

    Parameters
    ----------
    command : str
        The command that made it.
    name : str
        Of the method.
    """

    def __init__(self, command: str, name: str = "SRCNN") -> None:
        self._command, self._name = command, name
        self._galleries: list[Gallery] = []

    def begin(self, parts: int) -> None:
        """Begin one of ``parts`` parts: images that follow belong to it."""
        self._galleries.append(Gallery(most_bytes=4_500_000 // parts))

    def add(self, image: EvaluationImage, restored: np.ndarray, scores: Mapping[str, Any]) -> None:
        """Add an image of the part that was begun last."""
        self._galleries[-1].add(
            gain_of(scores), lambda: compared(image, restored, scores, name=self._name)
        )

    def page(self, title: str, results: Sequence[tuple[str, Mapping[str, Any]]]) -> Page:
        """Return the page.

        Parameters
        ----------
        title : str
        results : sequence of (str, mapping)
            For each part, what the method is, and what
            :func:`npsrcnn.evaluation.scores.summary` returned.
        """
        page = Page(title, compare.STYLE)
        for gallery, (method, result) in zip(self._galleries, results, strict=True):
            mean, scale = result["mean"], result["scale"]
            before = input_name(scale).lower()
            was, now = mean[f"psnr_{before}"], mean["psnr"]
            if len(results) > 1:
                page.heading(f"JPEG of quality {result['jpeg']}")
            page.text(
                f"{now:.2f} dB instead of {was:.2f}: {_gain(was, now):+.2f} dB, the mean over "
                f"{counted(len(result['images']), 'image')} at x{scale}.",
                "lead",
            )
            page.text(method)
            page.text(WORST_FIRST, "note")
            page.html(gallery.html())
            page.table(*score_table(result))
            page.text(result["protocol"], "note")
        page.heading("How it was made")
        page.facts({"command": self._command, **machine_facts()})
        return page


def score_table(result: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Return head and rows of a table of scores, the mean last."""
    before = input_name(result["scale"])
    keys = [
        (key, f"{key}_{before.lower()}", 4 if key == "ssim" else 3)
        for key in ("psnr", "ssim", "psnr_b")
        if key in result["mean"]
    ]
    head = ["image"]
    rows = [[row["name"]] for row in (*result["images"], {"name": "mean", **result["mean"]})]
    for key, was, digits in keys:
        word = key.upper().replace("_", "-")
        head += [f"{word}, {before}", word, "gain"]
        for cells, row in zip(rows, (*result["images"], result["mean"]), strict=True):
            gain = _gain(row[was], row[key])
            cells += [f"{row[was]:.{digits}f}", f"{row[key]:.{digits}f}", f"{gain:+.{digits}f}"]
    return head, rows


def _gain(was: float, now: float) -> float:
    return now - was if math.isfinite(now - was) else 0.0
