"""Enlarging what a tab has sent: the command's bits, in its own folder."""

from __future__ import annotations

import contextlib
import threading
import zipfile

import numpy as np
import pytest
from networks import waves
from PIL import Image

from npsrcnn import images
from npsrcnn.app import enlarging
from npsrcnn.app.enlarging import bundle, compared, enlarge_uploads
from npsrcnn.commands import upscale
from npsrcnn.errors import UserError
from npsrcnn.images import Picture, write
from npsrcnn.images.metadata import Metadata
from npsrcnn.upscaling import strips


@pytest.fixture
def deep(tmp_path, rng):
    """A PNG file of 16 bits, with a resolution and a text."""
    path = tmp_path / "deep.png"
    pixels = rng.integers(0, 65536, (20, 30, 3), np.uint16)
    write(path, Picture(pixels, None, Metadata(dpi=(300, 300), text={"Author": "me"})))
    return path


def last_of(progress):
    *_, last = progress
    return last


def test_the_file_is_that_of_the_command(session, model, deep, tmp_path):
    progress = last_of(enlarge_uploads(session, [str(deep)], scale=2, model=model))
    (one,) = progress.done
    assert one.target.parent.parent.parent == session.folder
    assert upscale.main([str(deep), "--model", model, "-o", str(tmp_path / "c.png")]) == 0
    assert bundle(progress.done).read_bytes() == (tmp_path / "c.png").read_bytes()
    picture = images.read(one.target)
    assert picture.pixels.dtype == np.uint16 and picture.metadata.text == {"Author": "me"}
    assert "1 of 1 enlarged" in progress.text() and "30 x 20 → 60 x 40" in progress.text()


def test_fast_weights_are_those_for_the_quality_of_the_picture(session, tmp_path, rng):
    path = tmp_path / "small.jpg"
    Image.fromarray(waves(rng)).save(path, quality=76)
    (one,) = last_of(enlarge_uploads(session, [str(path)], scale=2, fast=True)).done
    assert one.model == ("fast-x2-q76",)
    assert upscale.main([str(path), "--scale", "2", "--fast", "-o", str(tmp_path / "c.jpg")]) == 0
    assert one.target.read_bytes() == (tmp_path / "c.jpg").read_bytes()


def test_many_come_as_a_zip_and_what_fails_is_named(session, model, deep, tmp_path, rng):
    paths = [deep]
    for i in range(3):
        paths.append(tmp_path / f"{i}.jpg")
        Image.fromarray(waves(rng)).save(paths[-1])
    paths[-1].write_bytes(paths[-1].read_bytes()[:900])  # truncated
    progress = last_of(enlarge_uploads(session, list(map(str, paths)), scale=2, model=model))
    assert len(progress.done) == 3 and "3 of 4" in progress.text()
    (line,) = progress.refused
    assert line.startswith("2.jpg: damaged or truncated") and str(tmp_path) not in line
    with zipfile.ZipFile(bundle(progress.done)) as archive:
        assert sorted(archive.namelist()) == ["0_x2.jpg", "1_x2.jpg", "deep_x2.png"]
        assert archive.testzip() is None
    assert bundle([]) is None


def test_a_cancel_ends_it_within_a_picture(session, model, tmp_path, rng, monkeypatch):
    monkeypatch.setattr(strips, "STRIP", 64)
    paths = [tmp_path / f"{i}.png" for i in range(50)]
    for path in paths:
        Image.fromarray(np.tile(waves(rng), (4, 1, 1))).save(path)
    for progress in enlarge_uploads(session, list(map(str, paths)), scale=2, model=model):
        if progress.at_work and not session.cancelled:
            assert "0.png: 14% computed" in progress.text()
            session.cancel()
    assert progress.cancelled and progress.at_work == {}
    done = len(progress.done)
    assert done < 50 and f"then cancelled; {50 - done} were not" in progress.text()
    (out,) = session.folder.glob("enlarge-*/out")
    assert {path.name for path in out.iterdir()} == {one.target.name for one in progress.done}
    assert not session.busy


@pytest.mark.parametrize("where", ["another process", "this one"])
def test_what_waits_for_kernels_says_so(where, session, model, deep, monkeypatch):
    """A cancel ends the wait for another process at once; and that for this one when it can."""
    cancelled, told = threading.Event(), []

    class Kernels:
        def wait(self, report, check):
            if where == "another process":
                report("Kernels are being compiled.")
                assert cancelled.wait(60)
                check()

    @contextlib.contextmanager
    def telling(report):
        if where == "this one":
            report("Kernels are being compiled.")
            assert cancelled.wait(60)
        yield

    monkeypatch.setattr(enlarging, "telling", telling)
    steps = enlarge_uploads(session, [str(deep)], kernels=Kernels(), scale=2, model=model)
    for progress in steps:
        told.append(progress.text())
        if told[-1].endswith("\n\nKernels are being compiled."):
            session.cancel()
        elif "Cancelled; it ends when the kernels are compiled" in told[-1]:
            cancelled.set()
    assert cancelled.is_set() and progress.cancelled
    assert told[-1].endswith("then cancelled; 1 were not")
    assert [path.name for path in session.folder.glob("enlarge-*/*/*")] == ["deep.png"]


def test_a_generator_that_is_dropped_ends_its_work(session, model, deep):
    steps = enlarge_uploads(session, [str(deep)] * 2, scale=2, model=model)
    next(steps)
    assert session.busy
    steps.close()
    assert not session.busy and session.cancelled


def test_nothing_sent(session, model):
    with pytest.raises(UserError, match="no picture yet"):
        last_of(enlarge_uploads(session, [], scale=2, model=model))


def test_a_view_with_the_original(session, model, tmp_path, rng):
    truth = waves(rng)[:40, :60]
    Image.fromarray(truth).save(tmp_path / "truth.png")
    Image.fromarray(truth).resize((30, 20), 3).save(tmp_path / "small.png")
    uploads = [str(tmp_path / "small.png")]
    progress = last_of(enlarge_uploads(session, uploads, scale=2, model=model))
    one = progress.done[0]
    html = compared(one, 2, "/file=", tmp_path / "truth.png")
    assert "bicubic, " in html and " dB" in html and "original" in html
    views = sorted(one.target.parent.parent.glob("*-view-*.png"))
    assert [f"/file={path}" in html for path in views] == [True] * 3
    np.testing.assert_array_equal(images.read_array(views[1]), images.read_array(one.target))
    Image.fromarray(truth[:20]).save(tmp_path / "other.png")
    with pytest.raises(UserError, match="the original is 60 x 20, and the result 60 x 40"):
        compared(one, 2, "/file=", tmp_path / "other.png")
