"""Figures: what they show, not how they look."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from npsrcnn import SRCNN
from npsrcnn.errors import UserError
from npsrcnn.evaluation import plots

pytest.importorskip("matplotlib")


def shown(figure) -> np.ndarray:
    """The array of a figure's one picture."""
    (ax,) = figure.axes
    return np.asarray(ax.images[0].get_array())


def test_filters_are_sorted_by_variance_and_each_has_its_scale():
    w = np.zeros((3, 1, 2, 2), np.float32)
    w[0, 0], w[1, 0], w[2, 0] = [[1, 0], [0, -1]], [[4, 0], [0, -2]], [[1e-5, 0], [0, 0]]
    atlas = shown(plots.filters(w, columns=3))
    assert atlas.shape == (4, 10)
    assert np.allclose(atlas[1:3, 1:3], [[1, 0.5], [0.5, 0.25]])  # 4 / 4, zero, -2 / 4
    assert np.allclose(atlas[1:3, 4:6], [[1, 0.5], [0.5, 0]])
    assert np.allclose(atlas[1:3, 7:9], 0.5, atol=0.01)  # too small to be more than noise
    assert np.allclose(
        shown(plots.filters(w, columns=3, order=None))[1:3, 1:3], [[1, 0.5], [0.5, 0]]
    )


def test_an_atlas_in_colour_and_one_of_a_dictionary():
    assert shown(plots.filters(SRCNN("9-1-5", channels=3).layers[0][0])).shape[2] == 3
    assert shown(plots.filters(np.eye(16))).shape == (6, 81)


def test_frequency_responses_show_which_frequencies_pass():
    x = np.arange(9)
    w = np.broadcast_to(np.cos(2 * np.pi * x / 3), (1, 1, 9, 9))  # a wave along the columns
    tile = shown(plots.frequency_responses(w, size=33))[1:34, 1:34]
    assert {tuple(p) for p in np.argwhere(tile > 0.999)} == {(16, 5), (16, 27)}  # +-11 of 33


def test_pictures_curves_bars_and_weights_draw_what_they_are_given(tmp_path, rng):
    figures = {
        "images": plots.images({"a": rng.random((20, 30)), "b": np.zeros((9, 9, 3), np.uint8)}),
        "maps": plots.feature_maps(rng.random((5, 10, 12))),
        "curves": plots.curves(
            {"net": ([1, 2, 3], [30.0, 31.0, 31.5])},
            xlabel="epochs",
            ylabel="dB",
            levels={"bicubic": 30.39},
            log="x",
        ),
        "bars": plots.bars({"layer 1": [1, 2]}, xlabel="map", ylabel="active", level=0.5),
        "weights": plots.weights({"flat": np.zeros((3, 3)), "edge": rng.standard_normal((13, 13))}),
    }
    for name, figure in figures.items():
        figure.savefig(tmp_path / f"{name}.png")
        assert (tmp_path / f"{name}.png").stat().st_size > 1000
    assert [ax.get_title() for ax in figures["images"].axes] == ["a", "b"]
    line, level = figures["curves"].axes[0].lines
    assert line.get_ydata().tolist() == [30.0, 31.0, 31.5]
    assert level.get_label() == "bicubic (30.39)"


def test_matplotlib_comes_late_and_pyplot_never():
    code = (
        "import sys, numpy, npsrcnn.evaluation.plots as p; assert 'matplotlib' not in sys.modules;"
        "p.filters(numpy.eye(4)); assert 'matplotlib.pyplot' not in sys.modules"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("w", [np.zeros((4, 2, 3, 3)), np.zeros((5, 4)), np.zeros(3)])
def test_what_cannot_be_drawn(w):
    with pytest.raises(UserError, match="cannot draw"):
        plots.filters(w)


def test_other_mistakes():
    with pytest.raises(UserError, match="nothing to draw"):
        plots.images({})
    with pytest.raises(UserError, match="no order"):
        plots.filters(np.eye(4), order="size")
