"""Y in and out of frames: line sizes, odd sizes, 8 and 10 bits, both ranges."""

from __future__ import annotations

import numpy as np
import pytest
from moving import make_frame, planes_of, samples

from npsrcnn.video.planes import has_half_planes, planar, read_luma, write_luma

FORMATS = ["yuv420p", "yuv422p", "yuv444p", "yuvj420p", "gray", "yuv420p10le", "yuv444p10le"]
FORMATS += ["yuv422p10le", "gray10le", "yuv444p12le", "yuva420p"]


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("pixel_format", FORMATS)
def test_what_is_read_is_written_back(pixel_format, full, rng):
    frame = make_frame(5, (37, 23), pixel_format)
    before = planes_of(frame)
    y = read_luma(frame, full)
    assert y.shape == (23, 37) and y.dtype == np.float32
    planes = planes_of(frame)
    write_luma(frame, y, full)
    for a, b in zip(planes, before, strict=True):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(planes_of(frame)[0], before[0])


@pytest.mark.parametrize(("pixel_format", "black", "white"), [("yuv420p", 16, 235)])
def test_black_and_white_are_the_networks(pixel_format, black, white):
    frame = make_frame(0, (2, 2), pixel_format)
    target = np.frombuffer(memoryview(frame.planes[0]), np.uint8).reshape(2, -1)
    target[0], target[1] = black, white
    np.testing.assert_allclose(read_luma(frame, False)[:, 0], [16 / 255, 235 / 255], rtol=1e-6)


@pytest.mark.parametrize(
    ("pixel_format", "top", "full_black", "full_white"),
    [("yuv420p", 255, 16 / 255, 235 / 255), ("yuv420p10le", 1023, 16 / 255, 235 / 255)],
)
def test_full_range_is_mapped_to_it(pixel_format, top, full_black, full_white):
    frame = make_frame(0, (2, 2), pixel_format)
    dtype = np.uint8 if top == 255 else np.uint16
    target = np.frombuffer(memoryview(frame.planes[0]), dtype).reshape(2, -1)
    target[0], target[1] = 0, top
    np.testing.assert_allclose(read_luma(frame, True)[:, 0], [full_black, full_white], rtol=1e-6)


def test_ten_bits_are_eight_bits_times_four():
    eight, ten = (make_frame(1, (16, 8), kind) for kind in ("yuv420p", "yuv420p10le"))
    np.testing.assert_allclose(read_luma(eight, False), read_luma(ten, False), atol=0.51 / 255)


def test_values_are_rounded_and_limited():
    frame = make_frame(0, (4, 1), "gray")
    write_luma(frame, np.array([[-0.1, 1.2, 100.4 / 255, 100.6 / 255]], np.float32), False)
    assert planes_of(frame)[0].tolist() == [[0, 255, 100, 101]]


def test_columns_from_one_on():
    frame = make_frame(0, (6, 2), "gray")
    write_luma(frame, np.full((2, 2), 50 / 255, np.float32), False, first_column=3)
    expected = samples(0, 0, (2, 6))
    expected[:, 3:5] = 50
    np.testing.assert_array_equal(planes_of(frame)[0], expected)


def test_formats_with_and_without_planes():
    assert planar("nv12") == "yuv420p" and planar("p010le") == "yuv420p10le"
    assert planar("yuv420p10be") == "yuv420p10le" and planar("gray") == "gray"
    assert [planar(kind) for kind in ("rgb24", "gbrp", "pal8", "bgra", "grayf32le")] == [None] * 5
    assert has_half_planes("yuv420p") == (True, True)
    assert has_half_planes("yuv422p10le") == (True, False)
    assert has_half_planes("yuv444p") == has_half_planes("gray") == (False, False)
