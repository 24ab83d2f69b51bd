"""npsrcnn's own files: arrays w1, b1, w2, b2, ... and "about", a JSON text; never a pickle."""

from __future__ import annotations

import io
import re
from pathlib import Path

import numpy as np

from npsrcnn.errors import UserError
from npsrcnn.layers import Layers
from npsrcnn.model_files.common import check_size, open_archive, reading
from npsrcnn.model_files.facts import Facts, from_text, parsed, to_text
from npsrcnn.runtime.files import write_atomically

TEXT = "about"


def write(path: Path, layers: Layers, facts: Facts) -> None:
    """Write the weights, float32, and all metadata; ``numpy.load`` reads them."""
    arrays = {TEXT: np.array(to_text(facts))}
    for i, (w, b) in enumerate(layers, 1):
        arrays |= {f"w{i}": w, f"b{i}": b}
    with write_atomically(path) as temporary, open(temporary, "wb") as file:
        np.savez_compressed(file, **arrays)  # type: ignore[arg-type]  # none is allow_pickle


def read_facts(path: Path) -> Facts:
    """Read what a file says of its weights, and not the weights.

    Raises
    ------
    UserError
        As :func:`read`, where that shows without the weights.
    """
    check_size(path)
    with reading("an .npz file"), open_archive(path) as archive:
        if f"{TEXT}.npy" not in archive.namelist():
            raise UserError(f"not a model of npsrcnn: it has no array {TEXT}")
        return parsed(str(_array(archive.read(f"{TEXT}.npy"))))


def read(path: Path) -> tuple[Layers, Facts]:
    """Read the layers and what is known of them.

    Raises
    ------
    UserError
        Damaged, foreign, too large, or holding Python objects.
    """
    check_size(path)
    with reading("an .npz file"), open_archive(path) as archive:
        arrays = {
            name.removesuffix(".npy"): _array(archive.read(name))
            for name in archive.namelist()
            if re.fullmatch(rf"([wb]\d{{1,3}}|{TEXT})\.npy", name)
        }
    layers: Layers = []
    while f"w{len(layers) + 1}" in arrays:
        i = len(layers) + 1
        if f"b{i}" not in arrays:
            raise UserError(f"has weights w{i}, but no biases b{i}")
        layers.append((arrays[f"w{i}"], arrays[f"b{i}"]))
    if not layers or TEXT not in arrays:
        raise UserError(f"not a model of npsrcnn: it has no arrays w1, b1, ... and {TEXT}")
    for i, (w, b) in enumerate(layers, 1):
        if w.dtype.kind != "f" or b.dtype.kind != "f" or w.ndim != 4 or b.ndim != 1 or not w.size:
            raise UserError(f"layer {i} is not of real numbers, (O, C, K, K) and (O,)")
    if arrays[TEXT].dtype.kind != "U" or arrays[TEXT].ndim:
        raise UserError(f"{TEXT!r} is not a text")
    return layers, from_text(arrays[TEXT].item(), layers)


def _array(data: bytes) -> np.ndarray:
    return np.lib.format.read_array(io.BytesIO(data), allow_pickle=False)
