"""The site names all that is public; building it, which .ci/run does, checks its links."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import imageio.v3 as iio
import numpy as np
import pytest
from processes import run_python
from random_inputs import random_net

from npsrcnn import SRCNN, upscale
from npsrcnn.errors import UserError
from npsrcnn.images import Picture, read, read_array, write
from npsrcnn.kernels import Kernels, reference
from npsrcnn.model_files import formats
from npsrcnn.version import __version__

ROOT = Path(__file__).resolve().parents[1]
API = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "docs/api").glob("*.rst"))
DOCUMENTED = set(re.findall(r"automodule:: ([\w.]+)", API))
FACES = sorted(
    ".".join(path.parent.relative_to(ROOT).parts) for path in ROOT.glob("npsrcnn/**/__init__.py")
)
NOTEBOOKS = sorted((ROOT / "examples").glob("*.ipynb"))
CHECK_OF_TAG = 'grep -qxF "__version__ = \\"${GITHUB_REF_NAME#v}\\"" npsrcnn/version.py'
PAGES = sorted((ROOT / "docs").rglob("*.md"))


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


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.stem)
def test_links_to_lines_lead_to_what_they_name(page, monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "docs/_ext"))
    mended = importlib.import_module("line_links").mended
    assert page.read_text(encoding="utf-8") == mended(page), "python docs/_ext/line_links.py"


def test_examples_of_files_as_arrays(tmp_path):
    """README's example and the first of the page on Python, as they stand, on files they name."""
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (20, 17, 3), np.uint8)
    scan = rng.integers(0, 65536, (13, 16, 3), np.uint16)
    iio.imwrite(tmp_path / "photo.png", image)
    iio.imwrite(tmp_path / "scan.tif", scan)
    for page in ("README.md", "docs/how-to/python.md"):
        text = (ROOT / page).read_text(encoding="utf-8")
        code = re.findall(r"^```python\n(.*?)^```", text, re.M | re.S)[0]
        run_python(f"import os\nos.chdir({str(tmp_path)!r})\n{code}")
    for name, source, scale in (
        ("larger.png", image, 3), ("photo_x3.png", image, 3), ("scan_x2.tif", scan, 2),
    ):  # fmt: skip
        result = read_array(tmp_path / name)
        assert result.dtype == source.dtype
        np.testing.assert_array_equal(result, upscale(source, scale), err_msg=name)
        np.testing.assert_array_equal(iio.imread(tmp_path / name), result, err_msg=name)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("shape", [(9, 8), (9, 8, 3), (9, 8, 4)])
def test_imageio_and_files_of_the_command_hold_the_same_pixels(tmp_path, dtype, shape):
    samples = np.random.default_rng(0).integers(0, np.iinfo(dtype).max, shape, dtype, True)
    colour_of_16_bits = dtype == np.uint16 and len(shape) > 2
    for suffix in (".tif",) if colour_of_16_bits else (".tif", ".png"):
        iio.imwrite(tmp_path / f"a{suffix}", samples)
        found = read(tmp_path / f"a{suffix}").samples()
        np.testing.assert_array_equal(found.reshape(shape), samples)
        write(tmp_path / f"b{suffix}", Picture.from_samples(samples))
        back = iio.imread(tmp_path / f"b{suffix}")
        assert back.dtype == dtype
        np.testing.assert_array_equal(back, samples)


def recipe(heading: str) -> dict[str, Any]:
    """Run the code of a recipe of the tour, and return what it defines."""
    tour = (ROOT / "docs/tour.md").read_text(encoding="utf-8")
    (code,) = re.findall(rf"^### {heading}\n.*?^```python\n(.*?)^```", tour, re.M | re.S)
    defined: dict[str, Any] = {}
    exec(code, defined)
    return defined


