"""What tests of the app share."""

from __future__ import annotations

import pytest
from networks import near_identity

from npsrcnn.app.sessions import Sessions


@pytest.fixture
def session():
    sessions = Sessions(sweep_seconds=1000)
    yield sessions.of("a")
    sessions.close_all()


@pytest.fixture
def model(tmp_path, rng):
    path = tmp_path / "model" / "model.npz"
    path.parent.mkdir()
    near_identity(rng, scale=2).save(path)
    return str(path)
