"""PyTorch's files (.pth, .pt, .ckpt): read without PyTorch, and written as it reads them.

``torch.save`` writes a pickle, with its arrays beside it: of a ``state_dict``, of a checkpoint that
holds one among other things, or of a whole module. Nothing of the pickle is run: see
:mod:`npsrcnn.model_files.pickles`.
"""

from __future__ import annotations

import io
import math
import pickle
import re
import struct
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from npsrcnn.errors import UserError
from npsrcnn.layers import Layers
from npsrcnn.model_files.checkpoints import find_network
from npsrcnn.model_files.common import LIMIT, check_size, open_archive, reading
from npsrcnn.model_files.facts import Facts, from_text, to_text
from npsrcnn.model_files.pickles import DTYPES, Tensor, Unpickler, expect
from npsrcnn.model_files.state_dicts import arrays_of, layers_of
from npsrcnn.runtime.files import write_atomically

MAGIC = 0x1950A86A20F9469CFC6C  # the first pickle of a file from before PyTorch 1.6
LEGACY = b"\x80\x02\x8a\x0a" + MAGIC.to_bytes(10, "little") + b"."
LARGEST_PICKLE = 1 << 20  # bytes; a state_dict takes some hundreds
TEXT = "extra/npsrcnn"  # what is known of the weights, an "extra file" to PyTorch


def write(path: Path, layers: Layers, facts: Facts) -> None:
    """Write a state_dict of conv1, conv2, ..., float32, which torch.load reads weights_only."""
    arrays = arrays_of(layers)
    with write_atomically(path) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        archive.writestr("archive/data.pkl", _program(arrays))
        archive.writestr("archive/byteorder", "little")
        for i, array in enumerate(arrays.values()):
            archive.writestr(f"archive/data/{i}", array.astype("<f4").tobytes())
        archive.writestr("archive/version", "3\n")
        archive.writestr(f"archive/{TEXT}", to_text(facts))


def _program(arrays: dict[str, np.ndarray]) -> bytes:
    """Return the pickle of an OrderedDict of tensors, in the words of protocol 2."""
    items = b"".join(
        _text(name) + _tensor(i, array) for i, (name, array) in enumerate(arrays.items())
    )
    return b"\x80\x02ccollections\nOrderedDict\n)R(" + items + b"u."


def _tensor(key: int, array: np.ndarray) -> bytes:
    """Return the call of _rebuild_tensor_v2(storage, 0, size, stride, False, OrderedDict())."""
    strides = [stride // array.itemsize for stride in array.strides]
    storage = (
        b"(" + _text("storage") + b"ctorch\nFloatStorage\n" + _text(str(key)) + _text("cpu")
        + _number(array.size) + b"tQ"
    )  # fmt: skip
    hooks = b"ccollections\nOrderedDict\n)R"
    arguments = storage + _number(0) + _numbers(array.shape) + _numbers(strides)
    return b"ctorch._utils\n_rebuild_tensor_v2\n(" + arguments + pickle.NEWFALSE + hooks + b"tR"


def _text(text: str) -> bytes:
    return pickle.BINUNICODE + struct.pack("<I", len(text)) + text.encode("ascii")


def _number(number: int) -> bytes:
    return pickle.BININT + struct.pack("<i", number)


def _numbers(numbers: Sequence[int]) -> bytes:
    return b"(" + b"".join(map(_number, numbers)) + b"t"


def read(path: Path) -> tuple[Layers, Facts]:
    """Read the convolutions of a network, in their order, and what is known of them.

    Raises
    ------
    UserError
        Damaged, foreign, too large, or of another network.
    """
    check_size(path)
    with open(path, "rb") as file:
        legacy = file.read(len(LEGACY)) == LEGACY
    with reading("a PyTorch file", pickle.UnpicklingError):
        if legacy:
            value, storages, order, text = *_read_legacy(path), None
        else:
            value, storages, order, text = _read_zip(path)
        network = find_network(value)
        tensors = network.tensors
        if sum(math.prod(tensor.size) for tensor in tensors.values()) * 8 > LIMIT:
            raise UserError(f"more than {LIMIT >> 20} MiB of weights, too large for an SRCNN")
        arrays = {name: _array(t, storages, order) for name, t in tensors.items()}
        layers = layers_of(arrays)
        facts = {"padding": network.padding} if network.padding else {}
        return layers, from_text(text, layers) if text else facts


def _read_zip(path: Path) -> tuple[Any, dict[str, bytes], str, str | None]:
    """Read a file of PyTorch 1.6 or later: its value, storages, their order, and our text."""
    with open_archive(path) as archive:
        names = set(archive.namelist())
        pickles = [name for name in names if re.fullmatch(r"([^/]*/)?data\.pkl", name)]
        if len(pickles) != 1:
            raise UserError("a zip archive, but not of PyTorch: it has no data.pkl")
        root = pickles[0].removesuffix("data.pkl")
        if any(name.startswith(f"{root}code/") for name in names):
            raise UserError(
                "a program of TorchScript; save its weights alone: "
                "torch.save(torch.jit.load(path).state_dict(), other_path)"
            )
        program = archive.read(pickles[0])
        if len(program) > LARGEST_PICKLE:
            raise UserError("its pickle is too large for an SRCNN and what it was trained by")
        unpickler = Unpickler(io.BytesIO(program))
        value = unpickler.load()
        storages = {key: archive.read(f"{root}data/{key}") for key in unpickler.storages}
        text = archive.read(f"{root}{TEXT}").decode() if f"{root}{TEXT}" in names else None
        big = f"{root}byteorder" in names and archive.read(f"{root}byteorder") == b"big"
    return value, storages, ">" if big else "<", text


def _read_legacy(path: Path) -> tuple[Any, dict[str, bytes], str]:
    """Read an older file, five pickles in a row, then the storages; see :func:`_read_zip`."""
    data = path.read_bytes()
    stream = io.BytesIO(data[:LARGEST_PICKLE])
    stream.seek(len(LEGACY))
    _version, system = (Unpickler(stream).load() for _ in range(2))
    unpickler = Unpickler(stream)
    value, keys = unpickler.load(), Unpickler(stream).load()
    storages, position = {}, stream.tell()
    for key in keys:
        (length,) = struct.unpack_from("<q", data, position)
        storage = unpickler.storages[expect(key, str)]
        if length != storage.length:
            raise ValueError("a storage of another size than the pickle says")
        end = position + 8 + length * np.dtype(DTYPES[storage.kind]).itemsize
        storages[key], position = data[position + 8 : end], end
    return value, storages, "<" if system["little_endian"] else ">"


def _array(tensor: Tensor, storages: dict[str, bytes], order: str) -> np.ndarray:
    """Copy the numbers of a tensor out of its storage, within which they must lie."""
    kind, key, length = tensor.storage
    flat = np.frombuffer(storages[key], np.dtype(order + DTYPES[kind]), length)
    last = tensor.offset + sum((n - 1) * s for n, s in zip(tensor.size, tensor.stride, strict=True))
    if 0 not in tensor.size and last >= length:
        raise ValueError(f"a tensor of {tensor.size} reaches beyond its storage")
    steps = [s * flat.itemsize for s in tensor.stride]
    view = np.lib.stride_tricks.as_strided(flat[tensor.offset :], tensor.size, steps)
    if kind == "BFloat16Storage":
        return (view.astype(np.uint32) << np.uint32(16)).view(np.float32)
    return view.astype(np.dtype(DTYPES[kind]))
