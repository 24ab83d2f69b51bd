"""Training on several ranks: real ones, started by mpiexec on this machine.

Without mpi4py and an mpiexec only the partition is tested.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import imageio.v3 as iio
import mpi_ranks
import numpy as np
import pytest

from npsrcnn import SRCNN
from npsrcnn.commands import train
from npsrcnn.kernels.cpu import training
from npsrcnn.kernels.cpu.shares import SLOTS, Share
from npsrcnn.kernels.cpu.tiles import LANES
from npsrcnn.model import load
from npsrcnn.training.optimizers import parameters

MPIEXEC = shutil.which("mpiexec", path=Path(sys.executable).parent) or shutil.which("mpiexec")
needs_mpi = pytest.mark.skipif(
    importlib.util.find_spec("mpi4py") is None or MPIEXEC is None or sys.platform == "win32",
    reason="needs mpi4py and Open MPI's mpiexec: pip install '.[mpi]' (not on Windows)",
)
ROOT = Path(__file__).resolve().parents[2]
ENVIRONMENT = {
    **os.environ,
    "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]),
    # Open MPI refuses root, unless told twice; ranks that wait leave the core to those that work.
    "OMPI_ALLOW_RUN_AS_ROOT": "1",
    "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
    "OMPI_MCA_mpi_yield_when_idle": "1",
}


def mpiexec(ranks, *command):
    """Start the command on so many ranks."""
    return subprocess.Popen(
        [MPIEXEC, "--oversubscribe", "-n", str(ranks), *map(str, command)],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env=ENVIRONMENT,
    )  # fmt: skip


def finished(process, timeout=200):
    """Return what a process wrote, once it is over; end it if it is not by then."""
    try:
        return process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        process.terminate()
        raise


@pytest.mark.parametrize("ranks", [1, 3, 4])
@pytest.mark.parametrize("batch", [4 * LANES, 61, SLOTS * LANES, SLOTS * LANES + 19 * LANES + 3])
def test_shares_are_the_batch(batch, ranks):
    shares = [Share.of(batch, rank, ranks) for rank in range(ranks)]
    assert [share.stop for share in shares[:-1]] == [share.first for share in shares[1:]]
    assert max(s.slots for s in shares) - min(s.slots for s in shares) <= 1
    rows = np.concatenate([share.rows for share in shares])
    assert np.array_equal(np.sort(rows), np.arange(batch))
    assert np.array_equal(Share.of(batch).rows, np.arange(batch))


@pytest.mark.parametrize("batch", [61, SLOTS * LANES + 3 * LANES + 1])
def test_partial_sums_of_shares_are_those_of_the_batch(batch, rng):
    net = SRCNN("3-3", n=[8], seed=1)
    x = rng.standard_normal((batch, 1, 9, 9)).astype(np.float32)
    y = rng.standard_normal((batch, 1, 5, 5)).astype(np.float32)
    whole, losses = training.partial_sums(net.layers, x, y)
    parts, groups = [], np.empty_like(losses)
    for share in (Share.of(batch, rank, 3) for rank in range(3)):
        sums, groups[share.groups] = training.partial_sums(
            net.layers, x[share.rows], y[share.rows], share=share
        )
        parts.append(sums)
    assert np.array_equal(np.concatenate(parts), whole)
    assert np.array_equal(groups, losses)


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    """Return what four ranks have written, after all that mpi_ranks.py lets them do."""
    folder = tmp_path_factory.mktemp("ranks")
    process = mpiexec(4, sys.executable, Path(__file__).with_name("mpi_ranks.py"), folder)
    _, text = finished(process)
    assert process.returncode == 0, text
    with np.load(folder / "result.npz") as arrays:
        return dict(arrays)


@needs_mpi
@pytest.mark.parametrize("case", list(mpi_ranks.CASES))
def test_the_same_bits_on_any_number_of_ranks(result, case):
    for i, array in enumerate(mpi_ranks.alone(case)):
        for ranks in (1, 2, 3, 4):
            assert np.array_equal(array, result[f"{case} {ranks} {i}"]), f"{ranks} ranks"


@needs_mpi
def test_an_error_on_one_rank_is_said_by_rank_0_and_ends_all(result):
    said = result["broken"].tolist()
    assert said[0].startswith("DataError: rank 1 on") and "cut short" in said[0]
    assert said[1:] == ["SystemExit: 1"] * 3
    said = result["on rank 2"].tolist()
    assert said[0].startswith("DataError: rank 2 on") and "somewhere: No space left" in said[0]
    assert said[1:] == ["SystemExit: 1"] * 3


@needs_mpi
def test_ranks_that_do_not_fit_together_are_found_out(result):
    said = result["other weights"].tolist()
    assert said[0] == (
        "UserError: after 0 steps the ranks have not the same weights: "
        "train on machines of one kind"
    )
    assert said[1:] == ["SystemExit: 1"] * 3
    assert all("differ in lanes (8, 9)" in line for line in result["unlike"].tolist())
    assert all("work for 1 rank, not 4" in line for line in result["too many"].tolist())


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Make two pictures: 2 x 36 sub-images."""
    folder = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(5)
    for i in range(2):
        picture = np.kron(rng.integers(0, 256, (19, 19, 3)), np.ones((6, 6, 1)))
        iio.imwrite(folder / f"{i}.png", picture[:111, :111].astype(np.uint8))
    return folder


