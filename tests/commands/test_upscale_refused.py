"""`npsrcnn upscale`: what is wrong with files, folders and options, each in one line."""

from __future__ import annotations

import errno
import os
import tempfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from npsrcnn import images
from npsrcnn.commands.upscale import main
from npsrcnn.images import formats, write
from npsrcnn.model import shipped
from npsrcnn.upscaling import files
from npsrcnn.upscaling.strips import enlarge


def test_wrong_calls(photo, model, refusal, tmp_path):
    twin = photo.with_suffix(".jpg")
    write(twin, np.zeros((4, 4), np.uint8))
    one, both = [str(photo), "--model", model], [str(photo), str(twin), "--model", model]
    (tmp_path / "file").write_text("x")
    namesake = tmp_path / "other" / photo.name
    wrong = {
        "the following arguments are required: IN": [],
        "unrecognized arguments: --sharpen (see": [*one, "--sharpen"],
        "unrecognized arguments: --skale=3; --scale? (see": [*one, "--skale=3"],
        "'0' is not a number above 0": [*one, "--scale", "0"],
        "'big' is not a number above 0": [*one, "--scale", "big"],
        "'0' is not a whole number of at least 1": [*one, "--threads", "0"],
        "cannot write .gif: use .png": [*one, "--format", "gif"],
        "cannot write .gif": [*one, "-o", str(tmp_path / "a.gif")],
        "choose one": [*one, "-o", str(tmp_path / "a.png"), "--format", "jpg"],
        "names one file, but IN is several": [*both, "-o", str(tmp_path / "a.png")],
        "would both become": [str(namesake), *one, "-o", str(tmp_path / "new")],
        "would be overwritten": [*one, "--suffix", ""],
        "no part of a file's name": [*one, "--suffix", "/../x"],
        "neither a folder nor": [*one, "-o", str(tmp_path / "file")],
        "'101' is more than 100": [*one, "--quality", "101"],
        "'0' is not a whole number": [*one, "--quality", "0"],
        "--lossless nothing: choose one": [*one, "--quality", "90", "--lossless"],
        "--quality: PNG has none": [*one, "--quality", "90", "--format", "png"],
        "--lossless: AVIF loses something": [*one, "--lossless", "--format", "avif"],
        "'greem' is no colour": [*one, "--background", "greem"],
        "'#ffffff80' is transparent itself": [*one, "--background", "#ffffff80"],
        "--background: WEBP keeps transparency": [*one, "--background", "red", "-o", "a.webp"],
        "--scale and --width both say": [*one, "--scale", "2", "--width", "80"],
        "--longest and --height both say": [*one, "--longest", "80", "--height", "80"],
        "'-3' is not a whole number": [*one, "--width=-3"],
        "--longest is for pictures": [str(tmp_path / "clip.mp4"), "--longest", "9"],
        "--strip is for pictures": [str(tmp_path / "clip.mp4"), "--strip"],
    }
    for message, argv in wrong.items():
        assert message in refusal(main, argv)
    assert {path.name for path in photo.parent.iterdir()} == {"photo.png", "photo.jpg"}
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("other", "argv"),
    [
        ("photo_x2.png", ["photo.png", "photo_x2.png"]),
        ("photo_x2.png", ["photo_x2.png", "../in/photo.png"]),
        ("photo_x2.png", [".", "-o", "."]),
        ("photo_x2_bicubic.png", ["photo.png", "photo_x2_bicubic.png", "--also-bicubic"]),
        ("b_pgm_x2_bicubic.png", ["b.pgm", "b_pgm_x2_bicubic.png", "--also-bicubic"]),
        ("b_bicubic.png", ["b_bicubic.png", "-o", "b.png", "--also-bicubic"]),
    ],
)
def test_no_source_is_overwritten_by_the_result_of_another(
    other, argv, photo, model, refusal, monkeypatch
):
    monkeypatch.chdir(photo.parent)
    write(photo.with_name(other), np.full((4, 4), 7, np.uint8))
    write(photo.with_name("b.pgm"), np.zeros((4, 4), np.uint8))
    before = {path: path.read_bytes() for path in photo.parent.iterdir()}
    line = refusal(main, [*argv, "--model", model])
    assert f"{other} would be overwritten by the result of" in line and "give another -o" in line
    assert {path: path.read_bytes() for path in photo.parent.iterdir()} == before


