"""Measure the GPU kernels beside PyTorch, on one GPU, in one run: `python -m benchmarks cuda`.

Medians of times between two events on the device, with a few images or steps between them, after
warming up; inputs and weights are there already. Each result is compared with PyTorch's in float32
before it is timed; who differs, or fails, has a row that says so. PyTorch runs its own way: zero
padding inside cuDNN, cuDNN choosing its algorithms, TF32 off and on, eager, its training steps as
CUDA graphs too, and, with --compile, compiled.
"""

from __future__ import annotations

import argparse
import functools
import json
import statistics
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from npsrcnn import SRCNN
from npsrcnn.commands import frame as commands
from npsrcnn.errors import UserError
from npsrcnn.kernels import cuda as kernels
from npsrcnn.kernels.cuda import device, inference, planes, steps, training
from npsrcnn.layers import Layers
from npsrcnn.runtime.files import write_atomically
from npsrcnn.training.optimizers import parameters

SIZES = {"1080p": (1080, 1920), "4K": (2160, 3840)}
NETWORKS = ("9-1-5", "9-5-5")
BATCHES = (128, 1024)
IMAGES, STEPS = 4, 20  # between two events: the GPU need not wait for Python in between
CLOSE = 1e-4  # ||ours - PyTorch's|| / ||PyTorch's||; Winograd's method may be off by a tenth of it
CLOSE_TF32 = 3e-3
Row = dict[str, Any]


def make_parser() -> argparse.ArgumentParser:
    """Return a parser of the command's options."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks cuda", description=__doc__)
    parser.add_argument("--repeats", type=commands.positive_int, default=30)
    parser.add_argument("--json", metavar="FILE", help="all rows so far as JSON, after each")
    parser.add_argument("--compile", action="store_true", help="torch.compile too: minutes")
    parser.add_argument("--debug", action="store_true")
    parser.add_argument("--threads", type=commands.positive_int)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; see ``--help``."""
    return commands.run(make_parser, run, argv)


def run(options: argparse.Namespace) -> None:
    """Measure, and print a table."""
    kernels.require()
    try:
        import torch
    except ImportError as error:
        raise UserError("PyTorch is not there: pip install 'npsrcnn[bench]'") from error
    if not torch.cuda.is_available():
        raise UserError("this PyTorch has no CUDA: install one that has, see pytorch.org")
    torch.backends.cudnn.benchmark = True
    rows = []
    for row in measurements(torch, options.repeats, options.compile):
        rows.append(row)
        print("  ".join(f"{name} {value}" for name, value in row.items()), flush=True)
        if options.json:
            with write_atomically(options.json) as path:
                path.write_text(json.dumps(rows, indent=1), encoding="utf-8")
    if failed := sum("error" in row for row in rows):
        raise UserError(f"{failed} of {len(rows)} rows have no time: their errors are above")


def measurements(torch: Any, repeats: int, compiled: bool) -> Iterator[Row]:
    """Yield every row: the card's ceilings, inference, the training step."""
    ceiling = ceilings(torch, repeats)
    yield ceiling
    for name in NETWORKS:
        net = SRCNN(name, seed=1, padding="zeros")
        for size, shape in SIZES.items():
            work = 2 * flops(net.layers) * shape[0] * shape[1]
            moved = traffic(net.layers) * shape[0] * shape[1]
            pixels = np.random.default_rng(0).random((1, 1, *shape), np.float32)
            for by, measure in inferences(torch, net, pixels, repeats, compiled):
                yield timed(f"{name} {size}", by, measure, work, moved, ceiling)
        for batch in BATCHES:
            for by, measure in trainings(torch, net, batch, repeats, compiled):
                row = timed(f"{name} step of {batch}", by, measure)
                if "ms" in row:
                    row["sub-images/s"] = round(batch / row["ms"] * 1e3)
                yield row


def timed(
    what: str,
    by: str,
    measure: Callable[[], float],
    work: float = 0,
    moved: float = 0,
    ceiling: Row | None = None,
) -> Row:
    """Return a row: milliseconds, and rates of ``work`` operations; or why there are none."""
    row: Row = {"what": what, "by": by}
    try:
        with device.one_line_errors():
            row["ms"] = measure()
    except (UserError, RuntimeError) as error:  # of ours, of PyTorch's: the others go on
        return row | {"error": " ".join(str(error).split())[:300]}
    if work and ceiling:
        rate = work / row["ms"] / 1e9
        row["TFLOP/s"] = round(rate, 1)
        row["of float32"] = round(rate / ceiling["float32 TFLOP/s"], 2)
    if moved and ceiling and by.startswith("npsrcnn"):
        bandwidth = moved / row["ms"] / 1e9
        row["TB/s"] = round(bandwidth, 2)
        row["of copy"] = round(bandwidth / ceiling["copy TB/s"], 2)
    return row


