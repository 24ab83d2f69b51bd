"""`npsrcnn upscale`: each picture by its own compression."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from compressed import clean_picture, save_families
from PIL import Image

from npsrcnn import images
from npsrcnn.commands.upscale import main
from npsrcnn.images import write
from npsrcnn.model import shipped
from npsrcnn.pixels.jpeg import compress
from npsrcnn.upscaling import files
from npsrcnn.upscaling.arrays import upscale


@pytest.fixture
def compressed(tmp_path, monkeypatch):
    """A folder: a JPEG file, one of a picture that was compressed more before, two PNG files."""
    monkeypatch.setattr(shipped, "FOLDER", tmp_path / "weights")
    save_families(tmp_path / "weights")
    folder = tmp_path / "photos"
    folder.mkdir()
    clean = clean_picture()
    Image.fromarray(clean).save(folder / "a.jpg", quality=74)
    Image.fromarray(compress(clean, 40)).save(folder / "b.jpg", quality=90, subsampling=0)
    Image.fromarray(compress(clean, 43)).save(folder / "c.png")
    Image.fromarray(clean).save(folder / "d.png")
    return folder


def report_of(argv, capsys):
    """Run the command, and return what it says, and its report's rows by their source."""
    code = main([*map(str, argv), "--json", "-"])
    captured = capsys.readouterr()
    report = json.loads(captured.out)
    return code, captured.err, {Path(row["source"]).name: row for row in report["pictures"]}


def test_each_picture_by_its_own_compression(compressed, capsys):
    code, said, rows = report_of([compressed, "--scale", 2], capsys)
    assert code == 0
    found = {name: (row["source_quality"], row["decided_by"]) for name, row in rows.items()}
    assert found["a.jpg"] == (74, "its table")
    assert found["d.png"] == (None, "its pixels, which show no compression")
    for name, quality, decided_by in (
        ("b.jpg", 40, "its pixels, which show an earlier, stronger compression"),
        ("c.png", 43, "its pixels"),
    ):
        assert abs(found[name][0] - quality) <= 4 and found[name][1] == decided_by
    for name, (quality, _) in found.items():
        network = "y-x2" if quality is None else f"y-x2-q{quality}"
        assert rows[name]["model"] == [network]
        target = Path(rows[name]["target"])
        picture = images.read_array(compressed / name)
        expected = upscale(picture, 2, network)
        if target.suffix == ".png":
            np.testing.assert_array_equal(images.read_array(target), expected)
        line = next(line for line in said.splitlines() if line.startswith(str(target)))
        if quality is None:
            assert line.endswith(" s")
        elif name == "a.jpg":
            assert line.endswith(" s  JPEG of quality 74: restored with y-x2-q74")
        else:
            words = f"compressed before, as JPEG of quality {quality} by its pixels"
            assert line.endswith(f" s  {words}: restored with {network}")


def test_webp_is_decided_by_its_header(compressed, capsys):
    Image.fromarray(clean_picture()).save(compressed / "e.webp", quality=40)
    Image.fromarray(clean_picture()).save(compressed / "f.webp", lossless=True)
    sources = [compressed / "e.webp", compressed / "f.webp"]
    code, said, rows = report_of([*sources, "--scale", 2], capsys)
    quality = rows["e.webp"]["source_quality"]
    assert code == 0 and 20 < quality < 75 and rows["e.webp"]["decided_by"] == "its header"
    words = f"WebP, about as JPEG of quality {quality}: restored with y-x2-q{quality}"
    assert f" s  {words}\n" in said
    assert rows["f.webp"]["source_quality"] is None


def test_a_quality_as_told(compressed, capsys):
    one = [compressed / "d.png", "--scale", 2, "--source-quality"]
    for quality, number, network in (("30", 30, "y-x2-q30"), ("clean", None, "y-x2")):
        code, said, rows = report_of([*one, quality], capsys)
        row = rows["d.png"]
        assert code == 0 and row["model"] == [network]
        assert row["source_quality"] == number and row["decided_by"] == "as told"
        assert ("JPEG of quality 30, as told: restored with y-x2-q30" in said) == (number == 30)


