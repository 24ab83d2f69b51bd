"""Caffe's .caffemodel: the net that a training writes, with the weights of its layers.

The message is NetParameter of caffe.proto, of which :data:`FIELDS` has what is read, in the three
forms that there have been. Filters are (O, C, K, K), as here. But the data of the authors' training
come from MATLAB by HDF5, in which rows and columns change places, and so they do in the filters:
of a net that was fed by HDF5 they are turned back.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from npsrcnn.errors import UserError
from npsrcnn.layers import Layers
from npsrcnn.model_files.chains import Convolution, check_count, check_plain, layers_of, refusal
from npsrcnn.model_files.common import MISSING, check_size, reading
from npsrcnn.model_files.facts import Facts

FIELDS: dict[str, dict[str, tuple[int, str]]] = {
    "Net": {"name": (1, "string"), "old": (2, "*Old"), "layer": (100, "*Layer")},
    "Layer": {
        "name": (1, "string"), "type": (2, "string"), "bottom": (3, "*string"),
        "top": (4, "*string"), "blobs": (7, "*Blob"), "convolution": (106, "Convolution"),
        "relu": (123, "Relu"),
    },
    "Old": {
        "oldest": (1, "Oldest"), "bottom": (2, "*string"), "top": (3, "*string"),
        "name": (4, "string"), "type": (5, "int32"), "blobs": (6, "*Blob"),
        "convolution": (10, "Convolution"), "relu": (30, "Relu"),
    },
    "Oldest": {
        "name": (1, "string"), "type": (2, "string"), "pad": (7, "uint32"),
        "group": (9, "uint32"), "stride": (10, "uint32"), "blobs": (50, "*Blob"),
    },
    "Convolution": {
        "pad": (3, "*uint32"), "group": (5, "uint32"), "stride": (6, "*uint32"),
        "pad_h": (9, "uint32"), "pad_w": (10, "uint32"), "stride_h": (13, "uint32"),
        "stride_w": (14, "uint32"), "dilation": (18, "*uint32"),
    },
    "Relu": {"negative_slope": (1, "float")},
    "Blob": {
        "num": (1, "int32"), "channels": (2, "int32"), "height": (3, "int32"),
        "width": (4, "int32"), "data": (5, "*float"), "shape": (7, "Shape"),
        "double_data": (8, "*double"),
    },
    "Shape": {"dim": (1, "*int64")},
}  # fmt: skip
"""Messages, their fields' numbers and types; * is a field that may come several times."""
OLD_TYPES = {
    4: "Convolution", 5: "Data", 7: "EuclideanLoss", 9: "HDF5Data", 10: "HDF5Output",
    12: "ImageData", 18: "ReLU", 22: "Split", 24: "WindowData", 29: "MemoryData", 36: "Silence",
}  # fmt: skip
OLDEST_TYPES = {"conv": "Convolution", "relu": "ReLU", "hdf5_data": "HDF5Data", "data": "Data"}
OLDEST_TYPES |= {"euclidean_loss": "EuclideanLoss", "split": "Split"}
FEEDING = {"Data", "HDF5Data", "ImageData", "MemoryData", "WindowData", "Input", "DummyData"}
AFTER = {"EuclideanLoss", "Silence", "HDF5Output"}
BY_HDF5 = "HDF5Data"
PACKAGE = "npsrcnn_caffe"


def read(path: Path) -> tuple[Layers, Facts]:
    """Read the convolutions of a net, and what is known of them.

    Raises
    ------
    UserError
        Damaged, foreign, too large, no chain of convolutions and ReLUs, or without the package
        ``protobuf``.
    """
    try:
        from google.protobuf.message import DecodeError
    except ImportError as error:
        raise UserError(MISSING) from error
    check_size(path)
    with reading("a Caffe model", DecodeError):
        net = _message_class("Net")()
        net.ParseFromString(path.read_bytes())
        layers = list(_layers(net))
        if not any(own.blobs for _, own, _ in layers):
            raise UserError("holds no layers with weights")
        return layers_of(list(_steps(layers)))


