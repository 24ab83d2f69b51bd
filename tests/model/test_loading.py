"""Networks loaded from files and by name."""

from __future__ import annotations

import pytest
from networks import (
    asymmetric,
)

import npsrcnn
from npsrcnn import kernels
from npsrcnn.errors import UserError


def test_load_by_name(weights):
    net = npsrcnn.load("9-1-5-x2")
    assert net.scale == 2
    with pytest.raises(UserError, match=r"'9-1-5-x7' \(9-1-5-x3, 9-1-5-x2.*\?\): .*models.*train"):
        npsrcnn.load("9-1-5-x7")
    for outside in ("../weights/9-1-5-x2", "", "/9-1-5-x2", "a\nb"):
        with pytest.raises(UserError):
            npsrcnn.load(outside)


@pytest.mark.parametrize(
    ("name", "says", "scale"),
    [
        ("9-1-5_91-images_x3.mat", None, 3),
        ("9-1-5-x4.npz", None, 4),
        ("x2.mat", None, 2),
        ("9-1-5_x3.mat", 2, 2),
        ("9-1-5_x5.mat", None, None),
        ("max4.mat", None, None),
        ("9-1-5_x3_of_mine.mat", None, None),
    ],
)
def test_a_scale_that_a_file_does_not_say_is_in_its_name(name, says, scale, rng, tmp_path):
    asymmetric(rng, scale=says).save(tmp_path / name)
    assert npsrcnn.load(tmp_path / name).scale == scale


def test_what_a_device_lacks_is_not_said_of_the_file(weights, monkeypatch):
    def choose(device):
        raise UserError("no NVIDIA driver")

    monkeypatch.setattr(kernels, "choose", choose)
    with pytest.raises(UserError, match=r"^no NVIDIA driver$"):
        npsrcnn.load("9-1-5-x3", device="cuda")


def test_a_file_comes_before_a_name(weights, rng, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    asymmetric(rng, scale=4).save(tmp_path / "9-1-5-x2.npz")
    assert npsrcnn.load("9-1-5-x2.npz").scale == 4
    assert npsrcnn.load("9-1-5-x2").scale == 2
