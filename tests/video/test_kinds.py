"""What is a clip, what an animated picture: by name, else by content."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from npsrcnn.video.kinds import is_animation, is_clip


@pytest.mark.parametrize("name", ["a.mp4", "A.MOV", "a.mkv", "a.webm", "a.ts", "a.avi", "a.h264"])
def test_a_suffix_says_it(tmp_path, name):
    assert is_clip(tmp_path / name)


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.gif", "folder", "missing"])
def test_pictures_folders_and_nothing_are_no_clips(tmp_path, name):
    (tmp_path / "folder").mkdir()
    (tmp_path / "a.tif").write_bytes(b"\x1aE\xdf\xa3")  # the suffix of a picture goes first
    assert not is_clip(tmp_path / name)


@pytest.mark.parametrize(
    ("head", "clip"),
    [
        (b"\0\0\0\x20ftypisom", True),
        (b"\0\0\0\x20ftypavif", False),
        (b"\0\0\0\x20ftypheic", False),
        (b"\x1aE\xdf\xa3", True),
        (b"RIFF\0\0\0\0AVI LIST", True),
        (b"RIFF\0\0\0\0WEBPVP8 ", False),
        (b"FLV\1", True),
        (b"G" + bytes(187) + b"G" + bytes(211), True),
        (b"\0\0\0\0G" + bytes(191) + b"G" + bytes(203), True),
        (b"Good morning" * 40, False),
        (b"", False),
    ],
)
def test_without_a_suffix_the_first_bytes_say_it(tmp_path, head, clip):
    path = tmp_path / "file"
    path.write_bytes(head)
    assert is_clip(path) == clip


def test_an_animation_has_several_frames(tmp_path):
    frames = [Image.fromarray(np.full((4, 4), 60 * i, np.uint8)) for i in range(3)]
    frames[0].save(tmp_path / "three.gif", save_all=True, append_images=frames[1:])
    frames[0].save(tmp_path / "one.gif")
    (tmp_path / "none.gif").write_text("no picture")
    names = "three.gif", "one.gif", "none.gif", "missing.gif"
    assert [is_animation(tmp_path / name) for name in names] == [True, False, False, False]
