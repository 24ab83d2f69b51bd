"""Show the files of the repository that a text links to, each as a page with numbered lines.

`[conv2d](../npsrcnn/kernels/reference.py#L40)` works where a repository is read on the web. In the
site it leads to a page of that file, to the same line; a link to a folder leads to its face.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from docutils import nodes
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import TextLexer, get_lexer_for_filename
from pygments.util import ClassNotFound
from sphinx.application import Sphinx

SCHEME = "repository:"
LINK = re.compile(r"(?<=\]\()(?P<path>[^)\s#:]+)(?:#(?P<fragment>[^)\s]*))?(?=\))")


def mark_links(app: Sphinx, docname: str, source: list[str]) -> None:
    """Give links to files that are no documents a scheme, which MyST hands on as it is."""
    root = Path(app.srcdir)

    def marked(link: re.Match[str]) -> str:
        path = posixpath.normpath(posixpath.join(posixpath.dirname(docname), link["path"]))
        if (root / path).is_dir():
            path = posixpath.join(path, "__init__.py")
        is_picture = Path(path).suffix in {".png", ".svg", ".jpg", ".gif", ".webp"}
        is_document = app.env.path2doc(str(root / path)) in app.env.found_docs
        if is_picture or is_document or not (root / path).is_file():
            return link[0]
        return f"{SCHEME}{path}#{link['fragment'] or ''}"

    source[0] = LINK.sub(marked, source[0])


def resolve_links(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """Lead the marked links of a document to pages of source."""
    for link in doctree.findall(nodes.reference):
        uri = link.get("refuri", "")
        if uri.startswith(SCHEME):
            path, _, fragment = uri.removeprefix(SCHEME).partition("#")
            app.env.linked_sources.add(path)  # type: ignore[attr-defined]
            page = app.builder.get_relative_uri(docname, f"source/{path}")
            link["refuri"] = page + (f"#{fragment.replace('L', 'L-', 1)}" if fragment else "")


def pages_of_sources(app: Sphinx) -> Iterator[tuple[str, dict[str, Any], str]]:
    """Return name, contents and template of the page of every file that is linked to."""
    for path in sorted(app.env.linked_sources):  # type: ignore[attr-defined]
        text = (Path(app.srcdir) / path).read_text(encoding="utf-8")
        try:
            lexer = get_lexer_for_filename(path)
        except ClassNotFound:
            lexer = TextLexer()
        numbered = HtmlFormatter(linenos="inline", linespans="L")
        body = f"<h1>{path}</h1>{highlight(text, lexer, numbered)}"
        yield f"source/{path}", {"title": path, "body": body}, "page.html"


def begin(app: Sphinx) -> None:
    """Begin with no file."""
    app.env.linked_sources = set()  # type: ignore[attr-defined]


def setup(app: Sphinx) -> dict[str, bool]:
    """Connect to the events of a build."""
    app.connect("builder-inited", begin)
    app.connect("source-read", mark_links)
    app.connect("doctree-resolved", resolve_links)
    app.connect("html-collect-pages", pages_of_sources)
    return {"parallel_read_safe": True}
