"""Networks in checkpoints: in any key, as whole modules, among whatever else there is."""

from __future__ import annotations

import sys
import types

import numpy as np
import pytest
from torch_files import STORAGES, write_legacy, write_zip

from npsrcnn import load
from npsrcnn.errors import UserError
from npsrcnn.model_files.checkpoints import MOST_MODULES, find_network
from npsrcnn.model_files.pickles import Dict, Object, Storage, Tensor

# Random weights are no SRCNN, and those of other programs are looked at.
pytestmark = pytest.mark.filterwarnings("ignore::npsrcnn.model.foreign.ModelWarning")


def dict_of(**items):
    result = Dict()
    result.update(items)
    return result


def tensor(*size):
    return Tensor(Storage("FloatStorage", "0", 0), 0, size, size)


def module(kind, children=(), **attributes):
    """A module as an unpickled file has it; what is in capitals is a parameter."""
    result = Object(kind)
    result.attributes = dict_of(
        training=True,
        _parameters=dict_of(**attributes.pop("parameters", {})),
        _buffers=Dict(),
        _modules=dict_of(**dict(children)),
        **attributes,
    )
    return result


def convolution(outputs, inputs, f, **attributes):
    parameters = {"weight": tensor(outputs, inputs, f, f), "bias": tensor(outputs)}
    return module("torch.nn.modules.conv.Conv2d", parameters=parameters, **attributes)


def chain(**attributes):
    return {
        "conv1": convolution(4, 1, 9, **attributes),
        "relu": module("torch.nn.modules.activation.ReLU"),
        "conv2": convolution(1, 4, 5, **attributes),
    }


NAMES = ["conv1.weight", "conv1.bias", "conv2.weight", "conv2.bias"]


def state():
    return dict_of(**dict(zip(NAMES, map(tensor, *zip(*[(1,) * 4] * 4, strict=True)), strict=True)))


def test_a_whole_module_gives_the_names_of_its_state_dict():
    assert list(find_network(module("__main__.SRCNN", chain())).tensors) == NAMES
    inner = module("__main__.SRCNN", {"body": module("__main__.Body", chain())})
    network = find_network(module("torch.nn.parallel.DataParallel", {"module": inner}))
    assert list(network.tensors) == [f"module.body.{name}" for name in NAMES]


@pytest.mark.parametrize(
    ("attributes", "padding"),
    [
        ({}, "zeros"),
        ({"padding": (4, 4), "padding_mode": "zeros"}, "zeros"),
        ({"padding": (4, 4), "padding_mode": "replicate"}, "replicate"),
        ({"padding": (0, 0), "padding_mode": "zeros"}, "replicate"),
        ({"padding": "valid"}, "replicate"),
        ({"padding": (4, 4), "padding_mode": "reflect"}, "replicate"),
    ],
)
def test_the_modules_say_the_padding(attributes, padding):
    assert find_network(module("__main__.SRCNN", chain(**attributes))).padding == padding


@pytest.mark.parametrize("attributes", [{"stride": (2, 2)}, {"dilation": 2}, {"groups": 4}])
def test_convolutions_that_are_no_plain_ones_are_refused(attributes):
    (name,) = attributes
    with pytest.raises(UserError, match=f"conv1 has {name} "):
        find_network(module("__main__.SRCNN", chain(**attributes)))


@pytest.mark.parametrize(
    "kind", ["Tanh", "PReLU", "BatchNorm2d", "PixelShuffle", "ConvTranspose2d"]
)
def test_other_layers_are_refused_by_their_kind(kind):
    other = module(f"torch.nn.modules.some.{kind}")
    with pytest.raises(UserError, match=f"last is a {kind}: an SRCNN is convolutions and ReLUs"):
        find_network(module("__main__.SRCNN", {**chain(), "last": other}))


def test_the_network_is_found_wherever_it_is():
    trainer = Object("__main__.Trainer")
    trainer.attributes = dict_of(network=module("__main__.SRCNN", chain()))
    for value in (
        [7, dict_of(any=dict_of(key=state()))],
        dict_of(epoch=7, model=module("__main__.SRCNN", chain()), loss=module("torch.nn.MSELoss")),
        dict_of(trainer=trainer),
        dict_of(discriminator=state(), generator=dict_of(**state())),
    ):
        assert list(find_network(value).tensors) == NAMES


@pytest.mark.parametrize("mean", ["params_ema", "state_dict_ema", "ema"])
def test_the_mean_over_steps_is_preferred(mean):
    chosen = dict_of(**{f"module.{name}": value for name, value in state().items()})
    network = find_network(dict_of(state_dict=state(), params=state(), **{mean: chosen}))
    assert list(network.tensors) == list(chosen)


def test_moments_of_an_optimizer_are_no_network():
    moments = dict_of(**{"0": dict_of(step=7, exp_avg=tensor(4, 1, 9, 9))})
    optimizer = dict_of(state=moments)
    assert list(find_network(dict_of(optimizer=optimizer, mine=state())).tensors) == NAMES
    with pytest.raises(UserError, match="holds no state_dict of convolutions"):
        find_network(dict_of(optimizer=optimizer))


