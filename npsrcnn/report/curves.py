"""Draw curves and bars as SVG, in the colours of the page they stand on."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape

import numpy as np

WIDTH, HEIGHT = 520, 280
LEFT, RIGHT, TOP, BOTTOM = 58, 14, 30, 42  # pixels around the frame
MINE, OTHER = "var(--mine, #0b61c4)", "var(--other, #b4491b)"
TICKS = 5  # about, on an axis

Points = Sequence[tuple[float, float]]


def curve(
    points: Points,
    *,
    title: str,
    xlabel: str,
    ylabel: str,
    levels: Mapping[str, float] | None = None,
    log: bool = False,
) -> str:
    """Return a line through points (x, y), and dashed horizontal ones, label -> y, as SVG.

    Points that are not finite, and with ``log``, a logarithmic y axis, those not above zero, are
    left out.
    """
    levels = levels or {}
    shown = [(x, y) for x, y in points if math.isfinite(y) and (y > 0 or not log)]
    if not shown:
        return f'<p class="note">{escape(title)}: nothing to draw yet.</p>'
    scaled = math.log10 if log else float
    xs = [x for x, _ in shown]
    ys = [scaled(y) for y in [*(y for _, y in shown), *levels.values()] if math.isfinite(y)]
    x_axis, y_axis = _span(xs), _span(ys, 0.06)

    def place(x: float, y: float) -> tuple[float, float]:
        across = (x - x_axis[0]) / (x_axis[1] - x_axis[0])
        up = (scaled(y) - y_axis[0]) / (y_axis[1] - y_axis[0])
        return LEFT + across * (WIDTH - LEFT - RIGHT), HEIGHT - BOTTOM - up * (
            HEIGHT - TOP - BOTTOM
        )

    parts = [_text(WIDTH / 2, 18, title, "middle", "font-weight:600")]
    y_ticks = _log_ticks(*y_axis) if log else _ticks(*y_axis)
    for y in y_ticks:
        height = place(xs[0], y)[1]
        parts += [_grid_line(LEFT, height, WIDTH - RIGHT, height)]
        parts += [_text(LEFT - 6, height + 4, f"{y:.6g}", "end")]
    for x in _ticks(*x_axis):
        across = place(x, shown[0][1])[0]
        parts += [_text(across, HEIGHT - BOTTOM + 16, f"{x:.6g}", "middle")]
    parts.append(_text(WIDTH / 2, HEIGHT - 6, xlabel, "middle"))
    middle = HEIGHT / 2
    turned = f'transform="rotate(-90 12 {middle})"'
    parts.append(_text(12, middle, ylabel, "middle", more=turned))
    for label, y in levels.items():
        if math.isfinite(y):
            height = place(xs[0], y)[1]
            parts.append(
                f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{height:.1f}" y2="{height:.1f}" '
                f'stroke="{OTHER}" stroke-width="1.5" stroke-dasharray="6 4"/>'
            )
            parts.append(
                _text(WIDTH - RIGHT - 4, height - 5, f"{label} {y:.2f}", "end", f"fill:{OTHER}")
            )
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in (place(*point) for point in shown))
    parts.append(f'<polyline points="{line}" fill="none" stroke="{MINE}" stroke-width="2"/>')
    for point in shown if len(shown) <= 40 else shown[-1:]:
        x, y = place(*point)
        parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.6" fill="{MINE}"/>')
    return _svg(parts, f"{title}: from {shown[0][1]:.4g} to {shown[-1][1]:.4g}")


def bars(
    values: Sequence[float] | np.ndarray,
    *,
    title: str,
    labels: Sequence[str] = (),
    height: int = 180,
) -> str:
    """Return bars from zero, up or down, as SVG; each says its value when it is pointed at."""
    numbers = np.asarray(values, np.float64)
    low, high = min(0.0, float(numbers.min())), max(0.0, float(numbers.max()))
    unit = (height - 40) / ((high - low) or 1.0)
    zero, step = 24 + high * unit, (WIDTH - 60) / len(numbers)
    parts = [_text(WIDTH / 2, 14, title, "middle", "font-weight:600")]
    for edge in {low, 0.0, high}:
        if edge == 0 or abs(edge) * unit > 12:  # apart from that of zero
            parts.append(_text(50, 24 + (high - edge) * unit + 4, f"{edge:.2g}", "end"))
    for i, value in enumerate(numbers):
        top = zero - max(0.0, value) * unit
        label = labels[i] if labels else str(i + 1)
        parts.append(
            f'<rect x="{55 + i * step:.2f}" y="{top:.2f}" width="{max(1.0, step * 0.86):.2f}" '
            f'height="{abs(value) * unit:.2f}" fill="{MINE if value >= 0 else OTHER}">'
            f"<title>{escape(label)}: {value:.6f}</title></rect>"
        )
    parts.append(_grid_line(55, zero, WIDTH, zero))
    return _svg(parts, title, height)


def _span(values: Sequence[float], margin: float = 0.0) -> tuple[float, float]:
    low, high = min(values), max(values)
    more = margin * (high - low) or (0.0 if high > low else abs(high) * 0.01 or 1.0)
    return low - more, high + more


def _ticks(low: float, high: float) -> list[float]:
    """Return round numbers within a span."""
    rough = (high - low) / TICKS
    power = 10 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough)
    return [i * step for i in range(math.ceil(low / step), math.floor(high / step) + 1)]


def _log_ticks(low: float, high: float) -> list[float]:
    """Return 1, 2 and 5 times powers of ten, or round numbers where that leaves too few."""
    found = [
        factor * 10.0**power
        for power in range(math.floor(low), math.ceil(high) + 1)
        for factor in (1, 2, 5)
        if low <= math.log10(factor * 10.0**power) <= high
    ]
    return found if len(found) > 2 else _ticks(10**low, 10**high)


def _text(x: float, y: float, text: str, anchor: str, style: str = "", *, more: str = "") -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="currentColor" '
        f'style="{style}" {more}>{escape(text)}</text>'
    )


def _grid_line(x1: float, y1: float, x2: float, y2: float) -> str:
    return (
        f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" '
        'stroke="currentColor" stroke-opacity="0.18"/>'
    )


def _svg(parts: Sequence[str], alt: str, height: int = HEIGHT) -> str:
    return (
        f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{escape(alt)}" '
        f'style="width:100%;max-width:{WIDTH}px;font:12px system-ui,sans-serif">'
        f"{''.join(parts)}</svg>"
    )
