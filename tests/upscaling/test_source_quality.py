"""How strongly a picture was compressed: by its file, by its pixels, or as told."""

from __future__ import annotations

import numpy as np
import pytest
from compressed import clean_picture

from npsrcnn.errors import UserError
from npsrcnn.pixels.jpeg import compress, strength_of_quality
from npsrcnn.upscaling.source_quality import (
    BY_EARLIER,
    BY_PIXELS,
    BY_TABLE,
    NO_TRACE,
    Decision,
    check_source_quality,
    decide,
    middle,
)


@pytest.fixture(scope="module")
def clean():
    return clean_picture()


def test_a_table_is_believed_where_the_pixels_say_the_same(clean):
    for quality in (90, 74, 20):
        picture = compress(clean, quality)
        assert decide(picture, strength_of_quality(quality)) == Decision(quality, BY_TABLE)


def test_pixels_that_show_nothing_leave_it_to_the_table(clean):
    assert decide(clean, strength_of_quality(74)) == Decision(74, BY_TABLE)
    assert decide(clean[:3, :3], 2.0) == Decision(99, BY_TABLE)


def test_pixels_overrule_a_table_that_flatters(clean):
    decision = decide(compress(compress(clean, 40), 90), strength_of_quality(90))
    assert decision.decided_by == BY_EARLIER and 36 <= decision.quality <= 44


def test_pixels_do_not_overrule_a_table_that_says_worse(clean):
    assert decide(compress(clean, 60), strength_of_quality(30)) == Decision(30, BY_TABLE)


def test_without_a_table_the_pixels_say_it(clean):
    decision = decide(compress(clean, 43), None)
    assert decision.decided_by == BY_PIXELS and 39 <= decision.quality <= 47
    assert decide(clean, None) == Decision(None, NO_TRACE)


def test_pixels_that_are_no_numbers_show_nothing():
    for value in (np.nan, np.inf):
        assert decide(np.full((20, 20), value), None) == Decision(None, NO_TRACE)


def test_strengths_of_any_table_become_a_quality():
    flat = np.zeros((16, 16), np.uint8)
    assert decide(flat, 0.5).quality == 100
    assert decide(flat, 1e5).quality == 1


@pytest.mark.parametrize("value", ["auto", "clean"])
def test_words(value):
    assert check_source_quality(value) == value


@pytest.mark.parametrize("value", [1, 100, "7", np.int64(40)])
def test_numbers(value):
    assert check_source_quality(value) == int(value)


@pytest.mark.parametrize("value", [0, 101, -5, "0", "x", "", "1.5", 40.5, True, None, "²"])
def test_other_qualities_are_refused(value):
    with pytest.raises(UserError, match="auto, clean, or 1 to 100"):
        check_source_quality(value)


def test_the_middle_of_an_image():
    assert middle((5000, 700)) == ((1988, 3012), (0, 700))
    assert middle((1024, 1025)) == ((0, 1024), (0, 1024))
