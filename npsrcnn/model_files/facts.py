"""The facts beside the weights: one JSON text, the same in every format that is written."""

from __future__ import annotations

import json
from typing import Any, TypedDict

import numpy as np

from npsrcnn.errors import UserError
from npsrcnn.layers import Layers
from npsrcnn.words import counted

Facts = dict[str, Any]
"""What is known of weights, whatever JSON can hold: "scale", "color", "padding", "recipe", ..."""


class Shape(TypedDict):
    """The facts that weights show themselves."""

    network: str  # filter sizes, "9-1-5"
    channels: int
    n: list[int]  # filters of each layer but the last


def shape_of(layers: Layers) -> Shape:
    """Return the facts that ``layers`` show."""
    return {
        "network": "-".join(str(w.shape[2]) for w, _ in layers),
        "channels": layers[0][0].shape[1],
        "n": [len(b) for _, b in layers[:-1]],
    }


def to_text(facts: Facts) -> str:
    """Return facts as JSON.

    Raises
    ------
    TypeError, ValueError
        One that JSON cannot hold.
    """
    return json.dumps(facts, default=_plain, allow_nan=False)


def _plain(value: object) -> object:
    """Convert NumPy's numbers and arrays to Python's."""
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    raise TypeError(f"metadata of a network is JSON: {type(value).__name__} is not")


def parsed(text: str) -> Facts:
    """Return the facts in a text, which are not checked against weights.

    Raises
    ------
    UserError
        Not such a text.
    """
    try:
        facts = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UserError(f"what it says of its weights is not JSON ({error})") from error
    if not isinstance(facts, dict):
        raise UserError("what it says of its weights is not a JSON object")
    return facts


def from_text(text: str, layers: Layers) -> Facts:
    """Return the facts in a text, less those that ``layers`` show; all are checked.

    Raises
    ------
    UserError
        Not such a text, or one that does not fit the weights.
    """
    facts = parsed(text)
    shape = shape_of(layers)
    for key, value in shape.items():
        if facts.pop(key, value) != value:
            raise UserError(f"says another {key} than its weights have ({value})")
    scale, color = facts.get("scale"), facts.get("color", "y")
    if scale is not None and (type(scale) not in (int, float) or not 1 <= scale <= 16):
        raise UserError(f"says scale {scale!r}: expected a number from 1 to 16")
    if color not in ("y", "rgb", "ycbcr") or (color == "y") != (shape["channels"] == 1):
        channels = counted(shape["channels"], "channel")
        raise UserError(f"says color {color!r}, which {channels} cannot be")
    return facts
