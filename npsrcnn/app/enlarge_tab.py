"""The tab that enlarges pictures."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr

from npsrcnn.app.clips import PREVIEW_SECONDS, EnlargedClip, can_read_clips
from npsrcnn.app.compiling import Kernels
from npsrcnn.app.enlarging import Done, Progress, bundle, compared, enlarge_uploads, played
from npsrcnn.app.limits import MOST_FILES, check_picture, is_moving
from npsrcnn.app.sessions import Sessions
from npsrcnn.app.telling import told, told_on_the_way
from npsrcnn.app.weights import BEST, FAST, OWN, file_of
from npsrcnn.images import SUFFIXES
from npsrcnn.images.compression import strength_of_file
from npsrcnn.pixels.jpeg import quality_of_strength
from npsrcnn.video.kinds import ANIMATIONS, CONTAINERS, READ_ONLY
from npsrcnn.words import counted

ADDRESS = "/gradio_api/file="
SCALES = {"x2": 2, "x3": 3, "x4": 4, "x1.5": 1.5, "x6": 6, "x8": 8, "x1, restore only": 1}
AS_FOUND, CLEAN, AS_GIVEN = "as found in each picture", "never compressed", "JPEG of quality"
PICTURES = [".png", ".jpg", ".jpeg", ".tif", ".tiff", ".webp", ".bmp", ".gif", ".ppm", ".pgm"]
PICTURES += [".tga", ".jp2", ".avif", *sorted({".heic", ".heif", ".jxl"} & SUFFIXES)]
CLIPS = sorted({*CONTAINERS, *READ_ONLY})
LEFT_OUT = ["audio", "subtitles", "attachments", "cover", "video", "alpha", "dolby-vision"]


def enlarge_tab(sessions: Sessions, kernels: Kernels) -> tuple[gr.Radio, gr.File]:
    """Make the tab; return where its weights are chosen, for other tabs to set."""
    clips = can_read_clips()
    what = "Pictures and clips" if clips else "Pictures"
    with gr.Row(equal_height=False):
        with gr.Column(scale=2, min_width=300):
            uploads = gr.File(
                label=f"{what}, up to {MOST_FILES}",
                file_count="multiple",
                file_types=[*PICTURES, ".apng", *(CLIPS if clips else [])],
                elem_id="pictures",
            )
            found = gr.Markdown(elem_id="found")
            with gr.Row():
                start = gr.Button("Enlarge", variant="primary", elem_id="enlarge")
                cancel = gr.Button("Cancel", elem_id="cancel")
            preview = gr.Button(
                f"Preview: the first {PREVIEW_SECONDS} seconds", visible=False, elem_id="preview"
            )
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
            with gr.Accordion("Clips", open=False, visible=False, elem_id="clips") as of_clips:
                deinterlace = gr.Checkbox(label="Deinterlace (--deinterlace)")
                drop = gr.CheckboxGroup(LEFT_OUT, label="Leave out (--drop)")
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
        given: int, truth: str | None, even: bool, without: list[str], only_first: bool,
        request: gr.Request,
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
            kernels=kernels,
            scale=factor,
            model=model,
            fast=chosen == FAST,
            source_quality=source_quality,
            preview=only_first,
            deinterlace=even,
            drop=without,
        ):
            yield {status: progress.text()}
        done = [(one, factor) for one in progress.done]
        ready = {status: progress.text(), results: done, **_downloads(progress.done)}
        yield ready
        if done:
            yield {
                **ready,  # a page behind another draws the last of several updates alone
                which: gr.Dropdown(
                    [one.target.name for one in progress.done],
                    value=progress.done[0].target.name,
                    visible=len(done) > 1,
                ),
                view: _view(done, progress.done[0].target.name, truth),
            }

    def _downloads(done: list[Done]) -> dict[Any, Any]:
        path = bundle(done)
        if path is None:
            return {download: gr.DownloadButton(visible=False)}
        label = f"Download {path.name}"
        return {download: gr.DownloadButton(label, value=str(path), visible=True)}

    @told
    def show(done: list[tuple[Done, float]], name: str, truth: str | None) -> str:
        return _view(done, name, truth)

    def stop(request: gr.Request) -> str:
        session = sessions.of(request.session_hash)
        session.cancel()
        return "Cancelled." if session.busy else "Nothing is at work."

    choices = [uploads, scale, weights, own, kind, quality, original, deinterlace, drop]
    for button, only_first in ((start, False), (preview, True)):
        button.click(
            enlarge,
            [*choices, gr.State(only_first)],
            [status, results, download, which, view],
            concurrency_limit=2,
            concurrency_id="enlarge",
            show_progress="hidden",
            api_visibility="private",
        )
    cancel.click(stop, None, status, queue=False, api_visibility="private")
    which.input(show, [results, which, original], view, api_visibility="private")
    uploads.change(told(_found), uploads, [found, preview, of_clips], api_visibility="private")
    weights.change(
        lambda chosen: gr.File(visible=chosen == OWN), weights, own, api_visibility="private"
    )
    kind.change(
        lambda chosen: gr.Slider(visible=chosen == AS_GIVEN), kind, quality,
        api_visibility="private",
    )  # fmt: skip
    return weights, own


def _found(files: list[str] | None) -> tuple[str, gr.Button, gr.Accordion]:
    """Say what was sent, and show what is for clips where there is one."""
    moving = [name for name in files or [] if is_moving(Path(name))]
    clips = any(Path(name).suffix.lower() not in ANIMATIONS for name in moving)
    words = _words(files or [], len(moving))
    return words, gr.Button(visible=bool(moving)), gr.Accordion(visible=clips)


def _words(files: list[str], moving: int) -> str:
    """Say how many pictures and clips were sent, or how a picture was compressed, by its file."""
    if len(files) != 1 or moving:
        counts = {"picture": len(files) - moving, "clip": moving}
        return " and ".join(counted(n, name) for name, n in counts.items() if n)
    check_picture(Path(files[0]))
    strength = strength_of_file(files[0])
    if strength is None:
        return "No JPEG file: its pixels decide whether it was one before."
    quality = min(100, max(1, round(quality_of_strength(strength))))
    return f"A JPEG file of quality {quality}; weights for that are used, unless you choose."


def _view(done: list[tuple[Done, float]], name: str, truth: str | None) -> str:
    one, factor = next((one, factor) for one, factor in done if one.target.name == name)
    if isinstance(one, EnlargedClip):
        return played(one, ADDRESS)
    return compared(one, factor, ADDRESS, Path(truth) if truth else None)
