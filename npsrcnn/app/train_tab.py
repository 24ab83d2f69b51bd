"""The tab that trains a network, and shows it learn."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr

from npsrcnn.app.enlarge_tab import PICTURES
from npsrcnn.app.limits import take_pictures
from npsrcnn.app.sessions import Sessions
from npsrcnn.app.telling import told, told_on_the_way
from npsrcnn.app.training import TrainingProcess
from npsrcnn.app.views import columns
from npsrcnn.app.weights import OWN
from npsrcnn.errors import UserError
from npsrcnn.model.loading import load
from npsrcnn.report.trained import atlas, learning_curves, photograph_compared

LEAVES, PICTURES_OF_MINE = "dead leaves, drawn here", "pictures of mine"
NETWORKS = ["9-1-5", "9-3-5", "9-5-5"]
MOST_MINUTES = 120
LOOK_SECONDS = 1.0


def train_tab(sessions: Sessions, weights: gr.Radio, own: gr.File) -> None:
    """Make the tab; ``weights`` and ``own`` are those of the tab that enlarges."""
    with gr.Row(equal_height=False):
        with gr.Column(scale=2, min_width=300):
            data = gr.Radio([LEAVES, PICTURES_OF_MINE], value=LEAVES, label="Train on")
            uploads = gr.File(
                label="Pictures to train on, sharp ones", file_count="multiple",
                file_types=PICTURES, visible=False, elem_id="train-pictures",
            )  # fmt: skip
            scale = gr.Radio(["2", "3", "4"], value="3", label="Scale")
            network = gr.Radio(NETWORKS, value=NETWORKS[0], label="Network")
            minutes = gr.Number(3, label="Minutes", minimum=0.1, maximum=MOST_MINUTES,
                                elem_id="minutes")  # fmt: skip
            with gr.Row():
                start = gr.Button("Train", variant="primary", elem_id="train")
                stop = gr.Button("Stop", elem_id="train-stop")
                go_on = gr.Button("Go on", elem_id="train-go-on")
            use = gr.Button("Enlarge with these weights", elem_id="train-use")
            download = gr.DownloadButton("Download best.npz", visible=False)
        with gr.Column(scale=5, min_width=320):
            status = gr.Markdown("Nothing is trained yet.", elem_id="train-status")
            curves = gr.HTML(elem_id="train-curves")
            photograph = gr.HTML(elem_id="train-photograph")
            filters = gr.HTML()
    runs: dict[str, TrainingProcess] = {}

    def run_of(request: gr.Request) -> TrainingProcess:
        run = runs.get(request.session_hash or "")
        if run is None:
            raise UserError("nothing is trained yet: press Train")
        return run

    @told_on_the_way
    def train(
        source: str, files: list[str] | None, by: str, name: str, length: float,
        request: gr.Request,
    ) -> Iterator[dict[Any, Any]]:  # fmt: skip
        session, key = sessions.of(request.session_hash), request.session_hash or ""
        if key in runs and runs[key].running:
            raise UserError("it is training: stop it first")
        with session.work("train") as folder:
            pictures: list[Path] = []
            refused: list[str] = []
            if source == PICTURES_OF_MINE:
                pictures, refused = take_pictures(files or [], folder, 1)
                if not pictures:
                    raise UserError(f"no picture to train on: {refused[0]}")
            run = runs[key] = TrainingProcess(folder / "run")
            session.at_end(lambda: _end(runs, key, run))
            run.start(_minutes(length), scale=int(by), network=name, data=pictures)
            yield from watch(run, refused)

    @told_on_the_way
    def resume(length: float, request: gr.Request) -> Iterator[dict[Any, Any]]:
        run = run_of(request)
        with sessions.of(request.session_hash).work("resume"):
            run.resume(_minutes(length))
            yield from watch(run, [])

    def watch(run: TrainingProcess, refused: list[str]) -> Iterator[dict[Any, Any]]:
        """Show how it goes until it ends: new curves, filters and picture as they come."""
        began, seen = time.monotonic(), -1
        while True:
            running, log = run.running, run.log()
            seconds = time.monotonic() - began
            if failure := run.failure():
                raise UserError(failure)
            words = f"Training, {seconds:.0f} s" if running else f"Done after {seconds:.0f} s"
            if log:
                gain = log[-1]["psnr"] - log[-1]["psnr_bicubic"]
                words += f": {log[-1]['psnr']:.2f} dB, {gain:+.2f} dB beside bicubic interpolation"
            elif running:
                words += ": making sub-images, and compiling kernels the first time"
            lines = [f"**{words}**", *(f"⚠ {line}" for line in refused)]
            update: dict[Any, Any] = {status: "\n\n".join(lines)}
            path = run.weights(best=False)
            if path and len(log) != seen:
                seen = len(log)
                net = load(path)
                update |= {
                    curves: columns(learning_curves(log)),
                    photograph: photograph_compared(net, net.scale or 3),
                    filters: columns([atlas(net.layers[0][0], "filters of layer 1")]),
                    download: gr.DownloadButton(value=str(run.weights() or path), visible=True),
                }
            yield update
            if not running:
                return
            time.sleep(LOOK_SECONDS)

    @told
    def halt(request: gr.Request) -> str:
        run_of(request).stop()
        return "Stopped; what it has learned is kept."

    @told
    def hand_over(request: gr.Request) -> list[object]:
        path = run_of(request).weights()
        if path is None:
            raise UserError("no weights yet: wait for the first measurement")
        return [OWN, gr.File(value=str(path), visible=True)]

    shown = [status, curves, photograph, filters, download]
    hidden: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
    choices = [data, uploads, scale, network, minutes]
    start.click(train, choices, shown, concurrency_limit=2, concurrency_id="train", **hidden)
    go_on.click(resume, minutes, shown, concurrency_limit=2, concurrency_id="train", **hidden)
    stop.click(halt, None, status, **hidden)
    use.click(hand_over, None, [weights, own], **hidden)
    data.input(lambda chosen: gr.File(visible=chosen == PICTURES_OF_MINE), data, uploads, **hidden)


def _minutes(length: float | None) -> float:
    if not length or not 0 < length <= MOST_MINUTES:
        raise UserError(f"minutes: more than 0, and at most {MOST_MINUTES}")
    return float(length)


def _end(runs: dict[str, TrainingProcess], key: str, run: TrainingProcess) -> None:
    """Stop a training whose tab was closed."""
    run.stop()
    if runs.get(key) is run:
        del runs[key]
