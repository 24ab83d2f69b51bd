"""Weights as files: npsrcnn's own .npz, the authors' .mat, PyTorch's .pth, and ONNX.

==============  =============  =============================================================
``.npz``        read, written  npsrcnn's own: arrays, and one JSON text of what is known
``.mat``        read, written  the layout of the files that the paper's authors released
``.pth .pt``    read           the ``state_dict`` of a PyTorch port; nothing in it is executed
``.onnx``       written        for other runtimes; needs the package ``onnx``
==============  =============  =============================================================

Files come from strangers. Whatever a file holds, reading it runs no code, takes little memory, and
ends in a network or in one line that says what is wrong.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from npsrcnn import kernels
from npsrcnn.errors import UserError
from npsrcnn.model_files import mat, npz, onnx, pth, shipped
from npsrcnn.model_files.shipped import best_for, chain_for, models
from npsrcnn.network import SRCNN

__all__ = ["best_for", "chain_for", "load", "models", "save"]

READERS = {".npz": npz.read, ".mat": mat.read, ".pth": pth.read, ".pt": pth.read}
SCALE_IN_NAME = re.compile(r"(?<![^\W_])x([234])$")  # as in the authors' 9-1-5_91-images_x3.mat
WRITERS = {".npz": npz.write, ".mat": mat.write, ".onnx": onnx.write}


def load(path_or_name: str | Path, device: str = "cpu", padding: str | None = None) -> SRCNN:
    """A trained network, from a file or from the weights that ship.

    Parameters
    ----------
    path_or_name
        A file, .npz, .mat, .pth or .pt; or a name, such as "9-1-5-x3": see
        :func:`npsrcnn.models`. Where a file does not say its scale, a name that ends in x2, x3
        or x4 does, as the authors' do.
    device
        "cpu", "reference" or "cuda".
    padding
        "replicate" or "zeros", what is put around the image before every layer. Default: what
        the file says; where it does not, "replicate" for .mat (as in the authors' code) and
        "zeros" for .pth (as in most PyTorch ports).

    Raises
    ------
    UserError
        No such file or name; a file that is damaged, foreign, too large or malicious; or as
        :func:`npsrcnn.kernels.choose`.
    """
    kernels.choose(device)  # or it says what the device lacks, which is no fault of the file
    path = Path(path_or_name)
    if path.suffix.lower() not in READERS and not path.exists():
        path = shipped.path_of(str(path_or_name))
    layers, facts = _read(path)
    said = facts.pop("padding")
    try:
        with np.errstate(over="ignore"):  # float64 beyond float32 is refused as infinite
            return SRCNN.from_layers(layers, device=device, padding=padding or said, metadata=facts)
    except UserError as error:
        raise UserError(f"{path}: {error}") from error


def save(net: SRCNN, path: str | Path) -> None:
    """Write a network; the suffix of ``path`` names the format: .npz, .mat or .onnx.

    The file is written beside and renamed: who reads it sees the old one or the new one.

    Raises
    ------
    UserError
        Another suffix, or .onnx without the package ``onnx``.
    OSError
        The file cannot be written.
    """
    path = Path(path)
    writer = WRITERS.get(path.suffix.lower())
    if writer is None:
        raise UserError(f"{path}: cannot write {_kind(path)}; there are {', '.join(WRITERS)}")
    writer(net, path)


def _read(path: Path) -> tuple[list, dict]:
    reader = READERS.get(path.suffix.lower())
    if path.is_dir():
        raise UserError(f"{path}: a folder; give the file of a model")
    if reader is None:
        raise UserError(f"{path}: cannot read {_kind(path)}; there are {', '.join(READERS)}")
    try:
        layers, facts = reader(path)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except UserError as error:
        raise UserError(f"{path}: {error}") from error
    facts.setdefault("padding", "zeros" if reader is pth.read else "replicate")
    if facts.get("scale") is None and (named := SCALE_IN_NAME.search(path.stem)):
        facts["scale"] = int(named[1])
    return layers, facts


def _kind(path: Path) -> str:
    return f"{path.suffix} files" if path.suffix else "a model file without a suffix"
