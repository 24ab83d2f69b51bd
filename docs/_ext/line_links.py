"""Keep links to lines true: `python docs/_ext/line_links.py` mends those of all pages of docs/.

A link to a line names what is defined there, [`SRCNN.forward`](../npsrcnn/model/network.py#L100),
so that the line can be found again when it has moved.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path

DOCS = Path(__file__).resolve().parents[1]
LINK = re.compile(
    r"(?P<before>\[`(?P<name>[\w.]+)(?:\(\))?`\]\((?P<path>[^)#]+\.py)#L)(?P<line>\d+)\)"
)


def definitions(source: str) -> dict[str, int]:
    """Return the line of each function, class and constant, and of methods as ``Class.method``."""
    found = {}
    for node in ast.parse(source).body:
        if isinstance(node, ast.Assign | ast.AnnAssign):
            for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
                found[ast.unparse(target)] = node.lineno
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            found[node.name] = node.lineno
            for inner in node.body if isinstance(node, ast.ClassDef) else []:
                if isinstance(inner, ast.FunctionDef):
                    found[f"{node.name}.{inner.name}"] = inner.lineno
    return found


def mended(page: Path) -> str:
    """Return the text of a page with every link to a line leading to what it names.

    Raises
    ------
    KeyError
        A file defines no such name.
    """

    def to_line(link: re.Match[str]) -> str:
        source = (page.parent / link["path"]).read_text(encoding="utf-8")
        return f"{link['before']}{definitions(source)[link['name']]})"

    return LINK.sub(to_line, page.read_text(encoding="utf-8"))


if __name__ == "__main__":
    for page in DOCS.rglob("*.md"):
        page.write_text(mended(page), encoding="utf-8")
