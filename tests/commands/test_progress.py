"""The bar of a clip: how far its picture is, and what was done before."""

from __future__ import annotations

from fractions import Fraction

from npsrcnn.commands.progress import ClipProgress


def test_a_bar_tells_the_time_of_the_picture_and_leaves_out_what_was_done_before(capsys):
    with ClipProgress(100_000, Fraction(25)) as progress:
        progress.frames(240)
        assert (progress._bar.n, progress._bar.initial) == (240, 240)
        for _ in range(91_785):
            progress.frames(1)
        assert progress._bar.n == 92_025
        assert progress._bar.desc == "1:01:21 of 1:06:40"
