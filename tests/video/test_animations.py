"""Animated pictures: delays, loops, transparency and disposal of four formats, in and out."""

from __future__ import annotations

import numpy as np
import pytest
from networks import identity
from PIL import Image

from npsrcnn.errors import UserError
from npsrcnn.runtime import memory
from npsrcnn.upscaling.strips import enlarge
from npsrcnn.video import animations
from npsrcnn.video.animations import enlarge_animation
from npsrcnn.video.kinds import ANIMATIONS

DELAYS = [100, 50, 200, 70]
SUFFIXES = [".gif", ".apng", ".webp", ".avif"]


def moving_square(transparent):
    """Four frames: a square that moves over nothing, or over black; a bar that stays."""
    for i in range(4):
        samples = np.zeros((20, 24, 4), np.uint8)
        samples[..., 3] = 0 if transparent else 255
        samples[5:15, 3 + 4 * i : 9 + 4 * i] = (200, 40 * i, 60, 255)
        samples[:3] = (10, 200, 30, 255)
        yield Image.fromarray(samples)


def save(path, transparent, loop=3):
    first, *others = moving_square(transparent)
    options = {"disposal": 2} if path.suffix == ".gif" else {}
    options |= {"lossless": True} if path.suffix == ".webp" else {}
    options |= {"loop": loop} if path.suffix != ".avif" and loop is not None else {}
    kind = ANIMATIONS[path.suffix]
    first.save(path, kind, save_all=True, append_images=others, duration=DELAYS, **options)
    return path


def frames(path):
    with Image.open(path) as image:
        found = []
        for number in range(image.n_frames):
            image.seek(number)
            samples = np.asarray(image.convert("RGBA"))
            found.append((samples, image.info.get("duration")))
        return found, image.info.get("loop")


@pytest.mark.parametrize("transparent", [True, False])
@pytest.mark.parametrize("target", SUFFIXES)
@pytest.mark.parametrize("source", SUFFIXES)
def test_from_any_format_to_any_other(tmp_path, source, target, transparent):
    path = save(tmp_path / f"a{source}", transparent)
    made = enlarge_animation(path, tmp_path / f"b{target}", [identity(scale=2)], 2)
    assert (made.frames, made.size, made.enlarged) == (4, (24, 20), (48, 40))
    found, loop = frames(tmp_path / f"b{target}")
    assert [delay for _, delay in found] == DELAYS
    if target != ".avif":
        assert loop == (0 if source == ".avif" else 3)
    close = 3 if {source, target} <= {".gif", ".apng"} else 16  # what is lossy is less
    for (samples, _), (small, _) in zip(found, frames(path)[0], strict=True):
        alpha = small[..., 3] if transparent else None
        pixels, alpha = enlarge(small[..., :3], alpha, [identity(scale=2)], 2)
        if alpha is not None:
            solid = (alpha == 255) & (samples[..., 3] == 255)
            assert solid.sum() > 400 and (samples[alpha == 0, 3] == 0).mean() > 0.95
        else:
            solid = np.ones(pixels.shape[:2], bool)
            assert (samples[..., 3] == 255).all()
        assert np.abs(samples[solid, :3].astype(int) - pixels[solid]).mean() < close


def test_a_gif_that_plays_once_plays_once(tmp_path):
    path = save(tmp_path / "a.gif", True, loop=None)
    enlarge_animation(path, tmp_path / "b.gif", [identity(scale=2)], 2)
    assert frames(tmp_path / "b.gif")[1] is None


def test_what_was_seen_is_gone_in_the_next_frame(tmp_path):
    """Frames are not painted over one another: the square leaves nothing behind."""
    path = save(tmp_path / "a.gif", True)
    for suffix in SUFFIXES[:3]:
        enlarge_animation(path, tmp_path / f"b{suffix}", [identity(scale=2)], 2)
        last = frames(tmp_path / f"b{suffix}")[0][-1][0]
        assert (last[14:26, 8:14, 3] == 0).all() and (last[14:26, 34:40, 3] == 255).all()


def test_the_first_picture_of_an_apng_may_stand_apart(tmp_path):
    first, *others = moving_square(False)
    first.save(tmp_path / "a.png", save_all=True, append_images=others, default_image=True,
               duration=[50, 200, 70])  # fmt: skip
    enlarge_animation(tmp_path / "a.png", tmp_path / "b.png", [identity(scale=2)], 2)
    with Image.open(tmp_path / "b.png") as image:
        assert image.info["default_image"] and image.n_frames == 4
        delays = []
        for number in (1, 2, 3):
            image.seek(number)
            delays.append(image.info["duration"])
    assert delays == [50, 200, 70]


def test_a_colour_profile_stays(tmp_path):
    first, *others = moving_square(False)
    first.save(tmp_path / "a.png", save_all=True, append_images=others, icc_profile=b"profile")
    enlarge_animation(tmp_path / "a.png", tmp_path / "b.webp", [identity(scale=2)], 2)
    with Image.open(tmp_path / "b.webp") as image:
        assert image.info["icc_profile"] == b"profile"


def test_one_that_is_damaged_is_one_line_and_leaves_nothing(tmp_path):
    path = save(tmp_path / "a.webp", True)
    path.write_bytes(path.read_bytes()[:-300])
    with pytest.raises(UserError, match=r"a\.webp: damaged, or not to be written as WEBP"):
        enlarge_animation(path, tmp_path / "b.webp", [identity(scale=2)], 2)
    assert [other.name for other in tmp_path.iterdir()] == ["a.webp"]


def test_one_that_memory_does_not_hold_is_refused_before(tmp_path, monkeypatch):
    path = save(tmp_path / "a.gif", False)
    monkeypatch.setattr(animations, "physical_bytes", lambda: 1000.0)
    assert memory.physical_bytes() > 1000
    with pytest.raises(UserError, match=r"about 0\.0 GB of memory for 4 frames.*as a clip"):
        enlarge_animation(path, tmp_path / "b.gif", [identity(scale=2)], 2)


def test_the_first_seconds_alone_and_each_frame_told(tmp_path):
    path, told = save(tmp_path / "a.gif", False), []
    made = enlarge_animation(
        path, tmp_path / "b.gif", [identity(scale=2)], 2, seconds=0.3,
        report=lambda *frames: told.append(frames),
    )  # fmt: skip
    assert made.frames == 3 and told == [(1, 3), (2, 3), (3, 3)]
    assert [delay for _, delay in frames(tmp_path / "b.gif")[0]] == DELAYS[:3]
    assert (
        enlarge_animation(path, tmp_path / "c.gif", [identity(scale=2)], 2, seconds=0).frames == 1
    )