def test_a_named_model_is_taken_as_it_is(compressed, capsys):
    code, said, rows = report_of([compressed / "a.jpg", "--model", "y-x2"], capsys)
    assert code == 0 and "quality" not in said
    assert rows["a.jpg"]["source_quality"] is None and rows["a.jpg"]["model"] == ["y-x2"]
    assert rows["a.jpg"]["decided_by"] == "the model that was named"
    argv = [compressed / "a.jpg", "--model", "y-x2", "--source-quality", 60]
    code, _, rows = report_of(argv, capsys)
    assert code == 0 and rows["a.jpg"]["model"] == ["y-x2-q60"]
    assert rows["a.jpg"]["source_quality"] == 60


def test_where_no_weights_ship_for_compressed_pictures(compressed, capsys):
    code, said, rows = report_of([compressed / "a.jpg", "--scale", 3], capsys)
    assert code == 0 and rows["a.jpg"]["model"] == ["y-x3"]
    assert rows["a.jpg"]["source_quality"] == 74
    assert said.endswith("  JPEG of quality 74; no weights for that at x3\n")
    code, said, rows = report_of([compressed / "a.jpg", "--scale", 2, "--fast"], capsys)
    assert code == 0 and rows["a.jpg"]["model"] == ["fast-x2"]
    assert said.endswith("  JPEG of quality 74; no fast weights for that at x2\n")


def test_scale_1_restores_what_was_compressed_and_names_what_was_not(compressed, capsys):
    assert main([str(compressed), "--scale", "1"]) == 1
    captured = capsys.readouterr()
    folder = compressed.with_name("photos_x1")
    assert {path.name for path in folder.iterdir()} == {"a_x1.jpg", "b_x1.jpg", "c_x1.png"}
    assert "216 x 200 -> 216 x 200" in captured.out and "restored with y-x1-q74" in captured.out
    assert captured.out.endswith("3 enlarged, 0 skipped, 1 failed\n")
    assert captured.err.count("\n") == 1 and f"{compressed / 'd.png'}: " in captured.err
    assert "was not compressed" in captured.err


def test_large_files_are_decided_by_their_middle(compressed, capsys, monkeypatch):
    pixels = images.read_array(compressed / "c.png")
    write(compressed / "e.tif", pixels)
    monkeypatch.setattr(files, "need_of", lambda job, options: files.Need(0, True))
    code, _, rows = report_of([compressed / "e.tif", "--scale", 2], capsys)
    row = rows["e.tif"]
    assert code == 0 and row["decided_by"] == "its pixels" and 39 <= row["source_quality"] <= 47
    expected = upscale(pixels, 2, row["model"][0])
    np.testing.assert_array_equal(images.read_array(row["target"]), expected)


def test_a_damaged_table_is_one_line_and_stops_no_other(compressed, capsys):
    path = compressed / "a.jpg"
    data = bytearray(path.read_bytes())
    data[data.index(b"\xff\xdb\x00\x43\x00") + 20] = 0
    path.write_bytes(data)
    assert main([str(compressed), "--scale", "2"]) == 1
    captured = capsys.readouterr()
    assert f"{path}: its quantization table is damaged" in captured.err
    assert captured.err.count("\n") == 1 and "3 enlarged" in captured.out


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--scale", "2", "--source-quality", "0"], "auto, clean, or 1 to 100"),
        (["--scale", "2", "--source-quality", "101"], "auto, clean, or 1 to 100"),
        (["--scale", "2", "--source-quality", "good"], "auto, clean, or 1 to 100"),
        (["--model", "y-x3", "--source-quality", "50"], "y-x3 has no weights for other qualities"),
        (["--model", "y-x2", "--fast"], "--fast"),
    ],
)
def test_qualities_that_cannot_be_are_one_line(compressed, capsys, argv, message):
    assert main([str(compressed / "a.jpg"), *argv]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