def flops(layers: Layers) -> int:
    """Count the multiply-adds of each pixel."""
    return sum(w.size for w, _ in layers)


def traffic(layers: Layers) -> int:
    """Count the bytes of each pixel that our kernels move: the first two layers are one."""
    maps = [layers[0][0].shape[1], *(len(b) for _, b in layers[1:])]
    return 4 * (2 * sum(maps) - maps[0] - maps[-1])


def median(
    record: Callable, between: Callable, work: Callable, repeats: int, count: int, before: Callable
) -> float:
    """Return milliseconds of ``work``, done ``count`` times between two events, warmed up."""
    times = []
    for _ in range(5 + repeats):
        before()
        work()  # while this runs, Python comes to the rest: the GPU never waits for it
        start = record()
        for _ in range(count):
            work()
        times.append(between(start, record()))
    return round(statistics.median(times[5:]) / count, 4)


def ours(work: Callable, repeats: int, count: int, before: Callable = lambda: None) -> float:
    """Measure :func:`median` by numba.cuda's events."""

    def record():
        event = device.cuda.event(timing=True)
        event.record()
        return event

    def between(start, stop):
        stop.synchronize()
        return device.cuda.event_elapsed_time(start, stop)

    return median(record, between, work, repeats, count, before)


def theirs(torch: Any, work: Callable, repeats: int, count: int = 1) -> float:
    """Measure :func:`median` by PyTorch's events."""

    def record():
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event

    def between(start, stop):
        stop.synchronize()
        return start.elapsed_time(stop)

    return median(record, between, work, repeats, count, lambda: None)


def ceilings(torch: Any, repeats: int) -> Row:
    """Measure the card: copying, counting bytes read and written; a float32 product."""
    precision(torch, tf32=False)
    a = torch.rand(1 << 28, device="cuda")
    b = torch.empty_like(a)
    copy = theirs(torch, lambda: b.copy_(a), repeats)
    n = 8192
    x, y = torch.randn(n, n, device="cuda"), torch.randn(n, n, device="cuda")
    product = theirs(torch, lambda: x @ y, repeats)
    return {
        "card": torch.cuda.get_device_name(),
        "torch": torch.__version__,
        "copy TB/s": round(2 * 4 * len(a) / copy / 1e9, 2),
        "float32 TFLOP/s": round(2 * n**3 / product / 1e9, 1),
    }


def precision(torch: Any, *, tf32: bool) -> None:
    """Set PyTorch to TF32 in convolutions and products, or to plain float32."""
    torch.backends.cudnn.allow_tf32 = tf32
    torch.backends.cuda.matmul.allow_tf32 = tf32


def as_torch(torch: Any, layers: Layers, *, same: bool) -> Any:
    """Return the network as PyTorch would write it."""
    modules = []
    for w, b in layers:
        layer = torch.nn.Conv2d(w.shape[1], w.shape[0], w.shape[2], padding="same" if same else 0)
        layer.weight.data, layer.bias.data = torch.from_numpy(w.copy()), torch.from_numpy(b.copy())
        modules += [layer, torch.nn.ReLU(inplace=True)]
    return torch.nn.Sequential(*modules[:-1]).cuda()


def variants(torch: Any, model: Any, compiled: bool) -> Iterator[tuple[str, Any, bool]]:
    """Yield PyTorch's ways: a name, the model, TF32 or not."""
    for tf32 in (False, True):
        suffix = "TF32" if tf32 else "float32"
        precision(torch, tf32=tf32)
        yield f"PyTorch eager {suffix}", model, tf32
        if compiled:
            torch.compiler.reset()
            yield f"torch.compile {suffix}", torch.compile(model), tf32


def check(result: np.ndarray, expected: np.ndarray, tf32: bool) -> None:
    """Stop where two results differ by more than their precision explains."""
    distance = np.linalg.norm(result - expected) / np.linalg.norm(expected)
    if not distance < (CLOSE_TF32 if tf32 else CLOSE):
        raise UserError(f"results differ by {distance:.1e}: nothing to compare the speed of")


