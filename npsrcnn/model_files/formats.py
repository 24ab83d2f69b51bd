"""Read and write weights in the format that the suffix of a file names."""

from __future__ import annotations

import re
from pathlib import Path

from npsrcnn.errors import UserError
from npsrcnn.layers import Layers
from npsrcnn.model_files import caffemodel, keras, mat, npz, onnx, pth, safetensors
from npsrcnn.model_files.facts import Facts

PYTORCH = (".pth", ".pt", ".ckpt", ".tar")  # checkpoint.pth.tar is no archive of tar
READERS = {
    ".npz": npz.read,
    ".mat": mat.read,
    **dict.fromkeys(PYTORCH, pth.read),
    ".safetensors": safetensors.read,
    ".onnx": onnx.read,
    ".keras": keras.read,
    ".h5": keras.read,
    ".hdf5": keras.read,
    ".caffemodel": caffemodel.read,
}
SCALE_IN_NAME = re.compile(r"(?<![^\W_])x([1234])$")  # as in the authors' 9-1-5_91-images_x3.mat
WRITERS = {
    ".npz": npz.write,
    ".mat": mat.write,
    ".pth": pth.write,
    ".pt": pth.write,
    ".safetensors": safetensors.write,
    ".onnx": onnx.write,
}


def write(path: str | Path, layers: Layers, facts: Facts) -> None:
    """Write weights and what is known of them; the suffix of ``path`` names the format.

    The file is written beside and renamed: who reads it sees the old one or the new one.

    Parameters
    ----------
    path
        A file to write: .npz, .mat, .pth, .safetensors or .onnx.
    layers
        [(w, b), ...], w (O, C, K, K) and b (O,), float32.
    facts
        What JSON can hold; "network" and "padding" among it.

    Raises
    ------
    UserError
        Another suffix, or one that needs a package which is not installed.
    OSError
        The file cannot be written.
    """
    path = Path(path)
    writer = WRITERS.get(path.suffix.lower())
    if writer is None:
        raise UserError(f"{path}: cannot write {_kind(path)}; there are {', '.join(WRITERS)}")
    writer(path, layers, facts)


def read(path: Path) -> tuple[Layers, Facts]:
    """Read weights and what is known of them, "padding" in any case.

    Where a file does not say its scale, a name that ends in x2, x3 or x4 does, as the authors' do.

    Raises
    ------
    UserError
        No such file; one that is damaged, foreign, too large or malicious.
    """
    reader = READERS.get(path.suffix.lower())
    if path.is_dir():
        raise UserError(f"{path}: a folder; give the file of a model")
    if reader is None:
        raise UserError(f"{path}: cannot read {_kind(path)}; there are {', '.join(READERS)}")
    try:
        path.stat()  # a file that is missing is said before a package that is
        layers, facts = reader(path)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except UserError as error:
        raise UserError(f"{path}: {error}") from error
    facts.setdefault("padding", "zeros" if reader in (pth.read, safetensors.read) else "replicate")
    if facts.get("scale") is None and (named := SCALE_IN_NAME.search(_stem(path))):
        facts["scale"] = int(named[1])
    return layers, facts


def _stem(path: Path) -> str:
    """Return "srcnn_x3" of srcnn_x3.pth.tar."""
    while path.suffix.lower() in READERS:
        path = path.with_suffix("")
    return path.name


def _kind(path: Path) -> str:
    return f"{path.suffix} files" if path.suffix else "a model file without a suffix"
