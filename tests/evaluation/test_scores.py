"""The protocol to the paper's last digit, and the command around it."""

from __future__ import annotations

import csv
import io
import json
import math
import os
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from npsrcnn import SRCNN, load
from npsrcnn.commands import evaluate
from npsrcnn.commands.evaluate import main
from npsrcnn.errors import UserError
from npsrcnn.evaluation import comparison, protocol, scores
from npsrcnn.evaluation.protocol import EvaluationImage
from npsrcnn.evaluation.scores import by_network, mean_psnr, score
from npsrcnn.model import shipped
from npsrcnn.pixels.color import luma, rgb2ycbcr
from npsrcnn.pixels.metrics import psnr, shave, ssim
from npsrcnn.pixels.resize import degrade, imresize, modcrop

KEYS = ("psnr_bicubic", "psnr", "ssim_bicubic", "ssim")
COLOR_KEYS = ("cb", "cr", "ycbcr", "rgb")
DB, SSIM = 0.005, 0.0002  # a usual mistake costs more: see each paper's table against another code

# file, set, scale: bicubic PSNR and SSIM, network PSNR and SSIM. ECCV 2014 Tables 1 and 2, TPAMI
# 2016 Tables 2 and 3, which print two digits; the third is this protocol's in MATLAB.
PRINTED = [
    ("9-1-5_91-images_x2", "Set5", 2, 33.662, 0.9299, 36.344, 0.9521),
    ("9-1-5_91-images_x3", "Set5", 3, 30.394, 0.8682, 32.394, 0.9033),
    ("9-1-5_91-images_x4", "Set5", 4, 28.422, 0.8104, 30.086, 0.8530),
    ("9-5-5_ImageNet_x3", "Set5", 3, 30.394, 0.8682, 32.752, 0.9090),
    ("9-1-5_91-images_x3", "Set14", 3, 27.543, 0.7736, 29.000, 0.8145),
    ("9-5-5_ImageNet_x3", "Set14", 3, 27.543, 0.7736, 29.298, 0.8215),
]


def authors(data_folder, name="9-1-5_91-images_x3", **options):
    return load(data_folder / "authors" / f"{name}.mat", **options)


def identity(channels=1, **metadata):
    """x = max(0, x) - max(0, -x), as a network."""
    one = np.eye(channels)[:, :, None, None]
    layers = [
        (np.concatenate([one, -one]), np.zeros(2 * channels)),
        (np.concatenate([one, -one], axis=1), np.zeros(channels)),
    ]
    return SRCNN.from_layers(layers, device="reference", metadata=metadata)


@pytest.fixture
def picture(rng):
    """A picture with structure, RGB uint8, no multiple of anything."""
    y, x = np.mgrid[:53, :64]
    base = np.stack([np.sin(x / 3 + y / 7), np.cos(x / 5 - y / 4), np.sin(y / 2)], axis=2)
    return (128 + 80 * base + 20 * rng.standard_normal(base.shape)).clip(0, 255).astype(np.uint8)


@pytest.fixture
def folder(picture, tmp_path):
    """Two pictures, one of them grey."""
    path = tmp_path / "images"
    path.mkdir()
    Image.fromarray(picture).save(path / "a.png")
    Image.fromarray(picture[::-1, :, 1]).save(path / "b.png")
    return path


@pytest.fixture
def model(rng, tmp_path):
    """A file with a small network for x3, near the identity."""
    net = identity(1, scale=3)
    for w, _ in net.layers:
        w += 0.01 * rng.standard_normal(w.shape).astype(np.float32)
    net.save(tmp_path / "model.npz")
    return str(tmp_path / "model.npz")


# the paper


@pytest.mark.parametrize(
    ("name", "images", "scale", "psnr_bicubic", "ssim_bicubic", "psnr_net", "ssim_net"), PRINTED
)
def test_the_authors_weights_give_the_authors_figures(
    name, images, scale, psnr_bicubic, ssim_bicubic, psnr_net, ssim_net, data_folder
):
    result = scores.evaluate(authors(data_folder, name), data_folder / images, scale)
    mean = result["mean"]
    assert mean["psnr_bicubic"] == pytest.approx(psnr_bicubic, abs=DB)
    assert mean["ssim_bicubic"] == pytest.approx(ssim_bicubic, abs=SSIM)
    assert mean["psnr"] == pytest.approx(psnr_net, abs=DB)
    assert mean["ssim"] == pytest.approx(ssim_net, abs=SSIM)
    assert len(result["images"]) == {"Set5": 5, "Set14": 14}[images]


