"""Curves and bars."""

from __future__ import annotations

import math
import re
import xml.etree.ElementTree as ET

import pytest

from npsrcnn.report.curves import HEIGHT, WIDTH, _ticks, bars, curve

STYLE = {"title": "PSNR", "xlabel": "minutes", "ylabel": "dB"}


def line_of(svg):
    points = re.search(r'polyline points="([^"]*)"', svg)[1]
    return [tuple(map(float, point.split(","))) for point in points.split()]


def test_a_curve_rises_where_its_values_do_and_stays_in_its_frame():
    svg = curve([(0, 30.0), (1, 32.0), (3, 31.0)], levels={"bicubic": 30.4}, **STYLE)
    ET.fromstring(svg)
    (x0, y0), (x1, y1), (x2, y2) = line_of(svg)
    assert y1 < y2 < y0 and x2 - x0 == pytest.approx(3 * (x1 - x0), abs=0.3)
    assert all(0 < x < WIDTH and 0 < y < HEIGHT for x, y in line_of(svg))
    level = float(re.search(r'y1="([\d.]+)" y2="\1" stroke="var\(--other', svg)[1])
    assert y2 < level < y0 and "bicubic 30.40" in svg


def test_a_logarithmic_curve_has_equal_steps_for_equal_factors():
    (_, y0), (_, y1), (_, y2) = line_of(curve([(0, 8), (1, 4), (2, 2)], log=True, **STYLE))
    assert y1 - y0 == pytest.approx(y2 - y1, abs=0.2)


@pytest.mark.parametrize("points", [[], [(0, math.nan)]])
def test_nothing_to_draw(points):
    assert "nothing to draw yet" in curve(points, **STYLE)


@pytest.mark.parametrize("points", [[(0, 5.0)], [(0, 0.0), (0, 0.0)], [(1, 3), (2, 3)]])
def test_a_curve_that_does_not_move(points):
    assert all(math.isfinite(v) for point in line_of(curve(points, **STYLE)) for v in point)


def test_ticks_are_round_and_inside():
    assert _ticks(0, 3) == [0, 1, 2, 3]
    assert _ticks(29.9, 33.1) == [30, 31, 32, 33]
    assert _ticks(-0.011, 0.012) == pytest.approx([-0.01, -0.005, 0, 0.005, 0.01])


def test_bars_go_up_and_down_from_zero():
    svg = bars([1.0, -2.0, 0.5], title="a & b", labels=["p", "<q>", "r"])
    ET.fromstring(svg)
    shapes = re.findall(r'<rect x="([\d.]+)" y="([\d.]+)" width="[\d.]+" height="([\d.]+)"', svg)
    (_, top, height), (_, zero, deep), (_, half, _) = (map(float, shape) for shape in shapes)
    assert top + height == pytest.approx(zero, abs=0.02) and deep == pytest.approx(
        2 * height, abs=0.02
    )
    assert top < half < zero and "&lt;q&gt;: -2.000000" in svg
