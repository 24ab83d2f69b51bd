"""Keras's files: kernels the right way round, in the right order, and nothing but a plain chain."""

from __future__ import annotations

import sys
import zipfile

import numpy as np
import pytest
from networks import assert_same, asymmetric

from npsrcnn import load
from npsrcnn.errors import UserError
from npsrcnn.model_files import keras
from npsrcnn.runtime import apart

h5py = pytest.importorskip("h5py")
from keras_files import convolution, functional, sequential, write_h5, write_keras  # noqa: E402

# Random weights are no SRCNN, and those of other programs are looked at.
pytestmark = pytest.mark.filterwarnings("ignore::npsrcnn.model.foreign.ModelWarning")


@pytest.fixture(autouse=True)
def _in_this_process(request, monkeypatch):
    """Read without a process for each file, which takes half a second."""
    if not request.node.name.endswith("_apart"):
        monkeypatch.setattr(keras, "call_apart", lambda function, *arguments: function(*arguments))


@pytest.fixture
def net(rng):
    return asymmetric(rng, "9-3-5", n=[4, 3])


def kinds(config):
    return config, functional(config, keras3=False), functional(config, keras3=True)


@pytest.mark.parametrize("kind", range(3))
@pytest.mark.parametrize("suffix", [".h5", ".hdf5", ".keras"])
@pytest.mark.parametrize("padding", ["same", "valid"])
def test_a_model_is_read_the_right_way_round(net, tmp_path, kind, suffix, padding):
    path = tmp_path / f"net_x3{suffix}"
    config = kinds(sequential(net, padding=padding))[kind]
    (write_keras if suffix == ".keras" else write_h5)(path, net, config)
    found = load(path, device="reference")
    assert_same(net, found)
    assert found.padding == {"same": "zeros", "valid": "replicate"}[padding]
    assert found.scale == 3


def test_a_kernel_computes_what_keras_computes(net, tmp_path, rng):
    """out[y, x, o] is the sum of image[y + i, x + j, c] * kernel[i, j, c, o], not flipped."""
    write_h5(tmp_path / "net.h5", net, sequential(net, padding="valid"))
    image = rng.standard_normal((11, 12, 1))
    with h5py.File(tmp_path / "net.h5") as file:
        kernel = file["model_weights/first/first/kernel:0"][()]
    (w, _), *_ = load(tmp_path / "net.h5", device="reference").layers
    expected = np.einsum("ijc,ijco->o", image[1:10, 2:11], kernel)
    found = np.einsum("ijc,ocij->o", image[1:10, 2:11], w)
    np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_more_layers_than_ten_keep_their_order(rng, tmp_path):
    net = asymmetric(rng, "-".join(["3"] * 12), n=[2] * 11)
    names = tuple(f"layer{i}" for i in range(12))
    write_keras(tmp_path / "net.keras", net, sequential(net, names))
    assert_same(net, load(tmp_path / "net.keras", device="reference"))


def test_weights_alone_keep_the_order_that_the_file_names(net, tmp_path):
    write_h5(tmp_path / "net.h5", net, names=("z", "m", "a"))
    found = load(tmp_path / "net.h5", device="reference")
    assert_same(net, found)
    assert found.padding == "zeros"
    write_keras(tmp_path / "net.keras", net, sequential(net))
    with zipfile.ZipFile(tmp_path / "net.keras") as archive:
        (tmp_path / "net.weights.h5").write_bytes(archive.read("model.weights.h5"))
    assert_same(net, load(tmp_path / "net.weights.h5", device="reference"))


def test_relus_of_their_own_and_no_biases(net, tmp_path):
    config = sequential(net)
    for layer in config["config"]["layers"][1:]:
        layer["config"]["activation"] = "linear"
    layers = config["config"]["layers"]
    layers.insert(2, {"class_name": "ReLU", "config": {"name": "relu", "max_value": None}})
    layers.insert(4, {"class_name": "Activation", "config": {"name": "a", "activation": "relu"}})
    write_h5(tmp_path / "net.h5", net, config)
    with h5py.File(tmp_path / "net.h5", "a") as file:
        del file["model_weights/middle/middle/bias:0"]
    net.layers[1][1][:] = 0
    assert_same(net, load(tmp_path / "net.h5", device="reference"))


def test_relus_as_layers_in_place_of_functions_and_dropout(net, tmp_path):
    config = sequential(net)
    layers = config["config"]["layers"]
    for layer in layers[1:3]:
        relu = {"class_name": "ReLU", "config": {"name": "relu", "max_value": None}}
        layer["config"]["activation"] = relu
    layers.insert(2, {"class_name": "Dropout", "config": {"name": "drop", "rate": 0.1}})
    write_keras(tmp_path / "net.keras", net, config)
    assert_same(net, load(tmp_path / "net.keras", device="reference"))
    layers[1]["config"]["activation"]["config"]["max_value"] = 6.0
    write_keras(tmp_path / "net.keras", net, config)
    with pytest.raises(UserError, match="first is a layer with ReLU: an SRCNN is"):
        load(tmp_path / "net.keras")


