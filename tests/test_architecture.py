"""Who may import whom: data flows one way, and what is heavy or optional comes late."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "npsrcnn"
MODULES = {
    ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts): path
    for path in PACKAGE.rglob("*.py")
}
FOUNDATION = {"npsrcnn.errors", "npsrcnn.version"}


def imports(path: Path) -> set[str]:
    """The modules of npsrcnn that a file imports anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{path}: relative import"
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return {name for name in found if name in MODULES or f"{name}.__init__" in MODULES}


def test_kernels_know_only_kernels():
    for name, path in MODULES.items():
        if name.startswith("npsrcnn.kernels"):
            outside = {i for i in imports(path) if not i.startswith("npsrcnn.kernels")}
            assert outside <= FOUNDATION | {"npsrcnn"}, f"{name} imports {outside}"


@pytest.mark.parametrize("module", ["resize", "color", "metrics"])
def test_arithmetic_on_images_knows_no_network_and_no_command(module):
    found = imports(MODULES[f"npsrcnn.{module}"])
    allowed = ("npsrcnn.kernels", "npsrcnn.color", "npsrcnn.errors")
    assert all(name == "npsrcnn" or name.startswith(allowed) for name in found), found


def test_nobody_imports_the_commands():
    commands = {"train", "convert", "gradcheck", "warmup", "upscale.__main__", "__main__"}
    commands = {f"npsrcnn.{name}" for name in commands}
    for name, path in MODULES.items():
        assert not imports(path) & commands, name


@pytest.mark.parametrize(
    "heavy",
    ["scipy.io", "matplotlib", "imageio", "PIL", "pooch", "tqdm", "torch", "onnx", "tifffile",
     "mpi4py"],
)  # fmt: skip
def test_import_npsrcnn_leaves_what_is_heavy_for_later(heavy):
    code = f"import sys, npsrcnn; sys.exit({heavy!r} in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_only_one_module_names_numba_options():
    options = {"nogil", "parallel", "error_model", "boundscheck", "nopython"}
    for name, path in MODULES.items():
        tree = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        named = {node.arg for node in tree if isinstance(node, ast.keyword)} & options
        assert not named or name == "npsrcnn.kernels.jit", f"{name} names {named}"
