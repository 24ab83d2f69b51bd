"""Images taken more often the smaller their error, and smaller copies of images."""

from __future__ import annotations

import collections

import imageio.v3 as iio
import numpy as np
import pytest

from npsrcnn import datasets, protocol
from npsrcnn.datasets.__main__ import main
from npsrcnn.datasets.balancing import MOST
from npsrcnn.resize import imresize


@pytest.fixture
def noise(rng):
    """Ten images of more and more noise: their errors are as 1, 4, 9, ..."""
    pattern = rng.standard_normal((60, 60))
    return [np.float64(0.5) + 0.01 * (i + 1) * pattern for i in range(10)]


def error(image, scale):
    return 10 ** (-protocol.prepare(image, scale).psnr_bicubic / 10)


@pytest.mark.parametrize("scale", [2, 4])
def test_an_image_is_taken_as_often_as_its_error_is_small(noise, scale):
    taken = datasets.balanced(noise, scale)
    times = [sum(image is one for one in taken) for image in noise]
    errors = np.array([error(image, scale) for image in noise])
    hard = np.quantile(errors, 0.9)
    assert times == [max(1, min(MOST, round(hard / e))) for e in errors]
    assert times[0] == MOST and times[-1] == 1
    assert [i for i, image in enumerate(noise) for one in taken if one is image] == sorted(
        i for i, n in enumerate(times) for _ in range(n)
    )


def test_images_that_cannot_be_measured_are_kept_once_and_flat_ones_are_taken_most(
    noise, tmp_path
):
    broken, small, flat = (tmp_path / name for name in ("broken.png", "small.png", "flat.png"))
    broken.write_bytes(b"nothing")
    iio.imwrite(small, np.zeros((9, 9), np.uint8))
    iio.imwrite(flat, np.full((60, 60), 9, np.uint8))
    taken = datasets.balanced([*noise, broken, small, flat], 3)
    times = collections.Counter(one.name for one in taken if not isinstance(one, np.ndarray))
    assert times == {"broken.png": 1, "small.png": 1, "flat.png": MOST}
    assert datasets.balanced([broken], 3) == [broken]
    assert datasets.balanced([], 3) == []


def test_an_image_that_is_named_twice_is_taken_twice_as_often(noise, tmp_path):
    paths = []
    for i, image in enumerate(noise):
        paths.append(tmp_path / f"{i}.png")
        iio.imwrite(paths[-1], (255 * image.clip(0, 1)).astype(np.uint8))
    once, more = (datasets.balanced(names, 3) for names in (paths, [*paths, *paths]))
    assert collections.Counter(more) == {path: 2 * once.count(path) for path in paths}


def test_reduce_writes_smaller_copies(tmp_path, capsys, rng):
    sharp = rng.integers(0, 256, (30, 41, 3), np.uint8)
    grey = rng.integers(0, 256, (20, 20), np.uint8)
    (tmp_path / "in").mkdir()
    iio.imwrite(tmp_path / "in" / "a.bmp", sharp)
    iio.imwrite(tmp_path / "b.png", grey)
    out = tmp_path / "new" / "out"
    assert main(["reduce", str(tmp_path / "in"), str(tmp_path / "b.png"), "0.75",
                 "-o", str(out)]) == 0  # fmt: skip
    assert capsys.readouterr().out == f"{out}: 2 images, reduced by 0.75\n"
    assert sorted(path.name for path in out.iterdir()) == ["a.png", "b.png"]
    np.testing.assert_array_equal(iio.imread(out / "a.png"), imresize(sharp, 0.75))
    np.testing.assert_array_equal(iio.imread(out / "b.png"), imresize(grey, 0.75))


@pytest.mark.parametrize(
    ("factor", "said"), [("1", "not below 1"), ("0", "above 0"), ("half", "half")]
)
def test_reduce_takes_factors_below_one(factor, said, tmp_path, capsys):
    assert main(["reduce", str(tmp_path), factor, "-o", str(tmp_path / "out")]) == 2
    assert said in capsys.readouterr().err
