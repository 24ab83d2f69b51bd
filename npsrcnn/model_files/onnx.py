"""ONNX files, for other runtimes: the network and its padding, for any height and width."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from npsrcnn.errors import UserError
from npsrcnn.layers import Layers
from npsrcnn.model_files.facts import Facts, to_text
from npsrcnn.runtime.files import write_atomically
from npsrcnn.version import __version__

OPSET = 13  # since 2020
IR_VERSION = 7  # the file format of that opset's release


def write(path: Path, layers: Layers, facts: Facts) -> None:
    """Write a model from "image" (N, c, H, W) to "restored", float32, N, H and W left open.

    Replicated edges are Pad nodes of mode "edge" before every convolution, zeros are the
    convolutions' own pads.
    """
    try:
        import onnx
    except ImportError as error:
        raise UserError(f"{path}: writing ONNX needs a package: pip install onnx") from error
    from onnx import TensorProto, helper, numpy_helper

    nodes, weights, value = [], [], "image"
    for i, (w, b) in enumerate(layers, 1):
        weights += [numpy_helper.from_array(a, f"{n}{i}") for n, a in (("w", w), ("b", b))]
        border = w.shape[2] // 2
        pads = [border] * 4
        if facts["padding"] == "replicate" and any(pads):
            widths = np.array([0, 0, border, border] * 2, np.int64)
            weights.append(numpy_helper.from_array(widths, f"pads{i}"))
            nodes.append(helper.make_node("Pad", [value, f"pads{i}"], [f"padded{i}"], mode="edge"))
            value, pads = f"padded{i}", [0, 0, 0, 0]
        last = i == len(layers)
        output = "restored" if last else f"conv{i}"
        nodes.append(helper.make_node("Conv", [value, f"w{i}", f"b{i}"], [output], pads=pads))
        if not last:
            nodes.append(helper.make_node("Relu", [output], [f"maps{i}"]))
        value = f"maps{i}"
    image, restored = (
        helper.make_tensor_value_info(
            name, TensorProto.FLOAT, ["n", layers[0][0].shape[1], "height", "width"]
        )
        for name in ("image", "restored")
    )
    model = helper.make_model(
        helper.make_graph(nodes, f"SRCNN {facts['network']}", [image], [restored], weights),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="npsrcnn",
        producer_version=__version__,
    )
    helper.set_model_props(model, {"npsrcnn": to_text(facts)})
    onnx.checker.check_model(model)
    with write_atomically(path) as temporary:
        temporary.write_bytes(model.SerializeToString())