def test_table_5_of_the_paper(data_folder):
    """Set5 x3. Its column "RGB" is the PSNR of Y, Cb and Cr together: so, and only so, it fits."""
    net = authors(data_folder)
    mean = scores.evaluate(net, data_folder / "Set5", 3, color=True)["mean"]
    printed = {
        "psnr_bicubic": 30.39, "psnr_cb_bicubic": 45.44, "psnr_cr_bicubic": 45.42,
        "psnr_ycbcr_bicubic": 34.57,
        "psnr": 32.39, "psnr_cb": 45.44, "psnr_cr": 45.42, "psnr_ycbcr": 36.37,
    }  # fmt: skip
    for key, value in printed.items():
        assert mean[key] == pytest.approx(value, abs=0.01), key  # printed with two digits
    assert mean["psnr_rgb"] - mean["psnr_rgb_bicubic"] == pytest.approx(1.79, abs=0.01)


def test_mirrored_edges_are_another_protocol(data_folder):
    result = scores.evaluate(authors(data_folder), data_folder / "Set5", 3, edge="mirror")
    assert result["mean"]["psnr_bicubic"] == pytest.approx(30.392, abs=0.0015)
    assert result["mean"]["psnr"] == pytest.approx(32.390, abs=0.0015)
    assert "mirrored" in result["protocol"]


def test_zero_padding_costs_what_is_known(data_folder):
    net = authors(data_folder, padding="zeros")
    butterfly = scores.evaluate(net, data_folder / "Set5" / "butterfly_GT.bmp", 3)
    assert butterfly["mean"]["psnr"] < 27.58 - 1


# the pieces


@pytest.mark.parametrize("scale", [2, 3, 5])
def test_what_is_prepared_is_the_protocol_step_by_step(scale, picture):
    image = EvaluationImage.from_array(picture, scale, name="a.png")
    truth = modcrop(luma(picture), scale)
    blurred = degrade(truth / 255, scale)
    np.testing.assert_array_equal(image.truth, truth)
    np.testing.assert_array_equal(image.low, imresize(truth / 255, 1 / scale))
    np.testing.assert_array_equal(image.bicubic, blurred)
    np.testing.assert_array_equal(image.bicubic_ycbcr[..., 0], blurred)
    np.testing.assert_allclose(
        image.bicubic_ycbcr, degrade(modcrop(rgb2ycbcr(picture), scale) / 255, scale), atol=1e-12
    )
    np.testing.assert_array_equal(image.bicubic_rgb, degrade(modcrop(picture, scale) / 255, scale))
    eight_bits = np.floor(blurred * 255 + 0.5).clip(0, 255)
    a, b = shave(eight_bits, scale), shave(truth, scale).astype(float)
    row = score(image, image.bicubic)
    assert row["psnr"] == row["psnr_bicubic"] == pytest.approx(psnr(a, b, 255), abs=1e-12)
    assert row["ssim"] == row["ssim_bicubic"] == pytest.approx(ssim(a, b, 255), abs=1e-12)


def test_any_depth_of_bits(picture):
    image = EvaluationImage.from_array(picture, 3)
    for same in (picture.astype(np.uint16) * 257, picture / 255, (picture / 255).astype("f4")):
        np.testing.assert_array_equal(EvaluationImage.from_array(same, 3).picture, image.picture)


def test_a_grey_image_is_taken_as_it_is(picture):
    grey = picture[..., 0]
    image = EvaluationImage.from_array(grey, 3)
    np.testing.assert_array_equal(image.truth, modcrop(grey, 3))
    assert set(score(image, image.bicubic, color=True)) == {"name", *KEYS}


@pytest.mark.parametrize("color", ["rgb", "ycbcr"])
@pytest.mark.parametrize("grey", [False, True])
def test_networks_of_three_channels(color, grey, picture):
    """The identity gives bicubic interpolation back, in every channel."""
    image = EvaluationImage.from_array(picture[..., 1] if grey else picture, 3)
    restored = by_network(identity(3, color=color))(image)
    row = score(image, restored, color=True)
    # RGB is rounded to 8 bits before it is reduced, Y after: half a grey level apart at most.
    assert row["psnr"] == pytest.approx(row["psnr_bicubic"], abs=0.05)
    for key in () if grey else COLOR_KEYS:
        tolerance = 1e-3 if color == "ycbcr" else 0.5
        assert row[f"psnr_{key}"] == pytest.approx(row[f"psnr_{key}_bicubic"], abs=tolerance)


