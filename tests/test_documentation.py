"""The site names all that is public; building it, which .ci/run does, checks its links."""

from __future__ import annotations

import ast
import importlib.util
import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
API = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "docs/api").glob("*.rst"))
DOCUMENTED = set(re.findall(r"automodule:: ([\w.]+)", API))
FACES = sorted(
    ".".join(path.parent.relative_to(ROOT).parts) for path in ROOT.glob("npsrcnn/**/__init__.py")
)
NOTEBOOKS = sorted((ROOT / "examples").glob("*.ipynb"))


def is_module(name: str) -> bool:
    """Return whether a dotted name is a module, and not of something in one."""
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:  # its parent is a module, not a package
        return False


def imported_modules(code: str) -> set[str]:
    """Return the modules of npsrcnn that code imports, or imports from."""
    found = set()
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name if is_module(name) else node.module for name in names}
    return {name for name in found if name.split(".")[0] == "npsrcnn"}


@pytest.mark.parametrize("face", FACES)
def test_every_face_has_a_place_in_the_api(face):
    assert face in DOCUMENTED or face == "npsrcnn.commands"  # commands are told by --help


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_what_notebooks_import_is_in_the_api(path):
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    code = "\n".join(
        re.sub(r"(?m)^[%!].*$", "", "".join(cell["source"]))
        for cell in cells
        if cell["cell_type"] == "code"
    )
    assert imported_modules(code) <= DOCUMENTED


def test_modules_of_the_api_exist():
    assert all(map(is_module, DOCUMENTED))
