"""Frames enlarged: Y as pictures are, Cb and Cr where they lie, and what belongs to a frame."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from moving import make_frame, planes_of
from networks import asymmetric, identity

from npsrcnn.pixels.color import Y_BLACK, Y_RANGE
from npsrcnn.pixels.resize import imresize
from npsrcnn.upscaling.strips import enlarge
from npsrcnn.video.enlarging import LINE, FrameEnlarger

SIZE = (26, 18)


@pytest.mark.parametrize(
    ("pixel_format", "full"),
    [("yuv420p", False), ("yuvj420p", True), ("yuv422p10le", False), ("gray", False)],
)
@pytest.mark.parametrize("scale", [2, 1.5])
def test_y_is_what_a_grey_picture_becomes(rng, pixel_format, full, scale):
    net = asymmetric(rng, "3-3", scale=2)
    frame = make_frame(3, SIZE, pixel_format)
    y = planes_of(frame)[0].astype(np.float64)
    top = 1023 if "10" in pixel_format else 255
    black, width = (0, top) if full else (16 * (top + 1) / 256, 219 * (top + 1) / 256)
    grey, _ = enlarge(((y - black) / width).astype(np.float32), None, [net], scale)
    large = FrameEnlarger([net], scale, SIZE, pixel_format, full)(frame)
    expected = np.floor(grey * np.float64(width) + black + 0.5).clip(0, top)
    got = planes_of(large)[0].astype(np.float64)
    assert got.shape == (int(18 * scale), int(26 * scale))
    assert np.abs(got - expected).max() <= 1 and (got == expected).mean() > 0.99


def test_colour_stays_where_it_lies():
    """4:2:0 has Cb at every second column of Y, and halfway between two rows."""
    width, height = 64, 48
    frame = make_frame(0, (width, height), "yuv420p")
    x, y = np.meshgrid(2 * np.arange(width // 2), 2 * np.arange(height // 2) + 0.5)

    def field(x, y):
        return 128 + 40 * np.sin(x / 9) + 30 * np.cos(y / 8)

    target = np.frombuffer(memoryview(frame.planes[1]), np.uint8).reshape(height // 2, -1)
    target[:, : width // 2] = field(x, y).round()
    large = FrameEnlarger([identity(scale=2)], 2, (width, height), "yuv420p", False)(frame)
    x, y = np.meshgrid(2 * np.arange(width), 2 * np.arange(height) + 0.5)
    expected = field((x + 0.5) / 2 - 0.5, (y + 0.5) / 2 - 0.5)  # in pixels of the small Y
    error = (planes_of(large)[1] - expected)[6:-6, 6:-6]
    assert np.sqrt((error**2).mean()) < 1.0  # a plain resize of the plane has 1.6


def test_time_tags_and_side_data_stay_and_the_picture_type_does_not(rng):
    frame = make_frame(0, SIZE, "yuv420p")
    frame.pts, frame.time_base, frame.duration = 77, Fraction(1, 90000), 3003
    frame.color_range, frame.colorspace = 1, 1
    frame.color_primaries, frame.color_trc = 9, 16
    frame.pict_type = 2
    large = FrameEnlarger([identity(scale=2)], 2, SIZE, "yuv420p", False)(frame)
    assert (large.pts, large.time_base, large.duration) == (77, Fraction(1, 90000), 3003)
    assert (large.color_range, large.colorspace) == (1, 1)
    assert (large.color_primaries, large.color_trc) == (9, 16)
    assert large.pict_type == 0


def test_at_scale_1_the_decoders_frame_is_left_alone(rng):
    frame = make_frame(2, SIZE, "yuv420p")
    before = planes_of(frame)
    net = asymmetric(rng, "3-3", scale=1)
    restored = FrameEnlarger([net], 1, SIZE, "yuv420p", False)(frame)
    assert all((a == b).all() for a, b in zip(planes_of(frame), before, strict=True))
    y, *colors = planes_of(restored)
    assert (y != before[0]).any()
    assert all((a == b).all() for a, b in zip(colors, before[1:], strict=True))


def test_split_shows_bicubic_left_and_srcnn_right(rng):
    frame = make_frame(2, SIZE, "yuv420p")
    net = asymmetric(rng, "3-3", scale=2)
    whole = planes_of(FrameEnlarger([net], 2, SIZE, "yuv420p", False)(frame))
    split = planes_of(FrameEnlarger([net], 2, SIZE, "yuv420p", False, "split")(frame))
    np.testing.assert_array_equal(split[0][:, 26 + LINE // 2 :], whole[0][:, 26 + LINE // 2 :])
    bicubic = imresize(planes_of(frame)[0], 2).astype(int)
    left = np.s_[:, : 26 - LINE // 2]
    assert np.abs(split[0][left].astype(int) - bicubic[left]).mean() < 2
    assert (split[0][left] != whole[0][left]).any()
    assert (split[0][:, 25:27] == 235).all()


def test_side_by_side_is_twice_as_wide(rng):
    frame = make_frame(2, SIZE, "yuv420p")
    net = asymmetric(rng, "3-3", scale=2)
    enlarge = FrameEnlarger([net], 2, SIZE, "yuv420p", False, "side")
    assert enlarge.size == (104, 36)
    whole = planes_of(FrameEnlarger([net], 2, SIZE, "yuv420p", False)(frame))
    both = planes_of(enlarge(frame))
    np.testing.assert_array_equal(both[0][:, 52:], whole[0])
    np.testing.assert_array_equal(both[1][:, 26:], whole[1])
    np.testing.assert_array_equal(both[1][:, :26], whole[1])
    assert (both[0][:, :52] != whole[0]).any()


def test_grey_keeps_black_and_white():
    """A flat frame of black stays black, of white stays white, whatever the network does to it."""
    for value in (16, 235):
        frame = make_frame(0, SIZE, "gray")
        np.frombuffer(memoryview(frame.planes[0]), np.uint8)[:] = value
        y = planes_of(FrameEnlarger([identity(scale=2)], 2, SIZE, "gray", False)(frame))[0]
        assert (y == value).all(), (value, Y_BLACK, Y_RANGE)
