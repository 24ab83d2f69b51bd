"""Frames that a damaged Matroska file has lost, and clips that have lost none."""

from __future__ import annotations

import random
from fractions import Fraction

import pytest
from moving import STEP, make_clip

from npsrcnn.video.clips import look_through
from npsrcnn.video.holes import damaged_bytes

HOLE = 3000  # bytes
SIZE = 96, 64
SHORT = {"g": "12"}


def damage(path, place, fill="zeros"):
    """Overwrite a part of a file, from that part of its length on."""
    data = bytearray(path.read_bytes())
    start = int(place * len(data))
    new = bytes(HOLE) if fill == "zeros" else random.Random(1).randbytes(HOLE)
    data[start : start + HOLE] = new
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("fill", ["zeros", "noise"])
@pytest.mark.parametrize("options", [SHORT, {"g": "12", "bf": "3", "preset": "medium"}])
@pytest.mark.parametrize("place", [0.2, 0.4, 0.6])
def test_frames_in_a_hole_are_counted(tmp_path, place, options, fill):
    path = make_clip(tmp_path / "a.mkv", 100, size=SIZE, options=options, sound=1)
    assert look_through(path).holes == () and list(damaged_bytes(path)) == []
    clip = look_through(damage(path, place, fill))
    left = {round(float(pts * clip.time_base) * 25) for pts in clip.pts}
    assert sum(hole.frames for hole in clip.holes) == 100 - len(left) > 0
    for seconds, frames in clip.holes:
        before = round(seconds * 25)
        assert not left & set(range(before + 1, before + 1 + frames))
        assert {before, before + 1 + frames} <= left


def test_frames_of_an_uneven_number_of_milliseconds(tmp_path):
    base = Fraction(1001, 24000)
    path = make_clip(tmp_path / "a.mkv", pts=range(99), time_base=base, last_duration=1,
                     size=SIZE, options=SHORT, rate=1 / base)  # fmt: skip
    assert len(set(map(int.__sub__, look_through(path).pts[1:], look_through(path).pts))) == 2
    clip = look_through(damage(path, 0.5))
    assert [hole.frames for hole in clip.holes] == [99 - len(clip.pts)]


GAP = [i * STEP for i in range(100) if not 40 <= i < 60]
UNEVEN = [i * STEP + i * i for i in range(100)]
ALWAYS = [i * STEP * (2 if i % 7 else 3) for i in range(100)]


@pytest.mark.parametrize("hole", [False, True])
@pytest.mark.parametrize("pts", [GAP, UNEVEN, ALWAYS, [2 * i * STEP for i in range(100)]])
def test_clips_that_leave_frames_out_are_not_blamed(tmp_path, pts, hole):
    path = make_clip(tmp_path / "a.mkv", pts=sorted(pts), size=SIZE, options=SHORT)
    if hole:  # how many frames are missing cannot be told
        damage(path, 0.75)
        assert list(damaged_bytes(path))
    assert look_through(path).holes == ()


def test_a_file_that_was_cut_off_has_no_hole(tmp_path):
    path = make_clip(tmp_path / "a.mkv", pts=GAP, size=SIZE, options=SHORT)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert list(damaged_bytes(path)) == [] and look_through(path).holes == ()


def test_alpha_beside_a_picture_is_no_hole(tmp_path):
    path = make_clip(tmp_path / "a.webm", codec="libvpx-vp9", pixel_format="yuva420p", pts=GAP,
                     options={"auto-alt-ref": "0"})  # fmt: skip
    assert list(damaged_bytes(path)) == [] and look_through(path).holes == ()
