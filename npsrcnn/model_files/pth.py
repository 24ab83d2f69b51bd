"""PyTorch's files (.pth, .pt): the ``state_dict`` of a port, read without PyTorch.

Such a file is a pickle with its arrays beside it, and unpickling runs whatever the pickle names.
So nothing is unpickled here: :func:`_evaluate` is a pickle machine of its own that knows plain
Python values, ``OrderedDict``, and PyTorch's words for "tensor" and "storage", for which it notes
what they say. All else, and every other name, is refused.
"""

from __future__ import annotations

import io
import math
import pickletools
import re
import struct
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from npsrcnn.errors import UserError
from npsrcnn.layers import Layers
from npsrcnn.model_files.common import LIMIT, check_size, open_archive, reading

MAGIC = 0x1950A86A20F9469CFC6C  # the first pickle of a file from before PyTorch 1.6
LARGEST_PICKLE = 1 << 20  # bytes; a state_dict takes some hundreds
LEGACY = b"\x80\x02\x8a\x0a" + MAGIC.to_bytes(10, "little") + b"."
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


class _Name(NamedTuple):
    """One of the few names that a pickle may mention."""

    text: str


class _Storage(NamedTuple):
    """A block of numbers that lies beside the pickle."""

    kind: str
    key: str
    count: int


class _Tensor(NamedTuple):
    """A view of a storage, in elements."""

    storage: _Storage
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]


