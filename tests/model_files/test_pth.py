"""PyTorch's files, read without PyTorch: every port's names, and never any code of the file.

Files are made here by Python's own pickler with stand-ins under PyTorch's names, so that these
tests need no PyTorch; where it is installed, it writes the same and more.
"""

from __future__ import annotations

import argparse
import collections
import copyreg
import io
import pickle
import struct
import sys
import types
import zipfile
from pathlib import Path

import numpy as np
import pytest
from networks import assert_same, asymmetric
from torch_files import STORAGES, write_legacy, write_zip

from npsrcnn import load
from npsrcnn.errors import UserError
from npsrcnn.model_files import pth
from npsrcnn.model_files.pickles import Unpickler

# Random weights are no SRCNN, and those of other programs are looked at.
pytestmark = pytest.mark.filterwarnings("ignore::npsrcnn.model.foreign.ModelWarning")


@pytest.fixture
def torch_names(monkeypatch):
    """Modules torch and torch._utils that have the names which pickles mention."""
    torch, utils = types.ModuleType("torch"), types.ModuleType("torch._utils")
    for name in STORAGES.values():
        setattr(torch, name, type(name, (), {"__module__": "torch"}))
    for name in ("_rebuild_tensor_v2", "_rebuild_parameter"):
        function = types.FunctionType((lambda *a: None).__code__, {}, name)
        function.__module__, function.__qualname__ = "torch._utils", name
        setattr(utils, name, function)
    monkeypatch.setitem(sys.modules, "torch", torch)
    monkeypatch.setitem(sys.modules, "torch._utils", utils)
    return torch, utils


def arrays_of(rng, dtype="f4"):
    """Three layers with asymmetric filters, as the arrays of a state_dict."""
    shapes = [(4, 1, 5, 5), (4,), (2, 4, 1, 1), (2,), (1, 2, 3, 3), (1,)]
    return [rng.standard_normal(shape).astype(dtype) for shape in shapes]


def state_of(arrays, *names):
    keys = [f"{name}.{part}" for name in names for part in ("weight", "bias")]
    state = collections.OrderedDict(zip(keys, arrays, strict=True))
    state._metadata = collections.OrderedDict({"": {"version": 1}})
    return state


def assert_holds(path, arrays, padding="zeros"):
    net = load(path)
    assert net.padding == padding
    for (w, b), w2, b2 in zip(net.layers, arrays[::2], arrays[1::2], strict=True):
        np.testing.assert_array_equal(w, w2.astype(np.float32))
        np.testing.assert_array_equal(b, b2.astype(np.float32))


PORTS = [
    ("conv1", "conv2", "conv3"),
    ("module.conv1", "module.conv2", "module.conv3"),
    ("features.0", "features.2", "features.4"),
    ("features.0", "map.0", "reconstruction"),
    ("patch_extraction", "non_linear_mapping", "reconstruction"),
    ("net.9.conv", "net.10.conv", "net.11.conv"),
]


@pytest.mark.parametrize("names", PORTS, ids=lambda names: names[0])
def test_layers_are_found_by_any_ports_names(names, rng, tmp_path, torch_names):
    arrays = arrays_of(rng)
    write_zip(tmp_path / "net.pth", state_of(arrays, *names), torch_names)
    assert_holds(tmp_path / "net.pth", arrays)


def test_numbers_tell_the_order_where_they_alone_differ(rng, tmp_path, torch_names):
    arrays = arrays_of(rng)
    shuffled = [arrays[i] for i in (4, 5, 0, 1, 2, 3)]
    state = state_of(shuffled, "conv10", "conv2", "conv9")
    write_zip(tmp_path / "net.pth", state, torch_names)
    assert_holds(tmp_path / "net.pth", arrays)


@pytest.mark.parametrize("dtype", ["f4", "f8", "f2"])
@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_precisions_and_protocols(dtype, protocol, rng, tmp_path, torch_names):
    arrays = arrays_of(rng, dtype)
    state = state_of(arrays, "conv1", "conv2", "conv3")
    write_zip(tmp_path / "net.pt", state, torch_names, protocol)
    assert_holds(tmp_path / "net.pt", arrays)


