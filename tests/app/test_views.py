"""Small arrays as pictures."""

from __future__ import annotations

import numpy as np

from npsrcnn.app import views


def test_signed_values_are_white_at_zero_and_coloured_by_sign():
    pixels = views.signed(np.array([[-2.0, 0.0, 1.0, 2.0]]))
    np.testing.assert_array_equal(pixels[0, 0], views.BLUE)
    np.testing.assert_array_equal(pixels[0, 1], [255, 255, 255])
    np.testing.assert_array_equal(pixels[0, 3], views.RED)
    assert (views.signed(np.zeros((2, 2))) == 255).all()


def test_grey_takes_planes_and_colours():
    assert views.grey(np.full((3, 4, 5), 0.5, np.float32)).shape == (4, 5, 3)
    assert views.grey(np.full((1, 4, 5), 2.0))[0, 0] == 255


def test_a_map_covers_where_it_is_high(rng):
    image, values = np.zeros((10, 10)), np.zeros((10, 10))
    values[3, 4] = 5.0
    pixels = views.overlaid(image, values)
    assert pixels[3, 4, 0] > 150 and pixels[0, 0].max() == 0


def test_a_square_marks_what_a_pixel_sees_at_the_edge_too():
    picture = np.zeros((20, 30), np.uint8)
    pixels = views.marked(picture, 10, 15, 9)
    yellow = (pixels == (255, 210, 0)).all(axis=2)
    assert yellow[5, 10:21].all() and yellow[15, 10:21].all() and not yellow[6:15, 11:20].any()
    assert (views.marked(picture, 0, 29, 9)[:6, 24:] == (255, 210, 0)).any()
    assert not picture.any()
