"""Make a page of HTML that needs nothing but itself, in light and dark, on a phone and on paper."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

from npsrcnn.runtime.files import write_atomically
from npsrcnn.version import __version__

POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"
"""Content-Security-Policy: a browser refuses whatever is not in the file."""

COLORS = """
:root { color-scheme: light dark; --ink: #1d2330; --soft: #5b6474; --paper: #fff; --panel: #f3f5f8;
  --edge: #d4dae3; --mine: #0b61c4; --other: #b4491b; }
@media (prefers-color-scheme: dark) { :root { --ink: #e7ebf2; --soft: #a3adbd; --paper: #14171d;
  --panel: #1f242d; --edge: #3a4250; --mine: #6bb0ff; --other: #f09a6c; } }
"""
STYLE = """
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1.5rem 1rem 4rem; max-width: 68rem; background: var(--paper);
  color: var(--ink); font: 16px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.6rem; line-height: 1.25; margin: 0 0 .3rem; }
h2 { font-size: 1.15rem; margin: 2.2rem 0 .6rem; }
p.lead { font-size: 1.15rem; margin: 0 0 1rem; }
p.note, footer { color: var(--soft); font-size: .9rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .2rem .7rem .2rem 0; text-align: right; border-bottom: 1px solid var(--edge);
  white-space: nowrap; }
th:first-child, td:first-child { text-align: left; }
tr:last-child td { font-weight: 600; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .2rem 1rem; margin: 0; }
dt { color: var(--soft); }
dd { margin: 0; overflow-wrap: anywhere; font-family: ui-monospace, monospace; font-size: .88rem; }
.side-by-side { display: flex; flex-wrap: wrap; gap: 1.5rem; }
.side-by-side > * { flex: 1 1 20rem; min-width: 0; max-width: 34rem; }
@media print {
  @page { margin: 14mm; }
  :root { --ink: #000; --soft: #444; --paper: #fff; --panel: #fff; --edge: #999; --mine: #00418c;
    --other: #8a2f08; color-scheme: light; }
  body { max-width: none; padding: 0; font-size: 10pt; }
  figure, table, svg { break-inside: avoid; }
  h2 { break-after: avoid; }
}
"""


class Page:
    """A page that is filled from the top down and written as one file.

    Parameters
    ----------
    title : str
        Of the page, and its first heading.
    style : str
        CSS of what is put on the page, beside that of every page.
    """

    def __init__(self, title: str, style: str = "") -> None:
        self.title, self._style = title, style
        self._parts = [f"<h1>{escape(title)}</h1>"]

    def heading(self, text: str) -> None:
        """Begin a section."""
        self._parts.append(f"<h2>{escape(text)}</h2>")

    def text(self, text: str, kind: str = "") -> None:
        """Add a paragraph: a "lead", a "note", or plain."""
        self._parts.append(f'<p class="{kind}">{escape(text)}</p>')

    def html(self, part: str) -> None:
        """Add what is HTML already."""
        self._parts.append(part)

    def table(self, head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Add a table: names at the left, numbers right-aligned."""
        self._parts.append(table(head, rows))

    def facts(self, facts: Mapping[str, object]) -> None:
        """Add what is known, name by name."""
        rows = (f"<dt>{escape(k)}</dt><dd>{escape(str(v))}</dd>" for k, v in facts.items())
        self._parts.append(f"<dl>{''.join(rows)}</dl>")

    def __str__(self) -> str:
        """Return the whole file."""
        body = "\n".join(self._parts)
        return (
            '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
            f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
            '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
            f"<title>{escape(self.title)}</title>\n"
            f"<style>{COLORS}{STYLE}{self._style}</style>\n</head>\n<body>\n{body}\n"
            f"<footer><p>Written by npsrcnn {__version__}.</p></footer>\n</body>\n</html>\n"
        )

    def write(self, path: str | Path) -> None:
        """Write the file, whole or not at all; raises OSError where it cannot be written."""
        with write_atomically(path) as temporary:
            temporary.write_text(str(self), encoding="utf-8", errors="backslashreplace")


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table as HTML."""
    lines = [_row("th", head), *(_row("td", row) for row in rows)]
    return f'<div class="wide"><table>{"".join(lines)}</table></div>'


def _row(tag: str, cells: Sequence[str]) -> str:
    return f"<tr>{''.join(f'<{tag}>{escape(cell)}</{tag}>' for cell in cells)}</tr>"
