"""Fixtures of commands: a model and a photograph in files."""

from __future__ import annotations

import numpy as np
import pytest
from random_inputs import random_net

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
