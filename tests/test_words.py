"""Numbers and names in lines that people read."""

from __future__ import annotations

import pytest

from npsrcnn.errors import UserError, describe
from npsrcnn.words import counted, one_line


@pytest.mark.parametrize(
    ("line", "made"),
    [
        ("0 frames", counted(0, "frame")),
        ("1 frame", counted(1, "frame")),
        ("2 frames", counted(2, "frame")),
        ("1,000 sub-images", counted(1000, "sub-image", ",")),
        ("0.5 minutes", counted(0.5, "minute", "g")),
        ("1 minute", counted(1.0, "minute", "g")),
    ],
)
def test_one_is_singular(line, made):
    assert made == line


def test_a_name_breaks_no_line_and_steers_no_terminal():
    name = "a\nb\r\x1b[2J\x9b2K\u2028c  \u3000é\\n.mp4"
    assert one_line(name) == r"a\nb\r\x1b[2J\x9b2K\u2028c  " + "\u3000é" + r"\n.mp4"


def test_an_error_is_one_line_and_names_keep_their_spaces():
    assert describe(UserError("a\n  b.mp4: damaged")) == r"a\n  b.mp4: damaged"
    assert describe(ValueError("two\n  lines")) == "two lines"
    missing = FileNotFoundError(2, "No such file or directory", "a\x1bc")
    assert describe(missing) == r"a\x1bc: No such file or directory"
