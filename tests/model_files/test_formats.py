"""Files of weights: exact to the last bit and the right way round, whoever wrote them."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import (
    assert_same,
    asymmetric,
)

import npsrcnn
from npsrcnn import SRCNN, load
from npsrcnn.errors import UserError
from npsrcnn.model_files import READERS
from npsrcnn.model_files.state_dicts import layers_of

# Random weights are no SRCNN, and those of other programs are looked at.
pytestmark = pytest.mark.filterwarnings("ignore::npsrcnn.model.foreign.ModelWarning")

NETWORKS = [("9-1-5", 1), ("9-5-5", 1), ("9-3-1-5", 1), ("3-3", 1), ("5-1-3", 1), ("9-1-5", 3)]


@pytest.mark.parametrize("suffix", [".npz", ".mat", ".MAT", ".NPZ", ".pth", ".safetensors"])
@pytest.mark.parametrize(("name", "channels"), NETWORKS)
def test_a_network_is_read_as_it_was_written(suffix, name, channels, rng, tmp_path):
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


RESERVED = {"scale", "color", "padding", "network", "channels", "n", "npsrcnn"}
FINITE = st.floats(allow_nan=False, allow_infinity=False)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**64), 2**64) | FINITE | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


@st.composite
def networks(draw):
    """Any network: odd filters, one or three channels, finite float32 of any bits."""
    channels = draw(st.sampled_from([1, 3]))
    sizes = draw(st.lists(st.sampled_from([1, 3, 5, 7]), min_size=1, max_size=4))
    n = draw(st.lists(st.integers(1, 3), min_size=len(sizes) - 1, max_size=len(sizes) - 1))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))

    def numbers(*shape):
        bits = rng.integers(0, 2**32, shape, np.uint32)
        special = rng.choice(np.float32([0, -0.0, 1e-45, -1e-45, 3.4e38]), shape)
        values = np.where(rng.random(shape) < 0.2, special, bits.view(np.float32))
        return np.where(np.isfinite(values), values, np.float32(1))

    layers = [
        (numbers(o, c, f, f), numbers(o))
        for f, c, o in zip(sizes, [channels, *n], [*n, channels], strict=True)
    ]
    metadata = draw(st.dictionaries(st.text().filter(lambda key: key not in RESERVED), JSON))
    metadata["scale"] = draw(st.sampled_from([None, 2, 3, 4, 2.5]))
    metadata["color"] = "y" if channels == 1 else draw(st.sampled_from(["rgb", "ycbcr"]))
    padding = draw(st.sampled_from(["replicate", "zeros"]))
    return SRCNN.from_layers(layers, device="reference", padding=padding, metadata=metadata)


@settings(deadline=None, max_examples=40)
@given(net=networks(), suffix=st.sampled_from([".npz", ".mat", ".pt"]))
def test_any_network_comes_back_bit_for_bit(net, suffix, tmp_path_factory):
    path = tmp_path_factory.mktemp("files") / f"net{suffix}"
    net.save(path)
    other = load(path, device="reference")
    for ours, theirs in zip(net.layers, other.layers, strict=True):
        for a, b in zip(ours, theirs, strict=True):
            assert a.shape == b.shape
            np.testing.assert_array_equal(a.view(np.uint32), b.view(np.uint32))
    assert other.padding == net.padding
    assert other.metadata == {**net.metadata, "npsrcnn": npsrcnn.__version__}


def test_a_single_filter_is_no_special_case(rng, tmp_path):
    """MATLAB drops last axes of length 1, so a layer may have two axes for two reasons."""
    for n in ([1, 3], [3, 1], [1, 1]):
        net = asymmetric(rng, "3-3-3", n=n)
        net.save(tmp_path / "net.mat")
        assert_same(net, load(tmp_path / "net.mat"))


def test_saving_a_network_twice_makes_equal_files(rng, tmp_path):
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
    assert_same(net, load(tmp_path / "net.onnx"))
    assert load(tmp_path / "net.onnx").padding == padding
    props = {p.key: p.value for p in onnx.load(tmp_path / "net.onnx").metadata_props}
    assert json.loads(props["npsrcnn"])["scale"] == 3


def onnx_of(path, nodes, rng):
    """Write a graph from x to y of (operation, inputs, output, settings)."""
    pytest.importorskip("onnx")
    from onnx import TensorProto, helper, numpy_helper

    shapes = {"w1": (2, 1, 3, 3), "b1": (2,), "w2": (1, 2, 5, 5)}
    arrays = {name: rng.standard_normal(shape).astype("f4") for name, shape in shapes.items()}
    infos = [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["n", 1, "h", "w"]) for n in "xy"]
    graph = helper.make_graph(
        [helper.make_node(op, ins.split(), [out], **how) for op, ins, out, how in nodes],
        "net", [infos[0]], [infos[1]],
        [numpy_helper.from_array(array, name) for name, array in arrays.items()],
    )  # fmt: skip
    path.write_bytes(helper.make_model(graph).SerializeToString())
    return arrays


CONV1, RELU, CONV2 = ("Conv", "x w1 b1", "a", {}), ("Relu", "a", "r", {}), ("Conv", "r w2", "y", {})


def test_onnx_of_others_is_read(rng, tmp_path):
    path = tmp_path / "net_x2.onnx"
    arrays = onnx_of(path, [("Conv", "x w1 b1", "a", {"pads": [1] * 4}), RELU, CONV2], rng)
    net = load(path)
    assert (net.name, net.padding, net.scale) == ("3-5", "zeros", 2)
    np.testing.assert_array_equal(net.layers[0][1], arrays["b1"])
    np.testing.assert_array_equal(net.layers[1][0], arrays["w2"])
    assert not net.layers[1][1].any()
    onnx_of(path, [CONV1, RELU, CONV2], rng)
    assert load(path).padding == "replicate"
    onnx_of(path, [("Conv", "x w1 b1", "a", {"auto_pad": "SAME_UPPER"}), RELU, CONV2], rng)
    assert load(path).padding == "zeros"
    reflected = ("Pad", "x", "p", {"pads": [0, 0, 1, 1] * 2, "mode": "reflect"})
    onnx_of(path, [reflected, ("Conv", "p w1 b1", "a", {}), RELU, CONV2], rng)
    assert load(path).padding == "replicate"
    same = ("Identity", "w2", "w3", {})
    arrays = onnx_of(path, [same, CONV1, RELU, ("Conv", "r w3", "y", {})], rng)
    np.testing.assert_array_equal(load(path).layers[1][0], arrays["w2"])
    cast = ("Cast", "w2", "w3", {"to": 11})
    arrays = onnx_of(path, [cast, CONV1, RELU, ("Conv", "r w3", "y", {})], rng)
    np.testing.assert_array_equal(load(path).layers[1][0], arrays["w2"])


@pytest.mark.parametrize("padding", ["replicate", "zeros"])
def test_onnx_of_half_precision_is_read(padding, rng, tmp_path):
    """As onnxconverter-common's float16 writes it, of which images stay float32."""
    onnx = pytest.importorskip("onnx")
    net = asymmetric(rng)
    net.padding = padding
    net.save(tmp_path / "net.onnx")
    graph = (model := onnx.load(tmp_path / "net.onnx")).graph
    halves = {}
    for tensor in graph.initializer:
        if tensor.data_type == onnx.TensorProto.FLOAT:
            array = onnx.numpy_helper.to_array(tensor).astype(np.float16)
            tensor.CopyFrom(onnx.numpy_helper.from_array(array, tensor.name))
            halves[tensor.name] = array
    first, last = graph.node[0], graph.node[-1]
    first.input[0], last.output[0] = "half image", "half restored"
    into = onnx.helper.make_node("Cast", ["image"], ["half image"], to=onnx.TensorProto.FLOAT16)
    out = onnx.helper.make_node("Cast", ["half restored"], ["restored"], to=onnx.TensorProto.FLOAT)
    nodes = [into, *graph.node, out]
    del graph.node[:]
    graph.node.extend(nodes)
    onnx.checker.check_model(model)
    onnx.save(model, tmp_path / "half.onnx")
    read = load(tmp_path / "half.onnx")
    assert read.padding == padding
    for i, (w, b) in enumerate(read.layers, 1):
        np.testing.assert_array_equal(w, halves[f"w{i}"])
        np.testing.assert_array_equal(b, halves[f"b{i}"])
    runtime = pytest.importorskip("onnxruntime")
    session = runtime.InferenceSession(tmp_path / "half.onnx", providers=["CPUExecutionProvider"])
    x = rng.random((1, 1, 17, 12), np.float32)
    (y,) = session.run(None, {"image": x})
    expected = read.forward(x)
    # Maps of each layer are rounded to 11 bits, of the largest value.
    np.testing.assert_allclose(y, expected, rtol=0, atol=4 * 2**-11 * np.abs(expected).max())