def read(path: Path) -> tuple[Layers, dict[str, Any]]:
    """The convolutions of a ``state_dict``, in their order, and nothing known of them.

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
    with reading("a PyTorch file"):
        value, storages, order = _read_legacy(path) if legacy else _read_zip(path)
        tensors = _state_dict(value)
        if sum(math.prod(tensor.size) for tensor in tensors.values()) * 8 > LIMIT:
            raise UserError(f"more than {LIMIT >> 20} MiB of weights, too large for an SRCNN")
        arrays = {name: _array(t, storages, order) for name, t in tensors.items()}
        return _layers(arrays), {}


def _read_zip(path: Path) -> tuple[Any, dict[str, bytes], str]:
    """The value, the bytes of each storage and their order in a file of PyTorch 1.6 or later."""
    with open_archive(path) as archive:
        names = set(archive.namelist())
        pickles = [name for name in names if re.fullmatch(r"([^/]*/)?data\.pkl", name)]
        if len(pickles) != 1:
            raise UserError("a zip archive, but not of PyTorch: it has no data.pkl")
        root = pickles[0].removesuffix("data.pkl")
        value, asked = _evaluate(io.BytesIO(archive.read(pickles[0])))
        storages = {key: archive.read(f"{root}data/{key}") for key in asked}
        big = f"{root}byteorder" in names and archive.read(f"{root}byteorder") == b"big"
    return value, storages, ">" if big else "<"


def _read_legacy(path: Path) -> tuple[Any, dict[str, bytes], str]:
    """The same from an older file: five pickles in a row, then the storages."""
    stream = io.BytesIO(path.read_bytes())
    _magic, _version, system, value = (_evaluate(stream) for _ in range(4))
    keys, _ = _evaluate(stream)
    value, asked = value
    storages = {}
    for key in keys:
        _expect(key, str)
        (count,) = struct.unpack("<q", stream.read(8))
        if key not in asked or count != asked[key].count:
            raise ValueError("a storage that the pickle does not describe")
        storages[key] = stream.read(count * np.dtype(DTYPES[asked[key].kind]).itemsize)
    return value, storages, "<" if system[0]["little_endian"] else ">"


def _evaluate(stream: io.BytesIO) -> tuple[Any, dict[str, _Storage]]:
    """The value of the pickle at ``stream``, and the storages that it refers to.

    A pickle is a program for a machine with a stack. This one has the operations that PyTorch's
    files use, and none that imports, calls or changes anything outside of the stack.
    """
    stack: list[Any] = []
    marks: list[int] = []
    memo: dict[int, Any] = {}
    storages: dict[str, _Storage] = {}

    def since_mark() -> list[Any]:
        at = marks.pop()
        items = stack[at:]
        del stack[at:]
        return items

    start = stream.tell()
    for operation, argument, position in pickletools.genops(stream):
        if position - start > LARGEST_PICKLE:
            raise UserError("its pickle is too large for a state_dict of an SRCNN")
        match operation.name:
            case "PROTO" | "FRAME":
                pass
            case "STOP":
                return stack.pop(), storages
            case "NONE":
                stack.append(None)
            case "NEWTRUE" | "NEWFALSE":
                stack.append(operation.name == "NEWTRUE")
            case (
                "BININT" | "BININT1" | "BININT2" | "LONG1" | "BINFLOAT" | "BINUNICODE"
                | "SHORT_BINUNICODE" | "BINSTRING" | "SHORT_BINSTRING"
            ):  # fmt: skip
                stack.append(argument)
            case "MARK":
                marks.append(len(stack))
            case "POP":
                stack.pop()
            case "EMPTY_TUPLE" | "TUPLE1" | "TUPLE2" | "TUPLE3":
                count = int(operation.name[-1]) if operation.name[-1].isdigit() else 0
                items = [stack.pop() for _ in range(count)]
                stack.append(tuple(reversed(items)))
            case "TUPLE":
                stack.append(tuple(since_mark()))
            case "EMPTY_LIST":
                stack.append([])
            case "APPEND":
                item = stack.pop()
                _expect(stack[-1], list).append(item)
            case "APPENDS":
                items = since_mark()
                _expect(stack[-1], list).extend(items)
            case "EMPTY_DICT":
                stack.append({})
            case "SETITEM":
                item = stack.pop()
                key = stack.pop()
                _expect(stack[-1], dict)[_expect(key, (str, int))] = item
            case "SETITEMS":
                items = since_mark()
                target = _expect(stack[-1], dict)
                for key, item in zip(items[::2], items[1::2], strict=True):
                    target[_expect(key, (str, int))] = item
            case "BINPUT" | "LONG_BINPUT":
                memo[argument] = stack[-1]
            case "MEMOIZE":
                memo[len(memo)] = stack[-1]
            case "BINGET" | "LONG_BINGET":
                stack.append(memo[argument])
            case "GLOBAL":
                stack.append(_name(argument.replace(" ", ".", 1)))
            case "STACK_GLOBAL":
                name = _expect(stack.pop(), str)
                stack.append(_name(f"{_expect(stack.pop(), str)}.{name}"))
            case "BINPERSID":
                storage = _storage(stack.pop())
                storages[storage.key] = storage
                stack.append(storage)
            case "REDUCE":
                arguments = _expect(stack.pop(), tuple)
                stack.append(_call(_expect(stack.pop(), _Name).text, arguments))
            case "BUILD":  # attributes of the OrderedDict, such as _metadata
                stack.pop()
                _expect(stack[-1], dict)
            case other:
                raise UserError(
                    f"its pickle uses {other}, which no state_dict does: nothing of it was run"
                )
    raise EOFError("a pickle without an end")


def _name(text: str) -> _Name:
    storage = re.fullmatch(r"torch\.(\w+Storage)", text)
    if text in (*TENSORS, PARAMETER, DICT) or (storage and storage[1] in DTYPES):
        return _Name(text)
    raise UserError(
        f"names {text[:80]!r}, which is no part of a state_dict, and nothing of it was run; "
        "in PyTorch, torch.save(model.state_dict(), path) writes a file that can be read"
    )


def _call(function: str, arguments: tuple) -> Any:
    if function == DICT:
        return {_expect(key, (str, int)): value for key, value in (*arguments, ())[0]}
    if function in TENSORS:
        storage, offset, size, stride = arguments[:4]
        _expect(storage, _Storage)
        numbers = (offset, *_expect(size, tuple), *_expect(stride, tuple))
        if not len(size) == len(stride) <= 8 or any(type(i) is not int or i < 0 for i in numbers):
            raise ValueError("a tensor whose size, strides and offset are not counts")
        return _Tensor(storage, offset, size, stride)
    if function == PARAMETER:
        return _expect(arguments[0], _Tensor)
    raise ValueError(f"{function} is not a function")


def _storage(description: Any) -> _Storage:
    """("storage", type, key, location, count), and in older files None: no view of another."""
    word, kind, key, _location, count, *view = _expect(description, tuple)
    if word != "storage" or view not in ([], [None]) or type(count) is not int or count < 0:
        raise ValueError("a storage described in an unknown way")
    kind = _expect(kind, _Name).text.removeprefix("torch.")
    if kind not in DTYPES:
        raise ValueError(f"{kind} is not a storage")
    return _Storage(kind, str(_expect(key, (str, int))), count)


def _expect(value: Any, kind: type | tuple[type, ...]) -> Any:
    if not isinstance(value, kind):
        raise ValueError(f"a {type(value).__name__} where it does not belong")
    return value


def _array(tensor: _Tensor, storages: dict[str, bytes], order: str) -> np.ndarray:
    """The numbers of a tensor, copied out of its storage and checked to lie within it."""
    kind, key, count = tensor.storage
    flat = np.frombuffer(storages[key], np.dtype(order + DTYPES[kind]), count)
    last = tensor.offset + sum((n - 1) * s for n, s in zip(tensor.size, tensor.stride, strict=True))
    if 0 not in tensor.size and last >= count:
        raise ValueError(f"a tensor of {tensor.size} reaches beyond its storage")
    steps = [s * flat.itemsize for s in tensor.stride]
    view = np.lib.stride_tricks.as_strided(flat[tensor.offset :], tensor.size, steps)
    if kind == "BFloat16Storage":
        return (view.astype(np.uint32) << np.uint32(16)).view(np.float32)
    return view.astype(np.dtype(DTYPES[kind]))


def _state_dict(value: Any) -> dict[str, _Tensor]:
    """The named tensors of a state_dict, or of the one that a checkpoint holds."""
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
    """Pairs of weights and biases: by number if only that tells layers apart, else as stored."""
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
