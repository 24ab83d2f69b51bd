"""What is said of a clip that is enlarged all the same."""

from __future__ import annotations

import dataclasses
from fractions import Fraction

from moving import make_clip
from networks import identity

from npsrcnn.video.clips import look_through
from npsrcnn.video.holes import Hole
from npsrcnn.video.notes import notes_on
from npsrcnn.video.plan import Wishes, make_plan


def test_odd_things_are_said_a_line_each(tmp_path):
    pts = [900000 + 3600 * i for i in range(4)] + [9000000]
    path = make_clip(tmp_path / "a.ts", pts=pts, time_base=Fraction(1, 90000), last_duration=3600)
    clip = look_through(path)
    encoding = make_plan(clip, tmp_path / "b.ts", [identity(scale=2)], 2, Wishes()).encoding
    (jump,) = notes_on(clip, encoding)
    assert jump == (
        "its clock jumps by 90 s at 0.1 s, as the result's will: "
        "ffmpeg -i a.ts -map 0 -ignore_unknown -c copy a_times.ts closes the gap"
    )
    assert list(notes_on(dataclasses.replace(clip, container="matroska"), encoding)) == []
    holes = (Hole(10.5, 1),)
    odd = dataclasses.replace(clip, cut_off=7.25, has_dynamic_hdr=True, hdr="hdr10=1", holes=holes)
    begins = [line.split(" ")[:3] for line in notes_on(odd, encoding)]
    assert begins == [
        ["it", "ends", "7.2"],
        ["its", "file", "is"],
        ["its", "clock", "jumps"],
        ["HDR10+", "changes", "from"],
        ["h264", "carries", "no"],
    ]
    line = "its file is damaged, and has lost {1} at {0}, by the times around"
    assert line.format("0.5 s", "1 frame") in notes_on(odd, encoding)
    many = dataclasses.replace(odd, holes=tuple(Hole(10 + i, 2) for i in range(7)))
    places = "0.0 s, 1.0 s, 2.0 s, 3.0 s, 4.0 s and later"
    assert line.format(places, "14 frames") in notes_on(many, encoding)
