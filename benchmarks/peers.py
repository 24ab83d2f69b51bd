"""Run the same network and the same training step by PyTorch, ONNX Runtime and OpenCV.

Each at its best setting. What is not installed is left out.
"""

from __future__ import annotations

import contextlib
import importlib.util
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from npsrcnn import SRCNN

Run = Callable[[], np.ndarray]
PEERS = ("ONNX Runtime", "PyTorch", "PyTorch channels_last", "OpenCV dnn")


def inference(net: SRCNN, x: np.ndarray, threads: int) -> Iterator[tuple[str, Run]]:
    """Yield the zero-padded network on ``x`` (N, C, H, W), by every package that is installed."""
    if importlib.util.find_spec("onnxruntime"):
        yield "ONNX Runtime", _onnx_runtime(net, x, threads)
    if importlib.util.find_spec("torch"):
        yield "PyTorch", _torch(net, x, threads, channels_last=False)
        yield "PyTorch channels_last", _torch(net, x, threads, channels_last=True)
    if importlib.util.find_spec("cv2"):
        yield "OpenCV dnn", _opencv(net, x, threads)


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
