"""Fixtures of commands: a model, a photograph, pictures to train on."""

from __future__ import annotations

import imageio.v3 as iio
import numpy as np
import pytest
from random_inputs import random_net

from npsrcnn.commands import train
from npsrcnn.images import Picture, write
from npsrcnn.images.metadata import Metadata


@pytest.fixture
def model(tmp_path):
    """A file of weights for scale 2."""
    path = tmp_path / "model" / "model.npz"
    path.parent.mkdir()
    random_net(scale=2).save(path)
    return str(path)


@pytest.fixture
def photo(tmp_path, rng):
    path = tmp_path / "in" / "photo.png"
    path.parent.mkdir()
    write(
        path, Picture(rng.integers(0, 256, (20, 30, 3), np.uint8), None, Metadata(dpi=(300, 300)))
    )
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Make four pictures of soft blobs: 4 x 36 sub-images of 33 pixels, 14 apart."""
    rng = np.random.default_rng(5)
    result = tmp_path_factory.mktemp("pictures")
    for i in range(4):
        small = rng.uniform(0, 255, (20, 20, 3))
        blobs = np.kron(small, np.ones((6, 6, 1)))
        for axis in (0, 1):
            blobs = (blobs + np.roll(blobs, 1, axis) + np.roll(blobs, 2, axis)) / 3
        iio.imwrite(result / f"{i}.png", blobs[:111, :111].astype(np.uint8))
    return result


@pytest.fixture
def fails(refusal):
    """Train, and look for words in the one line that says why not."""

    def run(argv, code, *words):
        line = refusal(train.main, argv, code)
        for word in words:
            assert word in line, line

    return run
