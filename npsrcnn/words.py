"""Put numbers and names into lines that people read."""

from __future__ import annotations

import re

CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


def counted(count: float, noun: str, form: str = "") -> str:
    """Return a number, written as ``form`` says, and its noun: "1 frame", "2 frames"."""
    return f"{count:{form}} {noun if count == 1 else f'{noun}s'}"


def one_line(text: str) -> str:
    r"""Return text as one line that steers no terminal: a line break becomes ``\n``, as in Python.

    Names of files, and tags in them, may hold any character.
    """
    return CONTROLS.sub(lambda found: found[0].encode("unicode_escape").decode(), text)
