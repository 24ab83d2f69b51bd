"""Pair named arrays, ``conv1.weight`` and ``conv1.bias``, to the layers of a network."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import permutations

import numpy as np

from npsrcnn.errors import UserError
from npsrcnn.layers import Layers

LONGEST_CHAIN = 6  # layers of which all 720 orders are tried


def layers_of(arrays: Mapping[str, np.ndarray]) -> Layers:
    """Pair weights and biases: by number if only that tells layers apart, else as stored.

    Keys do not matter, only pairs of ``<layer>.weight`` and ``<layer>.bias``: conv1, conv2, conv3;
    features.0, map.0, reconstruction; with or without "module." before them.

    Raises
    ------
    UserError
        There are arrays of another network, or of other numbers.
    """
    names = [
        name.removesuffix(".weight")
        for name, array in arrays.items()
        if name.endswith(".weight") and array.ndim == 4
    ]
    wholes: dict[str, list[tuple[int, ...]]] = {}  # by what the names begin with
    for name in names:
        wholes.setdefault(name.partition(".")[0], []).append(arrays[f"{name}.weight"].shape)
    whole = [
        begin
        for begin, shapes in wholes.items()
        if len(shapes) > 1 and shapes[0][1] == shapes[-1][0] in (1, 3)  # from images to images
    ]
    if len(whole) > 1:
        raise UserError(
            f"holds {len(whole)} networks ({', '.join(whole)[:80]}): save the one that is meant "
            "alone"
        )
    used = {f"{name}.{part}" for name in names for part in ("weight", "bias")}
    for name in arrays:
        if name not in used:
            raise UserError(
                f"{name[:80]} {arrays[name].shape} is no part of an SRCNN, which is convolutions "
                "and ReLUs alone: these are weights of another network"
            )
    if len({re.sub(r"\d+", "", name) for name in names}) == 1:
        names.sort(key=lambda name: [int(number) for number in re.findall(r"\d+", name)])
    layers = []
    for name in names:
        w = arrays[f"{name}.weight"]
        b = arrays.get(f"{name}.bias", np.zeros(len(w)))
        if w.dtype.kind != "f" or b.dtype.kind != "f":
            raise UserError(f"{name} is of {w.dtype} and {b.dtype}, not of real numbers")
        layers.append((w, b))
    return layers


def in_order(layers: Layers) -> Layers:
    """Order layers so that each takes what the one before makes, where only one order does."""
    if _is_chain(layers) or len(layers) > LONGEST_CHAIN:
        return layers
    chains = [list(order) for order in permutations(layers) if _is_chain(order)]
    return chains[0] if len(chains) == 1 else layers


def _is_chain(layers: Sequence[tuple[np.ndarray, np.ndarray]]) -> bool:
    followers = [*layers[1:], layers[0]]  # a network returns as many channels as it takes
    return layers[0][0].shape[1] in (1, 3) and all(
        len(w) == v.shape[1] for (w, _), (v, _) in zip(layers, followers, strict=True)
    )


def arrays_of(layers: Layers) -> dict[str, np.ndarray]:
    """Name the arrays of layers conv1.weight, conv1.bias, ..., contiguous float32."""
    return {
        f"conv{i}.{part}": np.ascontiguousarray(array, np.float32)
        for i, layer in enumerate(layers, 1)
        for part, array in zip(("weight", "bias"), layer, strict=True)
    }
