"""Sizes in pixels: those that were asked for, of pictures of any shape."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile
from random_inputs import random_net

from npsrcnn import images
from npsrcnn.errors import UserError
from npsrcnn.images.scenes import TILE
from npsrcnn.pixels.resize import imresize
from npsrcnn.upscaling import files, streaming
from npsrcnn.upscaling.arrays import upscale
from npsrcnn.upscaling.choice import BySize, Chosen
from npsrcnn.upscaling.files import EnlargeOptions, Job, enlarge_file, need_of
from npsrcnn.upscaling.sizes import Fit, Size, fit, most_pixels


@pytest.mark.parametrize(
    ("size", "shape", "large", "name"),
    [
        (Size(width=900), (100, 300), (300, 900), "w900"),
        (Size(height=250), (100, 300), (250, 750), "h250"),
        (Size(longest=1000), (100, 300), (333, 1000), "1000"),
        (Size(longest=1000), (300, 100), (1000, 333), "1000"),
        (Size(1920, 1080), (768, 1366), (1080, 1920), "1920x1080"),  # 16:9 but for rounding
        (Size(longest=5), (1, 4000), (1, 5), "5"),
    ],
)
def test_shapes_and_names(size, shape, large, name):
    assert size.shape_of(shape) == large and str(size) == name
    assert fit(size, shape) == Fit(max(large[0] / shape[0], large[1] / shape[1]), large)


def test_a_scale_leaves_the_shape_to_the_picture():
    assert fit(2.5, (3, 3)) == Fit(2.5, None)


def test_no_picture_is_stretched():
    with pytest.raises(UserError, match="300 x 100 would be stretched to 400 x 300"):
        Size(400, 300).shape_of((100, 300))


def test_memory_is_for_the_worse_of_two_ways_up():
    assert most_pixels(Size(width=1000), (100, 300)) == (3000, 1000)
    assert most_pixels(2.5, (3, 5)) == (8, 13)


@pytest.fixture
def done(tmp_path, monkeypatch):
    """Enlarge a.tif to a size in memory and by blocks; what became of it."""

    def both(size, net, samples):
        tifffile.imwrite(tmp_path / "a.tif", samples, metadata=None)
        how = EnlargeOptions(BySize(Chosen([net])), size)
        outcome = enlarge_file(Job(tmp_path / "a.tif", tmp_path / "b.tif"), how)
        monkeypatch.setattr(streaming, "LARGEST", TILE)
        nets = [net] if outcome.enlarged > outcome.size else []
        paths = tmp_path / "a.tif", tmp_path / "c.tif"
        streaming.enlarge_scene(*paths, nets, size, memory=10**9)
        in_memory, by_blocks = (images.read(tmp_path / name).pixels for name in ("b.tif", "c.tif"))
        np.testing.assert_array_equal(in_memory, by_blocks)
        return in_memory, outcome

    return both


@pytest.mark.parametrize("size", [Size(width=201), Size(height=280), Size(longest=111), Size(9, 7)])
def test_exactly_that_size_in_memory_and_by_blocks(rng, done, size):
    samples = rng.integers(0, 256, (140, 180, 3), np.uint8)
    net = random_net("3-1-3")
    result, outcome = done(size, net, samples)
    rows, columns = size.shape_of((140, 180))
    assert result.shape == (rows, columns, 3) and outcome.enlarged == (columns, rows)
    if rows < 140:
        np.testing.assert_array_equal(result, imresize(samples, shape=(rows, columns)))
        assert outcome.comment == "not enlarged: bicubic interpolation alone"
    elif rows == 280:
        np.testing.assert_array_equal(result, upscale(samples, 2, net))
    else:
        large = upscale(samples / np.float32(255), 2, net)
        reduced = np.floor(imresize(large, shape=(rows, columns)).clip(0, 1) * 255 + 0.5)
        np.testing.assert_allclose(result, reduced, atol=1)


@pytest.mark.parametrize("size", [Size(width=301), Size(303, 303), Size(longest=11)])
def test_no_value_stays_where_it_was(rng, done, size):
    samples = rng.standard_normal((200, 199)).astype(np.float32)
    samples[50:60, 70:90] = np.nan
    samples[-1, -1] = np.nan
    result, _ = done(size, random_net("3-1-3"), samples)
    rows, columns = (((np.arange(n) + 0.5) * m / n).astype(int)
                     for n, m in zip(result.shape, (200, 199), strict=True))  # fmt: skip
    np.testing.assert_array_equal(np.isnan(result), np.isnan(samples[np.ix_(rows, columns)]))


@pytest.mark.parametrize("memory", [10**9, streaming.BASE])
def test_a_turned_scene_is_measured_upright(tmp_path, rng, monkeypatch, memory):
    samples = rng.integers(0, 256, (40, 70), np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", samples, metadata=None, extratags=[(274, 3, 1, 6, True)])
    job = Job(tmp_path / "a.tif", tmp_path / "b.tif")
    monkeypatch.setattr(streaming, "BASE", 0)  # so that this much is enough for blocks
    how = EnlargeOptions(BySize(Chosen([random_net("3-1-3")])), Size(width=60), memory)
    assert need_of(job, how).by_blocks == (memory == files.BASE)
    enlarge_file(job, how)
    assert images.read(tmp_path / "b.tif").pixels.shape == (105, 60)


def test_each_picture_gets_weights_for_what_it_needs(tmp_path, rng):
    choice = BySize()
    assert choice.for_factor(2.5).names == ("9-5-5-x3",)
    assert choice.for_factor(2).names == ("9-5-5-x2",)
    assert choice.for_factor(1.01).names == ("9-5-5-x2",)
    assert choice.for_factor(1).nets == () == choice.for_factor(0.3).nets
    assert choice.likely.names == ("9-5-5-x2",)
    images.write(tmp_path / "a.png", rng.integers(0, 256, (9, 12, 3), np.uint8))
    job = Job(tmp_path / "a.png", tmp_path / "b.png")
    known = BySize(Chosen([random_net("3-1-3")]))
    with pytest.raises(UserError, match=r"a\.png: the model was trained for scale 2, .* needs 3$"):
        enlarge_file(job, EnlargeOptions(known, Size(width=36)))
    with pytest.raises(UserError, match=r"a\.png: 12 x 9 would be stretched to 30 x 30"):
        enlarge_file(job, EnlargeOptions(known, Size(30, 30)))
    assert not job.target.exists()
    small, large = (
        need_of(job, EnlargeOptions(known, Size(width=width))).memory for width in (20, 2000)
    )
    assert large > 1000 * small
