"""The tab that shows sparse coding of a patch, and the network that equals it."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import gradio as gr
import numpy as np

from npsrcnn import datasets
from npsrcnn.app import views
from npsrcnn.app.enlarge_tab import PICTURES
from npsrcnn.app.examples import example
from npsrcnn.app.telling import told
from npsrcnn.evaluation.methods import by_network
from npsrcnn.evaluation.protocol import EvaluationImage
from npsrcnn.evaluation.scores import score
from npsrcnn.pixels.color import luma
from npsrcnn.report.curves import bars
from npsrcnn.report.measured import compared
from npsrcnn.report.trained import atlas
from npsrcnn.sparse_coding import as_srcnn
from npsrcnn.sparse_coding.fitting import fit_dictionaries
from npsrcnn.sparse_coding.one_pixel import code_pixel
from npsrcnn.words import counted

KINDS = {
    "cosines (DCT)": "dct",
    "Haar wavelets": "haar",
    "principal components": "pca",
    "learned": "learned",
}
SCALE, ATOMS, IMAGES = 3, 30, 4


def coding_tab(tab: gr.Tab) -> None:
    """Fill the tab, and show something when it is opened."""
    with gr.Row(equal_height=False):
        with gr.Column(scale=2, min_width=300):
            kind = gr.Radio(list(KINDS), value="cosines (DCT)", label="Dictionary",
                            elem_id="dictionary")  # fmt: skip
            lam = gr.Slider(0, 0.1, 0.01, step=0.002, label="λ: the larger, the fewer atoms",
                            elem_id="lambda")  # fmt: skip
            steps = gr.Slider(1, 4, 2, step=1, label="Steps of ISTA")
            upload = gr.File(label="A picture of mine", file_types=PICTURES, height=110)
            shown = gr.Image(
                label="Click a pixel", interactive=False, elem_id="coding-picture", buttons=[]
            )
        with gr.Column(scale=5, min_width=320):
            code = gr.HTML(elem_id="coding-view")
            with gr.Accordion("The whole picture by the network that this is", open=False):
                whole = gr.Button("Restore it", elem_id="coding-whole")
                result = gr.HTML()
    place = gr.State((126, 75))

    @told
    def show(
        chosen: str, penalty: float, count: int, picture: str | None, at: tuple[int, int]
    ) -> list[object]:
        image = example(picture, SCALE)
        x, y = (
            min(value, length - 1)
            for value, length in zip(at, image.bicubic.shape[::-1], strict=True)
        )
        html = pixel_view(image, KINDS[chosen], penalty, int(count), x, y)
        return [views.marked(views.grey(image.bicubic), y, x, 9), html]

    @told
    def click(event: gr.SelectData) -> tuple[int, int]:
        x, y = event.index
        return int(x), int(y)

    @told
    def restore(chosen: str, penalty: float, count: int, picture: str | None) -> str:
        image = example(picture, SCALE)
        net = as_srcnn(
            *_dictionaries(KINDS[chosen], penalty, int(count)), penalty, steps=int(count)
        )
        restored = by_network(net)(image)
        return compared(image, restored, score(image, restored), name=f"SRCNN {net.name}")

    choices = [kind, lam, steps, upload]
    hidden: dict[str, Any] = {"api_visibility": "private", "show_progress": "minimal"}
    changes = [tab.select, kind.input, lam.release, steps.release, upload.change, place.change]
    gr.on(changes, show, [*choices, place], [shown, code], **hidden)
    shown.select(click, None, place, **hidden)
    whole.click(restore, choices, result, **hidden)


def pixel_view(image: EvaluationImage, kind: str, lam: float, steps: int, x: int, y: int) -> str:
    """Return patch, code, reconstruction and the two pixels that are the same, as HTML."""
    d_low, d_high = _dictionaries(kind, lam, steps)
    coded = code_pixel(image.bicubic, d_low, d_high, lam, y, x, steps)
    used = int((coded.code > 0).sum())
    peak = float(np.abs(coded.patch).max()) or 1.0
    pictures = {
        "the patch, less its mean": views.grey(0.5 + 0.5 * coded.patch / peak),
        f"made of {counted(used, 'atom')}": views.grey(0.5 + 0.5 * coded.reconstruction / peak),
        "what is left over": views.signed(coded.patch - coded.reconstruction),
        "the detail that is added": views.signed(coded.detail),
    }
    layers = "-".join(["9", *["1"] * (steps - 1), "5"])
    code = bars(coded.code, title=f"the code: {used} of {len(coded.code)} atoms")
    return (
        f"<p>Column {x}, row {y}. Patch by patch, by ISTA: <b id='by-patches'>"
        f"{coded.restored:.12f}</b><br>The same as a network, {layers}: <b id='by-network'>"
        f"{coded.network:.12f}</b></p>{views.row(pictures)}"
        f"{views.columns([code, atlas(d_low, 'the dictionary')])}"
    )


@lru_cache(maxsize=32)
def _dictionaries(kind: str, lam: float, steps: int) -> tuple[np.ndarray, np.ndarray]:
    """Return both dictionaries, fitted to dead leaves."""
    return fit_dictionaries(_leaves(), SCALE, kind, atoms=ATOMS, lam=lam, steps=steps)


@lru_cache(maxsize=1)
def _leaves() -> tuple[np.ndarray, ...]:
    return tuple(luma(image)[:255, :255] / 255.0 for image in datasets.dead_leaves(IMAGES))
