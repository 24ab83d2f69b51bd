"""Files of safetensors: arrays named as in a state_dict, and one text of what is known of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from npsrcnn.errors import UserError
from npsrcnn.layers import Layers
from npsrcnn.model_files.common import MISSING, check_size, reading
from npsrcnn.model_files.facts import Facts, from_text, to_text
from npsrcnn.model_files.state_dicts import arrays_of, in_order, layers_of
from npsrcnn.runtime.files import write_atomically

TEXT = "npsrcnn"


def write(path: Path, layers: Layers, facts: Facts) -> None:
    """Write conv1.weight, conv1.bias, ..., float32, as PyTorch's programs name them."""
    try:
        from safetensors.numpy import save
    except ImportError as error:
        raise UserError(f"{path}: {MISSING}") from error
    with write_atomically(path) as temporary:
        temporary.write_bytes(save(arrays_of(layers), metadata={TEXT: to_text(facts)}))


def read(path: Path) -> tuple[Layers, Facts]:
    """Read the layers and what is known of them.

    Raises
    ------
    UserError
        Damaged, foreign, too large, of another network, or without the package ``safetensors``.
    """
    try:
        from safetensors import SafetensorError, safe_open
    except ImportError as error:
        raise UserError(MISSING) from error
    check_size(path)
    damaged = (SafetensorError, ImportError)  # the latter where numbers take a package more
    with reading("a file of safetensors", *damaged), safe_open(path, "numpy") as file:
        # Such files do not keep the order of a state_dict: names give it, or else the shapes.
        arrays = {name: file.get_tensor(name) for name in sorted(file.keys())}
        text = (file.metadata() or {}).get(TEXT)
    for name, array in arrays.items():
        if array.dtype.name == "bfloat16":
            arrays[name] = array.astype(np.float32)
    layers = layers_of(arrays)
    if not layers:
        raise UserError("holds no convolutions, <layer>.weight and <layer>.bias")
    layers = in_order(layers)
    return layers, from_text(text, layers) if text else {}
