"""`npsrcnn upscale -`: a picture that is piped in or out."""

from __future__ import annotations

import io
import json
import sys
import tempfile

import numpy as np
import pytest
from PIL import Image

from npsrcnn import images
from npsrcnn.commands.upscale import main
from npsrcnn.upscaling.arrays import upscale


def piped_in(monkeypatch, data, *, terminal=False):
    """Put bytes into standard input."""
    stdin = io.TextIOWrapper(io.BytesIO(data))
    monkeypatch.setattr(stdin, "isatty", lambda: terminal, raising=False)
    monkeypatch.setattr(sys, "stdin", stdin)


@pytest.mark.parametrize(
    ("name", "output"), [("a.png", "PNG"), ("a.jpg", "JPEG"), ("a.tif", "TIFF"), ("a.gif", "PNG")]
)
def test_a_picture_through_pipes(tmp_path, model, rng, capsysbinary, monkeypatch, name, output):
    Image.fromarray(rng.integers(0, 256, (9, 12, 3), np.uint8)).save(tmp_path / name)
    piped_in(monkeypatch, (tmp_path / name).read_bytes())
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    assert main(["-", "--model", model]) == 0
    captured = capsysbinary.readouterr()
    assert b"standard output  12 x 9 -> 24 x 18" in captured.err
    with Image.open(io.BytesIO(captured.out)) as image:
        assert image.format == output
        result = np.asarray(image)
    assert main([str(tmp_path / name), "--model", model, "-o", str(tmp_path / "out")]) == 0
    (made,) = (tmp_path / "out").iterdir()
    np.testing.assert_array_equal(result, images.read_array(made))
    assert list((tmp_path / "temporary").iterdir()) == []


def test_one_end_is_a_pipe(photo, model, capsysbinary, monkeypatch, tmp_path):
    expected = upscale(images.read_array(photo), 2, model)
    piped_in(monkeypatch, photo.read_bytes())
    assert main(["-", "--model", model, "-o", str(tmp_path / "a.bmp"), "--json", "-"]) == 0
    assert json.loads(capsysbinary.readouterr().out)["failed"] == 0
    np.testing.assert_array_equal(images.read_array(tmp_path / "a.bmp"), expected)
    assert main([str(photo), "--model", model, "-o", "-", "--format", "tif"]) == 0
    (tmp_path / "b.tif").write_bytes(capsysbinary.readouterr().out)
    np.testing.assert_array_equal(images.read_array(tmp_path / "b.tif"), expected)
    assert [path.name for path in photo.parent.iterdir()] == ["photo.png"]


def test_what_pipes_cannot_do(photo, model, capsys, refusal, monkeypatch):
    with_model, twin = ["--model", model], photo.with_name("b.png")
    twin.write_bytes(photo.read_bytes())
    wrong = {
        "and IN is several": ["-", str(photo)],
        "- stands for one picture": [str(photo.parent / "*.png"), "-o", "-"],
        "--also-bicubic is for files": ["-", "--also-bicubic"],
        "cannot both go to the output": ["-", "--json", "-"],
    }
    piped_in(monkeypatch, b"")
    for message, argv in wrong.items():
        assert message in refusal(main, [*argv, *with_model])
    piped_in(monkeypatch, b"", terminal=True)
    assert "nothing is piped into it" in refusal(main, ["-", *with_model])
    frames = io.BytesIO()
    Image.new("L", (4, 4)).save(
        frames, "GIF", save_all=True, append_images=[Image.new("L", (4, 4), 9)]
    )
    piped_in(monkeypatch, frames.getvalue())
    assert "is given as a file" in refusal(main, ["-", *with_model])
    for data, message in (
        (b"", "nothing came"),
        (b"x", "standard input: not an image, or of an unknown format"),
        (b"II\xbc\x01", "standard input: JPEG XR, which is not read"),
        (photo.read_bytes()[:500], "stdin.png: damaged or truncated"),
    ):
        piped_in(monkeypatch, data)
        assert main(["-", *with_model]) == 1
        captured = capsys.readouterr()
        assert message in captured.err.splitlines()[-1] and not captured.out