def test_no_source_is_overwritten_under_another_name(photo, model, refusal):
    other = photo.with_name("Photo.png")  # one file where case makes no difference
    if not other.exists():
        os.link(photo, other)
    before = photo.read_bytes()
    assert "would be overwritten" in refusal(main, [str(photo), "--model", model, "-o", str(other)])
    assert photo.read_bytes() == before


def test_no_source_is_overwritten_where_a_result_becomes_png(photo, model, capsys):
    deep = photo.with_name("photo.pgm")
    Image.fromarray(np.zeros((4, 4), np.uint16)).save(deep)
    other = photo.rename(photo.with_name("photo_pgm_x2.png"))
    before = other.read_bytes()
    main([str(deep), str(other), "--model", model])
    assert other.read_bytes() == before


def test_what_cannot_be_done(photo, model, refusal, tmp_path, monkeypatch):
    (tmp_path / "empty").mkdir()
    (tmp_path / "junk.npz").write_text("no weights")
    one = [str(photo), "--model", model]
    wrong = {
        "missing.png: No such file or directory": [str(tmp_path / "missing.png"), *one[1:]],
        "no image files in this folder": [str(tmp_path / "empty"), *one[1:]],
        "trained for scale 2, not 3": [*one, "--scale", "3"],
        "junk.npz": [str(photo), "--model", str(tmp_path / "junk.npz"), "--scale", "2"],
        "nothing-like-it": [str(photo), "--model", "nothing-like-it", "--scale", "2"],
        "JPEG holds at most": [*one, "--format", "jpg"],
    }
    monkeypatch.setitem(formats.FORMATS, ".jpg", formats.Format("JPEG", max_side=50))
    for message, argv in wrong.items():
        assert message in refusal(main, argv, 1)
    monkeypatch.setattr(shipped, "FOLDER", tmp_path / "empty")
    assert "npsrcnn train" in refusal(main, [str(photo), "--scale", "3"], 1)


@pytest.mark.parametrize("option", ["--json", "-o"])
def test_a_file_that_cannot_be_written_is_refused_before_the_work(
    option, photo, model, refusal, tmp_path, monkeypatch
):
    monkeypatch.setattr(images, "read", lambda path: pytest.fail("the work was begun"))
    file = str(tmp_path / "nowhere" / "a.png")
    error = refusal(main, [str(photo), "--model", model, option, file], 1)
    assert f"{file}: No such file or directory" in error
    assert list(photo.parent.iterdir()) == [photo] and not Path(file).parent.exists()


def test_a_read_only_folder(photo, model, refusal, monkeypatch):
    def refuse(*args, **kwargs):  # as it is for everybody but root
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), "somewhere")

    monkeypatch.setattr(tempfile, "mkstemp", refuse)
    error = refusal(main, [str(photo), "--model", model], 1)
    assert f"{photo.with_name('photo_x2.png')}: Permission denied; choose a place" in error


def test_a_full_disk(photo, model, refusal, monkeypatch):
    def fill_up(self, data):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_bytes", fill_up)
    error = refusal(main, [str(photo), "--model", model], 1)
    assert f"{photo.with_name('photo_x2.png')}: No space left on device; free some space" in error
    assert [path.name for path in photo.parent.iterdir()] == ["photo.png"]


def test_too_little_memory_is_counted_and_the_others_go_on(photo, model, refusal, monkeypatch):
    write(photo.with_name("small.png"), np.zeros((2, 2), np.uint8))

    def enlarge_small(pixels, *rest):
        if pixels.size > 4:
            raise MemoryError("Unable to allocate 7 TiB")
        return enlarge(pixels, *rest)

    monkeypatch.setattr(files, "enlarge", enlarge_small)
    error = refusal(main, [str(photo.parent), "--model", model], 1)
    assert f"{photo}: out of memory (Unable to allocate 7 TiB)" in error
    assert (photo.parent.with_name("in_x2") / "small_x2.png").exists()


def test_debug_shows_the_traceback(tmp_path, model, capsys):
    assert main([str(tmp_path / "missing.png"), "--model", model, "--debug"]) == 1
    assert "Traceback" in capsys.readouterr().err
