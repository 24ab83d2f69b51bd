"""Write the report of a training: what it gained, seen on a photograph, and how it went."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from npsrcnn.evaluation.methods import by_network
from npsrcnn.evaluation.plots import as_filters, filter_atlas
from npsrcnn.evaluation.protocol import EvaluationImage
from npsrcnn.evaluation.scores import score, summary
from npsrcnn.model.network import SRCNN
from npsrcnn.report import compare
from npsrcnn.report.compare import Gallery, as_shown, picture
from npsrcnn.report.curves import curve
from npsrcnn.report.machine import machine_facts
from npsrcnn.report.measured import WORST_FIRST, compared, gain_of, score_table
from npsrcnn.report.page import Page
from npsrcnn.report.photograph import CREDIT, photograph
from npsrcnn.words import counted

REPORT = "report.html"
IMAGES_SHOWN = 6


@dataclass(frozen=True)
class Training:
    """Hold what is to be told of a training.

    Attributes
    ----------
    net : SRCNN
        What came out.
    initial_filters : ndarray, (n1, c, f1, f1)
        Of layer 1, before the first step.
    images : sequence of EvaluationImage
        On which PSNR was measured.
    log : sequence of mapping
        Rows with "seconds", "loss", "psnr", "psnr_bicubic" and "sub_images".
    facts : mapping
        What else to say of how it was made: command, recipe.
    """

    net: SRCNN
    initial_filters: np.ndarray
    images: Sequence[EvaluationImage]
    log: Sequence[Mapping[str, Any]]
    facts: Mapping[str, object]


def write_training_report(training: Training, path: Path) -> None:
    """Write ``path``, one HTML file; raises OSError where it cannot be written."""
    net, images, last = training.net, training.images, training.log[-1]
    method = by_network(net)
    scale, jpeg, crf = images[0].scale, images[0].jpeg, images[0].crf
    gallery, rows = Gallery(IMAGES_SHOWN), []
    for image in images:
        restored = method(image)
        rows.append(score(image, restored))
        gallery.add(gain_of(rows[-1]), partial(compared, image, restored, rows[-1]))
    result = summary(scale, images[0].edge, rows, jpeg, crf)
    was = result["mean"]["psnr"] - gain_of(result["mean"])
    page = Page(f"SRCNN {net.name} at x{scale}, trained", compare.STYLE)
    page.text(
        f"{result['mean']['psnr']:.2f} dB instead of {was:.2f}: {gain_of(result['mean']):+.2f} dB, "
        f"the mean over {counted(len(images), 'image')} that it was not trained on.",
        "lead",
    )
    page.html(photograph_compared(net, scale, jpeg, crf))
    page.text(f"{CREDIT}. Drag the border; 4:1 shows single pixels.", "note")
    page.heading("How it learned")
    page.html(f'<div class="side-by-side">{"".join(learning_curves(training.log))}</div>')
    page.text(
        f"{counted(last['sub_images'], 'sub-image', ',')} in {last['seconds'] / 60:.1f} minutes; "
        "weights are those with the best PSNR.",
        "note",
    )
    page.heading("Filters of the first layer, before and after")
    page.html(
        f'<div class="side-by-side">{atlas_before_after(training.initial_filters, net)}</div>'
    )
    page.heading("The images on which PSNR was measured")
    page.text(WORST_FIRST, "note")
    page.html(gallery.html())
    page.table(*score_table(result))
    page.text(result["protocol"], "note")
    page.heading("How it was made")
    page.facts({**training.facts, **machine_facts()})
    page.write(path)


def photograph_compared(
    net: SRCNN, scale: int, jpeg: int | None = None, crf: int | None = None
) -> str:
    """Return a slider between a photograph before and after a network restored it."""
    image = photograph(scale, jpeg, crf)
    restored = by_network(net)(image)
    scores = score(image, restored)
    title = f"A photograph, made {scale} times smaller and enlarged again"
    if scale == 1:
        title = f"A photograph, saved as JPEG of quality {jpeg}"
    return compared(image, restored, scores, f"{title}: {gain_of(scores):+.2f} dB")


def learning_curves(log: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return PSNR, beside that of bicubic interpolation, and loss over minutes, as SVG."""
    minutes = [row["seconds"] / 60 for row in log]
    psnr = [(x, row["psnr"]) for x, row in zip(minutes, log, strict=True)]
    loss = [(x, row["loss"]) for x, row in zip(minutes, log, strict=True)]
    level = {"without the network": log[-1]["psnr_bicubic"]} if log else {}
    return [
        curve(psnr, title="PSNR", xlabel="minutes", ylabel="dB", levels=level),
        curve(loss, title="Loss", xlabel="minutes", ylabel="half the squared error", log=True),
    ]


def atlas(w: np.ndarray, alt: str) -> str:
    """Return filters of layer 1, or a dictionary, each on its own scale, as HTML."""
    w = as_filters(w)
    tiles = filter_atlas(w, None, columns=8 if len(w) <= 64 else 16)
    return picture(as_shown(tiles.squeeze()), alt)


def atlas_before_after(before: np.ndarray, net: SRCNN) -> str:
    """Return the filters of layer 1 before and after training, in the same order, as HTML."""
    pairs = {"before": before, "after": net.layers[0][0]}
    return "".join(
        f"<figure style='margin:0'><figcaption>{word}</figcaption>"
        f"{atlas(w, f'filters of layer 1, {word}')}</figure>"
        for word, w in pairs.items()
    )
