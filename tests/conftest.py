"""What the tests share: where the images are, and random signed arrays."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[1]


def _data_folder() -> Path | None:
    places = [os.environ.get("NPSRCNN_DATA"), ROOT.parent / "shared" / "data"]
    return next((Path(place) for place in places if place and Path(place).is_dir()), None)


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """The folder with T91, Set5, Set14 and the authors' weights; else the test is skipped."""
    folder = _data_folder()
    if folder is None:
        pytest.skip("no images to measure with: set NPSRCNN_DATA to a folder with Set5, Set14, T91")
    return folder


@pytest.fixture
def rng() -> np.random.Generator:
    """Random numbers from a fixed seed; use standard_normal: signed, so that ReLU has two sides."""
    return np.random.default_rng(20161)
