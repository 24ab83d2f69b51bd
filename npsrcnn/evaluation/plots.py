"""Draw pictures side by side, filters, feature maps and curves (with matplotlib: extra "plot").

Every function returns a :class:`matplotlib.figure.Figure` and touches no global state: show it in
a notebook by naming it, or write it with ``figure.savefig(path)``.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from npsrcnn.errors import UserError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DPI = 72  # of screens: a notebook with ten figures stays small
MANY = 6  # curves: beyond, their legend stands beside them
BLUE, ORANGE, GREY = "#2166ac", "#d6604d", "#888888"


def images(
    pictures: Mapping[str, np.ndarray], *, columns: int | None = None, width: float = 3.2
) -> Figure:
    """Draw pictures side by side, each under its title.

    Parameters
    ----------
    pictures
        title -> (H, W) or (H, W, 3), uint8, or float in 0..1 (clipped).
    columns
        Pictures in a row; default: all of them.
    width
        Of each, in inches.
    """
    columns = columns or len(pictures)
    shape = np.shape(next(iter(pictures.values()), np.empty((1, 1))))
    figure, axes = _grid(len(pictures), columns, width, width * shape[0] / shape[1] + 0.3)
    for ax, (title, picture) in zip(axes, pictures.items(), strict=True):
        picture = np.asarray(picture)
        peak = 255 if picture.dtype == np.uint8 else 1
        ax.imshow(np.clip(picture, 0, peak), cmap="gray", vmin=0, vmax=peak)
        ax.set_title(title, fontsize=10)
    return figure


def filters(
    w: np.ndarray,
    *,
    order: str | None = "variance",
    columns: int = 16,
    title: str = "",
    width: float = 9.0,
) -> Figure:
    """Draw an atlas of the first layer's filters, as the paper's figure 5 (ECCV) and 6 (TPAMI).

    Parameters
    ----------
    w
        (O, 1, K, K), or (O, 3, K, K), which is shown in colour; or a dictionary (d, O) of
        square atoms, one a column.
    order
        "variance": those that vary most first; None: as they come.

    Each filter has its own scale of grey, symmetric about zero (middle grey); one whose norm is
    under a hundredth of the largest would show noise alone and is drawn flat.
    """
    atlas = filter_atlas(w, order, columns)
    return _picture(atlas.squeeze(), width, title, 0.0, 1.0, "gray")


def filter_atlas(w: np.ndarray, order: str | None = "variance", columns: int = 16) -> np.ndarray:
    """Return the atlas that :func:`filters` draws: (rows, columns, 1 or 3), in 0..1."""
    w = as_filters(w)
    if order == "variance":
        w = w[np.argsort(-w.var(axis=(1, 2, 3)), kind="stable")]
    elif order is not None:
        raise UserError(f"no order {order!r}; there are 'variance' and None")
    largest = np.abs(w).max(axis=(1, 2, 3))
    scale = np.maximum(largest, 0.01 * largest.max(initial=0))
    tiles = 0.5 + 0.5 * w / np.where(scale > 0, scale, 1)[:, None, None, None]
    return mosaic(tiles.transpose(0, 2, 3, 1), columns, fill=1.0)


def feature_maps(
    maps: np.ndarray, *, columns: int = 8, title: str = "", width: float = 9.0
) -> Figure:
    """Draw the maps (O, H, W) that a layer makes of one image, all on one scale of grey."""
    maps = np.asarray(maps)
    top = float(np.percentile(maps, 99.5)) if maps.size else 1.0
    atlas = mosaic(maps[..., None], columns, fill=top)
    return _picture(atlas[..., 0], width, title, min(0.0, float(maps.min())), top or 1.0, "gray")


def curves(
    series: Mapping[str, tuple[Sequence[float], Sequence[float]]],
    *,
    xlabel: str,
    ylabel: str,
    levels: Mapping[str, float] | None = None,
    title: str = "",
    log: str = "",
) -> Figure:
    """Draw lines, label -> (x, y), and horizontal ones for comparison, label -> y.

    ``log`` names the axes that are logarithmic: "", "x", "y" or "xy".
    """
    beside = len(series) > MANY
    figure, (ax,) = _grid(1, 1, 8.4 if beside else 6.4, 3.8, frame=True)
    for i, (label, points) in enumerate(series.items()):
        # Matplotlib has ten colours.
        ax.plot(*points, "-" if i < 10 else "--", label=label, linewidth=1.6)
    for style, (label, y) in zip(_dashes(), (levels or {}).items(), strict=False):
        ax.axhline(y, color=GREY, linestyle=style, linewidth=1.2, label=f"{label} ({y:.2f})")
    if "x" in log:
        ax.set_xscale("log")
    if "y" in log:
        ax.set_yscale("log")
    ax.set_xlabel(xlabel)
    ax.set_ylabel(ylabel)
    ax.set_title(title, fontsize=10)
    ax.grid(alpha=0.3)
    if beside:
        ax.legend(fontsize=8, frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    else:
        ax.legend(fontsize=8, frameon=False)
    return figure


def bars(
    groups: Mapping[str, Sequence[float]], *, xlabel: str, ylabel: str, level: float | None = None
) -> Figure:
    """Draw a panel of bars for each group, side by side; ``level`` is a line across."""
    figure, axes = _grid(len(groups), len(groups), 9.0 / max(1, len(groups)), 2.8, frame=True)
    for ax, (title, heights) in zip(axes, groups.items(), strict=True):
        ax.bar(range(1, len(heights) + 1), heights, width=0.9, color=BLUE)
        if level is not None:
            ax.axhline(level, color=ORANGE, linewidth=1)
        ax.set_title(title, fontsize=10)
        ax.set_xlabel(xlabel)
    axes[0].set_ylabel(ylabel)
    return figure


def frequency_responses(
    w: np.ndarray, *, columns: int = 16, size: int = 33, title: str = "", width: float = 9.0
) -> Figure:
    """Draw the magnitudes of the filters' Fourier transforms (O, 1, K, K), most varying first.

    Frequency zero is in the middle; the edges of each tile are half a cycle a pixel, the finest
    that an image can hold. Each tile has its own scale. ``size`` is the number of samples along a
    side.
    """
    w = as_filters(w).mean(axis=1)
    w = w[np.argsort(-w.var(axis=(1, 2)), kind="stable")]
    response = np.abs(np.fft.fftshift(np.fft.fft2(w, (size, size)), axes=(1, 2)))
    peak = response.max(axis=(1, 2), keepdims=True)
    drawn = peak > 0.01 * peak.max(initial=0)
    response = np.where(drawn, response / np.where(drawn, peak, 1), 0)
    return _picture(
        mosaic(response[..., None], columns, fill=1.0)[..., 0], width, title, 0.0, 1.0, "magma"
    )


def weights(
    panels: Mapping[str, np.ndarray], *, columns: int | None = None, width: float = 2.6
) -> Figure:
    """Draw small signed arrays (K, K): blue below zero, red above, each on its own scale."""
    figure, axes = _grid(len(panels), columns or len(panels), width, width + 0.3)
    for ax, (title, panel) in zip(axes, panels.items(), strict=True):
        top = float(np.abs(panel).max()) or 1.0
        ax.imshow(panel, cmap="RdBu_r", vmin=-top, vmax=top)
        ax.set_title(title, fontsize=10)
    return figure


def as_filters(w: np.ndarray) -> np.ndarray:
    """Return weights (O, C, K, K), or a dictionary (d, O) of square atoms, as (O, C, K, K)."""
    w = np.asarray(w)
    if w.ndim == 2 and math.isqrt(len(w)) ** 2 == len(w):
        side = math.isqrt(len(w))
        return w.T.reshape(-1, 1, side, side)
    if w.ndim != 4 or w.shape[1] not in (1, 3):
        raise UserError(
            f"cannot draw an array of {w.shape}: expected filters (O, 1 or 3, K, K), "
            "or a dictionary (d, O) of square atoms"
        )
    return w


def mosaic(tiles: np.ndarray, columns: int, fill: float, gap: int = 1) -> np.ndarray:
    """Join tiles (O, H, W, C) to a picture (rows, columns, C), ``gap`` pixels of ``fill`` apart."""
    count, height, width, channels = tiles.shape
    columns = max(1, min(columns, count))
    rows = -(-count // columns)
    shape = (rows * (height + gap) + gap, columns * (width + gap) + gap, channels)
    picture = np.full(shape, fill, np.float64)
    for i, tile in enumerate(tiles):
        y, x = (gap + (i // columns) * (height + gap), gap + (i % columns) * (width + gap))
        picture[y : y + height, x : x + width] = tile
    return picture


def _picture(
    picture: np.ndarray, width: float, title: str, low: float, high: float, cmap: str
) -> Figure:
    height = width * picture.shape[0] / picture.shape[1] + (0.3 if title else 0)
    figure, (ax,) = _grid(1, 1, width, height)
    ax.imshow(picture, cmap=cmap, vmin=low, vmax=high, interpolation="nearest")
    ax.set_title(title, fontsize=10)
    return figure


def _grid(
    count: int, columns: int, width: float, height: float, frame: bool = False
) -> tuple[Figure, list[Axes]]:
    """Make ``count`` axes in rows of ``columns``, each ``width`` x ``height`` inches."""
    try:
        figure_class = importlib.import_module("matplotlib.figure").Figure
    except ModuleNotFoundError as error:
        raise UserError('figures need matplotlib: pip install "npsrcnn[plot]"') from error
    if count < 1:
        raise UserError("nothing to draw")
    rows = -(-count // columns)
    figure = figure_class((width * columns, height * rows), dpi=DPI, layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    for i, ax in enumerate(grid):
        if not frame or i >= count:
            ax.axis("off")
    return figure, list(grid[:count])


def _dashes() -> list[str]:
    return ["--", ":", "-."] * 4