def test_what_is_no_plain_chain_is_refused_by_its_name(net, tmp_path):
    def changed(**settings):
        config = sequential(net)
        config["config"]["layers"][2]["config"] |= settings
        return config

    def with_layer(kind, **settings):
        config = sequential(net)
        layer = {"class_name": kind, "config": {"name": "more", **settings}}
        config["config"]["layers"].insert(3, layer)
        return config

    residual = functional(sequential(net), keras3=True)
    nodes = residual["config"]["layers"][3]["inbound_nodes"][0]["args"]
    nodes.append({"config": {"keras_history": ["first", 0, 0]}})
    doubled = sequential(net)
    doubled["config"]["layers"].append(convolution("last", net.layers[2][0]))
    positive = sequential(net)
    positive["config"]["layers"][3]["config"]["activation"] = "relu"
    wrong = {
        "middle is a layer with tanh": changed(activation="tanh"),
        "middle has strides": changed(strides=[2, 2]),
        "middle has dilation_rate": changed(dilation_rate=[2, 2]),
        "middle has groups 2": changed(groups=2),
        "middle has padding causal": changed(padding="causal"),
        "more is a BatchNormalization": with_layer("BatchNormalization"),
        "more is a ReLU with settings": with_layer("ReLU", max_value=6.0),
        "no ReLU before 'last'": changed(activation="linear"),
        "last takes first, middle: no chain": residual,
        "0 kernels of 'elsewhere'": changed(name="elsewhere"),
        "does not end with a convolution": positive,
        "no ReLU before 'last', as": doubled,
        "is of a class of its own, Mine": {"class_name": "Mine", "config": {"n": 3}},
    }
    for message, config in wrong.items():
        write_h5(tmp_path / "net.h5", net, config)
        with pytest.raises(UserError, match=message):
            load(tmp_path / "net.h5")


def test_no_other_file_is_read_by_it(net, tmp_path):
    write_h5(tmp_path / "other.h5", net)
    place = "first/first/kernel:0"
    for link in (h5py.ExternalLink("other.h5", place), h5py.SoftLink("/first")):
        with h5py.File(tmp_path / "net.h5", "w") as file:
            file["w"] = link
        with pytest.raises(UserError, match="/w is a link, which is not followed"):
            load(tmp_path / "net.h5")
    with h5py.File(tmp_path / "net.h5", "w") as file:
        external = [(str(tmp_path / "other.h5"), 0, 36)]
        file.create_dataset("kernel", (3, 3, 1, 1), "f4", external=external)
    with pytest.raises(UserError, match="/kernel lies in another file, which is not read"):
        load(tmp_path / "net.h5")
    layout = h5py.VirtualLayout((9, 9, 1, 4), "f4")
    layout[...] = h5py.VirtualSource(tmp_path / "other.h5", place, (9, 9, 1, 4))
    with h5py.File(tmp_path / "net.h5", "w") as file:
        file.create_virtual_dataset("kernel", layout)
    with pytest.raises(UserError, match="/kernel lies in another file, which is not read"):
        load(tmp_path / "net.h5")


def test_little_files_that_unpack_to_much_and_circles_are_refused(net, tmp_path, monkeypatch):
    with h5py.File(tmp_path / "net.h5", "w") as file:
        file.create_dataset("kernel", (10**4, 10**4, 1, 1), "f4", chunks=True, compression="gzip")
    with pytest.raises(UserError, match="/kernel is too large for an SRCNN"):
        load(tmp_path / "net.h5")
    with h5py.File(tmp_path / "net.h5", "w") as file:
        file["again"] = file["/"]
    with pytest.raises(UserError, match="has too many parts for an SRCNN"):
        load(tmp_path / "net.h5")
    with zipfile.ZipFile(tmp_path / "net.keras", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("config.json", "[" * 100_000)
        archive.writestr("model.weights.h5", b"")
    with pytest.raises(UserError, match="not a file of Keras, or damaged"):
        load(tmp_path / "net.keras")


@pytest.mark.parametrize("suffix", [".h5", ".keras"])
def test_damage_is_told_in_one_line(net, tmp_path, suffix):
    path = tmp_path / f"net{suffix}"
    (write_keras if suffix == ".keras" else write_h5)(path, net, sequential(net))
    data = path.read_bytes()
    for length in (1, 7, 300, len(data) // 2, len(data) - 30):
        path.write_bytes(data[:length])
        with pytest.raises(UserError) as error:
            load(path)
        assert "\n" not in str(error.value) and str(error.value).startswith(str(path))


def test_what_the_library_goes_round_in_for_ever_is_ended_apart(net, tmp_path, monkeypatch):
    write_h5(tmp_path / "net.h5", net, sequential(net))
    assert_same(net, load(tmp_path / "net.h5", device="reference"))
    data = bytearray((tmp_path / "net.h5").read_bytes())
    first = data.index(b"GCOL") + 16  # HDF5 File Format Specification, III.E: a heap's first object
    data[first] = 1
    data[first + 8 : first + 16] = (2**64 - 16).to_bytes(8, "little")
    (tmp_path / "net.h5").write_bytes(data)
    monkeypatch.setattr(apart, "LONGEST", 1)
    with pytest.raises(UserError, match=r"net.h5: damaged: reading it takes more than 1 s"):
        load(tmp_path / "net.h5")


def test_without_the_package_one_line_says_so(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "h5py", None)
    (tmp_path / "net.h5").write_bytes(b"x")
    with pytest.raises(UserError, match=r'pip install "npsrcnn\[models\]"'):
        load(tmp_path / "net.h5")


@pytest.mark.parametrize("suffix", [".h5", ".keras"])
def test_keras_itself_writes_such_files(net, tmp_path, suffix):
    real = pytest.importorskip("keras", reason="compares with Keras itself")
    layers = [real.layers.Input((None, None, 1))]
    for i, (w, _) in enumerate(net.layers):
        activation = "relu" if i < 2 else None
        layers.append(real.layers.Conv2D(len(w), w.shape[2], padding="same", activation=activation))
    model = real.Sequential(layers)
    model.set_weights([a for w, b in net.layers for a in (w.transpose(2, 3, 1, 0), b)])
    model.save(tmp_path / f"net{suffix}")
    assert_same(net, load(tmp_path / f"net{suffix}", device="reference"))
