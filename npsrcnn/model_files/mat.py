"""The authors' files (MATLAB v5): weights_conv1, biases_conv1, ... as their Caffe release has them.

With f*f the pixels of a patch, column after column:

==================  ==============================================================
``weights_conv1``   (f1*f1, n1)
``weights_conv2``   (n1, f2*f2, n2), and so on for every layer in the middle
``weights_conv3``   (n2, f3*f3), the last layer
``biases_conv1``    (n1, 1) ...
==================  ==============================================================

For images of three channels, which the authors released no weights for, the first and the last
layer have three axes as well. npsrcnn adds a text, ``npsrcnn``: what is known of the weights.
"""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from npsrcnn.errors import UserError
from npsrcnn.layers import Layers
from npsrcnn.model_files.common import LIMIT, check_size, reading
from npsrcnn.model_files.facts import Facts, from_text, to_text
from npsrcnn.runtime.files import write_atomically

TEXT = "npsrcnn"
HEADER = 128  # bytes of a v5 file before its first variable
COMPRESSED = 15  # the type of a variable packed with zlib
MOST_LAYERS = 99


def write(path: Path, layers: Layers, facts: Facts) -> None:
    """Write the authors' layout, float64 as theirs."""
    from scipy.io import savemat

    variables: dict[str, Any] = {TEXT: to_text(facts)}
    for i, (w, b) in enumerate(layers, 1):
        outputs, inputs, f, _ = w.shape
        packed = w.swapaxes(2, 3).reshape(outputs, inputs, f * f).transpose(1, 2, 0)
        if i == 1 and inputs == 1:
            packed = packed[0]
        elif i == len(layers) and outputs == 1:
            packed = packed[:, :, 0]
        variables[f"weights_conv{i}"] = packed.astype(np.float64)
        variables[f"biases_conv{i}"] = b[:, None].astype(np.float64)
    with write_atomically(path) as temporary:
        savemat(temporary, variables, appendmat=False, do_compression=True)


def read(path: Path) -> tuple[Layers, Facts]:
    """Read the layers, float64, and what is known of them.

    Raises
    ------
    UserError
        Damaged, foreign or too large.
    """
    from scipy.io import loadmat, whosmat
    from scipy.io.matlab import MatReadError

    check_size(path)
    data = path.read_bytes()
    if data[:4] == b"\x89HDF" or b"MATLAB 7.3 MAT-file" in data[:HEADER]:
        raise UserError("a MATLAB 7.3 file; save it in MATLAB with the option '-v7'")
    with reading("a MATLAB file", MatReadError):
        _check_unpacked(data)
        sizes = {name: (shape, kind) for name, shape, kind in whosmat(path)}
        wanted = _variables(sizes)
        variables = loadmat(path, variable_names=wanted)
    for name in wanted:
        if np.iscomplexobj(variables[name]):
            raise UserError(f"{name} is of complex numbers")
    depth = sum(name.startswith("weights") for name in wanted)
    layers = [
        (
            _unpacked(variables[f"weights_conv{i}"], i, i == depth),
            variables[f"biases_conv{i}"].ravel(),
        )
        for i in range(1, depth + 1)
    ]
    text = variables.get(TEXT)
    return layers, from_text(str(text[0]), layers) if text is not None else {}


def _check_unpacked(data: bytes) -> None:
    """Refuse a file whose packed variables are larger than any SRCNN."""
    order = "<" if data[126:128] == b"IM" else ">"
    left, position = LIMIT, HEADER
    while position + 8 <= len(data) and left > 0:
        kind, size = struct.unpack_from(order + "II", data, position)
        position += 8
        if kind == COMPRESSED:
            packed = data[position : position + size]
            left -= len(zlib.decompressobj().decompress(packed, left))
        position += size
    if left <= 0:
        raise UserError(f"unpacks to more than {LIMIT >> 20} MiB, too large for an SRCNN")


def _variables(sizes: Mapping[str, tuple[tuple[int, ...], str]]) -> list[str]:
    """Return the names of weights_conv1, biases_conv1, ..., and of the text if there is one."""
    names, total = [], 0
    for i in range(1, MOST_LAYERS):
        pair = [f"weights_conv{i}", f"biases_conv{i}"]
        found = [name for name in pair if name in sizes]
        if not found:
            break
        for name in pair:
            shape, kind = sizes.get(name, ((), "missing"))
            if kind not in ("double", "single"):
                raise UserError(f"{name} is {kind} {shape}: expected an array of real numbers")
            total += math.prod(shape) * 8
        names += pair
    if not names:
        raise UserError(
            "no variables weights_conv1, biases_conv1, ... as the authors' files have them"
        )
    if total > LIMIT:
        raise UserError(f"more than {LIMIT >> 20} MiB of weights, too large for an SRCNN")
    return names + [TEXT] * (sizes.get(TEXT, ((), ""))[1] == "char")


def _unpacked(packed: np.ndarray, i: int, last: bool) -> np.ndarray:
    """Unpack one layer, as the file has it, to (O, C, f, f)."""
    if packed.ndim == 2:  # MATLAB drops a last axis of length 1
        packed = packed[None] if i == 1 else packed[:, :, None]
    side = math.isqrt(packed.shape[1]) if packed.ndim == 3 else 0
    if packed.ndim != 3 or side * side != packed.shape[1]:
        where = "last" if last else "first" if i == 1 else "middle"
        raise UserError(
            f"weights_conv{i} is {packed.shape}: not the authors' layout of a {where} layer"
        )
    inputs, _, outputs = packed.shape
    return packed.transpose(2, 0, 1).reshape(outputs, inputs, side, side).swapaxes(2, 3)
