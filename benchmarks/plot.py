"""Draw the table as a picture: how many times as long as npsrcnn the others take."""

from __future__ import annotations

from pathlib import Path

from benchmarks.measure import Row
from npsrcnn.errors import UserError

STYLES = {  # colour and marker
    "ONNX Runtime": ("#e08e45", "o"),
    "OpenVINO": ("#7b5ea7", "s"),
    "OpenVINO bfloat16": ("#b9a3d6", "s"),
    "JAX": ("#3b8f8c", "^"),
    "PyTorch": ("#c0504d", "D"),
    "PyTorch channels_last": ("#d99795", "D"),
    "torch.compile": ("#8c2d2a", "D"),
    "OpenCV dnn": ("#7f9f6b", "v"),
    "ncnn": ("#6b6b6b", "P"),
}
NPSRCNN = "#1b6ca8"


def draw(rows: list[Row], facts: dict[str, str], path: Path) -> None:
    """Draw a line for each case, and on it a mark for each of the others at its ratio."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise UserError("to draw, install matplotlib: pip install 'npsrcnn[bench]'") from error
    found = [row for row in rows if row.by in STYLES and row.speedup is not None]
    if not found:
        raise UserError("nothing to draw: measure inference or training beside others")
    most = max(row.threads for row in found)
    found = [row for row in found if row.threads == most]
    own = {(row.case, row.threads): row.ms for row in rows if row.by == "npsrcnn" and row.ms}
    cases = list(dict.fromkeys(row.case for row in found))
    figure = Figure(figsize=(8.5, 0.48 * len(cases) + 1.6), layout="constrained")
    ax = figure.subplots()
    ax.axvline(1, color=NPSRCNN, linewidth=3)
    for by, (color, marker) in STYLES.items():
        mine = [row for row in found if row.by == by]
        if mine:
            places = [cases.index(row.case) for row in mine]
            ratios = [row.speedup for row in mine]
            ax.scatter(ratios, places, 60, color, marker, label=by, zorder=3)
    ax.set_yticks(range(len(cases)), [f"{case}\n{own[case, most]:,.3g} ms" for case in cases])
    ax.invert_yaxis()
    ax.set_xscale("log")
    ticks = [1, 2, 3, 4, 5, 7, 10, 15, 20]
    ax.set_xticks(ticks, [f"{tick}" for tick in ticks])
    ax.minorticks_off()
    ax.set_xlim(min(0.9, *(row.speedup for row in found)) * 0.95, None)
    ax.set_xlabel("times as long as npsrcnn (the line at 1; its milliseconds at the left)")
    ax.set_title(f"{most} threads, {facts.get('processor', '')}", fontsize=10)
    ax.grid(axis="x", alpha=0.4)
    ax.tick_params(labelsize=8)
    ax.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside lower center", ncols=4, fontsize=8, frameon=False)
    figure.savefig(path, dpi=150)
