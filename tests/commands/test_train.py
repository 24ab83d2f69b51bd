"""The train command: what it writes and says, resuming, stopping, and what it refuses."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import imageio.v3 as iio
import numpy as np
import pytest
from trained import FILES, arguments, checkpoint, log, run, same, weights

from npsrcnn import SRCNN
from npsrcnn.commands import train
from npsrcnn.model import load
from npsrcnn.training import build
from npsrcnn.training.settings import RunSettings, given_settings


def test_it_learns_and_says_where_everything_is(folder, tmp_path, capsys):
    assert run(folder, tmp_path, "--epochs", 150, "--optimizer", "adam", "--rescale", 1) == 0
    rows = log(tmp_path)
    assert float(rows[-1]["psnr"]) > float(rows[-1]["psnr_bicubic"]) + 0.3
    assert float(rows[-1]["loss"]) < float(rows[0]["loss"])
    assert int(rows[-1]["sub_images"]) == 150 * (4 * 36 // 16) * 16
    lines = capsys.readouterr().out.splitlines()
    for name in FILES:
        assert sum(str(tmp_path / name) in line for line in lines) >= 1, name
    assert lines[-1] == f"report      {tmp_path / 'report.html'}"
    html = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "--optimizer adam" in html and "0.png" in html
    gain = max(float(row["psnr"]) for row in rows) - float(rows[-1]["psnr_bicubic"])
    assert any(line.startswith("PSNR") and f"{gain:+.2f} dB" in line for line in lines)
    assert any("npsrcnn upscale PICTURE --scale 3 --model" in line for line in lines)

    net = load(tmp_path / "best.npz")
    assert (net.name, net.scale, net.color) == ("5-3", 3, "y")
    assert net.metadata["recipe"]["optimizer"] == "adam"
    assert net.metadata["data"] == [folder.name] and net.metadata["seed"] == 0
    assert "--network 5-3" in net.metadata["command"] and "--epochs 150" in net.metadata["command"]
    assert net.metadata["psnr_validation"] == pytest.approx(
        max(float(row["psnr"]) for row in rows), abs=1e-3
    )


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "soap"])
def test_a_resumed_run_ends_in_the_same_bits(folder, tmp_path, optimizer):
    options = ["--optimizer", optimizer, "--decay", "none"]
    run(folder, tmp_path / "straight", "--epochs", 3, *options)
    run(folder, tmp_path / "halves", "--epochs", 2, *options)
    halfway = weights(tmp_path / "halves")
    assert train.main(["--resume", str(tmp_path / "halves"), "--epochs", "3"]) == 0
    assert same(weights(tmp_path / "straight"), weights(tmp_path / "halves"))
    assert not same(halfway, weights(tmp_path / "halves"))
    assert log(tmp_path / "halves")[-1]["step"] == log(tmp_path / "straight")[-1]["step"]


@pytest.mark.skipif(sys.platform == "win32", reason="sends signals to a process")
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGKILL"])
def test_stopped_by_a_signal_and_resumed(folder, tmp_path, name):
    """SIGINT and SIGTERM save before they end the run; SIGKILL leaves the last checkpoint."""
    number = getattr(signal, name)
    options = ["--epochs", "12", "--recipe", "default"]
    run(folder, tmp_path / "straight", *options)
    out = tmp_path / "stopped"
    process = subprocess.Popen(
        [sys.executable, "-m", "npsrcnn", "train", *arguments(folder, out, *options)],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    deadline = time.monotonic() + 60
    while not (out / "checkpoint.npz").exists() and time.monotonic() < deadline:
        time.sleep(0.005)
    os.kill(process.pid, number)
    output, _ = process.communicate(timeout=60)
    stopped = checkpoint(out)["log"][-1]["epoch"]
    assert "Traceback" not in output
    if stopped < 12:  # else it was done before the signal came
        assert process.returncode == (130 if number != signal.SIGKILL else -signal.SIGKILL)
    assert train.main(["--resume", str(out)]) == 0
    assert same(weights(tmp_path / "straight"), weights(out))
    assert not list(out.glob(".*")) or number == signal.SIGKILL


def test_the_paper_recipe_is_the_authors():
    parser = train.make_parser()
    options = parser.parse_args(["--recipe", "paper", "--out", "unused"])
    settings = RunSettings(**given_settings(vars(options)))
    recipe = build.recipe_of(settings)
    net = build.initial_network(settings, recipe, "reference")
    optimizer = build.optimizer_of(net, recipe, None)
    rates = [recipe.rate * f for f in optimizer.factors]
    assert rates == pytest.approx([1e-4, 1e-5, 1e-4, 1e-5, 1e-5, 1e-5])
    assert optimizer.momentum == np.float32(0.9)
    assert net.layers[0][0].std() == pytest.approx(0.001, rel=0.05)
    assert recipe.decay == "none" and recipe.clip is None and recipe.average == 0
    assert not recipe.orientations and not recipe.rescale


def test_spellings_of_other_ports_are_understood():
    options = train.make_parser().parse_args(["--zoom_factor", "2", "--nb_epochs", "7"])
    assert (options.scale, options.epochs) == (2, 7)
    assert train.make_parser().parse_args(["--nb_epoch", "3", "--cuda"]).device == "cuda"
    assert train.make_parser().parse_args(["--nb_epoch", "3"]).epochs == 3


def test_held_out_images_are_not_trained_on(folder, tmp_path):
    options = ["--data", str(folder), "--hold-out", "3", "--network", "5-3", "--batch", "4",
               "--epochs", "1", "--rescale", "1", "--out", str(tmp_path)]  # fmt: skip
    assert train.main(options) == 0
    assert int(log(tmp_path)[-1]["sub_images"]) == 36


def test_sub_images_of_another_size(folder, tmp_path):
    # Of 111 pixels, 14 apart: 5 in each direction, where of the usual 33 pixels there are 6.
    options = ["--sub-image", 54, "--batch", 5, "--epochs", 1, "--rescale", 1]
    assert run(folder, tmp_path, *options) == 0
    assert int(log(tmp_path)[-1]["sub_images"]) == 4 * 25
    assert "--sub-image 54" in load(tmp_path / "last.npz").metadata["command"]


def test_three_channels(folder, tmp_path):
    assert run(folder, tmp_path, "--channels", "rgb", "--epochs", 1) == 0
    net = load(tmp_path / "last.npz")
    assert (net.channels, net.color) == (3, "rgb")


def test_numbers_of_maps(folder, tmp_path, fails):
    out = ["--out", tmp_path / "out", "--epochs", 1, "--data", folder]
    fails([*out, "--maps", "32"], 2, "--maps 32: 9-1-5 takes 2 numbers of at least 1")
    fails([*out, "--maps", "8,4,2"], 2, "--maps 8,4,2: 9-1-5 takes 2")
    fails([*out, "--maps", "8,2", "--channels", "rgb"], 2, "of at least 3")
    for bad in ("0,1", "8,", "many", "8;4"):
        fails([*out, "--maps", bad], 2, "--maps", "at least 1")
    SRCNN("5-3", n=[4]).save(tmp_path / "four.npz")
    start = ["--network", "5-3", "--init", tmp_path / "four.npz"]
    fails([*out, *start, "--maps", 5], 2, "--maps 5", "four.npz has 4,")
    assert not (tmp_path / "out").exists()
    assert run(folder, tmp_path / "out", *start, "--maps", 4, "--epochs", 1) == 0
    assert run(folder, tmp_path / "more", *start, "--maps", 5, "--revive-dead", "--epochs", 1) == 0
    more = load(tmp_path / "more" / "last.npz")
    assert more.n == (5,) and all(w.any() for w in more.layers[0][0])  # the new map learns
    assert load(tmp_path / "out" / "last.npz").n == (4,)


def test_start_from_a_model(folder, tmp_path):
    run(folder, tmp_path / "first", "--epochs", 1)
    start = tmp_path / "first" / "last.npz"
    options = ["--epochs", 1, "--init", start, "--lr", "1e-12", "--average", 0]
    assert run(folder, tmp_path / "second", *options) == 0
    for a, b in zip(weights(tmp_path / "first"), weights(tmp_path / "second"), strict=True):
        assert np.allclose(a, b, atol=1e-6)
    assert run(folder, tmp_path / "third", *options, "--network", "7-5") == 0
    for a, b in zip(weights(tmp_path / "first"), weights(tmp_path / "third"), strict=True):
        border = (b.shape[-1] - a.shape[-1]) // 2 if a.ndim == 4 else 0
        middle = (..., *[slice(border, b.shape[-1] - border)] * 2) if border else ...
        assert np.allclose(a, b[middle], atol=1e-6)
        assert abs(b).sum() == pytest.approx(abs(a).sum(), rel=1e-3)


@pytest.mark.parametrize("option", ["--revive-dead", "--renew"])
def test_dead_maps_of_the_model_are_revived(folder, tmp_path, option):
    net = SRCNN("5-3", n=[4], seed=1)
    net.layers[0][1][2] = -1000
    net.save(tmp_path / "dead.npz")
    options = "--init", tmp_path / "dead.npz", "--lr", 1e-9, "--epochs", 1
    assert run(folder, tmp_path / "as-it-is", *options) == 0
    assert weights(tmp_path / "as-it-is")[1][2] == -1000
    assert run(folder, tmp_path / "revived", *options, option) == 0
    w, b, *_ = weights(tmp_path / "revived")
    assert sum(np.allclose(w[2], w[i], atol=1e-5) for i in (0, 1, 3)) == 1 and b[2] > -1
    command = load(tmp_path / "revived" / "last.npz").metadata["command"]
    assert "--revive-dead" in command.split()


@pytest.mark.parametrize(("dead", "says"), [(2, True), (1, False)])
def test_more_than_a_tenth_of_dead_maps_is_said(folder, tmp_path, capsys, dead, says):
    net = SRCNN("5-1-3", n=[12, 8], seed=1)
    net.layers[0][1][:] = 1  # all of these live
    net.layers[0][1][:dead] = -1000
    net.layers[1][1][:] = 1000
    net.save(tmp_path / "dead.npz")
    options = "--network", "5-1-3", "--init", tmp_path / "dead.npz", "--lr", 1e-9, "--epochs", 1
    assert run(folder, tmp_path / "out", *options) == 0
    line = (
        f"dead        {dead} of 12 maps of layer 1: go on with --init {tmp_path / 'out/last.npz'} "
        "--revive-dead and a lower --lr"
    )
    lines = capsys.readouterr().out.splitlines()
    assert (line in lines) == says
    assert any(found.startswith("dead ") for found in lines) == says


def test_the_old_name_of_an_option_is_not_in_the_help(capsys):
    with pytest.raises(SystemExit):
        train.main(["--help"])
    text = capsys.readouterr().out
    assert "--revive-dead" in text and "--renew" not in text


def test_a_model_that_cannot_be_started_from(folder, tmp_path, capsys):
    SRCNN("5-1-3", n=[4, 3]).save(tmp_path / "small.npz")
    start = ["--epochs", 1, "--init", tmp_path / "small.npz"]
    assert run(folder, tmp_path / "out", *start, "--network", "3-1-3") == 1
    assert "5-1-3 does not grow into 3-1-3" in capsys.readouterr().err
    assert run(folder, tmp_path / "out", *start, "--network", "5-1-3", "--channels", "rgb") == 1
    assert "is for y, not for --channels rgb" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_flat_image_is_restored_without_an_error_and_that_can_be_saved(folder, tmp_path):
    iio.imwrite(tmp_path / "flat.png", np.full((60, 60, 3), 99, np.uint8))
    assert run(folder, tmp_path / "out", "--epochs", 1, "--eval", tmp_path / "flat.png") == 0
    assert log(tmp_path / "out")[-1]["psnr_bicubic"] == "inf"
    assert "psnr_bicubic_validation" not in load(tmp_path / "out/best.npz").metadata


def test_bad_input(folder, tmp_path, fails):
    out = ["--out", tmp_path / "out", "--epochs", 1]
    empty = tmp_path / "empty"
    empty.mkdir()
    text = tmp_path / "text"
    text.mkdir()
    (text / "a.png").write_text("not a picture")
    fails(["--epoch", 3], 2, "--epoch")
    fails(["--scale", 5], 2, "--scale", "2, 3, 4")
    fails(["--scale", 1, *out], 2, "--scale 1 enlarges nothing: give --jpeg")
    for jpeg in ("0", "101", "80-60", "-5", "60-", "good", "60-80-90", "75.5"):
        fails([f"--jpeg={jpeg}", *out], 2, "--jpeg", "not a quality from 1 to 100")
    for crf in ("52", "32-20", "-5", "20-", "good", "20.5"):
        fails([f"--crf={crf}", *out], 2, "--crf", "not a CRF from 0 to 51")
    fails(["--crf", 27, "--channels", "rgb", *out], 2, "--crf films in Y")
    fails(["--epochs", 0], 2, "--epochs", "at least 1")
    fails(["--epochs", 1, "--minutes", 1], 2, "not allowed")
    fails(["--lr", "fast"], 2, "--lr", "'fast'")
    fails(["--lr-factors", "1,x"], 2, "--lr-factors")
    fails(["--lr-factors", "1,1", *out], 2, "3 layers, not 2")
    fails(["--network", "nine", *out], 1, "filter sizes")
    fails(["--data", tmp_path / "nowhere", *out], 1, "nowhere")
    fails(["--data", empty, *out], 1, str(empty))
    fails(["--data", text, *out], 1, "a.png")
    fails(["--data", folder, "--hold-out", 4, *out], 2, "leaves nothing")
    fails(["--data", folder, "--sub-image", 12, *out], 2, "9-1-5", "13 or more")
    fails(["--data", folder, "--batch", 10**6, *out], 1, "1000000")
    fails(["--data", folder, "--init", text / "a.png", *out], 1, "a.png")
    fails(["--resume"], 2, "--resume FOLDER")
    fails(["--resume", empty], 1, "no checkpoint")


def test_a_run_is_not_overwritten_nor_resumed_as_another(folder, tmp_path, capsys, fails):
    run(folder, tmp_path, "--epochs", 1)
    capsys.readouterr()
    fails(arguments(folder, tmp_path, "--epochs", 1), 2, "already holds a run")
    fails(["--resume", tmp_path, "--scale", 2], 2, "--scale", "another run")
    for words in (["--lr", 2], ["--zoom_factor", 2], ["--renew"], ["--no-orientations"]):
        said = f"with another {words[0]} it would be another run"
        fails(["--resume", tmp_path, *words], 2, said)
    fails(["--resume", tmp_path, "--zoom_factor=2"], 2, "with another --zoom_factor it")
    (tmp_path / "checkpoint.npz").write_bytes(b"PK\x03\x04")
    fails(["--resume", tmp_path], 1, "checkpoint.npz", "damaged")


def test_divergence_is_one_line_and_leaves_the_models(folder, tmp_path, capsys):
    options = ["--init", "he", "--optimizer", "sgd", "--epochs", 40, "--lr", 1e6, "--warmup", 0]
    options += ["--clip", 1e30, "--rescale", 1]
    with np.errstate(all="ignore"):
        assert run(folder, tmp_path, *options) == 1
    assert "training has diverged; try a smaller --lr" in capsys.readouterr().err


def test_a_full_disk_is_one_line_and_leaves_the_old_files(
    folder, tmp_path, capsys, fails, monkeypatch
):
    run(folder, tmp_path, "--epochs", 1, "--decay", "none")
    before = {name: (tmp_path / name).read_bytes() for name in FILES}
    capsys.readouterr()

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    fails(["--resume", tmp_path, "--epochs", 2], 1, "No space left", "free some space")
    assert {name: (tmp_path / name).read_bytes() for name in FILES} == before
