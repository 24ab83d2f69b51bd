"""Find the network in what a checkpoint of PyTorch holds: a state_dict, or a whole module.

A checkpoint is a dict, an object or a list of anything: settings, an optimizer's state, other
networks. What has named convolutions in it is a network: a dict of tensors whose names end in
".weight", or a module, whose tensors are in the ``_parameters`` of the modules in its
``_modules``.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Any, NamedTuple

from npsrcnn.errors import UserError
from npsrcnn.model_files.pickles import Dict, Object, Tensor

PREFERRED = (  # where there are several networks, the first of these keys that leads to one
    "params_ema", "state_dict_ema", "ema_state_dict", "model_ema", "ema",  # means over steps
    "state_dict", "model_state_dict", "model_state", "model", "params", "net", "network", "netG",
    "generator", "weights",
)  # fmt: skip
MOST_NETWORKS = 20  # modules, losses among them, that nothing but a checkpoint holds
MOST_MODULES = 1000  # of a network, each as often as it is used; and tensors of a module
MOST_NESTED = 50
PLAIN = {  # modules that change nothing where a network is a chain of convolutions and ReLUs
    "Conv2d", "ReLU", "Sequential", "ModuleList", "ModuleDict", "Identity", "Dropout", "Dropout2d",
    "DataParallel", "DistributedDataParallel", "MSELoss", "L1Loss",
}  # fmt: skip


class Network(NamedTuple):
    """Named tensors, and what the modules that hold them say of the padding ("" if nothing)."""

    tensors: dict[str, Tensor]
    padding: str = ""


def find_network(value: object) -> Network:
    """Return the one network in a checkpoint, or the one under the best-known key.

    Raises
    ------
    UserError
        There is none, there are several, or it is no chain of convolutions and ReLUs.
    """
    found = list(_networks(value))
    if not found:
        raise UserError(
            "holds no state_dict of convolutions, such as torch.save(model.state_dict(), path) "
            "writes, and no module that has them"
        )
    ranked = [
        (PREFERRED.index(path[-1]), network)
        for path, network in found
        if path and path[-1] in PREFERRED
    ]
    if len(found) > 1 and not ranked:
        names = ", ".join(".".join(path)[:40] for path, _ in found[:4])
        raise UserError(f"holds {len(found)} networks ({names}): save the one that is meant alone")
    network = min(ranked, key=lambda pair: pair[0])[1] if ranked else found[0][1]
    return _of_module(network) if isinstance(network, Object) else Network(_tensors(network))


def _networks(value: object) -> Iterator[tuple[tuple[str, ...], Dict]]:
    """Yield dicts of convolutions' tensors and modules, the nearest first, and their paths.

    Each value is looked at once, however often it is held.
    """
    waiting: deque[tuple[tuple[str, ...], object]] = deque([((), value)])
    seen: set[int] = set()
    modules = 0
    while waiting:
        path, value = waiting.popleft()
        if id(value) in seen or len(path) > MOST_NESTED:
            continue
        seen.add(id(value))
        if isinstance(value, Object) and "_modules" in _attributes(value):
            modules += 1
            if modules > MOST_NETWORKS:
                raise UserError(f"holds more than {MOST_NETWORKS} networks")
            if _has_convolutions(value):
                yield path, value
        elif isinstance(value, Dict) and _holds_weights(value):
            yield path, value
        else:
            waiting += [((*path, key), child) for key, child in _children(value)]


def _children(value: object) -> Iterator[tuple[str, object]]:
    """Yield what a value holds that can hold more, the attributes of an object as one."""
    pairs: list[tuple[Any, object]] = []
    if isinstance(value, list | tuple) and not isinstance(value, Tensor):
        pairs = list(enumerate(value))
    elif isinstance(value, Dict):
        pairs = list(value.items())
    if isinstance(value, Object):
        pairs.append(("attributes", value.attributes))
    for key, child in pairs:
        if isinstance(child, list | tuple | Dict) and not isinstance(child, Tensor):
            yield str(key), child


def _attributes(value: object) -> Dict:
    """Return the attributes of an object that have names."""
    attributes = value.attributes if isinstance(value, Object) else None
    return attributes if isinstance(attributes, Dict) else Dict()


def _tensors(value: Dict) -> dict[str, Tensor]:
    return {str(key): tensor for key, tensor in value.items() if isinstance(tensor, Tensor)}


def _holds_weights(value: Dict) -> bool:
    return any(
        isinstance(tensor, Tensor) and len(tensor.size) == 4 and str(name).endswith(".weight")
        for name, tensor in value.items()
    )


def _has_convolutions(value: Object) -> bool:
    return any(
        len(tensor.size) == 4 for module in _modules(value) for _, tensor in _own_tensors(*module)
    )


def _modules(root: Object) -> Iterator[tuple[str, Object]]:
    """Yield a module and all within, in the order in which a state_dict names them."""
    waiting: list[tuple[str, Object, int]] = [("", root, 0)]
    count = 0
    while waiting:
        prefix, module, depth = waiting.pop()
        count += 1
        if count > MOST_MODULES or depth > MOST_NESTED:
            raise UserError("a module of too many parts for an SRCNN")
        yield prefix, module
        children = _attributes(module).get("_modules")
        if isinstance(children, Dict):
            _check_count(children)
            waiting += [
                (f"{prefix}{name}.", child, depth + 1)
                for name, child in reversed(children.items())
                if isinstance(child, Object)
            ]


def _own_tensors(prefix: str, module: Object) -> Iterator[tuple[str, Tensor]]:
    """Yield the tensors of a module itself, named as a state_dict names them."""
    for group in ("_parameters", "_buffers"):
        tensors = _attributes(module).get(group)
        if isinstance(tensors, Dict):
            _check_count(tensors)
            yield from ((prefix + name, tensor) for name, tensor in _tensors(tensors).items())


def _check_count(parts: Dict) -> None:
    if len(parts) > MOST_MODULES:
        raise UserError("a module of too many parts for an SRCNN")


def _of_module(root: Object) -> Network:
    """Return the tensors of a module, of whose parts each must be plain."""
    tensors: dict[str, Tensor] = {}
    paddings = set()
    for prefix, module in _modules(root):
        own = dict(_own_tensors(prefix, module))
        kind = module.kind.rpartition(".")[2]
        if module.kind.startswith("torch.nn.") and kind not in PLAIN:
            raise UserError(
                f"{prefix.rstrip('.')} is a {kind}: an SRCNN is convolutions and ReLUs alone"
            )
        if kind == "Conv2d":
            paddings.add(_padding(prefix.rstrip("."), _attributes(module)))
        tensors |= own
    return Network(tensors, paddings.pop() if len(paddings) == 1 else "")


def _padding(name: str, convolution: Dict) -> str:
    """Return what to put around images, before a convolution that must be a plain one.

    Where it puts nothing, or reflects images, repeated edges keep their size and stay closest.
    """
    for key, plain in (("stride", 1), ("dilation", 1), ("groups", 1), ("transposed", False)):
        value = convolution.get(key, plain)
        if value not in (plain, (plain, plain)):
            raise UserError(f"{name} has {key} {str(value)[:20]}: an SRCNN's convolutions have not")
    valid = convolution.get("padding") in (0, (0, 0), "valid")
    zeros = convolution.get("padding_mode", "zeros") == "zeros"
    return "zeros" if zeros and not valid else "replicate"
