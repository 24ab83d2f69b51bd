"""PyTorch's files (.pth, .pt): the ``state_dict`` of a port, read without PyTorch.

Such a file is a pickle with its arrays beside it, and unpickling runs whatever the pickle names.
Here :class:`_Unpickler` gives it inert notes instead: of names, of storages, and of tensors as
views of storages. Every other name, and every operation that no ``state_dict`` needs, is refused.
"""

from __future__ import annotations

import io
import math
import pickle
import re
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np

from npsrcnn.errors import UserError
from npsrcnn.layers import Layers
from npsrcnn.model_files.common import LIMIT, check_size, open_archive, reading
from npsrcnn.model_files.facts import Facts

T = TypeVar("T")

MAGIC = 0x1950A86A20F9469CFC6C  # the first pickle of a file from before PyTorch 1.6
LEGACY = b"\x80\x02\x8a\x0a" + MAGIC.to_bytes(10, "little") + b"."
LARGEST_PICKLE = 1 << 20  # bytes; a state_dict takes some hundreds
MOST_ARGUMENTS = 8  # of what a pickle calls; _rebuild_tensor_v2 takes 7
DTYPES = {
    "FloatStorage": "f4",
    "DoubleStorage": "f8",
    "HalfStorage": "f2",
    "BFloat16Storage": "u2",  # the upper half of a float32
    "LongStorage": "i8",
    "IntStorage": "i4",
    "ShortStorage": "i2",
    "CharStorage": "i1",
    "ByteStorage": "u1",
    "BoolStorage": "u1",
}
TENSORS = ("torch._utils._rebuild_tensor_v2", "torch._utils._rebuild_tensor")
PARAMETER = "torch._utils._rebuild_parameter"
DICT = "collections.OrderedDict"
WRAPPERS = (  # under which checkpoints keep their state_dict
    "state_dict", "model_state_dict", "model", "params_ema", "params", "net", "network", "weights",
)  # fmt: skip


class _Storage(NamedTuple):
    """A block of numbers that lies beside the pickle."""

    kind: str
    key: str
    length: int


class _Tensor(NamedTuple):
    """A view of a storage, in elements."""

    storage: _Storage
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]


class _Dict(dict[str | int, Any]):
    """A dict whose keys are texts or small numbers.

    Others could have a hash that takes for ever or that overflows the stack (of a tuple that holds
    another twice, and so on), or one hash for all.
    """

    __slots__ = ()

    def __setitem__(self, key: object, value: object) -> None:
        if isinstance(key, str) or (isinstance(key, int) and key.bit_length() < 61):
            super().__setitem__(key, value)
        else:
            raise ValueError(f"a {type(key).__name__} for a key")

    def __setstate__(self, state: object) -> None:
        """Ignore the attributes of an OrderedDict, such as ``_metadata``."""


class _Name(NamedTuple):
    """One of the few names that a pickle may mention."""

    text: str

    def __call__(self, *arguments: Any) -> _Dict | _Tensor:
        """Note what the function of this name would have made."""
        if len(arguments) > MOST_ARGUMENTS:
            raise ValueError(f"{self.text} of {len(arguments)} arguments")
        if self.text == DICT:
            result = _Dict()
            if arguments:  # of Python 2
                items = _expect(arguments[0], list)
                for key, value in items:
                    result[key] = value
                items.clear()  # no pickle copies a long list again and again
            return result
        if self.text in TENSORS:
            storage, offset, size, stride = arguments[:4]
            if not len(_expect(size, tuple)) == len(_expect(stride, tuple)) <= 8:
                raise ValueError("a tensor of other sizes than strides")
            if any(type(number) is not int or number < 0 for number in (offset, *size, *stride)):
                raise ValueError("a tensor whose size, strides and offset are not counts")
            return _Tensor(_expect(storage, _Storage), offset, size, stride)
        if self.text == PARAMETER:
            return _expect(arguments[0], _Tensor)
        raise ValueError(f"{self.text} is not a function")


