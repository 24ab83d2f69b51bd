"""Files of weights: exact to the last bit and the right way round, whoever wrote them."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest

import npsrcnn
from npsrcnn import SRCNN, kernels, load, model_files
from npsrcnn.commands import convert
from npsrcnn.commands.models import main as models_main
from npsrcnn.errors import UserError
from npsrcnn.model import shipped


def asymmetric(rng, name="9-1-5", channels=1, n=None, **metadata):
    """A small network: signed weights, each one another, biases too."""
    sizes = [int(f) for f in name.split("-")]
    widths = [channels, *(n or [5, 3, 2][: len(sizes) - 1]), channels]
    layers = [
        (rng.standard_normal((o, c, f, f)), rng.standard_normal(o))
        for f, c, o in zip(sizes, widths[:-1], widths[1:], strict=True)
    ]
    return SRCNN.from_layers(layers, device="reference", metadata=metadata)


def assert_same(net, other):
    assert (net.name, net.n, net.channels) == (other.name, other.n, other.channels)
    for (w, b), (w2, b2) in zip(net.layers, other.layers, strict=True):
        assert w2.dtype == b2.dtype == np.float32
        np.testing.assert_array_equal(w, w2)
        np.testing.assert_array_equal(b, b2)


NETWORKS = [("9-1-5", 1), ("9-5-5", 1), ("9-3-1-5", 1), ("3-3", 1), ("5-1-3", 1), ("9-1-5", 3)]


# npsrcnn's own files, and the authors'


@pytest.mark.parametrize("suffix", [".npz", ".mat", ".MAT", ".NPZ"])
@pytest.mark.parametrize(("name", "channels"), NETWORKS)
def test_what_is_written_is_read(suffix, name, channels, rng, tmp_path):
    color = "y" if channels == 1 else "ycbcr"
    net = asymmetric(rng, name, channels, scale=3, color=color, psnr={"Set5": np.float32(32.5)})
    net.padding = "zeros"
    net.save(tmp_path / f"net{suffix}")
    assert [path.name for path in tmp_path.iterdir()] == [f"net{suffix}"]
    other = load(tmp_path / f"net{suffix}", device="reference")
    assert_same(net, other)
    assert other.padding == "zeros"
    assert other.scale == 3
    assert other.color == color
    assert other.metadata["psnr"] == {"Set5": 32.5}
    assert other.metadata["npsrcnn"] == npsrcnn.__version__
    assert not {"padding", "network", "channels", "n"} & set(other.metadata)
    assert load(tmp_path / f"net{suffix}", padding="replicate").padding == "replicate"


def test_a_single_filter_is_no_special_case(rng, tmp_path):
    """MATLAB drops last axes of length 1, so a layer may have two axes for two reasons."""
    for n in ([1, 3], [3, 1], [1, 1]):
        net = asymmetric(rng, "3-3-3", n=n)
        net.save(tmp_path / "net.mat")
        assert_same(net, load(tmp_path / "net.mat"))


def test_the_same_network_makes_the_same_file(rng, tmp_path):
    net = asymmetric(rng, scale=2)
    for name in ("a.npz", "b.npz"):
        net.save(tmp_path / name)
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


def test_numpy_reads_our_files(rng, tmp_path):
    net = asymmetric(rng, scale=2)
    net.save(tmp_path / "net.npz")
    with np.load(tmp_path / "net.npz", allow_pickle=False) as file:
        about = json.loads(file["about"].item())
        np.testing.assert_array_equal(file["w3"], net.layers[2][0])
    assert about["network"] == "9-1-5"
    assert about["n"] == [5, 3]
    assert about["channels"] == 1
    assert about["scale"] == 2
    assert about["padding"] == "replicate"
    assert about["color"] == "y"


def test_the_authors_layout_is_column_after_column(rng, tmp_path):
    """Built here number by number, from the description of their files."""
    from scipy.io import loadmat, savemat

    net = asymmetric(rng, "5-3-3", n=[4, 2])
    (w1, b1), (w2, b2), (w3, b3) = [(w.astype(np.float64), b) for w, b in net.layers]
    conv1, conv2, conv3 = np.zeros((25, 4)), np.zeros((4, 9, 2)), np.zeros((2, 9))
    for o in range(4):
        for column in range(5):
            for row in range(5):
                conv1[5 * column + row, o] = w1[o, 0, row, column]
    for i in range(4):
        for column in range(3):
            for row in range(3):
                for o in range(2):
                    conv2[i, 3 * column + row, o] = w2[o, i, row, column]
                if i < 2:
                    conv3[i, 3 * column + row] = w3[0, i, row, column]
    theirs = {"weights_conv1": conv1, "weights_conv2": conv2, "weights_conv3": conv3}
    theirs |= {f"biases_conv{i}": b[:, None] for i, b in enumerate((b1, b2, b3), 1)}
    savemat(tmp_path / "theirs.mat", theirs)
    loaded = load(tmp_path / "theirs.mat")
    assert_same(net, loaded)
    assert loaded.padding == "replicate"
    assert loaded.scale is None

    net.save(tmp_path / "ours.mat")
    ours = loadmat(tmp_path / "ours.mat")
    for name, array in theirs.items():
        np.testing.assert_array_equal(ours[name], array)
        assert ours[name].dtype == np.float64


def test_the_authors_own_files(data_folder):
    net = load(data_folder / "authors" / "9-5-5_ImageNet_x3.mat", device="reference")
    assert (net.name, net.n, net.channels) == ("9-5-5", (64, 32), 1)
    from scipy.io import loadmat

    raw = loadmat(data_folder / "authors" / "9-5-5_ImageNet_x3.mat")
    patch = raw["weights_conv2"][17, :, 23].reshape(5, 5, order="F")
    np.testing.assert_array_equal(net.layers[1][0][23, 17], patch.astype(np.float32))


# ONNX


@pytest.mark.parametrize("padding", ["replicate", "zeros"])
@pytest.mark.parametrize(("name", "channels"), NETWORKS)
def test_onnx_runtime_computes_the_same(padding, name, channels, rng, tmp_path):
    onnx = pytest.importorskip("onnx")
    runtime = pytest.importorskip("onnxruntime")
    net = asymmetric(rng, name, channels, scale=3, color="y" if channels == 1 else "rgb")
    net.padding = padding
    net.save(tmp_path / "net.onnx")
    session = runtime.InferenceSession(tmp_path / "net.onnx", providers=["CPUExecutionProvider"])
    for shape in ((2, channels, 17, 12), (1, channels, 3, 30)):
        x = rng.standard_normal(shape).astype(np.float32)
        (y,) = session.run(None, {"image": x})
        expected = net.forward(x.astype(np.float64))
        # float32 sums of up to 81 x 5 products: eps * sqrt(405) of the largest value, and some.
        np.testing.assert_allclose(y, expected, rtol=0, atol=5e-6 * np.abs(expected).max())
    props = {p.key: p.value for p in onnx.load(tmp_path / "net.onnx").metadata_props}
    assert json.loads(props["npsrcnn"])["scale"] == 3


def test_without_the_package_onnx_one_line_says_so(rng, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(UserError, match="pip install onnx"):
        asymmetric(rng).save(tmp_path / "net.onnx")
    assert not list(tmp_path.iterdir())


# names, and the weights that ship


@pytest.fixture
def weights(rng, tmp_path, monkeypatch):
    """A folder of weights like the one that ships."""
    folder = tmp_path / "weights"
    folder.mkdir()
    monkeypatch.setattr(shipped, "FOLDER", folder)
    facts = [
        ("9-1-5-x3", 3, "y", 28.1, {"Set5": 32.641, "Set14": 29.152}, ["T91"], "none stated"),
        ("9-5-5-x3", 3, "y", 28.6, {"Set5": 33.0, "Set14": 29.4}, ["T91", "T91", "BSDS"], "mixed"),
        ("9-1-5-x3-rgb", 3, "rgb", 28.3, {}, ["T91"], "none stated"),
        ("9-1-5-x2", 2, "y", 31.0, {"Set5": 36.7}, "dead leaves", "none needed"),
        ("9-1-5-x10", 10, "y", 22.0, {}, ["T91"], "none stated"),
    ]
    for name, scale, color, validation, psnr, data, licence in facts:
        net = asymmetric(
            rng, name[:5], 3 if color == "rgb" else 1, scale=scale, color=color,
            psnr_validation=validation, psnr=psnr, data=data, licence=licence,
        )  # fmt: skip
        net.save(folder / f"{name}.npz")
    return folder


def test_models_are_listed_by_name_and_number(weights):
    there = npsrcnn.models()
    assert [m.name for m in there] == [
        "9-1-5-x2", "9-1-5-x3", "9-1-5-x3-rgb", "9-1-5-x10", "9-5-5-x3",
    ]  # fmt: skip
    model = there[4]
    assert (model.network, model.scale, model.color, model.licence) == ("9-5-5", 3, "y", "mixed")
    assert model.data == "2 x T91, BSDS"
    assert model.weights == 81 * 5 + 5 + 25 * 15 + 3 + 25 * 3 + 1
    assert model.psnr == {"Set5": 33.0, "Set14": 29.4}
    lines = repr(there).splitlines()
    assert lines[0].split() == [
        "name", "network", "scale", "color", "weights", "Set5", "Set14", "data", "licence",
    ]  # fmt: skip
    assert lines[2].split() == [
        "9-1-5-x3", "9-1-5", "x3", "y", "504", "32.64", "29.15", "T91", "none", "stated",
    ]  # fmt: skip
    assert lines[1].split()[5:7] == ["36.70", "-"]


def test_the_best_is_chosen_by_validation_not_by_set5(weights, rng):
    assert shipped.best_for(3) == "9-5-5-x3"
    assert shipped.best_for(3, color="rgb") == "9-1-5-x3-rgb"
    assert shipped.best_for(2) == "9-1-5-x2"
    boast = asymmetric(rng, scale=3, psnr={"Set5": 40.0})  # says nothing of validation
    boast.save(weights / "boast.npz")
    assert shipped.best_for(3) == "9-5-5-x3"
    with pytest.raises(UserError, match=r"no weights for x4 ship \(only for x2, x3, x10\).*train"):
        shipped.best_for(4)


def test_load_by_name(weights):
    net = npsrcnn.load("9-1-5-x2")
    assert net.scale == 2
    with pytest.raises(UserError, match=r"no model '9-1-5-x7'.*9-1-5-x2, 9-1-5-x3.*train"):
        npsrcnn.load("9-1-5-x7")
    for outside in ("../weights/9-1-5-x2", "", "/9-1-5-x2", "a\nb"):
        with pytest.raises(UserError):
            npsrcnn.load(outside)


@pytest.mark.parametrize(
    ("name", "says", "scale"),
    [
        ("9-1-5_91-images_x3.mat", None, 3),
        ("9-1-5-x4.npz", None, 4),
        ("x2.mat", None, 2),
        ("9-1-5_x3.mat", 2, 2),
        ("9-1-5_x5.mat", None, None),
        ("max4.mat", None, None),
        ("9-1-5_x3_of_mine.mat", None, None),
    ],
)
def test_a_scale_that_a_file_does_not_say_is_in_its_name(name, says, scale, rng, tmp_path):
    asymmetric(rng, scale=says).save(tmp_path / name)
    assert npsrcnn.load(tmp_path / name).scale == scale


def test_what_a_device_lacks_is_not_said_of_the_file(weights, monkeypatch):
    def choose(device):
        raise UserError("no NVIDIA driver")

    monkeypatch.setattr(kernels, "choose", choose)
    with pytest.raises(UserError, match=r"^no NVIDIA driver$"):
        npsrcnn.load("9-1-5-x3", device="cuda")


def test_a_file_comes_before_a_name(weights, rng, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    asymmetric(rng, scale=4).save(tmp_path / "9-1-5-x2.npz")
    assert npsrcnn.load("9-1-5-x2.npz").scale == 4
    assert npsrcnn.load("9-1-5-x2").scale == 2


def test_with_no_weights_the_way_to_some_is_shown(tmp_path, monkeypatch):
    monkeypatch.setattr(shipped, "FOLDER", tmp_path)
    assert "npsrcnn train" in repr(npsrcnn.models())
    for function, argument in ((shipped.best_for, 3), (npsrcnn.load, "9-1-5-x3")):
        with pytest.raises(UserError, match=r"npsrcnn train"):
            function(argument)


def test_a_damaged_file_among_them_is_named(weights):
    (weights / "broken.npz").write_bytes(b"PK no")
    with pytest.raises(UserError, match=r"broken\.npz: not an \.npz file"):
        npsrcnn.models()


def test_models_command(weights, capsys):
    assert models_main([]) == 0
    assert "9-1-5-x3-rgb" in capsys.readouterr().out
    assert models_main(["9-5-5-x3"]) == 0
    assert json.loads(capsys.readouterr().out)["psnr_validation"] == 28.6
    assert models_main(["9-9-9"]) == 1
    assert "no model '9-9-9'" in capsys.readouterr().err


# convert


def test_convert_command(rng, tmp_path, capsys):
    net = asymmetric(rng)
    net.save(tmp_path / "a.mat")
    target = tmp_path / "b.npz"
    assert convert.main([str(tmp_path / "a.mat"), str(target), "--scale", "3"]) == 0
    out = capsys.readouterr().out
    assert str(target) in out
    assert "9-1-5, y, x3, padding replicate" in out
    other = load(target)
    assert_same(net, other)
    assert other.scale == 3
    assert convert.main([str(target), str(tmp_path / "c.mat"), "--padding", "zeros"]) == 0
    assert load(tmp_path / "c.mat").padding == "zeros"


def test_help_of_convert_names_every_format(capsys):
    with pytest.raises(SystemExit, match="0"):
        convert.main(["--help"])
    words = capsys.readouterr().out.split("writes")
    assert all(suffix in words[0] for suffix in model_files.READERS)
    assert all(suffix in words[1] for suffix in model_files.WRITERS)


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["a.npz"], 2, "arguments are required: B"),
        (["a.npz", "b.npz", "--what"], 2, "--what"),
        (["a.npz", "b.npz", "--scale", "0"], 2, "--scale"),
        (["a.npz", "b.npz", "--padding", "mirror"], 2, "--padding"),
        (["a.npz", "b.npz", "--color", "rgb"], 1, "--color y"),
        (["missing.mat", "b.npz"], 1, "missing.mat: no such file"),
        (["missing", "b.npz"], 1, "no model 'missing'"),
        (["folder.npz", "b.npz"], 1, "a folder"),
        (["a.npz", "b.txt"], 1, "cannot write .txt files; there are .npz, .mat, .onnx"),
        (["a.npz", "b"], 1, "without a suffix"),
        (["a.npz", "b.pth"], 1, "cannot write .pth"),
        (["text.txt", "b.npz"], 1, "cannot read .txt"),
        (["a.npz", "nowhere/b.npz"], 1, "nowhere/b.npz: No such file or directory"),
    ],
)
def test_convert_says_what_is_wrong_in_one_line(
    arguments, code, says, rng, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    asymmetric(rng).save("a.npz")
    (tmp_path / "text.txt").write_text("a text")
    (tmp_path / "folder.npz").mkdir()
    before = sorted(path.name for path in tmp_path.iterdir())
    assert convert.main(arguments) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert says in err
    assert "Traceback" not in err
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_debug_shows_where(tmp_path):
    command = [sys.executable, "-m", "npsrcnn", "convert", "none.npz", "b.npz", "--debug"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "Traceback" in done.stderr
    assert "no such file" in done.stderr
