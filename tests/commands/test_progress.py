"""Bars: how far a clip's picture is, and what was done before; parts of a large picture."""

from __future__ import annotations

import sys
from fractions import Fraction
from pathlib import Path

from npsrcnn.commands.progress import ClipProgress, Progress
from npsrcnn.upscaling.files import Job


def test_a_bar_tells_the_time_of_the_picture_and_leaves_out_what_was_done_before(capsys):
    with ClipProgress(100_000, Fraction(25)) as progress:
        progress.frames(240)
        assert (progress._bar.n, progress._bar.initial) == (240, 240)
        for _ in range(91_785):
            progress.frames(1)
        assert progress._bar.n == 92_025
        assert progress._bar.desc == "1:01:21 of 1:06:40"


def test_lines_of_a_log_show_no_bar_that_is_not_due(capsys, monkeypatch):
    job = Job(Path("a.png"), Path("a_x2.png"))
    for interval, shown in ((60, ""), (0, "50%")):
        monkeypatch.setattr("npsrcnn.commands.progress.LOG_INTERVAL", interval)
        with Progress(1, sys.stdout) as progress:
            progress.part(job, 1, 4)
            progress.part(job, 2, 4)
            progress.write("a line")
            out, bars = capsys.readouterr()
            assert out == "a line\n" and shown in bars and bool(shown) == bool(bars)
            assert not bars or bars.rstrip(" ").endswith("\r")  # the line has a place of its own
            progress.picture(job, failed=False)
        assert "100%" not in capsys.readouterr().err


def test_of_several_pictures_at_once_the_parts_of_one_are_shown():
    one, other = (Job(Path(f"{name}.png"), Path(f"{name}_x2.png")) for name in "ab")
    with Progress(2, sys.stdout) as progress:
        progress.part(one, 1, 4)
        progress.part(other, 3, 9)
        assert (progress._parts.n, progress._parts.total) == (1, 4)
        progress.picture(other, failed=False)
        progress.part(one, 3, 4)
        assert progress._parts.n == 3
        progress.picture(one, failed=False)
        progress.part(other, 4, 9)
        assert (progress._parts.n, progress._parts.total) == (4, 9)