class _Operations(dict[int, Callable[[Any], None]]):
    """The operations of the standard unpickler that files of PyTorch use, by their code."""

    def __missing__(self, code: int) -> Callable[[Any], None]:
        raise UserError(
            f"its pickle uses operation {bytes([code])!r}, which no state_dict does: "
            "nothing of it was run"
        )


OPERATIONS = (
    pickle.PROTO, pickle.FRAME, pickle.STOP, pickle.MARK, pickle.POP,
    pickle.NONE, pickle.NEWTRUE, pickle.NEWFALSE,
    pickle.BININT, pickle.BININT1, pickle.BININT2, pickle.LONG1, pickle.BINFLOAT,
    pickle.BINUNICODE, pickle.SHORT_BINUNICODE, pickle.BINSTRING, pickle.SHORT_BINSTRING,
    pickle.EMPTY_TUPLE, pickle.TUPLE1, pickle.TUPLE2, pickle.TUPLE3, pickle.TUPLE,
    pickle.EMPTY_LIST, pickle.APPEND, pickle.APPENDS,
    pickle.SETITEM, pickle.SETITEMS,
    pickle.BINPUT, pickle.LONG_BINPUT, pickle.MEMOIZE, pickle.BINGET, pickle.LONG_BINGET,
    pickle.GLOBAL, pickle.STACK_GLOBAL, pickle.BINPERSID, pickle.REDUCE, pickle.BUILD,
)  # fmt: skip


class _Unpickler(pickle._Unpickler):
    """Python's own unpickler in Python, confined to :data:`OPERATIONS` and inert stand-ins.

    The one in C has no table of operations to confine. It takes 32 GiB for a memo of number 2^32,
    objects of ``copyreg``'s registry past ``find_class``, and any hashable key.
    """

    dispatch = _Operations({code[0]: pickle._Unpickler.dispatch[code[0]] for code in OPERATIONS})
    dispatch[pickle.EMPTY_DICT[0]] = lambda self: self.append(_Dict())

    def __init__(self, stream: io.BytesIO) -> None:
        super().__init__(stream, encoding="latin1")
        self.storages: dict[str, _Storage] = {}

    def find_class(self, module: str, name: str) -> _Name:
        """Return a stand-in for a name, which is never imported."""
        text = f"{module}.{name}"
        storage = re.fullmatch(r"torch\.(\w+Storage)", text)
        if text in (*TENSORS, PARAMETER, DICT) or (storage and storage[1] in DTYPES):
            return _Name(text)
        raise UserError(
            f"names {text[:80]!r}, which is no part of a state_dict, and nothing of it was run; "
            "in PyTorch, torch.save(model.state_dict(), path) writes a file that can be read"
        )

    def persistent_load(self, pid: object) -> _Storage:
        """Note a storage: ("storage", type, key, location, count).

        Older files add None: it is no view of another.
        """
        word, name, key, _location, length, *view = _expect(pid, tuple)
        if word != "storage" or view not in ([], [None]) or type(length) is not int or length < 0:
            raise ValueError("a storage described in an unknown way")
        kind = _expect(name, _Name).text.removeprefix("torch.")
        if kind not in DTYPES or not isinstance(key, str | int):
            raise ValueError("a storage of unknown type or name")
        self.storages[str(key)] = _Storage(kind, str(key), length)
        return self.storages[str(key)]