@cache
def _message_class(name: str) -> Any:
    """Return the class of a message, made of :data:`FIELDS`."""
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    file = descriptor_pb2.FileDescriptorProto(name=f"{PACKAGE}.proto", package=PACKAGE)
    for message, fields in FIELDS.items():
        described = file.message_type.add(name=message)
        for field, (number, kind) in fields.items():
            added = described.field.add(name=field, number=number)
            many, kind = kind.startswith("*"), kind.lstrip("*")
            added.label = added.LABEL_REPEATED if many else added.LABEL_OPTIONAL
            if kind in FIELDS:
                added.type, added.type_name = added.TYPE_MESSAGE, f".{PACKAGE}.{kind}"
            else:
                added.type = getattr(added, f"TYPE_{kind.upper()}")
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{PACKAGE}.{name}"))


def _layers(net: Any) -> Iterator[tuple[Any, Any, str]]:
    """Yield layers, what has their names and weights, and their types, in whichever form."""
    for layer in net.layer:
        yield layer, layer, layer.type
    for layer in net.old:
        if layer.HasField("oldest"):
            kind = layer.oldest.type
            yield layer, layer.oldest, OLDEST_TYPES.get(kind, kind)
        else:
            yield layer, layer, OLD_TYPES.get(layer.type, f"layer of type {layer.type}")


def _steps(layers: list[tuple[Any, Any, str]]) -> Iterator[Convolution | None]:
    """Yield the steps from what feeds the net to what it makes."""
    turned = any(kind == BY_HDF5 for *_, kind in layers)
    value = ""
    for layer, own, kind in layers:
        if kind in FEEDING or kind in AFTER or (kind == "Split" and not value):
            continue
        if kind not in ("Convolution", "ReLU"):
            raise refusal(own.name, kind)
        if len(layer.bottom) > 1 or len(layer.top) > 1:
            raise UserError(f"{own.name[:40]} takes or makes several values: no chain of layers")
        if value and list(layer.bottom) != [value]:
            raise UserError(f"{own.name[:40]} does not take what the layer before makes")
        value = layer.top[0] if layer.top else ""
        if kind == "Convolution":
            yield _convolution(own, layer, turned)
        elif own is layer and layer.relu.negative_slope:
            raise refusal(own.name, "leaky ReLU")
        else:
            yield None


def _convolution(own: Any, layer: Any, turned: bool) -> Convolution:
    blobs = [_array(own.name, blob) for blob in own.blobs]
    if not 1 <= len(blobs) <= 2 or blobs[0].ndim != 4:
        raise UserError(f"{own.name[:40]} has no filters (O, C, K, K) with biases")
    settings = own if own is not layer else layer.convolution
    strides = settings.stride if isinstance(settings.stride, int) else list(settings.stride)
    found: dict[str, object] = {"stride": strides or 1, "group": settings.group or 1}
    pads = settings.pad if isinstance(settings.pad, int) else list(settings.pad)
    padded = bool(pads) and pads != [0]
    if settings is not own:
        found |= {"stride_h": settings.stride_h or 1, "stride_w": settings.stride_w or 1}
        found["dilation"] = list(settings.dilation) or 1
        padded = padded or bool(settings.pad_h or settings.pad_w)
    check_plain(own.name, found)
    w = blobs[0].swapaxes(2, 3) if turned else blobs[0]
    b = blobs[1].ravel() if len(blobs) > 1 else np.zeros(len(w), w.dtype)
    return Convolution(own.name, w, b, padded)


def _array(name: str, blob: Any) -> np.ndarray:
    """Return a blob's numbers."""
    shape = list(blob.shape.dim) or [blob.num, blob.channels, blob.height, blob.width]
    if min(shape) < 1:
        raise UserError(f"{name[:40]} has weights of no size ({shape[:6]})")
    check_count(name, shape)
    numbers = np.array(blob.data, np.float32) if blob.data else np.array(blob.double_data)
    return numbers.reshape(shape)
