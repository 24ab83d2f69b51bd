"""Keras's files: .keras (a zip archive) and .h5, of whole models or of weights alone.

HDF5 holds kernels as (K, K, C, O), and a JSON text the layers, which say how edges are padded and
where ReLUs are. No class named in it is looked for, no code in it is run; links to other files are
not followed.
"""

from __future__ import annotations

import importlib.util
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from npsrcnn.errors import UserError
from npsrcnn.layers import Layers
from npsrcnn.model_files.chains import Convolution, check_count, check_plain, layers_of, refusal
from npsrcnn.model_files.common import MISSING, check_size, open_archive, reading
from npsrcnn.model_files.facts import Facts
from npsrcnn.model_files.state_dicts import in_order
from npsrcnn.runtime.apart import call_apart
from npsrcnn.words import counted

if TYPE_CHECKING:
    import h5py

CONFIG, WEIGHTS = "config.json", "model.weights.h5"  # in an archive
MOST_MEMBERS, DEEPEST = 2000, 12  # of an HDF5 file that is looked through
NOTHING = ("InputLayer", "Dropout", "SpatialDropout2D")  # layers that change nothing, once trained
RELU_SETTINGS = ("max_value", "negative_slope", "threshold")
RELU = {"relu", "linear"}


def read(path: Path) -> tuple[Layers, Facts]:
    """Read the convolutions of a model, and what is known of them.

    Raises
    ------
    UserError
        Damaged, foreign, too large, no chain of convolutions and ReLUs, or without the package
        ``h5py``.
    """
    if importlib.util.find_spec("h5py") is None:
        raise UserError(MISSING)
    check_size(path)
    # libhdf5 may crash over a damaged file, go round for ever, or take gigabytes.
    layers, facts = call_apart(parse, path)
    return layers, facts


def parse(path: Path) -> tuple[Layers, Facts]:
    """Read a file as :func:`read` does, by libhdf5 in this process."""
    import h5py

    data, config = path.read_bytes(), None
    with reading("a file of Keras"):
        if data.startswith(b"PK"):
            with open_archive(path) as archive:
                config = json.loads(archive.read(CONFIG))
                data = archive.read(WEIGHTS)
        with h5py.File(io.BytesIO(data), "r") as file:
            if config is None and "model_config" in file.attrs:
                config = json.loads(_text(file.attrs["model_config"]))
            kernels = list(_kernels(file))
            if not kernels:
                raise UserError("holds no convolutions' kernels")
            if config is None:
                names = [_text(name) for name in file.attrs.get("layer_names", ())]
                kernels.sort(key=lambda kernel: _place(kernel[0], names))
                return in_order([(w, b) for _, w, b in kernels]), {"padding": "zeros"}
            return layers_of(list(_steps(config, kernels)))


Kernel = tuple[str, np.ndarray, np.ndarray]
"""Where it lies in the file, w (O, C, K, K) and b (O,)."""


def _kernels(file: h5py.File) -> Iterator[Kernel]:
    """Yield the kernels of convolutions with their biases, in the order of the file's names."""
    arrays = dict(_arrays(file))
    for place, array in arrays.items():
        if array.ndim != 4:
            continue
        if place.endswith("/vars/0"):
            bias = arrays.get(place[:-1] + "1")
        else:
            bias = arrays.get(re.sub(r"kernel(:0)?$", r"bias\1", place))
        w = array.transpose(3, 2, 0, 1)
        yield place, w, np.zeros(len(w), w.dtype) if bias is None or bias is array else bias


def _arrays(file: h5py.File) -> Iterator[tuple[str, np.ndarray]]:
    """Yield arrays and where they lie, names with numbers in the order of these."""
    import h5py

    seen = 0
    waiting: list[tuple[str, Any]] = [("", file)]
    while waiting:
        place, group = waiting.pop()
        names = sorted(group, key=_natural, reverse=True)
        for name in names:
            seen += 1
            if seen > MOST_MEMBERS or place.count("/") > DEEPEST:
                raise UserError("has too many parts for an SRCNN")
            inside = f"{place}/{name}"
            if "optimizer" in inside:  # its own arrays look like kernels
                continue
            if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                raise UserError(f"{inside[:80]} is a link, which is not followed")
            member = group[name]
            if isinstance(member, h5py.Group):
                waiting.append((inside, member))
            elif isinstance(member, h5py.Dataset) and member.dtype.kind == "f":
                if member.external or member.is_virtual:
                    raise UserError(f"{inside[:80]} lies in another file, which is not read")
                check_count(inside, member.shape)
                yield inside, np.asarray(member[()])