def test_channels_are_not_confused(picture):
    """A network that doubles one channel changes that channel alone."""
    for channel, key in ((0, "psnr"), (1, "psnr_cb"), (2, "psnr_cr")):
        net = identity(3, color="ycbcr")
        net.layers[0][0][[channel, channel + 3]] *= 0.9
        image = EvaluationImage.from_array(picture, 3)
        row = score(image, by_network(net)(image), color=True)
        for other in ("psnr", "psnr_cb", "psnr_cr"):
            change = abs(row[other] - row[f"{other}_bicubic"])
            assert change > 1 if other == key else change < 1e-3


def test_many_measurements_prepare_once(picture, model, monkeypatch):
    """Training measures again and again: only the network's work is repeated."""
    net = load(model)
    prepared = [EvaluationImage.from_array(x, 3) for x in (picture, picture[::-1])]
    calls = []

    def counted(*arguments, **options):
        calls.append(arguments)
        return imresize(*arguments, **options)

    monkeypatch.setattr(protocol, "imresize", counted)
    first = mean_psnr(net, prepared)
    assert len(calls) == 4
    assert mean_psnr(net, prepared) == first
    assert len(calls) == 4
    rows = [score(image, by_network(net)(image)) for image in prepared]
    assert first[0] == np.mean([row["psnr"] for row in rows])
    assert first[1] == np.mean([row["psnr_bicubic"] for row in rows])


def test_the_result_has_exactly_these_keys(folder, model):
    result = scores.evaluate(load(model), folder, 3)
    assert list(result) == ["scale", "protocol", "images", "mean"]
    assert result["scale"] == 3
    assert [list(row) for row in result["images"]] == [["name", *KEYS]] * 2
    assert list(result["mean"]) == list(KEYS)
    assert [row["name"] for row in result["images"]] == ["a.png", "b.png"]
    for key in KEYS:
        assert result["mean"][key] == np.mean([row[key] for row in result["images"]])


def test_any_function_is_a_method(folder):
    result = scores.evaluate(lambda image: image.bicubic, folder, 4)
    assert result["mean"]["psnr"] == result["mean"]["psnr_bicubic"]


@pytest.mark.parametrize(("shape", "least"), [((16, 40), 18), ((40, 17), 18), ((1, 1), 18)])
def test_images_too_small_are_refused(shape, least):
    with pytest.raises(UserError, match=f"x3; it takes {least} on each side"):
        EvaluationImage.from_array(np.zeros(shape, np.uint8), 3, name="small.png")
    image = EvaluationImage.from_array(np.zeros((least, least), np.uint8), 3)
    assert math.isinf(score(image, image.bicubic)["psnr"])


def test_another_scale_than_the_models_is_refused(folder, model):
    with pytest.raises(UserError, match="trained for scale 3, not 2"):
        scores.evaluate(load(model), folder, 2)


# pictures to compare


def test_the_crop_is_where_bicubic_fails_most(rng):
    truth = np.full((300, 280), 100, np.uint8)
    truth[120:160, 30:70] = rng.integers(0, 255, (40, 40))
    rows, columns = comparison.hardest(EvaluationImage.from_array(truth, 2), side=60)
    assert rows.start <= 122 and rows.stop >= 158 and rows.stop - rows.start == 60
    assert columns.start <= 32 and columns.stop >= 68 and columns.stop - columns.start == 60


def test_pictures_side_by_side(rng):
    parts = [rng.integers(0, 255, (30, 40, 3), dtype=np.uint8) for _ in range(3)]
    parts[1] = parts[1][..., 0]
    crop = (slice(5, 15), slice(20, 40))
    canvas = comparison.side_by_side(
        [("one", parts[0]), ("two", parts[1]), ("", parts[2])], crop, 2
    )
    top = comparison.CAPTION
    assert canvas.shape == (top + 20, 3 * 40 + 2 * comparison.GAP, 3)
    for i, part in enumerate(parts):
        left = i * (40 + comparison.GAP)
        shown = canvas[top::2, left : left + 40 : 2]
        expected = part[crop] if part.ndim == 3 else np.repeat(part[crop][..., None], 3, axis=2)
        np.testing.assert_array_equal(shown, expected)
        np.testing.assert_array_equal(canvas[top + 1 :: 2, left + 1 : left + 40 : 2], expected)
        caption = canvas[:top, left : left + 40]
        assert (caption < 255).any() == (i < 2)


# the command


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


def bad_folder(tmp_path, name):
    path = tmp_path / name
    path.mkdir()
    return path


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        ([], 2, "--data"),
        (["--data", "images"], 2, "give --scale, or --model"),
        (["--data", "images", "--scale", "1"], 2, "whole number from 2 to 16"),
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
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert json.loads(done.stdout)["scale"] == 3
    done = subprocess.run(
        [*command, "--model", model, "--data", "none", "--debug"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert "Traceback" in done.stderr