def arguments(pictures, out, epochs, *compression):
    return [
        "--data", str(pictures), "--eval", str(pictures / "0.png"), "--out", str(out),
        "--network", "5-3", "--batch", "64", "--rescale", "1", "--epochs", str(epochs),
        *(compression or ["--jpeg", "60-90"]),
    ]  # fmt: skip


def weights(out):
    return parameters(load(out / "last.npz").layers)


@needs_mpi
def test_a_rank_is_killed_and_fewer_resume_to_the_same_bits(pictures, tmp_path):
    epochs, out = 60, tmp_path / "killed"
    each = 'echo $$ > "$0/pid$OMPI_COMM_WORLD_RANK"; exec "$@"'
    process = mpiexec(
        3, "sh", "-c", each, tmp_path, sys.executable, "-m", "npsrcnn", "train", "--mpi",
        *arguments(pictures, out, epochs),
    )  # fmt: skip
    deadline = time.monotonic() + 60
    while not (out / "checkpoint.npz").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    os.kill(int((tmp_path / "pid1").read_text()), signal.SIGKILL)
    said, text = finished(process)
    assert process.returncode != 0
    assert "rank 1" in text and "signal 9" in text and "Traceback" not in text
    assert said.count("sub-images of") == 1, "only rank 0 speaks"
    assert f"--resume {out.resolve()}" in said, "how to go on is said before it is needed"

    process = mpiexec(2, sys.executable, "-m", "npsrcnn", "train", "--mpi", "--resume", out)
    said, text = finished(process)
    assert process.returncode == 0, text
    assert said.count("best model") == 1
    assert train.main(arguments(pictures, tmp_path / "straight", epochs)) == 0
    for a, b in zip(weights(tmp_path / "straight"), weights(out), strict=True):
        assert np.array_equal(a, b)


@needs_mpi
def test_frames_of_clips_on_two_ranks_are_those_on_one(pictures, tmp_path):
    pytest.importorskip("av", reason="needs the extra video")
    filmed = ["--scale", "2", "--crf", "20-33"]
    one, two = tmp_path / "one", tmp_path / "two"
    process = mpiexec(
        2, sys.executable, "-m", "npsrcnn", "train", "--mpi", *arguments(pictures, two, 2, *filmed)
    )
    _, text = finished(process)
    assert process.returncode == 0, text
    assert train.main(arguments(pictures, one, 2, *filmed)) == 0
    for a, b in zip(weights(one), weights(two), strict=True):
        assert np.array_equal(a, b)


@needs_mpi
def test_without_mpi_several_trainings_of_one_folder_are_refused(tmp_path):
    process = mpiexec(2, sys.executable, "-m", "npsrcnn", "train", "--out", tmp_path / "out")
    _, text = finished(process)
    assert process.returncode != 0 and "Traceback" not in text
    assert "has started 2 trainings of one folder: give --mpi" in text
    assert not (tmp_path / "out").exists()


@needs_mpi
def test_an_error_of_all_is_one_line(tmp_path):
    command = [sys.executable, "-m", "npsrcnn", "train", "--mpi"]
    process = mpiexec(2, *command, "--data", tmp_path / "nowhere", "--out", tmp_path / "out")
    _, text = finished(process)
    assert process.returncode == 1
    assert sum("nowhere" in line for line in text.splitlines()) == 1 and "Traceback" not in text


def test_without_mpi4py_it_says_what_to_install(monkeypatch, capsys, tmp_path):
    monkeypatch.setitem(sys.modules, "mpi4py", None)
    monkeypatch.delitem(sys.modules, "npsrcnn.training.mpi", raising=False)
    assert train.main(["--mpi", "--out", str(tmp_path)]) == 1
    line = capsys.readouterr().err.strip()
    assert "\n" not in line and 'pip install "npsrcnn[mpi]"' in line


def test_it_is_for_the_cpu(capsys, tmp_path):
    assert train.main(["--mpi", "--device", "reference", "--out", str(tmp_path)]) == 2
    assert "--mpi is for the CPU" in capsys.readouterr().err
