"""What the texts name is there: files, links, modules, commands and their options."""

from __future__ import annotations

import configparser
import importlib
import importlib.util
import re
import shlex
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
TEXTS = [
    path
    for folder in (".", "docs", "docs/how-to", "examples", "benchmarks", "npsrcnn/weights")
    for path in sorted((ROOT / folder).glob("*.md"))
]
NOTEBOOKS = sorted((ROOT / "examples").glob("*.ipynb"))

each_text = pytest.mark.parametrize("path", TEXTS, ids=lambda path: str(path.relative_to(ROOT)))
each_of_all = pytest.mark.parametrize("path", [*TEXTS, *NOTEBOOKS], ids=lambda path: path.name)


def commands_of(text: str) -> list[list[str]]:
    """Return name and arguments of every `npsrcnn NAME ...` in blocks of code."""
    found = []
    for language, block in re.findall(r"^```(\w*)\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        for line in re.split(r"\n|&&", "" if language else block):
            words = shlex.split(line, comments=True)
            if "npsrcnn" in words:
                found.append(words[words.index("npsrcnn") + 1 :])
            elif "npsrcnn.train" in words:
                found.append(["train", *words[words.index("npsrcnn.train") + 1 :]])
    return found


@each_of_all
def test_files_that_a_text_names_exist(path):
    text = path.read_text(encoding="utf-8")
    for name in re.findall(r"\]\((?!https?:)([^)#]+)\)", text):
        assert (path.parent / name).exists(), f"a link to {name}"
    for name in re.findall(r"`((?:npsrcnn|tests|benchmarks|docs|kernels)/[\w/.]+)`", text):
        assert (ROOT / name).exists() or (ROOT / "npsrcnn" / name).exists(), name
    for name in re.findall(r"python -m ((?:npsrcnn|benchmarks)\.[a-z_.]+[a-z_])", text):
        assert importlib.util.find_spec(name), name


@each_text
def test_headings_that_a_text_links_to_exist(path):
    text = path.read_text(encoding="utf-8")
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    anchors = {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}
    assert set(re.findall(r"\]\(#([^)]+)\)", text)) <= anchors


@each_text
def test_commands_of_a_text_have_the_options_that_it_gives(path):
    for name, *arguments in commands_of(path.read_text(encoding="utf-8")):
        command = importlib.import_module(f"npsrcnn.commands.{name}")
        command.make_parser().parse_args(arguments)


def test_the_texts_have_commands_to_check():
    how_to = [path for path in TEXTS if path.parent.name == "how-to"]
    for path in (ROOT / "README.md", *how_to):
        if path.name != "python.md":
            assert commands_of(path.read_text(encoding="utf-8"))


def test_the_oldest_libraries_that_are_tested_are_those_that_are_promised():
    settings = configparser.ConfigParser()
    settings.read(ROOT / "setup.cfg", encoding="utf-8")
    promised = {}
    for line in settings["options"]["install_requires"].split():
        name, version = line.split(">=")
        promised[name] = [*version.split("."), "0", "0"][:3]
    lines = (ROOT / ".ci" / "oldest.txt").read_text(encoding="utf-8").splitlines()
    pins = dict(line.split("==") for line in lines if not line.startswith("#"))
    assert {name: version.split(".") for name, version in pins.items()} == promised


def extras():
    settings = configparser.ConfigParser()
    settings.read(ROOT / "setup.cfg", encoding="utf-8")
    return {
        name: set(text.split("\n")) for name, text in settings["options.extras_require"].items()
    }


@each_of_all
def test_extras_that_a_text_names_are_there(path):
    named = re.findall(r"(?:npsrcnn|\.)\[([a-z,-]+)\]", path.read_text(encoding="utf-8"))
    assert {extra for several in named for extra in several.split(",")} <= extras().keys()


def test_each_extra_has_one_line_among_those_that_can_be_installed():
    text = (ROOT / "docs" / "getting-started.md").read_text(encoding="utf-8")
    lines = re.findall(r'^\| `pip install "\.\[([a-z-]+)\]"`', text, re.MULTILINE)
    found = extras()
    of_developers = {"bench", "cuda-test"}
    parts_of_others = {"onnx"}  # as the extra was called when it was all of `models`
    assert sorted(lines) == sorted(found.keys() - of_developers - parts_of_others)
    assert found["onnx"] <= found["models"]