def test_onnx_whose_weights_lie_in_a_file_beside(rng, tmp_path):
    """As PyTorch's exporter writes it."""
    path = tmp_path / "net.onnx"
    arrays = onnx_of(path, [CONV1, RELU, CONV2], rng)
    import onnx

    good = onnx.load_model_from_string(path.read_bytes())
    save = {"save_as_external_data": True, "size_threshold": 0, "location": "net.onnx.data"}
    onnx.save_model(good, path, **save)
    beside = tmp_path / "net.onnx.data"
    for layer, names in zip(load(path).layers, (("w1", "b1"), ("w2",)), strict=True):
        for array, name in zip(layer, names, strict=False):
            np.testing.assert_array_equal(array, arrays[name])
    beside.write_bytes(beside.read_bytes()[:100])
    with pytest.raises(UserError, match="which is too short, too large or damaged"):
        load(path)
    beside.rename(tmp_path / "other")
    with pytest.raises(UserError, match=r"lies in 'net.onnx.data', and no such file is beside"):
        load(path)
    beside.symlink_to(tmp_path / "other")
    with pytest.raises(UserError, match="no such file is beside"):
        load(path)
    (tmp_path / "in").mkdir()
    (tmp_path / "other").rename(beside)
    for name in ("../net.onnx.data", str(beside), "in", ".."):
        model = onnx.load_model(path, load_external_data=False)
        for tensor in model.graph.initializer:
            tensor.external_data[0].value = name
        (tmp_path / "in" / "net.onnx").write_bytes(model.SerializeToString())
        with pytest.raises(UserError, match="no such file is beside"):
            load(tmp_path / "in" / "net.onnx")


