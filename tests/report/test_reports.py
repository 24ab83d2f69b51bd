"""The three reports: what is in them, and that a browser needs nothing else."""

from __future__ import annotations

import re
from html import escape

import numpy as np
import pytest
from networks import identity, near_identity, waves
from PIL import Image

from npsrcnn.commands import evaluate, upscale
from npsrcnn.errors import UserError
from npsrcnn.evaluation.methods import by_network
from npsrcnn.evaluation.protocol import EvaluationImage
from npsrcnn.evaluation.scores import score, summary
from npsrcnn.report.enlarged import most_changed, write_upscale_report
from npsrcnn.report.measured import EvaluationReport
from npsrcnn.report.photograph import photograph
from npsrcnn.report.trained import Training, write_training_report
from npsrcnn.upscaling.outcomes import Failed


def assert_alone(html):
    """Assert that a page names no other file: sources are data, links are there none."""
    assert set(re.findall(r'(?:src|href)="(\w+:)', html)) <= {"data:"}
    assert not re.search(r"https?://|@import|url\(", html)


def titles_of(html):
    return re.findall(r"<figcaption>(.*?)</figcaption>", html)


def test_of_an_evaluation_the_smallest_gain_comes_first(rng):
    net = near_identity(rng, scale=2)
    report = EvaluationReport("npsrcnn evaluate --data x")
    report.begin(1)
    rows = []
    for name in ("a.png", "b.png", "c.png"):
        image = EvaluationImage.from_array(waves(rng), 2, name=name)
        rows.append(score(image, by_network(net)(image)))
        rows[-1]["psnr"] += {"a.png": 0, "b.png": -5, "c.png": 5}[name]
        report.add(image, by_network(net)(image), rows[-1])
    result = summary(2, "clamp", rows)
    html = str(report.page("x, measured", [("the method", result)]))
    assert [title.split(",")[0] for title in titles_of(html)] == ["b.png", "a.png", "c.png"]
    assert (
        f"{result['mean']['psnr']:.2f} dB instead of {result['mean']['psnr_bicubic']:.2f}" in html
    )
    for text in (
        "the method",
        escape(result["protocol"]),
        "npsrcnn evaluate --data x",
        "processor",
    ):
        assert text in html
    assert html.count("original") >= 3
    assert_alone(html)


def test_of_a_large_image_a_part_is_shown(rng):
    image = EvaluationImage.from_array(rng.integers(0, 256, (600, 520), np.uint8), 2, name="big")
    report = EvaluationReport("c")
    report.begin(1)
    row = score(image, image.bicubic)
    report.add(image, image.bicubic, row)
    html = str(report.page("t", [("m", summary(2, "clamp", [row]))]))
    assert "520 x 600, of which 512 x 512" in titles_of(html)[0]


def test_evaluate_writes_a_report(tmp_path, rng, capsys):
    Image.fromarray(waves(rng)).save(tmp_path / "a.png")
    model, report = tmp_path / "model.npz", tmp_path / "report.html"
    identity(1, scale=2).save(model)
    argv = ["--data", str(tmp_path / "a.png"), "--model", str(model), "--jpeg", "90,30"]
    assert evaluate.main([*argv, "--report", str(report)]) == 0
    html = report.read_text(encoding="utf-8")
    assert "JPEG of quality 90" in html and "JPEG of quality 30" in html
    assert len(titles_of(html)) == 2
    assert f"npsrcnn evaluate --data {tmp_path / 'a.png'}" in html
    assert f"report in {report}" in capsys.readouterr().out
    assert_alone(html)


@pytest.mark.parametrize("command", [evaluate, upscale], ids=["evaluate", "upscale"])
def test_a_report_that_cannot_be_written_is_refused_at_once(command, tmp_path, capsys):
    argv = {
        evaluate: ["--data", str(tmp_path / "none"), "--scale", "2"],
        upscale: [str(tmp_path / "none.png"), "--scale", "2"],
    }[command]
    assert command.main([*argv, "--report", str(tmp_path / "no" / "r.html")]) == 1
    assert "no/r.html: No such file" in capsys.readouterr().err


def test_upscale_writes_a_report_and_names_what_failed(tmp_path, rng, capsys):
    Image.fromarray(np.dstack([waves(rng), waves(rng)[..., 0]])).save(tmp_path / "a.png")
    (tmp_path / "b.png").write_text("no picture")
    model, report = tmp_path / "model.npz", tmp_path / "report.html"
    near_identity(rng, scale=2).save(model)
    argv = [str(tmp_path / "a.png"), str(tmp_path / "b.png"), "--model", str(model)]
    assert upscale.main([*argv, "-o", str(tmp_path / "out"), "--report", str(report)]) == 1
    html = report.read_text(encoding="utf-8")
    assert titles_of(html) == ["a_x2.png, 128 x 106"]
    assert "b.png: not an image" in html and "1 picture in" in html
    assert "<td>64 x 53</td><td>128 x 106</td>" in html
    assert_alone(html)


def test_a_report_of_failures_alone(tmp_path):
    failed = Failed(tmp_path / "x.png", UserError("x.png: <broken>"))
    write_upscale_report([failed], 2, "c", tmp_path / "r.html")
    html = (tmp_path / "r.html").read_text(encoding="utf-8")
    assert "0 pictures" in html and "x.png: &lt;broken&gt;" in html


def test_the_part_that_changed_most(rng):
    before = np.zeros((90, 70, 3), np.uint8)
    after = before.copy()
    after[50:60, 40:50] = 9
    rows, columns = most_changed(before, after, 30)
    assert rows.start <= 50 and rows.stop >= 60 and columns.start <= 40 and columns.stop >= 50
    assert after[most_changed(before, after, 90)].shape == after.shape


def test_of_a_training(tmp_path, rng):
    net = near_identity(rng, scale=3, color="y")
    images = [EvaluationImage.from_array(waves(rng), 3, name=name) for name in "ab"]
    log = [
        {"seconds": 60.0 * i, "loss": 2.0 / i, "psnr": 30.0 + i, "psnr_bicubic": 30.5,
         "sub_images": 1000 * i}
        for i in (1, 2)
    ]  # fmt: skip
    before = rng.standard_normal(net.layers[0][0].shape)
    facts = {"command": "python -m npsrcnn.train --seed 1"}
    write_training_report(Training(net, before, images, log, facts), tmp_path / "report.html")
    html = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "A photograph, made 3 times smaller" in titles_of(html)[0]
    assert html.count("<polyline") == 2 and "without the network 30.50" in html
    assert titles_of(html)[1:3] == ["before", "after"]
    assert "2,000 sub-images in 2.0 minutes" in html and "--seed 1" in html
    assert_alone(html)


@pytest.mark.parametrize("scale", [1, 2, 3, 4])
def test_there_is_a_photograph_for_every_scale(scale):
    image = photograph(scale, jpeg=40 if scale == 1 else None)
    assert image.picture.shape == (300, 252, 3)
    assert 20 < image.psnr_bicubic < 36
