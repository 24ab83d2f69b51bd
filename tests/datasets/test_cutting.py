"""Cuts: counts known before any image is read, and options that are refused."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from npsrcnn.datasets.compression import Compression
from npsrcnn.datasets.cutting import Cut
from npsrcnn.errors import UserError


@settings(max_examples=60, deadline=None)
@given(
    height=st.integers(1, 60),
    width=st.integers(1, 60),
    scale=st.integers(1, 4),
    size=st.integers(1, 33),
    stride=st.integers(1, 20),
    rescale=st.lists(st.floats(0.2, 1), min_size=1, max_size=3),
    color=st.sampled_from(["y", "rgb", "ycbcr"]),
    compressed=st.booleans(),
)
def test_counts_and_bytes_are_those_of_the_pairs(
    height, width, scale, size, stride, rescale, color, compressed
):
    jpeg = Compression(10, 90) if compressed or scale == 1 else None
    cut = Cut(scale, size, size, stride, color, tuple(rescale), jpeg)
    image = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    pairs = list(cut.pairs(image))
    counts = [len(range(0, n - size + 1, stride)) for _, x in pairs for n in x.shape[1:]]
    assert cut.count(height, width) == sum(a * b for a, b in zip(*[iter(counts)] * 2, strict=True))
    assert cut.nbytes(height, width) == sum(x.nbytes + y.nbytes for x, y in pairs)
    for blurred, sharp in pairs:
        assert blurred.shape == sharp.shape and len(sharp) == cut.channels
        assert blurred.dtype == sharp.dtype == np.float32


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"label_size": 34}, "label of 34 pixels"),
        ({"label_size": 22}, "label of 22 pixels cannot lie at the centre of a sub-image of 33"),
        ({"label_size": -1}, "label of -1 pixels"),
        ({"stride": 0}, "stride"),
        ({"scale": 1}, "without JPEG compression there is nothing to restore"),
        ({"color": "hsv"}, "no colours 'hsv'"),
    ],
)
def test_options_that_do_not_fit_are_refused_in_one_line(options, message):
    with pytest.raises(UserError, match=message) as caught:
        Cut(**{"scale": 3, **options})
    assert "\n" not in str(caught.value)
