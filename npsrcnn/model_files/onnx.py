"""ONNX files, of other runtimes: the network and its padding, for any height and width.

What is read is one chain of convolutions and ReLUs, padded by themselves or by Pad nodes.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from npsrcnn.errors import UserError
from npsrcnn.layers import Layers
from npsrcnn.model_files.common import LIMIT, MISSING, check_size, reading
from npsrcnn.model_files.facts import Facts, from_text, to_text
from npsrcnn.runtime.files import write_atomically
from npsrcnn.version import __version__

OPSET = 13  # since 2020
IR_VERSION = 7  # the file format of that opset's release
FLOATS = (1, 10, 11)  # ONNX's numbers of float, float16 and double
PLAIN = {"strides": [1, 1], "dilations": [1, 1], "group": 1}  # of a convolution, where it says so


def write(path: Path, layers: Layers, facts: Facts) -> None:
    """Write a model from "image" (N, c, H, W) to "restored", float32, N, H and W left open.

    Replicated edges are Pad nodes of mode "edge" before every convolution, zeros are the
    convolutions' own pads.
    """
    try:
        import onnx
    except ImportError as error:
        raise UserError(f"{path}: {MISSING}") from error
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


def read(path: Path) -> tuple[Layers, Facts]:
    """Read the convolutions of a chain of nodes, and what is known of them.

    Raises
    ------
    UserError
        Damaged, foreign, too large, no such chain, or without the package ``onnx``.
    """
    try:
        import onnx
        from google.protobuf.message import DecodeError
    except ImportError as error:
        raise UserError(MISSING) from error
    check_size(path)
    with reading("an ONNX file", DecodeError):
        model = onnx.load_model_from_string(path.read_bytes())
        tensors = {tensor.name: tensor for tensor in model.graph.initializer}
        for node in model.graph.node:
            if node.op_type == "Constant" and len(node.attribute) == 1:
                tensors[node.output[0]] = node.attribute[0].t
        _load_beside(list(tensors.values()), path.parent)
        arrays = {name: _array(tensor) for name, tensor in tensors.items()}
        for node in model.graph.node:
            if _changes_nothing(node) and node.input[0] in arrays:
                arrays[node.output[0]] = arrays[node.input[0]]
        layers, paddings = _follow(model.graph, arrays)
        facts: Facts = {"padding": "replicate" if "edge" in paddings else "zeros"}
        texts = [prop.value for prop in model.metadata_props if prop.key == "npsrcnn"]
        return layers, from_text(texts[0], layers) if texts else facts


def _load_beside(tensors: Sequence[Any], folder: Path) -> None:
    """Fetch the numbers of tensors that lie in files of the same folder.

    Raises
    ------
    UserError
        They lie elsewhere, such a file is missing or too short, or they are too many.
    """
    from onnx import TensorProto

    left = LIMIT
    for tensor in tensors:
        if tensor.data_location != TensorProto.EXTERNAL:
            continue
        places = {entry.key: entry.value for entry in tensor.external_data}
        name, start = places.get("location", ""), int(places.get("offset", 0))
        file, what = folder / name, f"{tensor.name[:40]} lies in {name[:80]!r}"
        if Path(name).name != name or file.is_symlink() or not file.is_file():
            raise UserError(f"{what}, and no such file is beside")
        size = file.stat().st_size
        length = int(places.get("length", size - start))
        left -= length
        if start < 0 or length <= 0 or start + length > size or left < 0:
            raise UserError(f"{what}, which is too short, too large or damaged")
        with open(file, "rb") as opened:
            opened.seek(start)
            tensor.raw_data = opened.read(length)
        tensor.data_location = TensorProto.DEFAULT


def _array(tensor: Any) -> np.ndarray:
    """Return an initializer's numbers."""
    from onnx import numpy_helper

    if np.prod(tensor.dims, dtype=np.float64) * 8 > LIMIT:
        raise UserError(f"{tensor.name[:80]} is too large for an SRCNN")
    return np.asarray(numpy_helper.to_array(tensor))


def _follow(graph: Any, arrays: dict[str, np.ndarray]) -> tuple[Layers, set[str]]:
    """Return the layers from the graph's input to its output, and how edges are padded."""
    users: dict[str, list[Any]] = {}
    for node in graph.node:
        if node.op_type != "Constant":
            for name in node.input[:1]:
                users.setdefault(name, []).append(node)
    inputs = [value.name for value in graph.input if value.name not in arrays]
    if len(inputs) != 1 or len(graph.output) != 1:
        raise UserError(f"takes {len(inputs)} inputs and makes {len(graph.output)}, not one of one")
    value, layers, paddings, active = inputs[0], [], set(), True
    for _ in graph.node:
        if value == graph.output[0].name:
            break
        nodes = users.get(value, [])
        if len(nodes) != 1:
            raise UserError(f"{len(nodes)} nodes take {value[:40]!r}: no chain, as an SRCNN is")
        node, value = nodes[0], nodes[0].output[0]
        settings = {attribute.name: _setting(attribute) for attribute in node.attribute}
        if node.op_type == "Conv":
            if not active:
                raise UserError(f"no ReLU before {node.name[:40] or node.output[0][:40]!r}")
            for name in node.input[1:]:
                if name and name not in arrays:
                    raise UserError(f"{name[:40]!r} is computed: weights are to be stored")
            w = arrays[node.input[1]]
            b = arrays[node.input[2]] if "".join(node.input[2:]) else np.zeros(len(w))
            layers.append((w, b))
            _check_plain(node, settings)
            _check_pads(node, settings.get("pads", []))
            active = False
            if any(settings.get("pads", [])) or "SAME" in settings.get("auto_pad", ""):
                paddings.add("zeros")
        elif node.op_type == "Relu" and layers:
            active = True
        elif node.op_type == "Pad":
            constant = settings.get("mode", "constant") == "constant"
            paddings.add("zeros" if constant else "edge")  # reflected edges are closest to that
            _check_pads(node, settings.get("pads") or arrays[node.input[1]].tolist())
        elif not _changes_nothing(node):
            raise UserError(f"has a {node.op_type[:40]}: an SRCNN is convolutions and ReLUs alone")
    if value != graph.output[0].name or not layers or active:
        raise UserError("does not end with a convolution, as an SRCNN does")
    for w, b in layers:
        if w.dtype.kind != "f" or b.dtype.kind != "f":
            raise UserError(f"has weights of {w.dtype} and {b.dtype}, not of real numbers")
    return layers, paddings or {"edge"}  # unpadded, as the authors': edges stay closest to that


def _changes_nothing(node: Any) -> bool:
    """Return whether a node gives what it takes, but for the rounding of half precision."""
    if node.op_type == "Cast":
        return any(attribute.name == "to" and attribute.i in FLOATS for attribute in node.attribute)
    return node.op_type in ("Identity", "Dropout")


def _setting(attribute: Any) -> Any:
    from onnx import helper

    value = helper.get_attribute_value(attribute)
    return value.decode("ascii") if isinstance(value, bytes) else value


def _check_pads(node: Any, pads: Sequence[int]) -> None:
    """Refuse to shift images: widths, of axes' beginnings and then of ends, are to be the same."""
    half = len(pads) // 2
    if list(pads[:half]) != list(pads[half:]):
        raise UserError(f"{node.op_type} pads {str(list(pads))[:40]}, which shifts images")


def _check_plain(node: Any, settings: dict[str, Any]) -> None:
    for name, plain in PLAIN.items():
        value = settings.get(name, plain)
        if (value if name == "group" else list(value)) != plain:
            raise UserError(f"a convolution has {name} {str(value)[:20]}: an SRCNN's have not")