def test_the_files_beside_count_together(rng, tmp_path, monkeypatch):
    path = tmp_path / "net.onnx"
    onnx_of(path, [CONV1, RELU, CONV2], rng)
    import onnx

    model = onnx.load_model(path)
    save = {"save_as_external_data": True, "size_threshold": 0, "location": "beside"}
    onnx.save_model(model, path, **save)
    monkeypatch.setattr("npsrcnn.model_files.onnx.LIMIT", 500)
    load(path)
    model = onnx.load_model(path, load_external_data=False)
    for i in range(5):  # of the same 200 bytes
        model.graph.initializer.add().CopyFrom(model.graph.initializer[2])
        model.graph.initializer[-1].name = f"more{i}"
    path.write_bytes(model.SerializeToString())
    with pytest.raises(UserError, match="lies in 'beside', which is too short, too large"):
        load(path)


@pytest.mark.parametrize(
    ("nodes", "says"),
    [
        ([CONV1, ("Tanh", "a", "r", {}), CONV2], "has a Tanh: an SRCNN is convolutions"),
        ([("Conv", "x w1 b1", "r", {}), CONV2], "no ReLU before"),
        ([CONV1, RELU, ("Conv", "r w2", "y", {"strides": [2, 2]})], r"strides \[2, 2\]"),
        ([CONV1, RELU, ("Conv", "r w2", "y", {"group": 2})], "group 2"),
        ([("Conv", "x w1 b1", "a", {"pads": [2, 2, 0, 0]}), RELU, CONV2], r"pads \[2, 2, 0, 0\]"),
        (
            [("Pad", "x", "p", {"pads": [0, 0, 1, 0]}), ("Conv", "p w1 b1", "a", {}), RELU, CONV2],
            r"Pad pads \[0, 0, 1, 0\], which shifts images",
        ),
        (
            [CONV1, RELU, ("Conv", "r w2", "s", {}), ("Add", "s x", "y", {})],
            "2 nodes take|has a Add",
        ),
        ([("Cast", "x", "c", {"to": 7}), ("Conv", "c w1 b1", "a", {}), RELU, CONV2], "has a Cast"),
        (
            [("Cast", "w2", "other", {"to": 7}), CONV1, RELU, ("Conv", "r other", "y", {})],
            "'other' is computed",
        ),
        ([CONV1, RELU, ("Conv", "r other", "y", {})], "'other' is computed: weights are to be"),
        ([CONV1, ("Relu", "a", "y", {})], "does not end with a convolution"),
        ([CONV1, ("Relu", "a", "a", {})], "nodes take|does not end"),
        ([], "does not end|no chain"),
    ],
)
def test_onnx_that_is_no_chain_is_refused(nodes, says, rng, tmp_path):
    onnx_of(tmp_path / "net.onnx", nodes, rng)
    with pytest.raises(UserError, match=says):
        load(tmp_path / "net.onnx")
    (tmp_path / "net.onnx").write_bytes(b"\xff\x07 no protobuf")
    with pytest.raises(UserError, match="not an ONNX file, or damaged"):
        load(tmp_path / "net.onnx")


