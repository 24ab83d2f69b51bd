"""Dead leaves: each leaf painted as finely sampled ones are, seeded, as many as promised."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from npsrcnn.commands.datasets import main
from npsrcnn.datasets import Style, dead_leaves, leaves, sub_images
from npsrcnn.errors import UserError
from npsrcnn.runtime.threads import set_num_threads

SHAPE = (64, 80)


def table(*rows):
    """Leaves (X, Y, A, B, ANGLE, CORNERS, grey), white on nothing else, hard edges."""
    result = np.zeros((len(rows), leaves.COLUMNS))
    result[:, :6] = [row[:6] for row in rows]
    result[:, leaves.BLUR] = 1
    result[:, leaves.RED : leaves.BLUE + 1] = [[row[6]] * 3 for row in rows]
    return result


def painted(rows, shape=SHAPE):
    image, open_part = np.zeros((*shape, 3), np.float32), np.ones(shape, np.float32)
    leaves._paint(rows, np.empty((leaves.MAX_CORNERS, 3)), open_part, image)
    return image


def sampled(leaf, shape=SHAPE, fine=16):
    """Return the part of each pixel that a leaf covers, by counting 16 x 16 points a pixel."""
    x0, y0, a, b, angle, corners = leaf[:6]
    at = (np.arange(max(shape) * fine) + 0.5) / fine - 0.5
    x, y = np.meshgrid(at[: shape[1] * fine] - x0, at[: shape[0] * fine] - y0)
    u = (np.cos(angle) * x + np.sin(angle) * y) / a
    v = (np.cos(angle) * y - np.sin(angle) * x) / b
    if corners == 0:
        inside = u * u + v * v <= 1
    else:
        turns = 2 * np.pi * np.arange(corners) / corners
        inside = np.all([np.cos(t) * u + np.sin(t) * v <= 1 for t in turns], axis=0)
    return inside.reshape(shape[0], fine, shape[1], fine).mean(axis=(1, 3))


@pytest.mark.parametrize(
    "leaf",
    [
        (40.3, 30.2, 20, 20, 0, 0, 1),  # a disc
        (40.3, 30.2, 25, 12, 0.7, 0, 1),
        (40.3, 30.2, 20, 8, 0.4, 4, 1),
        (41.8, 30.2, 13, 11, 2.3, 3, 1),
        (40.3, 30.2, 17, 9, 1.1, 6, 1),
        (2.0, -3.0, 20, 30, 0.3, 5, 1),  # partly outside
    ],
)
def test_a_leaf_covers_its_shape_with_smooth_edges(leaf):
    cover, expected = painted(table(leaf))[:, :, 0], sampled(leaf)
    # A straight edge through a pixel is off by at most 1/8 where it cuts a corner off; the tips
    # of polygons, where two edges meet in a pixel, by more.
    error = np.abs(cover - expected)
    assert np.mean(error[error > 0]) < 0.05
    assert np.mean(error > 0.15) < 0.002
    assert abs(cover.sum() / expected.sum() - 1) < 0.01


def test_leaves_in_front_cover_those_behind():
    front, behind = (30, 30, 12, 12, 0, 0, 0.25), (36, 33, 15, 15, 0.5, 4, 1.0)
    cover = sampled(front)
    expected = cover * 0.25 + (1 - cover) * sampled(behind)
    image = painted(table(front, behind))[:, :, 0]
    assert np.mean(np.abs(image - expected) > 0.15) < 0.002
    inside = cover == 1
    np.testing.assert_allclose(image[inside], 0.25, rtol=1e-6)  # float32


def test_soft_edges_are_as_wide_as_they_should_be():
    rows = table((40, 32, 20, 20, 0, 0, 1))
    rows[0, leaves.BLUR] = 5
    row = painted(rows)[32, :, 0]
    rise = row[np.abs(40 - np.arange(80) - 20) < 2.5][::-1]  # 2.5 pixels to both sides of the edge
    np.testing.assert_allclose(np.diff(rise[::-1]), 1 / 5, atol=1e-5)  # float32


def test_slopes_and_waves_add_to_the_colour_of_a_leaf():
    rows = table((40, 32, 500, 500, 0, 0, 0.5))
    rows[0, leaves.SLOPE_X :] = [0.001, -0.002, 0.1, 0.3, 0.5, 0.7]
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]] - np.array([32, 40])[:, None, None]
    expected = 0.5 + 0.001 * x - 0.002 * y + 0.1 * np.sin(0.3 * x + 0.5 * y + 0.7)
    np.testing.assert_allclose(painted(rows)[:, :, 1], expected, atol=1e-6)  # float32


def test_the_background_leaves_no_pixel_open(monkeypatch):
    monkeypatch.setattr(leaves, "DEPTH", 0.5)  # so that the background shows
    rows = leaves._draw_leaves(np.random.default_rng(0), SHAPE, Style(gradient=0, textured=0))
    rows[:, leaves.RED : leaves.BLUE + 1] = 1
    assert painted(rows).min() > 0.99


@pytest.mark.parametrize("power", [-3.0, -2.0])
def test_radii_follow_their_law(power):
    style = Style(r_min=(1, 1), r_max=100, power=power)
    rng = np.random.default_rng(0)
    radii = np.concatenate([leaves._draw_radii(rng, SHAPE, style) for _ in range(40)])
    r = np.linspace(1, 100, 100_001)
    density = r**power * (SHAPE[0] + 2 * r) * (SHAPE[1] + 2 * r)
    for limit in (1.5, 3, 10, 30):
        expected = density[r < limit].sum() / density.sum()
        spread = np.sqrt(expected * (1 - expected) / len(radii))
        # 4 standard deviations, and what telling 256 sizes apart blurs
        assert abs(np.mean(radii < limit) - expected) < 4 * spread + 0.02


def test_each_image_has_smallest_leaves_of_its_own():
    rng, style = np.random.default_rng(0), Style(r_min=(2, 5))
    smallest = [leaves._draw_radii(rng, SHAPE, style).min() for _ in range(30)]
    assert 2 <= min(smallest) < 2.3 and 4.5 < max(smallest) < 5.5


def test_an_image_depends_on_its_number_and_the_seed_alone():
    style = Style(filter=(-0.1, 0.1), noise=0.02, soft=0.5)
    many = dead_leaves(9, SHAPE, 5, style)
    assert many.shape == (9, *SHAPE, 3) and many.dtype == np.uint8
    set_num_threads(1)
    last = dead_leaves(2, SHAPE, 5, style, first=7)
    np.testing.assert_array_equal(many[-2:], last)
    assert not np.array_equal(last[0], last[1])
    assert not np.array_equal(dead_leaves(1, SHAPE, 6, style), many[:1])


def test_edges_are_few_and_strong():
    """Compare differences of neighbours with those of photographs: mostly small, some large."""
    images = dead_leaves(8) / 255
    steps = np.diff(images.mean(axis=3), axis=2)
    kurtosis = np.mean(steps**4) / np.mean(steps**2) ** 2
    assert kurtosis > 8  # 3 for noise; above 10 for most photographs
    assert 0.1 < images.std() < 0.35
    assert 0.3 < images.mean() < 0.7


def test_no_saturation_gives_grey_images():
    coloured = dead_leaves(2, SHAPE)
    assert np.ptp(coloured.astype(int), axis=3).mean() > 3
    grey = dead_leaves(2, SHAPE, style=Style(saturation=0))
    assert np.ptp(grey, axis=3).max() == 0


@pytest.mark.parametrize("k", [0.15, -0.1])
def test_the_filter_is_a_separable_convolution_with_edges_repeated(rng, k):
    image = rng.standard_normal((9, 7, 3))
    padded = np.pad(image, ((1, 1), (1, 1), (0, 0)), mode="edge")
    weight = np.outer([k, 1 - 2 * k, k], [k, 1 - 2 * k, k])
    filtered = leaves._filter(image, k)
    for y, x in np.ndindex(9, 7):
        expected = np.einsum("ij,ijc->c", weight, padded[y : y + 3, x : x + 3])
        np.testing.assert_allclose(filtered[y, x], expected, rtol=1e-12)  # float64


def test_noise_differs_from_image_to_image_below_its_limit():
    style = Style(textured=0, gradient=0, filter=(0, 0))
    clean = dead_leaves(4, SHAPE, style=style).astype(float)
    noisy = dead_leaves(4, SHAPE, style=Style(textured=0, gradient=0, noise=0.1))
    middle = (clean > 80) & (clean < 175)  # where nothing is clipped
    each = [(b - a)[m].std() / 255 for a, b, m in zip(clean, noisy, middle, strict=True)]
    assert 0 < min(each) < max(each) < 0.1
    assert np.ptp(each) > 0.005


@pytest.mark.parametrize(
    "wrong",
    [
        {"count": 0},
        {"count": 1, "shape": (0, 5)},
        {"count": 1, "seed": -1},
    ],
)
def test_counts_sizes_and_seeds_out_of_range_are_refused(wrong):
    with pytest.raises(UserError, match="cannot make"):
        dead_leaves(**wrong)


@pytest.mark.parametrize(
    "wrong", [{"r_min": (0.1, 2)}, {"r_min": (2, 1)}, {"r_min": (1, 9), "r_max": 9}]
)
def test_radii_out_of_order_are_refused(wrong):
    with pytest.raises(UserError, match="radii"):
        Style(**wrong)


def test_sub_images_are_drawn_from_leaves():
    source = sub_images(dead_leaves(2, (99, 99)), 3, color="rgb", orientations=True)
    inputs, labels = next(source.batches(0, 0, 16))
    assert inputs.shape == (16, 3, 33, 33)
    assert labels.shape == (16, 3, 21, 21)


def test_the_command_writes_them(tmp_path, capsys):
    folder = tmp_path / "new" / "leaves"
    assert main(["dead-leaves", "3", "-o", str(folder), "--size", "40", "--seed", "2"]) == 0
    assert capsys.readouterr().out == f"{folder}: 3 images of 40 x 40 pixels\n"
    paths = sorted(folder.iterdir())
    assert [path.name for path in paths] == [f"leaves-0000{i}.png" for i in range(3)]
    for path, expected in zip(paths, dead_leaves(3, (40, 40), 2), strict=True):
        with Image.open(path) as image:
            np.testing.assert_array_equal(np.asarray(image), expected)
