"""The notebooks run from a clean start, and are committed as they ran."""

from __future__ import annotations

import os
import re
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = sorted((ROOT / "examples").glob("*.ipynb"))


@pytest.mark.notebook
@pytest.mark.filterwarnings("ignore")  # of jupyter's own machinery, not of what the notebook runs
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_runs(path, tmp_path, monkeypatch):
    monkeypatch.setenv("NPSRCNN_QUICK", "1")  # the trainings in them are shorter
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]))
    notebook = nbformat.read(path, as_version=4)
    NotebookClient(
        notebook, timeout=240, kernel_name="python3", resources={"metadata": {"path": tmp_path}}
    ).execute()


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_reads_well_on_the_web(path):
    notebook = nbformat.read(path, as_version=4)
    first, *_, last = notebook.cells
    assert first.cell_type == last.cell_type == "markdown"
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert all(cell.execution_count for cell in code), "committed without its outputs"
    assert any(cell.outputs for cell in code)
    assert not any(out.output_type == "error" for cell in code for out in cell.outputs)
    text = path.read_text(encoding="utf-8")
    assert len(text) < 1_000_000
    assert not re.search(r"/home/|/root/|/tmp/|/work/|site-packages", text)
