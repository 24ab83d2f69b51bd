"""Caffe's nets, in each of the three forms that there have been."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from networks import assert_same, asymmetric

from npsrcnn import load
from npsrcnn.errors import UserError
from npsrcnn.model_files import caffemodel

pytest.importorskip("google.protobuf")

# Random weights are no SRCNN, and those of other programs are looked at.
pytestmark = pytest.mark.filterwarnings("ignore::npsrcnn.model.foreign.ModelWarning")
FORMS = ["layer", "old", "oldest"]
OLD = {name: number for number, name in caffemodel.OLD_TYPES.items()}
OLDEST = {name: kind for kind, name in caffemodel.OLDEST_TYPES.items()}


@pytest.fixture
def net(rng):
    return asymmetric(rng, "9-3-5", n=[4, 3])


def add(message, form, kind, name, bottom=(), top=()):
    """Add a layer, and return what its settings belong to."""
    layer = message.layer.add() if form == "layer" else message.old.add()
    own = layer.oldest if form == "oldest" else layer
    own.name = name
    if form == "old":
        layer.type = OLD[kind]
    else:
        own.type = kind if form == "layer" else OLDEST[kind]
    layer.bottom.extend(bottom)
    layer.top.extend(top)
    return own


def fill(own, form, arrays, pad=0):
    for array in arrays:
        blob = own.blobs.add()
        if form == "layer":
            blob.shape.dim.extend(array.shape)
        else:
            shape = (1,) * (4 - array.ndim) + array.shape
            blob.num, blob.channels, blob.height, blob.width = shape
        blob.data.extend(array.ravel().tolist())
    if pad and form == "oldest":
        own.pad = pad
    elif pad:
        own.convolution.pad.append(pad)


def message_of(net, form="layer", data="HDF5Data", pad=False, relu=True):
    """A net as a training writes it: data, layers, loss."""
    message = caffemodel._message_class("Net")(name="SRCNN")
    add(message, form, data, "data", top=["data", "label"])
    value = "data"
    for i, (w, b) in enumerate(net.layers, 1):
        own = add(message, form, "Convolution", f"conv{i}", [value], [f"conv{i}"])
        turned = w.swapaxes(2, 3) if data == "HDF5Data" else w
        fill(own, form, (turned, b), w.shape[2] // 2 if pad else 0)
        value = f"conv{i}"
        if i < len(net.layers) and relu:
            add(message, form, "ReLU", f"relu{i}", [value], [value])
    add(message, form, "EuclideanLoss", "loss", [value, "label"], ["loss"])
    return message


def save(path, message):
    path.write_bytes(message.SerializeToString())


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("data", ["HDF5Data", "Data"])
@pytest.mark.parametrize("pad", [False, True])
def test_a_net_is_read_the_right_way_round(net, tmp_path, form, data, pad):
    save(tmp_path / "srcnn_x3.caffemodel", message_of(net, form, data, pad))
    found = load(tmp_path / "srcnn_x3.caffemodel", device="reference")
    assert_same(net, found)
    assert found.padding == ("zeros" if pad else "replicate")
    assert found.scale == 3


def test_bytes_are_those_of_caffe_proto(tmp_path):
    """One convolution, written field by field with the numbers in caffe.proto."""

    def field(number, body):
        key = number << 3 | 2
        head = bytes([key]) if key < 128 else bytes([key & 127 | 128, key >> 7])
        return head + bytes([len(body)]) + body

    w = np.arange(9, dtype="<f4")
    kernel = field(7, field(1, bytes([1, 1, 3, 3]))) + field(5, w.tobytes())
    bias = field(7, field(1, bytes([1]))) + field(5, np.float32([7]).tobytes())
    layer = field(1, b"conv1") + field(2, b"Convolution") + field(3, b"data") + field(4, b"conv1")
    layer += field(7, kernel) + field(7, bias)
    (tmp_path / "net.caffemodel").write_bytes(field(1, b"SRCNN") + field(100, layer))
    found = load(tmp_path / "net.caffemodel", device="reference")
    np.testing.assert_array_equal(found.layers[0][0], w.reshape(1, 1, 3, 3))
    np.testing.assert_array_equal(found.layers[0][1], [7])


def test_what_is_no_plain_chain_is_refused_by_its_name(net, tmp_path):
    def changed(change, **options):
        message = message_of(net, **options)
        change(message)
        return message

    def skipping(message):
        message.layer[3].bottom[0] = "data"

    wrong = {
        "conv2 has stride": changed(lambda m: m.layer[3].convolution.stride.append(2)),
        "conv2 has group 3": changed(lambda m: setattr(m.layer[3].convolution, "group", 3)),
        "conv2 has dilation": changed(lambda m: m.layer[3].convolution.dilation.append(2)),
        "conv2 has stride_w 2": changed(lambda m: setattr(m.layer[3].convolution, "stride_w", 2)),
        "relu1 is a PReLU": changed(lambda m: setattr(m.layer[2], "type", "PReLU")),
        "relu1 is a leaky ReLU": changed(lambda m: setattr(m.layer[2].relu, "negative_slope", 0.1)),
        "relu1 is a layer of type 39": changed(lambda m: setattr(m.old[2], "type", 39), form="old"),
        "conv2 does not take what the layer before makes": changed(skipping),
        "conv2 takes or makes several": changed(lambda m: m.layer[3].bottom.append("data")),
        "no ReLU before 'conv2'": message_of(net, relu=False),
        "conv2 has no filters": changed(lambda m: m.layer[3].ClearField("blobs")),
        "conv1 is too large": changed(lambda m: m.layer[1].blobs[0].shape.dim.append(10**9)),
        "conv1 has weights of no size": changed(
            lambda m: m.layer[1].blobs[0].shape.dim.__setitem__(0, -4)
        ),
        "not a Caffe model, or damaged": changed(lambda m: m.layer[1].blobs[0].data.pop()),
        "holds no layers with weights": caffemodel._message_class("Net")(name="empty"),
    }
    for says, message in wrong.items():
        save(tmp_path / "net.caffemodel", message)
        with pytest.raises(UserError, match=says):
            load(tmp_path / "net.caffemodel")


def test_damage_is_told_in_one_line(net, tmp_path):
    save(tmp_path / "good.caffemodel", message_of(net))
    data = (tmp_path / "good.caffemodel").read_bytes()
    for length in (1, 7, 30, len(data) // 2, len(data) - 3):
        (tmp_path / "net.caffemodel").write_bytes(data[:length])
        with pytest.raises(UserError) as error:
            load(tmp_path / "net.caffemodel")
        assert "\n" not in str(error.value)


def test_without_the_package_one_line_says_so(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "google.protobuf.message", None)
    (tmp_path / "net.caffemodel").write_bytes(b"x")
    with pytest.raises(UserError, match=r'pip install "npsrcnn\[models\]"'):
        load(tmp_path / "net.caffemodel")


def test_opencv_computes_the_same(net, tmp_path, rng):
    """OpenCV has a reader of Caffe's nets of its own."""
    cv2 = pytest.importorskip("cv2", reason="compares with OpenCV's reader")
    if not hasattr(cv2.dnn, "readNetFromCaffe"):
        pytest.skip("OpenCV 5 reads no nets of Caffe")
    save(tmp_path / "net.caffemodel", message_of(net, data="Data"))
    text = 'name: "SRCNN" input: "data" input_dim: [1, 1, 21, 24]\n'
    for i, (w, _) in enumerate(net.layers, 1):
        bottom = f"conv{i - 1}" if i > 1 else "data"
        size = f"num_output: {len(w)} kernel_size: {w.shape[2]}"
        text += f'layer {{ name: "conv{i}" type: "Convolution" bottom: "{bottom}" top: "conv{i}" '
        text += f"convolution_param {{ {size} }} }}\n"
        if i < 3:
            text += f'layer {{ name: "relu{i}" type: "ReLU" bottom: "conv{i}" top: "conv{i}" }}\n'
    (tmp_path / "net.prototxt").write_text(text)
    other = cv2.dnn.readNetFromCaffe(
        str(tmp_path / "net.prototxt"), str(tmp_path / "net.caffemodel")
    )
    image = rng.standard_normal((1, 1, 21, 24)).astype(np.float32)
    other.setInput(image)
    ours = load(tmp_path / "net.caffemodel", device="reference").forward(image)
    np.testing.assert_allclose(other.forward(), ours[..., 7:-7, 7:-7], rtol=1e-3, atol=1e-3)