@pytest.mark.parametrize("key", ["state_dict", "model_state_dict", "model", "params"])
def test_checkpoints_hold_more_than_a_state_dict(key, rng, tmp_path, torch_names):
    arrays = arrays_of(rng)
    moments = {0: {"step": 7, "exp_avg": arrays[0] * 2}}
    checkpoint = {
        "epoch": 12,
        "loss": 0.25,
        "done": True,
        "name": None,
        "sizes": (9, 1, 5),
        "optimizer": {"state": moments, "param_groups": [{"lr": 1e-4, "params": [0, 1]}]},
        key: state_of(arrays, "conv1", "conv2", "conv3"),
    }
    write_zip(tmp_path / "net.pth", checkpoint, torch_names)
    assert_holds(tmp_path / "net.pth", arrays)


def test_views_of_a_storage(rng, tmp_path, torch_names):
    """Tensors may be transposed or parts of larger ones: offset and strides count."""
    arrays = arrays_of(rng)
    swapped = np.ascontiguousarray(arrays[0].swapaxes(2, 3)).swapaxes(2, 3)
    part = np.concatenate([np.full(3, 9, np.float32), arrays[1]])[3:]
    state = state_of([swapped, part, *arrays[2:]], "conv1", "conv2", "conv3")
    assert not swapped.flags.c_contiguous
    assert part.base is not None
    write_zip(tmp_path / "net.pth", state, torch_names)
    assert_holds(tmp_path / "net.pth", arrays)


def test_big_endian_files(rng, tmp_path, torch_names):
    arrays = arrays_of(rng)
    state = state_of(arrays, "conv1", "conv2", "conv3")
    write_zip(tmp_path / "net.pth", state, torch_names, order="big")
    assert_holds(tmp_path / "net.pth", arrays)


def test_files_from_before_pytorch_1_6(rng, tmp_path, torch_names):
    arrays = arrays_of(rng)
    write_legacy(tmp_path / "net.pth", state_of(arrays, "a1", "a2", "a3"), torch_names)
    assert_holds(tmp_path / "net.pth", arrays)


def test_convolutions_without_bias(rng, tmp_path, torch_names):
    arrays = arrays_of(rng)
    state = collections.OrderedDict(zip(["a.weight", "b.weight"], arrays[::4], strict=True))
    state["b.weight"] = rng.standard_normal((1, 4, 3, 3)).astype("f4")
    write_zip(tmp_path / "net.pth", state, torch_names)
    net = load(tmp_path / "net.pth")
    assert all(not b.any() for _, b in net.layers)


@pytest.mark.parametrize("legacy", [False, True])
def test_what_pytorch_itself_writes(legacy, tmp_path):
    torch = pytest.importorskip("torch")
    torch.manual_seed(5)
    layers = [torch.nn.Conv2d(1, 6, 9), torch.nn.ReLU(), torch.nn.Conv2d(6, 1, 5)]
    model = torch.nn.Sequential(*layers)
    moments = torch.optim.Adam(model.parameters())
    arrays = [value.numpy() for value in model.state_dict().values()]
    options = {"_use_new_zipfile_serialization": not legacy}
    torch.save(model.state_dict(), tmp_path / "net.pth", **options)
    assert_holds(tmp_path / "net.pth", arrays)
    torch.save({"model": dict(model.named_parameters())}, tmp_path / "net.pth", **options)
    assert_holds(tmp_path / "net.pth", arrays)
    model.bfloat16()
    torch.save(model.state_dict(), tmp_path / "net.pth", **options)
    assert_holds(tmp_path / "net.pth", [v.float().numpy() for v in model.state_dict().values()])
    about = {"args": argparse.Namespace(lr=1e-4, path=Path("a/b")), "best": np.float64(30.2)}
    about |= {"optimizer": moments.state_dict(), "whole optimizer": moments, "epochs": {1, 2}}
    torch.save({**about, "net": model}, tmp_path / "net.pth", **options)
    rounded = [v.float().numpy() for v in model.state_dict().values()]
    assert_holds(tmp_path / "net.pth", rounded, padding="replicate")