Contestant = tuple[str, Callable[[], float]]  # a name, and what measures its milliseconds


def inferences(
    torch: Any, net: SRCNN, pixels: np.ndarray, repeats: int, compiled: bool
) -> Iterator[Contestant]:
    """Yield who runs the whole network on an image."""
    there, model = torch.from_numpy(pixels).cuda(), as_torch(torch, net.layers, same=True)

    def infer(variant: Any) -> Any:
        with torch.inference_mode():
            return variant(there)

    precision(torch, tf32=False)
    expected = infer(model).cpu().numpy()
    x, rows = planes.upload(pixels), (0, pixels.shape[2])

    def measure_ours() -> float:
        network = inference.Network(net.layers, net.padding)
        check(network.run(x, rows, rows[1]).download(), expected, False)
        return ours(lambda: network.run(x, rows, rows[1]), repeats, IMAGES)

    def measure_theirs(variant: Any, tf32: bool) -> float:
        check(infer(variant).cpu().numpy(), expected, tf32)
        return theirs(torch, lambda: infer(variant), repeats, IMAGES)

    yield "npsrcnn", measure_ours
    for name, variant, tf32 in variants(torch, model, compiled):
        yield name, functools.partial(measure_theirs, variant, tf32)


def trainings(
    torch: Any, net: SRCNN, batch: int, repeats: int, compiled: bool
) -> Iterator[Contestant]:
    """Yield who takes a step on a batch that is there: SGD, and SOAP, which PyTorch lacks."""
    rng, side = np.random.default_rng(0), 33 - net.margin
    inputs = rng.random((batch, 1, 33, 33), np.float32)
    labels = rng.random((batch, 1, side, side), np.float32)
    x, t = torch.from_numpy(inputs).cuda(), torch.from_numpy(labels).cuda()
    precision(torch, tf32=False)
    model = as_torch(torch, net.layers, same=False)
    loss_of(model, x, t).backward()
    expected = [p.grad.cpu().numpy() for p in model.parameters()]

    def measure_ours(rule: int) -> float:
        grads = parameters(kernels.loss_and_grads(net.layers, inputs, labels)[1])
        for grad, right in zip(grads, expected, strict=True):
            check(grad, right, False)
        factors = [(1.0, 0.1)] * len(net.layers)
        session = training.Session(net.layers, factors, rule, batch, 33, side)
        session.put(inputs, labels)
        begin = functools.partial(session.begin, plan_of_steps())
        taken = ours(session.step, repeats, STEPS, begin)
        if session.losses()[1]:
            raise UserError("training has diverged: the steps did nothing")
        return taken

    def measure_theirs(variant: Any, graph: bool) -> float:
        optimizer = torch.optim.SGD(variant.parameters(), lr=1e-6, momentum=0.9)

        def step() -> None:
            optimizer.zero_grad(set_to_none=True)
            loss_of(variant, x, t).backward()
            optimizer.step()

        return theirs(torch, recorded(torch, step) if graph else step, repeats, STEPS)

    yield "npsrcnn", lambda: measure_ours(steps.SGD)
    yield "npsrcnn SOAP", lambda: measure_ours(steps.SOAP)
    for name, variant, _ in variants(torch, model, compiled):
        yield name, functools.partial(measure_theirs, variant, graph=False)
        if variant is model:
            yield f"{name}, a CUDA graph", functools.partial(measure_theirs, variant, graph=True)


def plan_of_steps() -> list[steps.Step]:
    """Return one step, and then those that are timed: of SOAP every tenth looks for new axes."""
    step = steps.Step(rate=1e-6, momentum=0.9, forget_mean=0.05, forget_square=0.05, epsilon=1e-6)
    return [step._replace(improve=i % 10 == 9) for i in range(1 + STEPS)]


def loss_of(model: Any, x: Any, t: Any) -> Any:
    """Compute Caffe's EuclideanLoss, as :func:`npsrcnn.kernels.reference.mse`."""
    return ((model(x) - t) ** 2).sum() / (2 * len(x))


def recorded(torch: Any, work: Callable[[], None]) -> Callable[[], None]:
    """Record ``work`` as a CUDA graph of PyTorch's, after a few times on another stream."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            work()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        work()
    return graph.replay


if __name__ == "__main__":
    sys.exit(main())