def test_several_networks_are_named():
    with pytest.raises(UserError, match=r"holds 2 networks \(a, deep\.b\)"):
        find_network(dict_of(a=state(), deep=dict_of(b=dict_of(**state()))))


def test_values_that_hold_each_other_come_to_an_end():
    """Each of these would take for ever, or all memory, if it were walked as a tree."""
    cycle = dict_of(a=dict_of())
    cycle["a"]["b"] = cycle
    laughs = state()
    for _ in range(200):
        laughs = [laughs, laughs]
    recursive = module("__main__.SRCNN", chain())
    recursive.attributes["_modules"]["self"] = recursive
    many = module("__main__.A", {str(i): convolution(1, 1, 1) for i in range(MOST_MODULES + 1)})
    deep = module("__main__.SRCNN", chain())
    for _ in range(200):
        deep = module("__main__.Deep", {"a": deep, "b": deep})
    wide = dict_of(**{str(i): module("__main__.Wide", chain()) for i in range(30)})
    for value in (cycle, laughs, recursive, many, deep, wide):
        with pytest.raises(UserError, match=r"holds no|too many parts|more than 20 networks"):
            find_network(value)


@pytest.fixture
def torch_modules(monkeypatch):
    """Modules and classes of the names that a pickle of a whole module mentions."""
    names = ["torch", "torch._utils", "torch.nn", "torch.nn.modules", "torch.nn.modules.conv"]
    modules = {name: types.ModuleType(name) for name in names}
    for name, content in modules.items():
        monkeypatch.setitem(sys.modules, name, content)
    for name in STORAGES.values():
        setattr(modules["torch"], name, type(name, (), {"__module__": "torch"}))
    function = types.FunctionType((lambda *a: None).__code__, {}, "_rebuild_tensor_v2")
    function.__module__, function.__qualname__ = "torch._utils", "_rebuild_tensor_v2"
    modules["torch._utils"]._rebuild_tensor_v2 = function
    conv = type("Conv2d", (), {"__module__": "torch.nn.modules.conv"})
    modules["torch.nn.modules.conv"].Conv2d = conv
    return modules["torch"], modules["torch._utils"], conv


class Network:
    """Stands for a class of somebody's program."""


@pytest.mark.parametrize("write", [write_zip, write_legacy])
def test_a_file_of_a_whole_module_is_read_without_its_class(write, rng, tmp_path, torch_modules):
    *names, conv = torch_modules
    arrays = [rng.standard_normal(shape).astype("f4") for shape in ((2, 1, 3, 3), (1, 2, 5, 5))]
    net, parts = Network(), {}
    for i, w in enumerate(arrays, 1):
        parts[f"conv{i}"] = part = conv()
        part.__dict__.update(_parameters={"weight": w, "bias": None}, _modules={}, padding=(1, 1))
    net.__dict__.update(_parameters={}, _modules=parts, hooks={(1, 2): {3}, None: 4})
    write(tmp_path / "net.pth.tar", {"best": np.float64(30), "model": net}, names)
    loaded = load(tmp_path / "net.pth.tar")
    assert loaded.name == "3-5" and loaded.padding == "zeros"
    for (w, b), expected in zip(loaded.layers, arrays, strict=True):
        np.testing.assert_array_equal(w, expected)
        assert not b.any()


class Hostile:
    def __reduce__(self):
        return exec, ("open('OWNED', 'w')",)


class HostileModule(Network):
    def __reduce_ex__(self, protocol):
        return eval, ("open('OWNED', 'w')",), self.__dict__


@pytest.mark.parametrize("write", [write_zip, write_legacy])
def test_hostile_objects_in_every_place_do_nothing(
    write, rng, tmp_path, torch_modules, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    *names, conv = torch_modules
    part = conv()
    w = rng.standard_normal((1, 1, 3, 3)).astype("f4")
    part.__dict__.update(_parameters={"weight": w, "bias": None, "x": Hostile()}, _modules={})
    part.__dict__["_buffers"] = Hostile()
    net = HostileModule()
    net.__dict__.update(_parameters=Hostile(), _modules={"conv": part, "evil": Hostile()})
    around = {"args": Hostile(), "list": [Hostile()], "optimizer": {0: Hostile()}, "model": net}
    write(tmp_path / "net.ckpt", around, names)
    np.testing.assert_array_equal(load(tmp_path / "net.ckpt").layers[0][0], w)
    for value in (Hostile(), {"state_dict": Hostile()}, {"conv.weight": Hostile()}):
        write(tmp_path / "net.ckpt", value, names)
        with pytest.raises(UserError, match="holds no state_dict"):
            load(tmp_path / "net.ckpt")
    assert not (tmp_path / "OWNED").exists()
