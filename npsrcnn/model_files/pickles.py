"""Read pickles of PyTorch without running any of them: names, tensors and objects as inert notes.

Unpickling runs whatever a pickle names. Here :class:`Unpickler` imports nothing and calls nothing
of it: a name becomes a :class:`Name`, what a name makes an :class:`Object` that holds its
attributes and items, a tensor a :class:`Tensor`, a view of a storage. So modules, checkpoints with
their settings, NumPy's numbers and optimizers are read without any of their classes.
"""

from __future__ import annotations

import io
import pickle
import re
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

from npsrcnn.errors import UserError

T = TypeVar("T")

MOST_ARGUMENTS = 100  # of what a pickle calls; a path gives each of its folders
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
PARAMETERS = (
    "torch._utils._rebuild_parameter",
    "torch._utils._rebuild_parameter_with_state",
)
DICTS = ("collections.OrderedDict", "builtins.dict", "__builtin__.dict")


class Storage(NamedTuple):
    """A block of numbers that lies beside the pickle."""

    kind: str
    key: str
    length: int


class Tensor(NamedTuple):
    """A view of a storage, in elements."""

    storage: Storage
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]


class Dict(dict[str | int, Any]):
    """A dict of what has a text or a small number for its key; the rest is left out.

    Other keys could have a hash that takes for ever or that overflows the stack (of a tuple that
    holds another twice, and so on), or one hash for all.
    """

    __slots__ = ()

    def __setitem__(self, key: object, value: object) -> None:
        if isinstance(key, str) or (isinstance(key, int) and key.bit_length() < 61):
            super().__setitem__(key, value)

    def __setstate__(self, state: object) -> None:
        """Ignore the attributes of an OrderedDict, such as ``_metadata``."""


class Object(Dict):
    """An object of any class: the class's name, its attributes, and its items if it is a dict."""

    __slots__ = ("attributes", "kind")

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind
        self.attributes: object = None

    def __setstate__(self, state: object) -> None:
        """Note the attributes; a copy of them would let a short pickle take for ever."""
        self.attributes = state

    def append(self, item: object) -> None:
        """Leave out an item of a list."""

    add = append


class Name(NamedTuple):
    """A name that a pickle mentions, which is never imported."""

    text: str

    def __call__(self, *arguments: Any) -> Dict | Tensor:
        """Note what the function or class of this name would have made."""
        if len(arguments) > MOST_ARGUMENTS:
            raise ValueError(f"{self.text[:80]} of {len(arguments)} arguments")
        if self.text in DICTS:
            result = Dict()
            if arguments:  # of Python 2
                items = expect(arguments[0], list)
                for key, value in items:
                    result[key] = value
                items.clear()  # no pickle copies a long list again and again
            return result
        if self.text in TENSORS:
            storage, offset, size, stride = arguments[:4]
            if not len(expect(size, tuple)) == len(expect(stride, tuple)) <= 8:
                raise ValueError("a tensor of other sizes than strides")
            if any(type(number) is not int or number < 0 for number in (offset, *size, *stride)):
                raise ValueError("a tensor whose size, strides and offset are not counts")
            return Tensor(expect(storage, Storage), offset, size, stride)
        if self.text in PARAMETERS:
            return expect(arguments[0], Tensor)
        return Object(self.text)


class _Operations(dict[int, Callable[[Any], None]]):
    """The operations of the standard unpickler that files of PyTorch use, by their code."""

    def __missing__(self, code: int) -> Callable[[Any], None]:
        raise UserError(
            f"its pickle uses operation {bytes([code])!r}, which no file of PyTorch does: "
            "nothing of it was run"
        )


