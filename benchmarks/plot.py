"""Draw the table as a picture: milliseconds of each."""

from __future__ import annotations

from pathlib import Path

from benchmarks.measure import Row
from npsrcnn.errors import UserError

COLORS = {
    "npsrcnn": "#1b6ca8",
    "ONNX Runtime": "#e08e45",
    "PyTorch": "#c0504d",
    "PyTorch channels_last": "#d99795",
    "OpenCV dnn": "#7f9f6b",
}


def draw(rows: list[Row], facts: dict[str, str], path: Path) -> None:
    """Draw bars of milliseconds, one panel a case, for the most threads that were measured."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise UserError("to draw, install matplotlib: pip install 'npsrcnn[bench]'") from error
    timed = [row for row in rows if row.by in COLORS and row.ms is not None]
    timed = [row for row in timed if row.subject in ("inference", "training")]
    if not timed:
        raise UserError("nothing to draw: measure inference or training")
    most = max(row.threads for row in timed)
    timed = [row for row in timed if row.threads == most]
    cases = list(dict.fromkeys(row.case for row in timed))
    columns = min(3, len(cases))
    lines = -(-len(cases) // columns)
    figure = Figure(figsize=(4.2 * columns, 2.1 * lines + 0.6), layout="constrained")
    figure.suptitle(f"Milliseconds on {most} threads: {facts.get('processor', '')}", fontsize=11)
    axes = figure.subplots(lines, columns, squeeze=False).ravel()
    for ax in axes[len(cases) :]:
        ax.set_visible(False)
    for ax, case in zip(axes, cases, strict=False):
        mine = [row for row in timed if row.case == case]
        bars = ax.barh(
            [row.by for row in mine],
            [row.ms for row in mine],
            color=[COLORS[row.by] for row in mine],
        )
        labels = [f"{row.ms:,.0f}" if row.ms >= 20 else f"{row.ms:.1f}" for row in mine]
        ax.bar_label(bars, labels, padding=3, fontsize=8)
        ax.set_title(case, fontsize=10)
        ax.invert_yaxis()
        ax.margins(x=0.18)
        ax.tick_params(labelsize=8)
        ax.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=150)