def test_a_network_and_its_copy_are_not_taken_for_one(rng):
    """As training keeps a mean over its steps beside the network: together they look like six."""
    names = ("conv1.weight", "conv2.weight", "conv3.weight")
    shapes = ((4, 1, 5, 5), (2, 4, 1, 1), (1, 2, 3, 3))
    arrays = {
        f"{model}.{name}": rng.standard_normal(shape)
        for model in ("model", "model_ema")
        for name, shape in zip(names, shapes, strict=True)
    }
    with pytest.raises(UserError, match=r"2 networks \(model, model_ema\)"):
        layers_of(arrays)


def test_safetensors_of_others_are_read(rng, tmp_path):
    numpy = pytest.importorskip("safetensors.numpy")
    arrays = [rng.standard_normal(shape).astype("f4") for shape in ((2, 1, 3, 3), (1, 2, 5, 5))]
    state = {
        "body.10.weight": arrays[1],
        "body.9.weight": arrays[0],
        "body.9.bias": np.ones(2, "f2"),
    }
    numpy.save_file(state, tmp_path / "net_x3.safetensors")
    net = load(tmp_path / "net_x3.safetensors")
    assert (net.name, net.padding, net.scale) == ("3-5", "zeros", 3)
    np.testing.assert_array_equal(net.layers[0][1], [1, 1])
    bfloat16 = pytest.importorskip("ml_dtypes").bfloat16
    state["body.9.bias"] = np.array([1, -1.5], bfloat16)
    numpy.save_file(state, tmp_path / "net_x3.safetensors")
    np.testing.assert_array_equal(load(tmp_path / "net_x3.safetensors").layers[0][1], [1, -1.5])
    names = dict(zip(("patches.weight", "mapping.weight"), arrays, strict=True))
    numpy.save_file(names, tmp_path / "by_shape.safetensors")
    assert load(tmp_path / "by_shape.safetensors").name == "3-5"
    good = (tmp_path / "net_x3.safetensors").read_bytes()
    for i, bad in enumerate((good[:-1], good[:9], b"\xff" * 9, b"\x02" + bytes(7) + b"{}")):
        path = tmp_path / f"bad{i}.safetensors"
        path.write_bytes(bad)
        with pytest.raises(UserError, match=r"not a file of safetensors|holds no convolutions"):
            load(path)
    numpy.save_file({**state, "bn.running_mean": np.ones(3)}, path)
    with pytest.raises(UserError, match=r"bn\.running_mean \(3,\) is no part of an SRCNN"):
        load(path)


def test_without_the_package_safetensors_one_line_says_so(rng, tmp_path, monkeypatch):
    for name in ("safetensors", "safetensors.numpy"):
        monkeypatch.setitem(sys.modules, name, None)
    (tmp_path / "net.safetensors").write_bytes(b"x")
    for do in (load, asymmetric(rng).save):
        with pytest.raises(UserError, match=r'pip install "npsrcnn\[models\]"'):
            do(tmp_path / "net.safetensors")


def test_without_the_package_onnx_one_line_says_so(rng, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(UserError, match=r'pip install "npsrcnn\[models\]"'):
        asymmetric(rng).save(tmp_path / "net.onnx")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("suffix", READERS)
def test_a_missing_file_is_said_before_a_missing_package(suffix, tmp_path, monkeypatch):
    for name in ("onnx", "h5py", "safetensors", "safetensors.numpy", "google.protobuf.message"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(UserError, match=r"no such file$"):
        load(tmp_path / f"net{suffix}")
