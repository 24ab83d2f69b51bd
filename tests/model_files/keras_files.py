"""Files as Keras writes them, made by hand."""

from __future__ import annotations

import io
import json
import zipfile
from itertools import pairwise

import h5py


def convolution(name, w, **settings):
    """What a config says of a convolution."""
    return {
        "class_name": "Conv2D",
        "config": {
            "name": name,
            "filters": len(w),
            "kernel_size": list(w.shape[2:]),
            "strides": [1, 1],
            "padding": "same",
            "data_format": "channels_last",
            "dilation_rate": [1, 1],
            "groups": 1,
            "activation": "relu",
            "use_bias": True,
            **settings,
        },
    }


def sequential(net, names=("first", "middle", "last"), **settings):
    """The config of a Sequential model, whose last layer is linear."""
    layers = [{"class_name": "InputLayer", "config": {"name": "input"}}]
    for name, (w, _) in zip(names, net.layers, strict=True):
        own = {"activation": "linear"} if name == names[-1] else {}
        layers.append(convolution(name, w, **settings, **own))
    return {"class_name": "Sequential", "config": {"name": "srcnn", "layers": layers}}


def functional(config, *, keras3):
    """The same layers as a graph, each taking the one before."""
    layers = [dict(layer) for layer in config["config"]["layers"]]
    for before, layer in pairwise(layers):
        name = before["config"]["name"]
        history = {"config": {"keras_history": [name, 0, 0]}, "class_name": "__keras_tensor__"}
        node = {"args": [history], "kwargs": {}} if keras3 else [[name, 0, 0, {}]]
        layer["inbound_nodes"] = [node]
    return {"class_name": "Functional", "config": {"name": "model", "layers": layers}}


def write_h5(path, net, config=None, names=("first", "middle", "last"), **options):
    """A file of the older format: a group a layer; with a config that of a whole model."""
    with h5py.File(path, "w") as file:
        root = file
        if config is not None:
            file.attrs["model_config"] = json.dumps(config)
            root = file.create_group("model_weights")
            for name in names:  # momenta have the kernels' shapes
                place = f"optimizer_weights/momentum/{name}/kernel:0"
                file.create_dataset(place, data=net.layers[0][0])
        root.attrs["layer_names"] = [name.encode() for name in names]
        for name, (w, b) in zip(names, net.layers, strict=True):
            group = root.create_group(name)
            kernel = w.transpose(2, 3, 1, 0)
            group.create_dataset(f"{name}/kernel:0", data=kernel, **options)
            group.create_dataset(f"{name}/bias:0", data=b)


def write_keras(path, net, config):
    """A zip archive, in which layers are called by their kind and a number."""
    weights = io.BytesIO()
    with h5py.File(weights, "w") as file:
        for i, (w, b) in enumerate(net.layers):
            variables = file.create_group(f"layers/conv2d{f'_{i}' if i else ''}/vars")
            variables.create_dataset("0", data=w.transpose(2, 3, 1, 0))
            variables.create_dataset("1", data=b)
        file.create_dataset("optimizer/vars/1", data=net.layers[0][0])
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("metadata.json", '{"keras_version": "3.5.0"}')
        archive.writestr("config.json", json.dumps(config))
        archive.writestr("model.weights.h5", weights.getvalue())
