"""The tab that looks inside a network: one pixel step by step, filters, maps."""

from __future__ import annotations

from typing import Any, NamedTuple

import gradio as gr
import numpy as np

from npsrcnn.app import views
from npsrcnn.app.enlarge_tab import PICTURES
from npsrcnn.app.examples import example, input_of
from npsrcnn.app.telling import told
from npsrcnn.app.weights import OWN, file_of, shipped_names
from npsrcnn.errors import UserError
from npsrcnn.model.inspection import activations, effective_filter, receptive_patch
from npsrcnn.model.loading import load
from npsrcnn.model.network import SRCNN
from npsrcnn.model.pixel_steps import pixel_steps
from npsrcnn.report.compare import picture
from npsrcnn.report.curves import bars, curve
from npsrcnn.report.trained import atlas

FIRST = "9-1-5-x3"


class Opened(NamedTuple):
    """A network and the picture that it gets, (H, W) or (c, H, W) in 0..1."""

    net: SRCNN
    image: np.ndarray

    @property
    def shown(self) -> np.ndarray:
        """The picture as pixels."""
        return views.grey(self.image)

    @property
    def middle(self) -> tuple[int, int]:
        """Column and row of the pixel in the middle."""
        return self.image.shape[-1] // 2, self.image.shape[-2] // 2


def inside_tab(tab: gr.Tab) -> None:
    """Fill the tab, and show something when it is first opened."""
    with gr.Row(equal_height=False):
        with gr.Column(scale=2, min_width=300):
            name = gr.Dropdown([*shipped_names(), OWN], value=FIRST, label="Weights",
                               elem_id="inside-weights")  # fmt: skip
            own = gr.File(label="Weights of mine (.npz, .mat, .pth)", visible=False,
                          elem_id="inside-own")  # fmt: skip
            upload = gr.File(label="A picture of mine", file_types=PICTURES, height=110)
            shown = gr.Image(
                label="Click a pixel", interactive=False, elem_id="inside-picture", buttons=[]
            )
            with gr.Row():
                column = gr.Number(0, label="column", precision=0, minimum=0)
                row = gr.Number(0, label="row", precision=0, minimum=0)
        with gr.Column(scale=5, min_width=320):
            steps = gr.HTML(elem_id="inside-steps")
            with gr.Accordion("Filters of the first layer", open=False):
                filters = gr.HTML()
            with gr.Accordion("Maps over the picture", open=False):
                with gr.Row():
                    layer = gr.Slider(1, 2, 1, step=1, label="Layer")
                    number = gr.Slider(1, 64, 1, step=1, label="Map")
                maps = gr.HTML(elem_id="inside-maps")
    opened = gr.State(None)

    @told
    def open_network(chosen: str, mine: str | None, sent: str | None) -> list[object]:
        if chosen == OWN and not mine:
            return [gr.skip()] * len(view)
        net = load(file_of(mine) if chosen == OWN else chosen)
        image = input_of(net, example(sent, net.scale, net.metadata.get("quality")))
        now = Opened(net, image)
        x, y = now.middle
        return [
            now, views.marked(now.shown, y, x, net.margin + 1), x, y, pixel_view(now, x, y),
            atlas(net.layers[0][0], "filters of layer 1"),
            gr.Slider(1, len(net.layers) - 1, 1, step=1), map_view(now, 1, 1),
        ]  # fmt: skip

    def open_first(now: Opened | None, *given: Any) -> list[object]:
        return [gr.skip()] * len(view) if now else open_network(*given)

    @told
    def click(now: Opened, event: gr.SelectData) -> list[object]:
        x, y = (int(value) for value in event.index)
        return [x, y, *_at(now, x, y)]

    @told
    def move(now: Opened, x: int, y: int) -> list[object]:
        return _at(now, int(x or 0), int(y or 0))

    def _at(now: Opened | None, x: int, y: int) -> list[object]:
        if now is None:
            raise UserError("choose weights first")
        html = pixel_view(now, x, y)
        return [views.marked(now.shown, y, x, now.net.margin + 1), html]

    view = [opened, shown, column, row, steps, filters, layer, maps]
    hidden: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
    gr.on(
        [name.input, own.change, upload.change], open_network, [name, own, upload], view, **hidden
    )
    name.input(lambda chosen: gr.File(visible=chosen == OWN), name, own, **hidden)
    shown.select(click, opened, [column, row, shown, steps], **hidden)
    for part in (column, row):
        part.input(move, [opened, column, row], [shown, steps], **hidden)
    layer.release(told(_numbers), [opened, layer], number, **hidden)
    gr.on([layer.release, number.release], told(map_view), [opened, layer, number], maps, **hidden)
    tab.select(open_first, [opened, name, own, upload], view, **hidden)


def pixel_view(now: Opened, x: int, y: int) -> str:
    """Return one pixel's way through a network as HTML: patch, responses, what adds up to it."""
    net, image = now
    steps = pixel_steps(net, image, y, x)
    went_in = float(image[y, x] if image.ndim == 2 else image[0, y, x])
    of = "" if net.channels == 1 else f" (the first of {net.color})"
    f1, side = len(steps.patch[0]), net.margin + 1
    pictures = {f"1. the {f1} x {f1} that layer 1 sees": views.grey(steps.patch)}
    if image.ndim == 2:
        try:
            patch = receptive_patch(net, image, y, x)
            linear, _ = effective_filter(net, image, y, x)
        except UserError:  # at the edge they are not all inside
            pass
        else:
            pictures[f"the {side} x {side} that decide this pixel"] = views.grey(patch)
            pictures["the linear filter that the network is here"] = views.signed(linear)
    pictures["what this pixel's code paints"] = views.signed(steps.painted[0])
    parts = []
    for i, responses in enumerate(steps.responses, 1):
        order = np.argsort(-responses, kind="stable")
        active = int((responses > 0).sum())
        parts.append(
            bars(
                responses[order],
                title=f"{i + 1}. layer {i}: maps that respond: {active} of {len(responses)}",
                labels=[f"map {m + 1}" for m in order],
            )
        )
    order, sums = steps.running_sum()
    parts.append(
        curve(
            list(enumerate(sums)),
            title="the last layer adds them up",
            xlabel="maps added, the largest first",
            ylabel="value",
            levels={"what comes out": float(steps.forward[0])},
        )
    )
    parts.append(
        bars(
            steps.contributions[0][order],
            title="what each map adds",
            labels=[f"map {m + 1}" for m in order],
        )
    )
    return (
        f'<p style="font-size:1.05rem">Column {x}, row {y}{of}: <b>{went_in:.6f}</b> goes in, '
        f'<b id="came-out">{steps.output[0]:.6f}</b> comes out; '
        f'<code>forward</code> says <b id="forward">{steps.forward[0]:.6f}</b>.</p>'
        f"{views.row(pictures)}{views.columns(parts)}"
    )


def map_view(now: Opened, layer: int, number: int) -> str:
    """Return a map of a layer over the picture, as HTML."""
    maps = activations(now.net, now.image)[int(layer) - 1]
    number = min(int(number), len(maps))
    base = now.image if now.image.ndim == 2 else now.image.mean(axis=0)
    active = float((maps[number - 1] > 0).mean())
    title = f"layer {int(layer)}, map {number} of {len(maps)}: above zero at {active:.0%} of pixels"
    return f"<p>{title}</p>{picture(views.overlaid(base, maps[number - 1]), title)}"


def _numbers(now: Opened, layer: int) -> gr.Slider:
    return gr.Slider(1, now.net.n[int(layer) - 1], 1, step=1)
