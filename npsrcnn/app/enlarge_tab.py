"""The tab that enlarges pictures."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr

from npsrcnn.app.enlarging import Progress, bundle, compared, enlarge_uploads
from npsrcnn.app.limits import MOST_FILES, MOST_PIXELS, check_picture
from npsrcnn.app.sessions import Sessions
from npsrcnn.app.telling import told, told_on_the_way
from npsrcnn.app.weights import BEST, FAST, OWN, file_of
from npsrcnn.images import SUFFIXES
from npsrcnn.images.compression import strength_of_file
from npsrcnn.pixels.jpeg import quality_of_strength
from npsrcnn.upscaling.outcomes import Enlarged

ADDRESS = "/gradio_api/file="
SCALES = {"x2": 2, "x3": 3, "x4": 4, "x1.5": 1.5, "x6": 6, "x8": 8, "x1, restore only": 1}
AS_FOUND, CLEAN, AS_GIVEN = "as found in each picture", "never compressed", "JPEG of quality"
PICTURES = [".png", ".jpg", ".jpeg", ".tif", ".tiff", ".webp", ".bmp", ".gif", ".ppm", ".pgm"]
PICTURES += [".tga", ".jp2", ".avif", *sorted({".heic", ".heif", ".jxl"} & SUFFIXES)]


def enlarge_tab(sessions: Sessions) -> tuple[gr.Radio, gr.File]:
    """Make the tab; return where its weights are chosen, for other tabs to set."""
    with gr.Row(equal_height=False):
        with gr.Column(scale=2, min_width=300):
            uploads = gr.File(
                label=f"Pictures (up to {MOST_FILES}, {MOST_PIXELS / 1e6:.0f} million pixels each)",
                file_count="multiple",
                file_types=PICTURES,
                elem_id="pictures",
            )
            found = gr.Markdown(elem_id="found")
            with gr.Row():
                start = gr.Button("Enlarge", variant="primary", elem_id="enlarge")
                cancel = gr.Button("Cancel", elem_id="cancel")
            scale = gr.Radio(list(SCALES), value="x2", label="How much larger", elem_id="scale")
            weights = gr.Radio([BEST, FAST, OWN], value=BEST, label="Weights", elem_id="weights")
            own = gr.File(
                label="Weights of mine (.npz, .mat, .pth)", visible=False, elem_id="own-weights"
            )
            kind = gr.Radio(
                [AS_FOUND, CLEAN, AS_GIVEN], value=AS_FOUND, label="The pictures were",
                elem_id="quality-kind",
            )  # fmt: skip
            quality = gr.Slider(1, 100, 75, step=1, label="Quality", visible=False)
            with gr.Accordion("Compare with the original", open=False):
                original = gr.File(
                    label="The picture in its full size, to measure PSNR",
                    file_types=PICTURES,
                    elem_id="original",
                )
        with gr.Column(scale=5, min_width=320):
            status = gr.Markdown(
                "Drop a picture, press **Enlarge**, and drag the border between before and after.",
                elem_id="status",
            )
            download = gr.DownloadButton(
                "Download", visible=False, variant="primary", elem_id="download"
            )
            which = gr.Dropdown([], label="Picture", visible=False, elem_id="which")
            view = gr.HTML(elem_id="view")
    results = gr.State([])

    @told_on_the_way
    def enlarge(
        files: list[str] | None, by: str, chosen: str, mine: str | None, compression: str,
        given: int, truth: str | None, request: gr.Request,
    ) -> Iterator[dict[Any, Any]]:  # fmt: skip
        session, factor = sessions.of(request.session_hash), SCALES[by]
        source_quality = {AS_FOUND: "auto", CLEAN: "clean"}.get(compression, int(given))
        model = file_of(mine) if chosen == OWN else None
        yield {
            status: "At work …",
            view: "",
            download: gr.DownloadButton(visible=False),
            which: gr.Dropdown(visible=False),
        }
        progress = Progress(0)
        for progress in enlarge_uploads(
            session,
            files or [],
            scale=factor,
            model=model,
            fast=chosen == FAST,
            source_quality=source_quality,
        ):
            yield {status: progress.text()}
        done = [(one, factor) for one in progress.done]
        yield {status: progress.text(), results: done, **_downloads(progress.done)}
        if done:
            yield {
                which: gr.Dropdown(
                    [one.target.name for one in progress.done],
                    value=progress.done[0].target.name,
                    visible=len(done) > 1,
                ),
                view: _view(done, progress.done[0].target.name, truth),
            }

    def _downloads(done: list[Enlarged]) -> dict[Any, Any]:
        path = bundle(done)
        if path is None:
            return {download: gr.DownloadButton(visible=False)}
        label = f"Download {path.name}"
        return {download: gr.DownloadButton(label, value=str(path), visible=True)}

    @told
    def show(done: list[tuple[Enlarged, float]], name: str, truth: str | None) -> str:
        return _view(done, name, truth)

    def stop(request: gr.Request) -> str:
        session = sessions.of(request.session_hash)
        session.cancel()
        return "Cancelled." if session.busy else "Nothing is at work."

    start.click(
        enlarge,
        [uploads, scale, weights, own, kind, quality, original],
        [status, results, download, which, view],
        concurrency_limit=2,
        show_progress="hidden",
        api_visibility="private",
    )
    cancel.click(stop, None, status, queue=False, api_visibility="private")
    which.input(show, [results, which, original], view, api_visibility="private")
    uploads.change(told(_found), uploads, found, api_visibility="private")
    weights.change(
        lambda chosen: gr.File(visible=chosen == OWN), weights, own, api_visibility="private"
    )
    kind.change(
        lambda chosen: gr.Slider(visible=chosen == AS_GIVEN), kind, quality,
        api_visibility="private",
    )  # fmt: skip
    return weights, own


def _found(files: list[str] | None) -> str:
    """Say how a picture was compressed, by its file."""
    if not files or len(files) > 1:
        return f"{len(files)} pictures" if files else ""
    check_picture(Path(files[0]))
    strength = strength_of_file(files[0])
    if strength is None:
        return "No JPEG file: its pixels decide whether it was one before."
    quality = min(100, max(1, round(quality_of_strength(strength))))
    return f"A JPEG file of quality {quality}; weights for that are used, unless you choose."


def _view(done: list[tuple[Enlarged, float]], name: str, truth: str | None) -> str:
    one, factor = next((one, factor) for one, factor in done if one.target.name == name)
    return compared(one, factor, ADDRESS, Path(truth) if truth else None)
