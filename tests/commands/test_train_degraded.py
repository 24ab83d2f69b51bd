"""The train command on pictures that are compressed or filmed."""

from __future__ import annotations

import pytest
from trained import log, run, same, weights

from npsrcnn.commands import train
from npsrcnn.datasets import write_shards
from npsrcnn.evaluation.protocol import EvaluationImage
from npsrcnn.model import load
from npsrcnn.training import build


def test_compressed_pictures_at_their_size_and_resumed_to_the_same_bits(
    folder, tmp_path, capsys, fails
):
    options = ["--scale", 1, "--jpeg", "20-40", "--maps", 8, "--decay", "none", "--rescale", 0.8]
    assert run(folder, tmp_path / "straight", *options, "--epochs", 3) == 0
    assert "5-3 at x1" in (said := capsys.readouterr().out)
    assert f"sub-images of {folder.name}, JPEG of quality 20-40, recipe default" in said
    assert " dB (JPEG " in said and " dB JPEG, " in said and "bicubic" not in said
    net = load(tmp_path / "straight" / "last.npz")
    assert (net.scale, net.n) == (1, (8,))
    assert (net.metadata["jpeg"], net.metadata["quality"]) == ([20, 40], 28)
    assert "--scale 1 --jpeg 20-40" in net.metadata["command"]
    assert "--maps 8" in net.metadata["command"]
    image = EvaluationImage.from_file(folder / "0.png", 1, jpeg=28)
    assert float(log(tmp_path / "straight")[-1]["psnr_bicubic"]) == pytest.approx(
        image.psnr_bicubic, abs=1e-6
    )
    run(folder, tmp_path / "halves", *options, "--epochs", 2)
    assert train.main(["--resume", str(tmp_path / "halves"), "--epochs", "3"]) == 0
    assert same(weights(tmp_path / "straight"), weights(tmp_path / "halves"))
    run(folder, tmp_path / "other", *options, "--epochs", 3, "--jpeg", "20-41")
    assert not same(weights(tmp_path / "straight"), weights(tmp_path / "other"))
    capsys.readouterr()
    fails(["--resume", tmp_path / "halves", "--jpeg", 20], 2, "another --jpeg it would be")
    fails(["--resume", tmp_path / "halves", "--maps", 9], 2, "another --maps it would be")


def test_filmed_pictures(folder, tmp_path, capsys, fails):
    pytest.importorskip("av", reason="needs the extra video")
    options = ["--scale", 2, "--crf", "20-33", "--rescale", 1, "--epochs", 1]
    assert run(folder, tmp_path / "out", *options) == 0
    said = capsys.readouterr().out
    assert f"sub-images of {folder.name}, filmed at CRF 20-33, recipe default" in said
    net = load(tmp_path / "out" / "last.npz")
    assert (net.metadata["crf"], net.metadata["crfs"]) == (27, [20, 33])
    assert "--scale 2 --crf 20-33" in net.metadata["command"]
    image = EvaluationImage.from_file(folder / "0.png", 2, crf=27)
    measured = float(log(tmp_path / "out")[-1]["psnr_bicubic"])
    assert measured == pytest.approx(image.psnr_bicubic, abs=1e-6)
    report = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "x264 at CRF 27, 6 frames" in report
    write_shards(sorted(folder.iterdir()), tmp_path / "set", 2, crf=(20, 33))
    common = ["--data", tmp_path / "set", "--scale", 2, "--network", "5-3", "--epochs", 1]
    for other in ([], ["--crf", 20], ["--jpeg", 75]):
        words = [*common, *other, "--out", tmp_path / "other"]
        fails(words, 2, "in y, CRF 20-33", "--channels y --crf 20-33")


def test_dead_leaves_are_compressed_too(tmp_path, monkeypatch):
    monkeypatch.setattr(build, "DEAD_LEAVES_TRAINED", 2)
    monkeypatch.setattr(build, "DEAD_LEAVES_MEASURED", 1)
    options = ["--network", "5-3", "--scale", "2", "--epochs", "1", "--seed", "3"]
    for name, more in (("clean", []), ("compressed", ["--jpeg", "10"])):
        assert train.main([*options, *more, "--out", str(tmp_path / name)]) == 0
    clean, compressed = (
        float(log(tmp_path / name)[-1]["psnr_bicubic"]) for name in ("clean", "compressed")
    )
    assert compressed < clean - 0.5
    assert not same(weights(tmp_path / "clean"), weights(tmp_path / "compressed"))


def test_a_prepared_set_and_the_options_say_the_same_of_jpeg(folder, tmp_path, fails):
    pictures = sorted(folder.iterdir())
    write_shards(pictures, tmp_path / "clean", 2)
    write_shards(pictures, tmp_path / "compressed", 2, jpeg=(60, 80))
    common = ["--scale", 2, "--network", "5-3", "--epochs", 1, "--out", tmp_path / "out"]
    compressed = ["--data", tmp_path / "compressed", *common]
    for conflicting in ([], ["--jpeg", 75]):
        fails([*compressed, *conflicting], 2, "JPEG 60-80: give", "y --jpeg 60-80, or")
    clean = ["--data", tmp_path / "clean", *common]
    fails([*clean, "--jpeg", 75], 2, "y without --jpeg, or")
    assert not (tmp_path / "out").exists()
    words = [*compressed, "--jpeg", "60-80", "--eval", folder / "0.png"]
    assert train.main([str(word) for word in words]) == 0
    assert load(tmp_path / "out" / "last.npz").metadata["jpeg"] == [60, 80]