def test_recipe_of_a_network():
    net = recipe("A network")["net"]
    image = np.random.default_rng(0).random((9, 8), np.float32)
    np.testing.assert_allclose(net.forward(image), image, atol=1e-6)  # init="bicubic" keeps it


def test_recipe_of_a_kind_of_layer():
    leaky_relu = recipe("A kind of layer")["leaky_relu"]  # checks its gradient itself
    np.testing.assert_array_equal(leaky_relu(np.array([-10.0, 2.0])), [-1, 2])


def test_recipe_of_a_file_format(tmp_path, monkeypatch):
    made = recipe("A file format")
    monkeypatch.setitem(formats.READERS, ".json", made["read"])
    monkeypatch.setitem(formats.WRITERS, ".json", made["write"])
    net, path = random_net(), tmp_path / "net.json"
    net.save(path)
    layers, facts = formats.read(path)
    again = SRCNN.from_layers(layers)
    assert facts["padding"] == net.padding
    for (w, b), (same_w, same_b) in zip(net.layers, again.layers, strict=True):
        np.testing.assert_array_equal(w, same_w)
        np.testing.assert_array_equal(b, same_b)
    path.write_text("{")
    with pytest.raises(UserError, match=r"net\.json"):
        formats.read(path)


def test_recipe_of_a_command(capsys):
    main = recipe("A command")["main"]
    assert main(["9-1-5-x3"]) == 0
    assert capsys.readouterr().out == "8129\n"
    assert main(["none-such"]) == 1 and capsys.readouterr().err.count("\n") == 1


def test_recipe_of_a_backend():
    made = recipe("A backend")
    layers = random_net().layers
    images = np.random.default_rng(0).standard_normal((2, 1, 11, 8)).astype(np.float32)
    expected = reference.forward(layers, images)
    # Sums of some hundred products through FFT, rounded at 6e-8 of the largest.
    np.testing.assert_allclose(made["forward"](layers, images), expected, atol=1e-4)
    assert all(name in made for name in vars(Kernels) if not name.startswith("_"))


def test_steps_of_workflows_are_commands_that_people_have():
    told = "".join((ROOT / name).read_text("utf-8") for name in (".ci/run", "CONTRIBUTING.md"))
    told += (ROOT / "README.md").read_text("utf-8")
    for path in sorted((ROOT / ".github/workflows").glob("*.yml")):
        steps = re.findall(r"^ +- run: (.*)$", path.read_text("utf-8"), re.MULTILINE)
        missing = {step for step in steps if step not in told} - {".ci/run", CHECK_OF_TAG}
        assert not missing and "run: |" not in path.read_text("utf-8"), path.name


@pytest.mark.skipif(sys.platform != "linux", reason="the workflow that builds packages has GNU sed")
def test_an_index_of_packages_gets_links_that_lead_somewhere(tmp_path):
    workflow = (ROOT / ".github/workflows/tests.yml").read_text("utf-8")
    command = re.search(r"- run: (sed .* README\.md)\n", workflow)[1]
    shutil.copy(ROOT / "README.md", tmp_path)
    there = {"ADDRESS": "https://example.org/us/npsrcnn", "TAG": "v1.0.0"}
    subprocess.run(["bash", "-ec", command], cwd=tmp_path, env=os.environ | there, check=True)
    before, after = (
        re.findall(r"(!?)\[[^]]*\]\(([^)]+)\)", (folder / "README.md").read_text("utf-8"))
        for folder in (ROOT, tmp_path)
    )
    for (image, link), (_, absolute) in zip(before, after, strict=True):
        address = f"https://example.org/us/npsrcnn/{'raw' if image else 'blob'}/v1.0.0/{link}"
        assert absolute == (link if link.startswith("https:") else address)
        assert absolute == link or (ROOT / link).is_file()
    assert {image for image, _ in before} == {"!", ""}


def test_the_citation_has_the_version():
    assert f"\nversion: {__version__}\n" in (ROOT / "CITATION.cff").read_text("utf-8")