def read(path: Path) -> tuple[Layers, Facts]:
    """Read the convolutions of a ``state_dict``, in their order; such files hold no facts.

    Keys do not matter, only pairs of ``<layer>.weight`` and ``<layer>.bias``: conv1, conv2, conv3;
    features.0, map.0, reconstruction; with or without "module." before them.

    Raises
    ------
    UserError
        Damaged, foreign, too large, of another network, or a file that would run code.
    """
    check_size(path)
    with open(path, "rb") as file:
        legacy = file.read(len(LEGACY)) == LEGACY
    with reading("a PyTorch file", pickle.UnpicklingError):
        value, storages, order = _read_legacy(path) if legacy else _read_zip(path)
        tensors = _state_dict(value)
        if sum(math.prod(tensor.size) for tensor in tensors.values()) * 8 > LIMIT:
            raise UserError(f"more than {LIMIT >> 20} MiB of weights, too large for an SRCNN")
        arrays = {name: _array(t, storages, order) for name, t in tensors.items()}
        return _layers(arrays), {}


def _read_zip(path: Path) -> tuple[Any, dict[str, bytes], str]:
    """Read a file of PyTorch 1.6 or later: its value, the bytes of each storage, their order."""
    with open_archive(path) as archive:
        names = set(archive.namelist())
        pickles = [name for name in names if re.fullmatch(r"([^/]*/)?data\.pkl", name)]
        if len(pickles) != 1:
            raise UserError("a zip archive, but not of PyTorch: it has no data.pkl")
        root = pickles[0].removesuffix("data.pkl")
        program = archive.read(pickles[0])
        if len(program) > LARGEST_PICKLE:
            raise UserError("its pickle is too large for a state_dict of an SRCNN")
        unpickler = _Unpickler(io.BytesIO(program))
        value = unpickler.load()
        storages = {key: archive.read(f"{root}data/{key}") for key in unpickler.storages}
        big = f"{root}byteorder" in names and archive.read(f"{root}byteorder") == b"big"
    return value, storages, ">" if big else "<"


def _read_legacy(path: Path) -> tuple[Any, dict[str, bytes], str]:
    """Read an older file, five pickles in a row, then the storages; see :func:`_read_zip`."""
    data = path.read_bytes()
    stream = io.BytesIO(data[:LARGEST_PICKLE])
    stream.seek(len(LEGACY))
    _version, system = (_Unpickler(stream).load() for _ in range(2))
    unpickler = _Unpickler(stream)
    value, keys = unpickler.load(), _Unpickler(stream).load()
    storages, position = {}, stream.tell()
    for key in keys:
        (length,) = struct.unpack_from("<q", data, position)
        storage = unpickler.storages[_expect(key, str)]
        if length != storage.length:
            raise ValueError("a storage of another size than the pickle says")
        end = position + 8 + length * np.dtype(DTYPES[storage.kind]).itemsize
        storages[key], position = data[position + 8 : end], end
    return value, storages, "<" if system["little_endian"] else ">"


def _expect(value: object, kind: type[T]) -> T:
    if not isinstance(value, kind):
        raise ValueError(f"a {type(value).__name__} where it does not belong")
    return value


def _array(tensor: _Tensor, storages: dict[str, bytes], order: str) -> np.ndarray:
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


def _state_dict(value: Any) -> dict[str, _Tensor]:
    """Return the named tensors of a state_dict, or of the one that a checkpoint holds."""
    candidates = [value]
    if isinstance(value, dict):
        candidates += [value[key] for key in WRAPPERS if key in value]
    for candidate in candidates:
        if isinstance(candidate, dict):
            tensors = {str(k): v for k, v in candidate.items() if isinstance(v, _Tensor)}
            if any(len(tensor.size) == 4 for tensor in tensors.values()):
                return tensors
    raise UserError(
        "holds no state_dict of convolutions, such as torch.save(model.state_dict(), path) writes"
    )


def _layers(arrays: dict[str, np.ndarray]) -> Layers:
    """Pair weights and biases: by number if only that tells layers apart, else as stored."""
    names = [
        name.removesuffix(".weight")
        for name, array in arrays.items()
        if name.endswith(".weight") and array.ndim == 4
    ]
    used = {f"{name}.{part}" for name in names for part in ("weight", "bias")}
    for name in arrays:
        if name not in used:
            raise UserError(
                f"{name} {arrays[name].shape} is no part of an SRCNN, which is convolutions "
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
