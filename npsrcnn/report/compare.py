"""Put pictures of one scene over each other, with a slider between them.

Written as HTML and CSS; the one line of script moves the border where the slider goes. On paper
the pictures stand side by side.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

import numpy as np
from PIL import Image

LARGEST_SIDE = 512  # pixels of a picture in a report; of larger ones a part is shown
SMALL = 380  # pixels: pictures narrower than this are shown enlarged where there is room

STYLE = """
.compare { margin: 0 0 1.6rem; --at: 50%; }
.compare figcaption { font-weight: 600; margin-bottom: .3rem; }
.compare .choices { display: flex; flex-wrap: wrap; gap: .1rem 1.2rem; font-size: .9rem;
  margin-bottom: .4rem; }
.compare .choices span { display: inline-flex; gap: .7rem; }
.compare .choices label { cursor: pointer; display: inline-flex; gap: .25rem; padding: .2rem 0; }
.compare .stage { overflow: auto; max-height: 86vh; width: fit-content;
  max-width: min(100%, calc(100vw - 2rem));
  border-radius: 6px; }
.compare .canvas { position: relative; width: calc(var(--w) * var(--fit) * 1px); max-width: 100%;
  aspect-ratio: var(--w) / var(--h); background: var(--edge, #8888); }
.compare:has(.zoom-1:checked) .canvas { width: calc(var(--w) * 1px); max-width: none; }
.compare:has(.zoom-4:checked) .canvas { width: calc(var(--w) * 4px); max-width: none; }
.compare:has(.zoom-4:checked) img { image-rendering: pixelated; }
.compare .side { position: absolute; inset: 0; }
.compare .left { clip-path: inset(0 calc(100% - var(--at)) 0 0); visibility: hidden; }
.compare:has(.pick-0:checked) .left-0, .compare:has(.pick-1:checked) .left-1,
.compare .left.only { visibility: visible; }
.compare .side img { display: block; width: 100%; height: 100%; margin: 0; }
.compare .side b { position: absolute; bottom: .4rem; right: .4rem; padding: 0 .5em;
  font: 600 .8rem/1.6 system-ui, sans-serif; background: #000b; color: #fff; border-radius: 4px; }
.compare .left b { right: auto; left: .4rem; }
.compare .border { position: absolute; inset: 0 auto 0 var(--at); width: 2px; margin-left: -1px;
  background: #fff; box-shadow: 0 0 0 1px #000a; pointer-events: none; }
.compare .border::after { content: "\\2194"; position: absolute; top: 50%; left: 50%;
  width: 2rem; height: 2rem; margin: -1rem; border-radius: 50%; background: #fff; color: #111;
  font: 1.1rem/2rem system-ui; text-align: center; box-shadow: 0 0 0 1px #000a; }
.compare input[type="range"] { position: absolute; inset: 0; width: 100%; height: 100%; margin: 0;
  opacity: 0; cursor: ew-resize; touch-action: pan-y; }
.compare .canvas:has(:focus-visible) { outline: 3px solid var(--mine, #0b61c4); }
@media print {
  .compare .choices, .compare .border, .compare input { display: none !important; }
  .compare .stage { overflow: visible; width: auto; max-height: none; }
  .compare .canvas, .compare:has(input:checked) .canvas { display: flex;
    width: 100% !important; aspect-ratio: auto; gap: 3mm; background: none; }
  .compare .side { position: static; flex: 1; visibility: visible; clip-path: none;
    max-width: 70mm; }
  .compare .right { order: 1; }
  .compare .left-1 { order: 2; }
  .compare .side img { height: auto; print-color-adjust: exact; }
  .compare .side b, .compare .left b { position: static; background: none; color: #000;
    padding: 0; }
}
"""


@dataclass(frozen=True)
class Panel:
    """One picture of a scene.

    Attributes
    ----------
    label : str
        What it is: "bicubic, 27.31 dB".
    source : str
        Where the picture is: a data URI, see :func:`embedded`, or an address.
    """

    label: str
    source: str


def slider(
    title: str, size: tuple[int, int], result: Panel, others: Sequence[Panel], alt: str = ""
) -> str:
    """Return pictures of one scene with a slider between them, as HTML.

    Parameters
    ----------
    title : str
    size : (H, W)
        Of each picture, in pixels.
    result : Panel
        At the right of the border.
    others : sequence of Panel
        At its left, one at a time: the first, or the one that is chosen.
    alt : str
        What is in the picture, for those who do not see it.
    """
    height, width = size
    alt = alt or title
    choices = _choices("zoom", {"fit": "fit", "1": "1:1", "4": "4:1"})
    if len(others) > 1:
        labels = {str(i): panel.label for i, panel in enumerate(others)}
        choices += _choices("pick", labels)
    sides = [_side("right", result, alt)]
    for i, panel in enumerate(others):
        sides.append(_side(f"left left-{i}{' only' * (len(others) == 1)}", panel, alt))
    fit = 2 if width < SMALL else 1
    return (
        f'<figure class="compare" style="--w:{width};--h:{height};--fit:{fit}">'
        f"<figcaption>{escape(title)}</figcaption>"
        f'<form class="choices">{choices}</form>'
        f'<div class="stage"><div class="canvas">{"".join(sides)}<span class="border"></span>'
        '<input type="range" min="0" max="100" value="50" step="0.5" '
        f'aria-label="{escape(f"{title}: how much of {others[0].label} is shown")}" '
        "oninput=\"this.closest('figure').style.setProperty('--at',this.value+'%')\">"
        "</div></div></figure>"
    )


def embedded(pixels: np.ndarray, icc_profile: bytes | None = None) -> str:
    """Return a picture as a data URI, without loss.

    Parameters
    ----------
    pixels : ndarray, (H, W) or (H, W, 3) or (H, W, 4)
        uint8.
    icc_profile : bytes, optional
        Of its colours.
    """
    file = io.BytesIO()
    profile = {"icc_profile": icc_profile} if icc_profile else {}
    # Effort 25 of 100: 1.05 times the bytes of 100, in a sixth of its time.
    Image.fromarray(pixels).save(file, "WEBP", lossless=True, quality=25, method=2, **profile)
    return f"data:image/webp;base64,{base64.b64encode(file.getvalue()).decode()}"


def picture(pixels: np.ndarray, alt: str, width: str = "100%") -> str:
    """Return one picture as HTML, drawn larger pixel by pixel where there is room."""
    return (
        f'<img src="{embedded(pixels)}" alt="{escape(alt)}" '
        f'style="width:{width};image-rendering:pixelated">'
    )


def as_shown(pixels: np.ndarray) -> np.ndarray:
    """Return pixels as a screen shows them: uint8 of uint8, uint16, or floats in 0..1."""
    if pixels.dtype == np.uint8:
        return pixels
    peak = 65535 if pixels.dtype == np.uint16 else 1
    shown: np.ndarray = np.floor(pixels.astype(np.float32) * (255 / peak) + 0.5)
    return shown.clip(0, 255).astype(np.uint8)


class Gallery:
    """Collect comparisons, the worst first, and of many keep the worst.

    Parameters
    ----------
    most : int
        How many to keep.
    most_bytes : int
        Of HTML, in all; the first is always shown.
    """

    def __init__(self, most: int = 24, most_bytes: int = 4_500_000) -> None:
        self._most, self._most_bytes = most, most_bytes
        self._kept: list[tuple[float, int, str]] = []
        self._seen = 0

    def add(self, rank: float, draw: Callable[[], str]) -> None:
        """Add a comparison, drawn only if it is among those that are kept; low ranks first."""
        self._seen += 1
        if len(self._kept) < self._most or rank < self._kept[-1][0]:
            self._kept = sorted([*self._kept, (rank, self._seen, draw())])[: self._most]

    def html(self) -> str:
        """Return all that there is room for, and a line on the rest."""
        shown: list[str] = []
        for _, _, part in self._kept:
            if shown and sum(map(len, shown)) + len(part) > self._most_bytes:
                break
            shown.append(part)
        if rest := self._seen - len(shown):
            are = "is" if rest == 1 else "are"
            shown.append(
                f'<p class="note">{rest} more {are} not shown, to keep this file small.</p>'
            )
        return "\n".join(shown)


def _side(kind: str, panel: Panel, alt: str) -> str:
    return (
        f'<div class="side {kind}"><img src="{escape(panel.source)}" '
        f'alt="{escape(f"{alt}: {panel.label}")}"><b>{escape(panel.label)}</b></div>'
    )


def _choices(kind: str, labels: dict[str, str]) -> str:
    """Return radio buttons, of which the first is checked; their form makes them a group."""
    buttons = [
        f'<label><input type="radio" name="{kind}" class="{kind}-{key}"'
        f"{' checked' * (i == 0)}>{escape(label)}</label>"
        for i, (key, label) in enumerate(labels.items())
    ]
    return f"<span>{''.join(buttons)}</span>"
