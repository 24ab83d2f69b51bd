"""Fixtures of all tests: where the images are, random numbers, and a kernel of one's own.

Functions and modules that tests share are in this folder: random_inputs.py and processes.py.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import hypothesis
import numpy as np
import pytest
from networks import shipped_weights

from npsrcnn.model import shipped
from npsrcnn.runtime.threads import get_num_threads, set_num_threads

hypothesis.settings.register_profile(
    "busy machines", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("busy machines")
ROOT = Path(__file__).resolve().parents[1]

# What `-m "not slow"` leaves out: tests that start other processes, train, open browsers or
# simulate a GPU, and those that measure on the paper's images.
SLOW = {
    "app",
    "commands/test_evaluate.py",
    "commands/test_start.py",
    "commands/test_train.py",
    "commands/test_train_degraded.py",
    "evaluation/test_methods.py",
    "kernels/cuda",
    "model/test_weights.py",
    "report/test_reports.py",
    "test_benchmarks.py",
    "test_notebooks.py",
    "training/test_faults.py",
    "training/test_mpi.py",
    "upscaling/test_cluster.py",
    "upscaling/test_folder.py",
    "upscaling/test_streaming.py",
    "video",
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the slow tests."""
    for item in items:
        place = item.path.relative_to(ROOT / "tests")
        whole = {path.as_posix() for path in (place, *place.parents)}
        if whole & SLOW or "data_folder" in getattr(item, "fixturenames", ()):
            item.add_marker("slow")


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


@pytest.fixture(autouse=True)
def threads_as_before() -> Iterator[None]:
    """Whatever a test or a command in it sets, the next test has the number of before."""
    before = get_num_threads()
    yield
    set_num_threads(before)


@pytest.fixture
def refusal(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Run a command that ends with an exit code; return the one line that it says."""

    def run(main: Callable[[list[str]], int], argv: Iterable[object], code: int = 2) -> str:
        assert main([str(word) for word in argv]) == code
        line = capsys.readouterr().err
        assert line.count("\n") == 1 and "Traceback" not in line, line
        return line

    return run


@pytest.fixture
def weights(rng: np.random.Generator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of five small networks, as if they were those that ship."""
    folder = shipped_weights(tmp_path / "weights", rng)
    monkeypatch.setattr(shipped, "FOLDER", folder)
    return folder


@pytest.fixture
def fresh_function(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[int], int]:
    """A function in a file and a cache of its own, as if it were one of the kernels."""
    monkeypatch.setattr("numba.core.config.CACHE_DIR", "")  # keep what is compiled beside it
    path = tmp_path / "fresh.py"
    path.write_text("def fresh(x):\n    return x + 1\n")
    spec = importlib.util.spec_from_file_location("npsrcnn.kernels.fresh", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.fresh
