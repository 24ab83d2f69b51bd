"""The command that writes smaller copies of images."""

from __future__ import annotations

import imageio.v3 as iio
import numpy as np
import pytest

from npsrcnn.commands.datasets import main
from npsrcnn.pixels.resize import imresize


def test_reduce_writes_smaller_copies(tmp_path, capsys, rng):
    sharp = rng.integers(0, 256, (30, 41, 3), np.uint8)
    grey = rng.integers(0, 256, (20, 20), np.uint8)
    (tmp_path / "in").mkdir()
    iio.imwrite(tmp_path / "in" / "a.bmp", sharp)
    iio.imwrite(tmp_path / "b.png", grey)
    out = tmp_path / "new" / "out"
    assert (
        main(["reduce", str(tmp_path / "in"), str(tmp_path / "b.png"), "0.75", "-o", str(out)]) == 0
    )
    assert capsys.readouterr().out == f"{out}: 2 images, reduced by 0.75\n"
    assert sorted(path.name for path in out.iterdir()) == ["a.png", "b.png"]
    np.testing.assert_array_equal(iio.imread(out / "a.png"), imresize(sharp, 0.75))
    np.testing.assert_array_equal(iio.imread(out / "b.png"), imresize(grey, 0.75))


def test_reduce_refuses_images_of_one_name(tmp_path, capsys):
    for name in ("a.png", "a.bmp"):
        iio.imwrite(tmp_path / name, np.zeros((9, 9), np.uint8))
    assert main(["reduce", str(tmp_path), "0.5", "-o", str(tmp_path / "out")]) == 1
    assert "would both become" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("factor", "said"), [("1", "not below 1"), ("0", "above 0"), ("half", "half")]
)
def test_reduce_takes_factors_below_one(factor, said, tmp_path, capsys):
    assert main(["reduce", str(tmp_path), factor, "-o", str(tmp_path / "out")]) == 2
    assert said in capsys.readouterr().err