def _place(place: str, names: list[str]) -> int:
    """Return the number of the layer, of those with these names, that a kernel is of."""
    layer = place.split("/")[1]
    return names.index(layer) if layer in names else len(names)


def _natural(name: str) -> list[tuple[int, str]]:
    """Return a key by which conv2d comes before conv2d_1, and that before conv2d_10."""
    return [(int(part) if part.isdecimal() else -1, part) for part in re.split(r"(\d+)", name)]


def _steps(config: Any, kernels: list[Kernel]) -> Iterator[Convolution | None]:
    """Yield the steps of a model, by its layers and the kernels of the file."""
    described = config["config"]
    layers = described if isinstance(described, list) else described.get("layers")
    if not layers:
        raise UserError(f"is of a class of its own, {str(config['class_name'])[:40]}: save a model")
    names = [str(layer["config"]["name"]) for layer in layers]
    convolutions = 0
    for i, layer in enumerate(layers):
        kind, settings, name = str(layer["class_name"]), layer["config"], names[i]
        before = set(_strings(layer.get("inbound_nodes", []))) & set(names)
        if before - set(names[i - 1 : i]) or len(layer.get("inbound_nodes", [])) > 1:
            taken = ", ".join(sorted(before))
            raise UserError(f"{name[:40]} takes {taken[:80]}: no chain of layers")
        if kind in NOTHING:
            continue
        if kind == "Conv2D":
            yield _convolution(name, settings, convolutions, kernels)
            convolutions += 1
            if _activation(name, settings) == "relu":
                yield None
        elif kind == "Activation":
            if _activation(name, settings) == "relu":
                yield None
        elif kind == "ReLU":
            if any(settings.get(key) for key in RELU_SETTINGS):
                raise refusal(name, "ReLU with settings")
            yield None
        else:
            raise refusal(name, kind)
    if convolutions < len(kernels):
        count = counted(convolutions, "convolution")
        raise UserError(f"has {count}, but weights of {len(kernels)}")


def _convolution(
    name: str, settings: dict[str, Any], number: int, kernels: list[Kernel]
) -> Convolution:
    """Return a convolution: its kernel lies under its own name, or under a number."""
    own = [kernel for kernel in kernels if name in kernel[0].split("/")]
    numbered = f"conv2d_{number}" if number else "conv2d"
    own = own or [kernel for kernel in kernels if numbered in kernel[0].split("/")]
    if kernels[0][0].endswith("/vars/0"):  # there names count the layers of each kind
        own = [kernel for kernel in kernels if numbered in kernel[0].split("/")]
    if len(own) != 1:
        raise UserError(f"{len(own)} kernels of {name[:40]!r} in the file, not one")
    _, w, b = own[0]
    check_plain(name, {key: settings.get(key, 1) for key in ("strides", "dilation_rate", "groups")})
    padding = settings.get("padding")
    if padding not in ("same", "valid"):
        raise UserError(f"{name[:40]} has padding {str(padding)[:20]}: same or valid is taken")
    return Convolution(name, w, b, padding == "same")


def _activation(name: str, settings: dict[str, Any]) -> str:
    """Return "relu" or "linear", or refuse another activation."""
    found = settings.get("activation", "linear")
    if isinstance(found, dict):
        kind, inner = found.get("class_name"), found.get("config", {})
        if isinstance(inner, dict):  # a layer in place of a function
            plain = kind == "ReLU" and not any(inner.get(key) for key in RELU_SETTINGS)
            inner = "relu" if plain else kind
        found = inner
    if found not in RELU:
        raise refusal(name, f"layer with {found}")
    return str(found)


def _strings(value: object) -> Iterator[str]:
    """Yield all texts within lists and dicts."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list | dict):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _strings(inner)


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
