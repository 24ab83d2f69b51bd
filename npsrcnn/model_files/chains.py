"""Turn the steps of other programs' networks into layers: convolutions with ReLUs between."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from npsrcnn.errors import UserError
from npsrcnn.layers import Layers
from npsrcnn.model_files.common import LIMIT
from npsrcnn.model_files.facts import Facts


class Convolution(NamedTuple):
    """A convolution that a file holds."""

    name: str
    w: np.ndarray  # (O, C, K, K)
    b: np.ndarray  # (O,)
    padded: bool  # with zeros; else not at all


def layers_of(steps: Sequence[Convolution | None]) -> tuple[Layers, Facts]:
    """Return layers, and how edges are padded.

    Without padding results are smaller than images; repeated edges keep the size and stay closest
    to that.

    Parameters
    ----------
    steps
        From the image to the result; None is a ReLU.

    Raises
    ------
    UserError
        They are no chain of convolutions and ReLUs in turn that ends with a convolution.
    """
    layers: Layers = []
    active = True
    for step in steps:
        if step is None:
            active = True
            continue
        if not active:
            raise UserError(f"no ReLU before {step.name[:40]!r}, as an SRCNN has")
        if step.w.dtype.kind != "f" or step.b.dtype.kind != "f":
            raise UserError(f"{step.name[:40]} is of {step.w.dtype}, not of real numbers")
        layers.append((step.w, step.b))
        active = False
    if active or not layers:
        raise UserError("does not end with a convolution, as an SRCNN does")
    padded = any(step.padded for step in steps if step is not None)
    return layers, {"padding": "zeros" if padded else "replicate"}


def check_plain(name: str, settings: dict[str, object]) -> None:
    """Refuse a convolution that has strides, dilation or groups.

    Parameters
    ----------
    name : str
    settings : dict
        Numbers, or lists of them, that are all 1 in an SRCNN.
    """
    for key, value in settings.items():
        values = value if isinstance(value, list | tuple) else [value]
        if any(one != 1 for one in values):
            raise UserError(f"{name[:40]} has {key} {str(value)[:20]}: an SRCNN's have not")


def check_count(name: str, shape: Sequence[int]) -> None:
    """Refuse an array that is larger than any SRCNN's, before it is read."""
    if math.prod(shape) * 8 > LIMIT:
        raise UserError(f"{name[:80]} is too large for an SRCNN")


def refusal(name: str, kind: str) -> UserError:
    """Return the error for a layer that an SRCNN does not have."""
    return UserError(
        f"{name[:40]} is a {kind[:40]}: an SRCNN is convolutions and ReLUs alone, one after another"
    )
