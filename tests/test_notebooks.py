"""The notebooks of examples/ run from a clean start, and are committed as they ran."""

from __future__ import annotations

import asyncio
import os
import re
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, DeadKernelError

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = sorted((ROOT / "examples").glob("*.ipynb"))
SECONDS = 240  # for a whole notebook; each takes a quarter of it on two cores
LARGEST = 500_000  # bytes

each_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def read(path):
    return nbformat.read(path, as_version=4)


def execute(notebook, folder, seconds):
    """Run all cells in a fresh kernel; an error in one of them is raised here."""
    environment = {
        **os.environ,
        "NPSRCNN_QUICK": "1",  # the trainings in them are shorter
        "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")])),
    }
    client = NotebookClient(
        notebook, kernel_name="python3", resources={"metadata": {"path": str(folder)}}
    )
    asyncio.run(asyncio.wait_for(client.async_execute(env=environment), seconds))


# What jupyter's own machinery warns of is not what the notebook runs.
@pytest.mark.notebook
@pytest.mark.filterwarnings("ignore")
@each_notebook
def test_it_runs_and_leaves_nothing_behind(path, tmp_path):
    execute(read(path), tmp_path, SECONDS)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.notebook
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("code", "seconds", "error"),
    [
        ("assert 1 + 1 == 3", 60, CellExecutionError),
        ("import time; time.sleep(100)", 5, (asyncio.TimeoutError, DeadKernelError)),
    ],
)
def test_an_error_is_seen_and_an_endless_cell_stopped(code, seconds, error, tmp_path):
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code)])
    with pytest.raises(error):
        execute(notebook, tmp_path, seconds)


@each_notebook
def test_it_is_committed_as_it_ran(path):
    code = [cell for cell in read(path).cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    outputs = [output for cell in code for output in cell.outputs]
    assert any("image/png" in output.get("data", {}) for output in outputs)
    for output in outputs:
        assert output.output_type != "error"
        assert output.get("name") != "stderr", output.text


@each_notebook
def test_it_reads_well_on_the_web(path):
    first, *_, last = read(path).cells
    assert first.cell_type == last.cell_type == "markdown"
    assert first.source.startswith("# ")
    text = path.read_text(encoding="utf-8")
    assert len(text) < LARGEST
    assert not re.search(r"/home/|/root/|/tmp/|/work/|/Users/|site-packages|[A-Z]:\\\\", text)
    for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", text):
        assert (path.parent / target).exists(), f"a link to {target}, which is not there"