def test_what_is_written_pytorch_reads_as_weights_only(rng, tmp_path):
    net = asymmetric(rng, "9-5-5", scale=3)
    net.save(tmp_path / "net.pth")
    assert_same(net, load(tmp_path / "net.pth"))
    torch = pytest.importorskip("torch")
    state = torch.load(tmp_path / "net.pth", weights_only=True)
    assert list(state) == [f"conv{i}.{part}" for i in (1, 2, 3) for part in ("weight", "bias")]
    np.testing.assert_array_equal(state["conv2.weight"].numpy(), net.layers[1][0])
    x = rng.random((1, 1, 20, 24), np.float32)
    y = torch.from_numpy(x)
    for i, size in enumerate((9, 5, 5), 1):
        y = torch.nn.functional.pad(y, [size // 2] * 4, mode="replicate")
        y = torch.nn.functional.conv2d(y, state[f"conv{i}.weight"], state[f"conv{i}.bias"])
        y = y.relu() if i < 3 else y
    # float32 sums of up to 5 x 25 products: eps * sqrt(125) of the largest value, and some.
    np.testing.assert_allclose(net.forward(x), y.numpy(), rtol=0, atol=3e-6 * float(y.abs().max()))


# what is no SRCNN


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"bn1.running_mean": (4,)}, r"bn1\.running_mean \(4,\) is no part of an SRCNN"),
        ({"prelu.weight": (1,)}, r"prelu\.weight"),
        ({"fc.weight": (10, 20)}, r"fc\.weight"),
        ({"conv4.weight": (1, 7, 3, 3)}, "layer 4 takes 7 channels"),
        ({"conv4.weight": (1, 1, 3, 5)}, "layer 4 has weights"),
        ({"conv1.bias": (5,)}, "layer 1 has weights"),
    ],
)
def test_other_networks_are_refused_by_name(more, says, rng, tmp_path, torch_names):
    state = state_of(arrays_of(rng), "conv1", "conv2", "conv3")
    state.update({key: np.ones(shape, np.float32) for key, shape in more.items()})
    write_zip(tmp_path / "net.pth", state, torch_names)
    with pytest.raises(UserError, match=says):
        load(tmp_path / "net.pth")


@pytest.mark.parametrize("value", [{}, [], 5, {"a": {"b": 1}}, {"conv1.weight": "no tensor"}])
def test_files_without_a_state_dict(value, tmp_path, torch_names):
    write_zip(tmp_path / "net.pth", value, torch_names)
    with pytest.raises(UserError, match="holds no state_dict"):
        load(tmp_path / "net.pth")


# what would run code, or fill memory


def archive_of(path, program, **members):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x/data.pkl", program)
        for name, content in members.items():
            archive.writestr(f"x/data/{name.removeprefix('_')}", content)


TENSOR = b"ctorch._utils\n_rebuild_tensor_v2\n"
STORAGE = (
    b"(X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpuK\x04tQ"
)
LAUGHS = b")" + b"".join(b"q%c(h%ch%ch%ct" % (i, i, i, i) for i in range(100))


