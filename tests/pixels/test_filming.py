"""A frame of a clip in which a picture moves: where it lies, what it loses, and the same bits."""

from __future__ import annotations

import sys
from dataclasses import replace

import numpy as np
import pytest

from npsrcnn.datasets import dead_leaves
from npsrcnn.errors import UserError
from npsrcnn.pixels.color import luma
from npsrcnn.pixels.filming import Shot, film
from npsrcnn.pixels.resize import imresize


@pytest.fixture(scope="module")
def picture():
    """Y of dead leaves, in 0..1: 148 x 160, so that half of it is enough for x265."""
    pytest.importorskip("av", reason="needs the extra video")
    return luma(dead_leaves(1, (148, 160), seed=3)[0]).astype(np.float32) / 255


def loss(a, b):
    return np.sqrt(np.mean((a[8:-8, 8:-8] - b[8:-8, 8:-8].astype(float)) ** 2))


@pytest.mark.parametrize("scale", [2, 3])
@pytest.mark.parametrize("encoder", ["libx264", "libx265"])
def test_the_kept_frame_is_the_picture_where_it_belongs(picture, encoder, scale):
    picture = picture[: 148 // scale * scale, : 160 // scale * scale]
    small = imresize(picture, 1 / scale) * 255
    for kept in (1, 3, 5):
        frame = film(picture, scale, Shot(encoder, 10, (-4, 5), kept))
        assert frame.shape == small.shape and frame.dtype == np.uint8
        assert loss(small, frame) < 2
        for moved in (np.roll(small, 1, 0), np.roll(small, 1, 1)):
            assert loss(moved, frame) > 4


@pytest.mark.parametrize("encoder", ["libx264", "libx265"])
def test_a_higher_crf_loses_more_and_the_bits_are_always_the_same(picture, encoder):
    small = imresize(picture, 0.5) * 255
    shots = [Shot(encoder, crf, (2, 3), 4) for crf in (12, 24, 36)]
    frames = [film(picture, 2, shot) for shot in shots]
    found = [loss(small, frame) for frame in frames]
    assert found[0] * 1.5 < found[1] and found[1] * 1.5 < found[2]
    for shot, frame in zip(shots, frames, strict=True):
        np.testing.assert_array_equal(film(picture, 2, shot), frame)


def test_encoder_motion_and_place_make_a_difference(picture):
    shot = Shot("libx264", 28, (2, 3), 4)
    changes = {"encoder": "libx265"}, {"velocity": (0, 0)}, {"kept": 2}
    others = [replace(shot, **change) for change in changes]
    frame = film(picture, 2, shot)
    for other in others:
        assert (film(picture, 2, other) != frame).mean() > 0.05


def test_what_x265_does_not_take_is_filmed_by_x264(picture):
    for size in ((128, 160), (34, 30)):
        part = picture[: size[0], : size[1]]
        frames = [film(part, 2, Shot(encoder, 28, (1, 1), 2)) for encoder in ("libx264", "libx265")]
        np.testing.assert_array_equal(*frames)


def test_without_pyav_it_says_what_to_install(picture, monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(UserError, match=r'^clips need PyAV: pip install "npsrcnn\[video\]"$'):
        film(picture, 2, Shot("libx264", 28, (1, 1), 2))
