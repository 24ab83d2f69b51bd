"""Run the same network and the same training step by other packages.

Each at its best setting. What is not installed is left out, and what fails says so.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from npsrcnn import SRCNN
from npsrcnn.errors import UserError

Run = Callable[[], np.ndarray]


class Peer(NamedTuple):
    """Another package that runs networks."""

    package: str
    make: Callable[[SRCNN, np.ndarray, int], Run]  # of the zero-padded network on (N, C, H, W)
    tolerance: float = 1e-4  # of the largest value: how much its result may differ


def installed() -> dict[str, Peer]:
    """Return the peers whose packages are installed, by name."""
    return {name: peer for name, peer in PEERS.items() if importlib.util.find_spec(peer.package)}


def failures() -> tuple[type[Exception], ...]:
    """Return what packages raise where they cannot run here: no compiler, no such instruction."""
    cv2 = sys.modules.get("cv2")
    own = (
        ImportError,
        OSError,
        RuntimeError,
        TypeError,
        ValueError,
        AttributeError,
        LookupError,
        UserError,
    )
    return own if cv2 is None else (*own, cv2.error)


def _onnx_bytes(net: SRCNN) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "net.onnx"
        net.save(path)
        return path.read_bytes()


def _onnx_runtime(net: SRCNN, x: np.ndarray, threads: int) -> Run:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    session = onnxruntime.InferenceSession(
        _onnx_bytes(net), options, providers=["CPUExecutionProvider"]
    )
    return lambda: session.run(None, {"image": x})[0]


def torch_network(net: SRCNN, padding: str | int):
    """Return the network as a PyTorch module."""
    import torch

    modules = []
    for w, b in net.layers:
        layer = torch.nn.Conv2d(w.shape[1], w.shape[0], w.shape[2], padding=padding)
        layer.weight.data, layer.bias.data = torch.from_numpy(w.copy()), torch.from_numpy(b.copy())
        modules += [layer, torch.nn.ReLU(inplace=True)]
    return torch.nn.Sequential(*modules[:-1])


def _torch(net: SRCNN, x: np.ndarray, threads: int, *, channels_last: bool) -> Run:
    import torch

    layout = torch.channels_last if channels_last else torch.contiguous_format
    model = torch_network(net, "same").to(memory_format=layout)
    there = torch.from_numpy(x).to(memory_format=layout)

    def run() -> np.ndarray:
        torch.set_num_threads(threads)
        with torch.inference_mode():
            return model(there).numpy()

    return run


def _opencv(net: SRCNN, x: np.ndarray, threads: int) -> Run:
    import cv2

    model = cv2.dnn.readNetFromONNX(np.frombuffer(_onnx_bytes(net), np.uint8))

    def run() -> np.ndarray:
        cv2.setNumThreads(threads)
        model.setInput(x)
        return model.forward()

    return run


def _openvino(net: SRCNN, x: np.ndarray, threads: int, *, precision: str) -> Run:
    import openvino

    options = {
        "INFERENCE_NUM_THREADS": threads,
        "INFERENCE_PRECISION_HINT": precision,
        "PERFORMANCE_HINT": "LATENCY",
    }
    core = openvino.Core()
    model = core.read_model(_onnx_bytes(net))
    model.reshape(list(x.shape))
    request = core.compile_model(model, "CPU", options).create_infer_request()
    return lambda: request.infer({0: x}, share_inputs=True)[0]


def _compiled_torch(net: SRCNN, x: np.ndarray, threads: int) -> Run:
    import torch

    layout = torch.channels_last
    torch.set_num_threads(threads)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        model = torch.compile(torch_network(net, "same").to(memory_format=layout))
    there = torch.from_numpy(x).to(memory_format=layout)

    def run() -> np.ndarray:
        torch.set_num_threads(threads)
        with torch.inference_mode(), warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of PyTorch about itself
            return model(there).numpy()

    return run


def _jax(net: SRCNN, x: np.ndarray, threads: int) -> Run:
    import jax

    if threads != os.cpu_count():
        raise UserError("XLA takes all cores: give --threads of as many")
    last = len(net.layers) - 1

    @jax.jit
    def forward(maps):
        for depth, (w, b) in enumerate(net.layers):
            maps = jax.lax.conv_general_dilated(maps, w, (1, 1), "SAME") + b[:, None, None]
            maps = maps if depth == last else jax.nn.relu(maps)
        return maps

    there = jax.device_put(x)
    return lambda: np.asarray(forward(there))


def _ncnn(net: SRCNN, x: np.ndarray, threads: int) -> Run:
    import ncnn

    if len(x) > 1:
        raise UserError("ncnn takes one image at a time")
    last = len(net.layers) - 1
    lines = ["7767517", f"{last + 2} {last + 2}", "Input in 0 1 0"]
    with tempfile.TemporaryDirectory() as folder:
        param, weights = Path(folder) / "net.param", Path(folder) / "net.bin"
        with weights.open("wb") as file:
            for depth, (w, b) in enumerate(net.layers):
                relu = int(depth < last)  # outputs, size, padding (-233: same), bias, weights, ReLU
                lines.append(
                    f"Convolution conv{depth} 1 1 {depth} {depth + 1} "
                    f"0={len(w)} 1={w.shape[2]} 4=-233 5=1 6={w.size} 9={relu}"
                )
                file.write(bytes(4) + w.tobytes() + b.tobytes())  # the first four: float32 follows
        param.write_text("\n".join(lines) + "\n")
        model = ncnn.Net()
        model.opt.num_threads = threads
        model.opt.use_fp16_packed = model.opt.use_fp16_storage = False
        model.opt.use_fp16_arithmetic = model.opt.use_bf16_storage = False
        if model.load_param(str(param)) or model.load_model(str(weights)):
            raise UserError("ncnn does not read the network")
    image = ncnn.Mat(x[0])

    def run() -> np.ndarray:
        extractor = model.create_extractor()
        extractor.input("0", image)
        return np.array(extractor.extract(str(last + 1))[1])[None]

    return run


PEERS = {
    "ONNX Runtime": Peer("onnxruntime", _onnx_runtime),
    "OpenVINO": Peer("openvino", partial(_openvino, precision="f32")),
    "OpenVINO bfloat16": Peer("openvino", partial(_openvino, precision="bf16"), tolerance=0.05),
    "PyTorch": Peer("torch", partial(_torch, channels_last=False)),
    "PyTorch channels_last": Peer("torch", partial(_torch, channels_last=True)),
    "torch.compile": Peer("torch", _compiled_torch),
    "JAX": Peer("jax", _jax),
    "OpenCV dnn": Peer("cv2", _opencv),
    "ncnn": Peer("ncnn", _ncnn),
}


def training(
    net: SRCNN, inputs: np.ndarray, labels: np.ndarray, threads: int
) -> Iterator[tuple[str, Callable[[], tuple[float, list[np.ndarray]]]]]:
    """Yield loss and gradients of a batch by PyTorch's autograd: (loss, [dw, db, ...])."""
    if importlib.util.find_spec("torch"):
        yield "PyTorch", _torch_step(net, inputs, labels, threads, channels_last=False)
        yield "PyTorch channels_last", _torch_step(net, inputs, labels, threads, channels_last=True)


def _torch_step(net, inputs, labels, threads, *, channels_last):
    import torch

    layout = torch.channels_last if channels_last else torch.contiguous_format
    model = torch_network(net, 0).to(memory_format=layout)
    x, t = (torch.from_numpy(a).to(memory_format=layout) for a in (inputs, labels))

    def step() -> tuple[float, list[np.ndarray]]:
        torch.set_num_threads(threads)
        model.zero_grad(set_to_none=True)
        loss = ((model(x) - t) ** 2).sum() / (2 * len(t))
        loss.backward()
        return loss.item(), [p.grad.numpy() for p in model.parameters()]

    return step


@contextlib.contextmanager
def npsrcnn_threads(threads: int) -> Iterator[None]:
    """Run npsrcnn on ``threads`` threads within the context."""
    from npsrcnn.runtime.threads import get_num_threads, set_num_threads

    before = get_num_threads()
    set_num_threads(threads)
    try:
        yield
    finally:
        set_num_threads(before)