@pytest.mark.parametrize(
    "program",
    [
        b"\x80\x02cposix\nsystem\nX\x0a\x00\x00\x00touch OWNED\x85R.",
        b"\x80\x04\x8c\x05posix\x8c\x06system\x93\x8c\x0btouch OWNED\x85R.",
        b"\x80\x02cbuiltins\neval\nX\x01\x00\x00\x001\x85R.",
        b"(S'touch OWNED'\nios\nsystem\n.",
        b"(cos\nsystem\nS'touch OWNED'\no.",
        b"\x80\x02ctorch\nload\n.",
        b"\x80\x02ctorch\n__builtins__\n.",
        b"\x80\x02ctorch.FloatStorage\n__init__\n.",
        b"\x80\x02cposix\nsystem\nX\x0a\x00\x00\x00touch OWNED\x85\x81.",  # NEWOBJ
        b"\x80\x02cposix\nsystem\n)\x81X\x0a\x00\x00\x00touch OWNED\x85R.",
        b"\x80\x02K\x01)\x81.",
        b"\x80\x02)\x81.",
        b"\x80\x02\x82\x01.",  # EXT1
        b"\x80\x02ccollections\nOrderedDict\n}X\x01\x00\x00\x00aK\x01sb.",  # BUILD on a class
        b"\x80\x02" + TENSOR + b"}X\x0c\x00\x00\x00__defaults__K\x01sb.",
        b"\x80\x02" + STORAGE + b"}b.",
        b"\x80\x02ccollections\nOrderedDict\nccollections\nOrderedDict\n\x85R.",
        b"\x80\x02K\x01)R.",
        b"\x80\x02" + TENSOR + b")R.",
        b"\x80\x02" + TENSOR + b"(K\x01K\x00K\x04\x85K\x01\x85tR.",  # a number for a storage
        b"\x80\x02" + TENSOR + b"(" + STORAGE + b"K\x00J\xff\xff\xff\xff\x85K\x01\x85tR.",
        b"\x80\x02(X\x07\x00\x00\x00storageccollections\nOrderedDict\nK\x00NK\x04tQ.",
        b"\x80\x02h\x05.",  # a memo that is not there
        b"\x80\x02r\xff\xff\xff\xff.",  # on an empty stack
        b"\x80\x02K\x01r\xff\xff\xff\xff.",  # memory for 4 billion memos, of the usual unpickler
        b"\x80\x02t.",
        b"\x80\x02].e.",
        b"\x80\x02}((((u.",
        b"\x80\x02}]]s.",  # an unhashable key
        b"\x80\x02" + TENSOR + b"N}X\x08\x00\x00\x00__call__K\x01s\x86b.",  # of slots
        b"\x80\x02" + STORAGE + b"N}X\x03\x00\x00\x00keyK\x01s\x86b.",
        b"\x80\x04\x95" + b"\xff" * 7 + b"\x7f.",  # a frame of 2^63 bytes
        b"\x80\x02ccollections\nOrderedDict\n(" + b"N" * 500_000 + b"tR.",
        b"\x80\x02\x8b\xff\xff\xff\x7f.",
        b"\x80\x02X\xff\xff\xff\xffabc.",
        b"\x80\x02",
        b"",
        b"\xff\xfe not a pickle",
    ],
    ids=lambda program: repr(program)[2:30],
)
def test_a_pickle_runs_nothing(program, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    archive_of("bad.pth", program, _0=np.ones(4, "f4").tobytes())
    with pytest.raises(UserError) as caught:
        load("bad.pth")
    assert len(str(caught.value)) < 400
    assert not (tmp_path / "OWNED").exists()


@pytest.mark.parametrize(
    "key",
    [
        LAUGHS + b"0" * 101 + b"h\x63",  # a hash that takes for ever
        b")" + b"\x85" * 500_000,  # a hash that overflows the stack
        b"\x8a\x09" + (2**61 - 1 << 3).to_bytes(9, "little"),  # one hash for many numbers
        b"G?\xf0\0\0\0\0\0\0",
        b"N",
    ],
    ids=["nested twice", "deep", "large", "float", "none"],
)
def test_keys_are_texts_and_small_numbers(key, tmp_path):
    text = b"X\x01\x00\x00\x00"
    value = Unpickler(io.BytesIO(b"\x80\x02}" + key + b"K\x01s" + text + b"aK\x02s.")).load()
    assert value == {"a": 2}


def test_registered_extensions_are_refused(tmp_path):
    """Python's own unpickler takes them from a cache and asks nobody."""
    copyreg.add_extension("posix", "mkdir", 240)
    try:
        pickle.loads(b"\x82\xf0.")  # now it is in the cache
        path = tmp_path / "OWNED"
        program = b"\x82\xf0X" + struct.pack("<I", len(str(path))) + str(path).encode() + b"\x85R."
        archive_of(tmp_path / "bad.pth", program)
        with pytest.raises(UserError, match="nothing of it was run"):
            load(tmp_path / "bad.pth")  # which would be made by now
        assert not path.exists()
    finally:
        copyreg.remove_extension("posix", "mkdir", 240)


def program_of_tensor(count, size, stride, offset=0):
    """A state_dict of one tensor, in pickle's own words."""
    number = lambda n: b"J" + struct.pack("<i", n)  # noqa: E731
    numbers = lambda ns: b"(" + b"".join(map(number, ns)) + b"t"  # noqa: E731
    storage = STORAGE.replace(b"K\x04tQ", number(count) + b"tQ")
    tensor = TENSOR + b"(" + storage + number(offset) + numbers(size) + numbers(stride) + b"tR"
    return b"\x80\x02}X\x08\x00\x00\x00a.weight" + tensor + b"s."


def test_a_tensor_lies_within_its_storage(tmp_path):
    stored = {"_0": np.arange(9, dtype="f4").tobytes()}
    archive_of(tmp_path / "a.pth", program_of_tensor(9, (1, 1, 3, 3), (9, 9, 3, 1)), **stored)
    net = load(tmp_path / "a.pth")
    np.testing.assert_array_equal(net.layers[0][0].ravel(), range(9))
    for arguments in (
        (9, (1, 1, 3, 3), (9, 9, 3, 1), 1),  # begins too late
        (9, (1, 1, 3, 3), (9, 9, 4, 1)),  # steps too far
        (9, (1, 1, 3, 3), (9, 9, 2**30, 1)),
        (10, (1, 1, 3, 3), (9, 9, 3, 1)),  # the storage is shorter than said
        (9, (1, 1, 3), (9, 9, 3, 1)),
        (9, (1, 1, 3, 3), (9, 9, -3, 1)),
    ):
        archive_of(tmp_path / "a.pth", program_of_tensor(*arguments), **stored)
        with pytest.raises(UserError, match="not a PyTorch file, or damaged"):
            load(tmp_path / "a.pth")


def test_ordered_dicts_of_python_2(tmp_path):
    """Their pickles call OrderedDict with a list of [key, value]."""
    tensor = program_of_tensor(4, (1, 1, 1, 1), (1, 1, 1, 1), offset=2)[3:-2]  # key, tensor
    program = b"\x80\x02ccollections\nOrderedDict\n]](" + tensor + b"ea\x85R."
    archive_of(tmp_path / "a.pth", program, _0=np.arange(4, dtype="f4").tobytes())
    assert load(tmp_path / "a.pth").layers[0][0].ravel() == [2]


def test_strides_of_zero_make_no_mountain(tmp_path):
    huge = program_of_tensor(4, (1, 1, 2**20, 2**20), (0, 0, 0, 0))
    archive_of(tmp_path / "a.pth", huge, _0=bytes(16))
    with pytest.raises(UserError, match="too large for an SRCNN"):
        load(tmp_path / "a.pth")


def test_a_pickle_of_millions_of_operations_is_left_alone(tmp_path):
    archive_of(tmp_path / "a.pth", b"\x80\x02" + b"}" * (1 << 21) + b".")
    with pytest.raises(UserError, match="its pickle is too large"):
        load(tmp_path / "a.pth")
    (tmp_path / "a.pth").write_bytes(pth.LEGACY + b"\x80\x02" + b"N" * (1 << 21) + b".")
    with pytest.raises(UserError, match="not a PyTorch file"):
        load(tmp_path / "a.pth")


def test_a_program_of_torchscript_is_called_that(torch_names, rng, tmp_path):
    path = tmp_path / "net.pt"
    write_zip(path, state_of(arrays_of(rng), "conv1", "conv2", "conv3"), torch_names)
    load(path)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("archive/code/__torch__.py", "class SRCNN(Module): pass")
    with pytest.raises(UserError, match="a program of TorchScript; save its weights alone: torch"):
        load(path)
