"""Who may import whom: down the floors only, and what is heavy or optional comes late."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "npsrcnn"

# From the top down. A room is a folder of the package, or a module that stands alone; it imports
# from floors below its own, and from itself.
FLOORS = (
    {"__main__", "train"},
    {"commands"},
    {"app"},
    {"__init__"},
    {"training"},
    {"report"},
    {"evaluation", "video"},
    {"upscaling"},
    {"sparse_coding", "datasets"},
    {"model", "images"},
    {"kernels", "model_files", "pixels"},
    {"runtime"},
    {"errors", "layers", "version"},
    {"words"},
)
FLOOR = {room: -height for height, rooms in enumerate(FLOORS) for room in rooms}
FILES = sorted(PACKAGE.rglob("*.py"))
STUB = PACKAGE / "__init__.pyi"  # says what the package's face imports when it is first used

# Test files of what no single module does; all others are named after the module that they test.
ACROSS_MODULES = {
    "commands/test_start",
    "commands/test_train_degraded",
    "commands/test_upscale_compressed",
    "commands/test_upscale_refused",
    "images/test_bad_files",
    "kernels/cuda/test_gpu",
    "kernels/cuda/test_host",
    "kernels/cuda/test_ptx",
    "model/test_weights",
    "model_files/test_bad_files",
    "report/test_reports",
    "test_architecture",
    "test_benchmarks",
    "test_documentation",
    "test_notebooks",
    "test_texts",
    "training/test_faults",
    "training/test_l1",
    "upscaling/test_pages",
    "upscaling/test_scenes_refused",
    "upscaling/test_steps",
}


def module_of(path: Path) -> str:
    """The dotted name of a file, of a face that of its folder."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_of(path) for path in FILES}


def room_of(module: str) -> str:
    """The room of a module: npsrcnn.kernels.cpu.tiles is in kernels."""
    return [*module.split("."), "__init__"][1]


def imports(path: Path) -> set[str]:
    """The modules of npsrcnn that a file imports anywhere in it, the narrowest that are named."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == (path == STUB) and node.module, f"{path}: relative import"
            module = f"npsrcnn.{node.module}" if path == STUB else node.module
            for alias in node.names:
                inner = f"{module}.{alias.name}"
                found.add(inner if inner in MODULES else module)
    return found & MODULES


def test_every_room_has_a_floor():
    assert {room_of(module_of(path)) for path in FILES} == set(FLOOR)


@pytest.mark.parametrize("path", [*FILES, STUB], ids=module_of)
def test_imports_go_down(path):
    room = room_of(module_of(path))
    for module in imports(path):
        other = room_of(module)
        assert other == room or FLOOR[other] < FLOOR[room], f"{path} imports {module}"


@pytest.mark.parametrize("path", [p for p in FILES if p.name == "__init__.py"], ids=module_of)
def test_a_face_holds_no_code(path):
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        docstring = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        exports = isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"
        exports |= "lazy_loader" in ast.unparse(node) and path.parent == PACKAGE
        assert docstring or exports or isinstance(node, ast.ImportFrom), ast.unparse(node)


def test_tests_mirror_the_rooms():
    without_module = set()
    for path in (ROOT / "tests").rglob("test_*.py"):
        place = path.relative_to(ROOT / "tests")
        module = PACKAGE / place.with_name(place.name.removeprefix("test_"))
        if not module.exists():
            without_module.add(place.with_suffix("").as_posix())
    assert without_module == ACROSS_MODULES


def loaded_by(code):
    """The modules that Python has loaded after ``code``."""
    code = f"import sys; {code}; print(*sys.modules)"
    return set(subprocess.check_output([sys.executable, "-c", code], text=True, cwd=ROOT).split())


def test_import_npsrcnn_leaves_all_for_its_first_use():
    loaded = loaded_by("import npsrcnn")
    assert {name for name in loaded if name.startswith("npsrcnn")} == {"npsrcnn"}
    assert "numpy" not in loaded


def test_what_is_heavy_or_for_training_is_left_for_later():
    heavy = {"PIL", "av", "dask", "imageio", "matplotlib", "mpi4py", "onnx", "pooch"}
    heavy |= {"npsrcnn.kernels.cpu.training", "scipy.io", "tifffile", "torch", "tqdm"}
    enlarge = "import numpy, npsrcnn; npsrcnn.upscale(numpy.zeros((8, 8), 'u1'), 2)"
    assert heavy & loaded_by(enlarge) == set()


def test_only_one_module_names_numba_options():
    options = {"nogil", "parallel", "error_model", "boundscheck", "nopython"}
    for path in FILES:
        tree = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        named = {node.arg for node in tree if isinstance(node, ast.keyword)} & options
        assert not named or path == PACKAGE / "runtime" / "jit.py", f"{path} names {named}"
