"""The command that measures: its table, its files, and what it refuses."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys

import numpy as np
import pytest
from networks import (
    identity,
    near_identity,
    two_images,
    waves,
)
from PIL import Image

from npsrcnn import load
from npsrcnn.commands import evaluate
from npsrcnn.commands.evaluate import main
from npsrcnn.evaluation import scores
from npsrcnn.evaluation.protocol import EvaluationImage
from npsrcnn.model import shipped
from npsrcnn.pixels.jpeg import compress
from npsrcnn.pixels.metrics import psnr


@pytest.fixture
def picture(rng):
    return waves(rng)


@pytest.fixture
def folder(picture, tmp_path):
    return two_images(tmp_path / "images", picture)


@pytest.fixture
def model(rng, tmp_path):
    path = tmp_path / "model.npz"
    near_identity(rng, scale=3).save(path)
    return str(path)


def run(arguments, capsys, code=0):
    assert main([str(argument) for argument in arguments]) == code
    captured = capsys.readouterr()
    assert "Traceback" not in captured.err
    return captured.out, captured.err


def test_the_table(folder, model, capsys):
    out, err = run(["--model", model, "--data", folder], capsys)
    lines = out.splitlines()
    assert lines[0] == f"SRCNN 1-1 ({model}, edges replicated)"
    assert lines[1].startswith("x3; Y as MATLAB's rgb2ycbcr; modcrop; bicubic down and up")
    assert lines[3].split() == ["image", "bicubic", "PSNR", "gain", "bicubic", "SSIM", "gain"]
    mean = scores.evaluate(load(model), folder, 3)["mean"]
    cells = lines[-1].split()
    assert cells[0] == "mean" and len(lines) == 7
    assert float(cells[1]) == pytest.approx(mean["psnr_bicubic"], abs=0.0006)
    assert float(cells[2]) == pytest.approx(mean["psnr"], abs=0.0006)
    assert float(cells[3]) == pytest.approx(mean["psnr"] - mean["psnr_bicubic"], abs=0.0006)
    assert err == ""


def test_json_and_csv(folder, model, tmp_path, capsys):
    expected = scores.evaluate(load(model), folder, 3)
    out, err = run(["--model", model, "--data", folder, "--json", "-"], capsys)
    assert json.loads(out) == expected
    assert "bicubic" in err
    files = ["--json", tmp_path / "r.json", "--csv", tmp_path / "r.csv"]
    out, _ = run(["--model", model, "--data", folder, *files], capsys)
    assert "mean" in out
    assert json.loads((tmp_path / "r.json").read_text()) == expected
    rows = list(csv.DictReader(io.StringIO((tmp_path / "r.csv").read_text())))
    assert [row["name"] for row in rows] == ["a.png", "b.png", "mean"]
    assert float(rows[2]["ssim"]) == expected["mean"]["ssim"]
    out, _ = run(["--model", model, "--data", folder, "--csv", "-"], capsys)
    assert out == (tmp_path / "r.csv").read_text()


@pytest.mark.skipif(os.name != "posix", reason="names are bytes")
def test_a_name_that_is_no_text_is_escaped(folder, model, tmp_path, capsys):
    (folder / "a.png").rename(folder / "a\udcff.png")
    run(["--model", model, "--data", folder, "--csv", tmp_path / "r.csv"], capsys)
    assert "\na\\udcff.png," in (tmp_path / "r.csv").read_text()


def test_infinite_psnr_is_null(tmp_path, model, capsys):
    Image.new("RGB", (40, 40), (16, 100, 200)).save(tmp_path / "flat.png")
    arguments = ["--method", "srcnn", "--model", model, "--data", tmp_path / "flat.png"]
    out, _ = run([*arguments, "--json", "-"], capsys)
    row = json.loads(out, parse_constant=pytest.fail)["images"][0]
    assert row["psnr_bicubic"] is None


def test_colours_are_shown_when_asked_for(folder, model, capsys):
    out, _ = run(["--model", model, "--data", folder, "--color", "--json", "-"], capsys)
    colour, grey = json.loads(out)["images"]
    assert "psnr_ycbcr_bicubic" in colour and "psnr_ycbcr" not in grey
    out, _ = run(["--model", model, "--data", folder, "--color"], capsys)
    assert out.splitlines()[3].split()[-2:] == ["bicubic", "RGB"]
    assert "TPAMI Table 5" in out


def test_pictures_are_saved(folder, model, tmp_path, capsys):
    out, _ = run(["--model", model, "--data", folder, "--save", tmp_path / "out" / "put"], capsys)
    assert str(tmp_path / "out" / "put") in out
    names = sorted(path.name for path in (tmp_path / "out" / "put").iterdir())
    assert names == [
        f"{stem}_{kind}.png" for stem in "ab" for kind in ("bicubic", "compared", "srcnn")
    ]
    truth = EvaluationImage.from_array(np.asarray(Image.open(folder / "a.png")), 3).picture
    with Image.open(tmp_path / "out" / "put" / "a_bicubic.png") as saved:
        assert psnr(np.asarray(saved), truth, 255) > 15
    with Image.open(tmp_path / "out" / "put" / "b_srcnn.png") as saved:
        assert saved.mode == "L"


def test_images_of_one_name_are_saved_as_two(folder, model, tmp_path, capsys):
    (folder / "b.png").rename(folder / "a.bmp")
    saved = tmp_path / "saved"
    run(["--model", model, "--data", folder, "--save", saved], capsys)
    assert sorted(path.name for path in saved.iterdir()) == [
        f"a_{kind}.png"
        for kind in ("bicubic", "bmp_bicubic", "bmp_compared", "bmp_srcnn", "compared", "srcnn")
    ]
    (folder / "a_bmp.png").write_bytes((folder / "a.png").read_bytes())
    _, err = run(["--model", model, "--data", folder, "--save", tmp_path / "no"], capsys, 1)
    assert "a.bmp and" in err and "a_bmp.png would both be saved as" in err
    assert not (tmp_path / "no").exists()


def test_no_image_that_is_measured_is_saved_over(folder, model, capsys):
    before = (folder / "b.png").rename(folder / "a_compared.png").read_bytes()
    _, err = run(["--model", model, "--data", folder, "--save", folder], capsys, 1)
    assert "a_compared.png is measured and would be overwritten: save elsewhere" in err
    assert (folder / "a_compared.png").read_bytes() == before


def test_a_method_can_be_added(folder, monkeypatch, capsys):
    monkeypatch.setitem(
        evaluate.METHODS, "nothing", lambda options: (lambda i: i.bicubic, 4, "no method", False)
    )
    out, _ = run(["--method", "nothing", "--data", folder], capsys)
    assert out.startswith("no method\nx4;")
    assert out.splitlines()[-1].split()[3] == "+0.000"


@pytest.fixture
def weights(tmp_path, monkeypatch):
    """Weights that ship for x2 and x3: the identity, under a name."""
    path = tmp_path / "weights"
    path.mkdir()
    monkeypatch.setattr(shipped, "FOLDER", path)
    for scale in (2, 3):
        identity(1, scale=scale).save(path / f"1-1-x{scale}.npz")


def test_the_default_is_the_best_that_ships(folder, weights, capsys):
    out, _ = run(["--data", folder, "--scale", 3], capsys)
    assert out.startswith("SRCNN 1-1 (1-1-x3, edges replicated)\nx3;")
    assert out.splitlines()[-1].split()[3] == "+0.000"
    out, _ = run(["--data", folder, "--scale", 3, "--ensemble"], capsys)
    assert "mean over 8 orientations" in out
    assert out.splitlines()[-1].split()[3] == "+0.000"


def test_scales_without_weights_go_in_steps(tmp_path, rng, weights, capsys):
    Image.fromarray(rng.integers(0, 255, (90, 90), dtype=np.uint8)).save(tmp_path / "a.png")
    out, _ = run(["--data", tmp_path / "a.png", "--scale", 6], capsys)
    assert "x2 by SRCNN 1-1 (1-1-x2, edges replicated), x3 by SRCNN 1-1 (1-1-x3" in out
    out, _ = run(["--data", tmp_path / "a.png", "--scale", 5], capsys)
    assert "x0.8333 by bicubic interpolation\nx5;" in out


def test_each_quality_of_jpeg_has_its_block(folder, tmp_path, capsys):
    identity(1, scale=2).save(tmp_path / "net.npz")
    arguments = ["--model", tmp_path / "net.npz", "--data", folder, "--jpeg", "75,20,75"]
    files = ["--json", tmp_path / "r.json", "--csv", tmp_path / "r.csv"]
    out, err = run([*arguments, *files, "--save", tmp_path / "saved"], capsys)
    blocks = [block.splitlines() for block in out.split("SRCNN ")[1:]]
    assert len(blocks) == 2 and err == ""
    for block, quality in zip(blocks, (75, 20), strict=True):
        assert f"JPEG of quality {quality} by libjpeg" in block[1]
        assert block[3].split() == ["image", "bicubic", "PSNR", "gain", "bicubic", "SSIM", "gain"]
        assert block[6].split()[0] == "mean" and block[6].split()[3] == "+0.000"
    results = json.loads((tmp_path / "r.json").read_text())
    assert [result["jpeg"] for result in results] == [75, 20]
    for result, quality in zip(results, (75, 20), strict=True):
        assert result.pop("method") == f"SRCNN 1-1 ({tmp_path / 'net.npz'}, edges replicated)"
        assert result == scores.evaluate(load(tmp_path / "net.npz"), folder, 2, jpeg=quality)
    rows = list(csv.DictReader(io.StringIO((tmp_path / "r.csv").read_text())))
    assert [(row["name"], row["jpeg"]) for row in rows] == [
        (name, quality) for quality in ("75", "20") for name in ("a.png", "b.png", "mean")
    ]
    assert float(rows[5]["psnr"]) == results[1]["mean"]["psnr"]
    assert sorted(path.name for path in (tmp_path / "saved").iterdir()) == [
        f"{stem}_q{quality}_{kind}.png"
        for stem in "ab"
        for quality in (20, 75)
        for kind in ("bicubic", "compared", "srcnn")
    ]


def test_one_frame_of_a_clip_is_measured(folder, tmp_path, capsys):
    pytest.importorskip("av", reason="needs the extra video")
    identity(1, scale=2).save(tmp_path / "net.npz")
    arguments = ["--model", tmp_path / "net.npz", "--data", folder, "--crf", 30]
    files = ["--json", tmp_path / "r.json", "--csv", tmp_path / "r.csv"]
    out, _ = run([*arguments, *files], capsys)
    assert "x264 at CRF 30, 6 frames" in out
    result = json.loads((tmp_path / "r.json").read_text())
    for row in result["images"]:
        image = EvaluationImage.from_file(folder / row["name"], 2, crf=30)
        assert row["crf"] == 30 and row["psnr_bicubic"] == image.psnr_bicubic
    assert result["crf"] == result["mean"]["crf"] == 30
    assert (tmp_path / "r.csv").read_text().startswith("name,crf,psnr_bicubic,")


def test_at_scale_1_the_input_is_the_jpeg(folder, tmp_path, capsys):
    identity(1).save(tmp_path / "net.npz")
    arguments = ["--model", tmp_path / "net.npz", "--data", folder, "--scale", 1]
    saved = tmp_path / "saved"
    out, _ = run([*arguments, "--jpeg", 40, "--color", "--save", saved], capsys)
    head = out.splitlines()[3].split()
    assert " ".join(head) == (
        "image JPEG PSNR gain JPEG SSIM gain JPEG PSNR-B gain JPEG Cb JPEG Cr JPEG YCbCr JPEG RGB"
    )
    cells = out.splitlines()[6].split()
    assert cells[0] == "mean" and {cells[3], cells[9]} == {"+0.000"}
    truth, decoded = (
        np.asarray(Image.open(path)) for path in (folder / "a.png", saved / "a_q40_jpeg.png")
    )
    np.testing.assert_array_equal(decoded, compress(truth, 40))
    _, err = run(["--model", tmp_path / "net.npz", "--data", folder, "--scale", 1], capsys, 2)
    assert "scale 1 needs --jpeg" in err


def test_an_image_that_cannot_be_read_is_told_once(folder, model, capsys):
    (folder / "c.png").write_text("no image")
    out, err = run(["--model", model, "--data", folder, "--jpeg", "90,50"], capsys, code=1)
    lines = err.splitlines()
    assert len(lines) == 2 and lines[1] == "1 of 3 images could not be measured"
    assert out.count("mean") == 2


def bad_folder(tmp_path, name):
    path = tmp_path / name
    path.mkdir()
    return path


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        ([], 2, "--data"),
        (["--data", "images"], 2, "give --scale, or --model"),
        (["--data", "images", "--scale", "1"], 2, "scale 1 needs --jpeg"),
        (["--data", "images", "--scale", "0"], 2, "whole number of at least 1"),
        (["--data", "images", "--scale", "17"], 2, "whole number from 1 to 16"),
        (["--data", "images", "--scale", "2", "--jpeg", "0"], 2, "'0' is not a whole number"),
        (["--data", "images", "--scale", "2", "--jpeg", "40,101"], 2, "from 1 to 100"),
        (["--data", "images", "--scale", "2", "--jpeg", "40,"], 2, "--jpeg"),
        (["--data", "images", "--jpeg", "40"], 2, "give --scale, or --model"),
        (["--data", "images", "--scale", "2", "--crf", "52"], 2, "'52' is not a CRF from 0 to 51"),
        (["--data", "images", "--scale", "2", "--crf", "9", "--jpeg", "9"], 2, "--jpeg or --crf"),
        (["--data", "images", "--scale", "1", "--jpeg", "40"], 1, "npsrcnn train"),
        (["--data", "images", "--scale", "1", "--jpeg", "9", "--method", "gr"], 2, "2 or more"),
        (["--data", "images", "--scale", "2.5"], 2, "--scale"),
        (["--data", "images", "--scale", "3", "--edge", "wrap"], 2, "--edge"),
        (["--data", "images", "--what"], 2, "--what"),
        (["--data", "images", "--model", "model.npz", "--json", "-", "--csv", "-"], 2, "both"),
        (["--data", "images", "--model", "unknown.npz"], 1, "give the scale"),
        (["--data", "images", "--model", "model.npz", "--scale", "2"], 1, "for scale 3, not 2"),
        (["--data", "images", "--model", "missing.npz"], 1, "missing.npz: no such file"),
        (["--data", "images", "--scale", "3"], 1, "npsrcnn train"),
        (["--data", "nowhere", "--model", "model.npz"], 1, "nowhere"),
        (["--data", "empty", "--model", "model.npz"], 1, "empty"),
        (["--data", "text.png", "--model", "model.npz"], 1, "text.png"),
        (["--data", "images", "--model", "model.npz", "--save", "text.png"], 1, "text.png"),
        (["--data", "images", "--model", "text.png"], 1, "cannot read .png files"),
    ],
)
def test_bad_input_gets_one_line(
    arguments, code, says, folder, model, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(shipped, "FOLDER", tmp_path / "weights")
    bad_folder(tmp_path, "empty")
    (tmp_path / "text.png").write_text("no image")
    identity().save(tmp_path / "unknown.npz")
    _, err = run(arguments, capsys, code)
    assert says in err.splitlines()[-1]
    assert len(err.splitlines()) == (2 if "skipped" in err else 1)


@pytest.mark.parametrize("option", ["--json", "--csv"])
@pytest.mark.parametrize("file", ["no/result", "folder"])
def test_a_result_that_cannot_be_written_is_refused_before_measuring(
    option, file, folder, model, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    before = sorted(tmp_path.iterdir())
    out, err = run(["--data", folder, "--model", model, option, file], capsys, 1)
    assert out == "" and file in err and len(err.splitlines()) == 1
    assert sorted(tmp_path.iterdir()) == before


def test_a_bad_image_does_not_stop_the_others(folder, model, capsys):
    (folder / "c.png").write_text("no image")
    data = (folder / "a.png").read_bytes()
    (folder / "d.png").write_bytes(data[: len(data) // 2])
    Image.new("L", (1, 1)).save(folder / "e.png")
    out, err = run(["--model", model, "--data", folder], capsys, code=1)
    assert [line.split()[0] for line in out.splitlines()[-3:]] == ["a.png", "b.png", "mean"]
    lines = err.splitlines()
    assert len(lines) == 4
    for name, line in zip("cde", lines, strict=False):
        assert line.startswith("skipped: ") and f"{name}.png" in line
    assert lines[3] == "3 of 5 images could not be measured"


def test_the_command_as_users_call_it(folder, model):
    command = [sys.executable, "-W", "error", "-m", "npsrcnn", "evaluate"]
    done = subprocess.run(
        [*command, "--model", model, "--data", str(folder), "--json", "-"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(done.stdout)["scale"] == 3
    done = subprocess.run(
        [*command, "--model", model, "--data", "none", "--debug"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "Traceback" in done.stderr