OPERATIONS = (
    pickle.PROTO, pickle.FRAME, pickle.STOP, pickle.MARK, pickle.POP, pickle.POP_MARK,
    pickle.NONE, pickle.NEWTRUE, pickle.NEWFALSE,
    pickle.BININT, pickle.BININT1, pickle.BININT2, pickle.LONG1, pickle.BINFLOAT,
    pickle.BINUNICODE, pickle.SHORT_BINUNICODE, pickle.BINSTRING, pickle.SHORT_BINSTRING,
    pickle.BINBYTES, pickle.SHORT_BINBYTES,
    pickle.EMPTY_TUPLE, pickle.TUPLE1, pickle.TUPLE2, pickle.TUPLE3, pickle.TUPLE,
    pickle.EMPTY_LIST, pickle.APPEND, pickle.APPENDS, pickle.ADDITEMS,
    pickle.SETITEM, pickle.SETITEMS,
    pickle.BINPUT, pickle.LONG_BINPUT, pickle.MEMOIZE, pickle.BINGET, pickle.LONG_BINGET,
    pickle.GLOBAL, pickle.STACK_GLOBAL, pickle.BINPERSID, pickle.REDUCE, pickle.BUILD,
)  # fmt: skip


def _note_object(unpickler: Any, with_keywords: bool = False) -> None:
    """Note an object made by ``cls.__new__``, whose arguments are left out."""
    for _ in range(2 if with_keywords else 1):
        unpickler.stack.pop()
    kind = expect(unpickler.stack.pop(), Name)
    unpickler.append(Dict() if kind.text in DICTS else Object(kind.text))


def _note_frozenset(unpickler: Any) -> None:
    """Note a set, and leave out what it holds, whose hashes could take for ever."""
    unpickler.pop_mark()
    unpickler.append(Object("builtins.frozenset"))


class Unpickler(pickle._Unpickler):
    """Python's own unpickler in Python, confined to :data:`OPERATIONS` and inert stand-ins.

    The one in C has no table of operations to confine. It takes 32 GiB for a memo of number 2^32,
    objects of ``copyreg``'s registry past ``find_class``, and any hashable key.

    Attributes
    ----------
    storages : dict
        Those that the pickle mentioned, by their key.
    """

    dispatch = _Operations({code[0]: pickle._Unpickler.dispatch[code[0]] for code in OPERATIONS})
    dispatch[pickle.EMPTY_DICT[0]] = lambda self: self.append(Dict())
    dispatch[pickle.EMPTY_SET[0]] = lambda self: self.append(Object("builtins.set"))
    dispatch[pickle.NEWOBJ[0]] = lambda self: _note_object(self)
    dispatch[pickle.NEWOBJ_EX[0]] = lambda self: _note_object(self, with_keywords=True)
    dispatch[pickle.FROZENSET[0]] = lambda self: _note_frozenset(self)

    def __init__(self, stream: io.BytesIO) -> None:
        super().__init__(stream, encoding="latin1")
        self.storages: dict[str, Storage] = {}

    def find_class(self, module: str, name: str) -> Name:
        """Return a stand-in for a name, which is never imported."""
        return Name(f"{module}.{name}")

    def persistent_load(self, pid: object) -> Storage | Name:
        """Note a storage, ("storage", type, key, location, count), or the class of a module.

        Older files add None to a storage: it is no view of another. To the class of a module,
        ("module", class, file, source), they add the text of its source.
        """
        word, name, key, *rest = expect(pid, tuple)
        if word == "module":
            return expect(name, Name)
        _location, length, *view = rest
        if word != "storage" or view not in ([], [None]) or type(length) is not int or length < 0:
            raise ValueError("a storage described in an unknown way")
        kind = re.fullmatch(r"torch\.(\w+)", expect(name, Name).text)
        if kind is None or kind[1] not in DTYPES or not isinstance(key, str | int):
            raise ValueError("a storage of unknown type or name")
        self.storages[str(key)] = Storage(kind[1], str(key), length)
        return self.storages[str(key)]


def expect(value: object, kind: type[T]) -> T:
    """Return ``value`` if it is of a type, and raise ValueError if not."""
    if not isinstance(value, kind):
        raise ValueError(f"a {type(value).__name__} where it does not belong")
    return value
