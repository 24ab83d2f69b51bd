"""Files as PyTorch writes them, made without PyTorch by Python's own pickler."""

from __future__ import annotations

import collections
import io
import pickle
import struct
import zipfile

import numpy as np

from npsrcnn.model_files import pth

STORAGES = {"f4": "FloatStorage", "f8": "DoubleStorage", "f2": "HalfStorage", "i8": "LongStorage"}


class _Pickler(pickle.Pickler):
    """Writes arrays as PyTorch writes tensors: a storage beside, and how to look at it."""

    def __init__(self, file, names, protocol, legacy=False):
        super().__init__(file, protocol)
        self.torch, self.utils = names
        self.legacy, self.arrays = legacy, []

    def persistent_id(self, value):
        if not isinstance(value, _Flat):
            return None
        kind = getattr(self.torch, STORAGES[value.array.dtype.str[1:]])
        self.arrays.append(value.array)
        identity = ("storage", kind, str(len(self.arrays) - 1), "cpu", value.array.size)
        return (*identity, None) if self.legacy else identity

    def reducer_override(self, value):
        if not isinstance(value, np.ndarray):
            return NotImplemented
        base = value if value.base is None else value.base
        offset = (value.ctypes.data - base.ctypes.data) // value.itemsize
        strides = tuple(s // value.itemsize for s in value.strides)
        flat = _Flat(base.ravel(order="K"))
        hooks = collections.OrderedDict()
        return self.utils._rebuild_tensor_v2, (flat, offset, value.shape, strides, False, hooks)


class _Flat:
    def __init__(self, array):
        self.array = array


def write_zip(path, value, names, protocol=2, order=None):
    stream = io.BytesIO()
    pickler = _Pickler(stream, names, protocol)
    pickler.dump(value)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", stream.getvalue())
        for i, array in enumerate(pickler.arrays):
            stored = array.astype(array.dtype.newbyteorder(">")) if order == "big" else array
            archive.writestr(f"archive/data/{i}", stored.tobytes())
        if order:
            archive.writestr("archive/byteorder", order)
        archive.writestr("archive/version", "3\n")


def write_legacy(path, value, names):
    with open(path, "wb") as file:
        for header in (pth.MAGIC, 1001, {"protocol_version": 1001, "little_endian": True}):
            pickle.dump(header, file, protocol=2)
        pickler = _Pickler(file, names, 2, legacy=True)
        pickler.dump(value)
        pickle.dump([str(i) for i in range(len(pickler.arrays))], file, protocol=2)
        for array in pickler.arrays:
            file.write(struct.pack("<q", array.size) + array.tobytes())
