"""The training step, and the whole training around it: sub-images a second."""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Iterator

import numpy as np

from benchmarks.measure import Row, interleaved, peak, peak_gflops, same, with_ratios
from benchmarks.peers import npsrcnn_threads, training
from npsrcnn import SRCNN
from npsrcnn.datasets import dead_leaves, sub_images
from npsrcnn.training.optimizers import SGD
from npsrcnn.training.trainer import Trainer

NETWORKS = ("9-1-5", "9-3-5", "9-5-5")
BATCH = 128
STEPS = 40


def rows(options: argparse.Namespace) -> Iterator[Row]:
    """Measure loss and gradients of a batch, and training with all that belongs to it."""
    for name in options.networks or NETWORKS:
        net = SRCNN(name, seed=1)
        for threads in options.threads_list:
            with npsrcnn_threads(threads):
                yield from _step(name, net, threads, options)
    with npsrcnn_threads(options.threads_list[-1]):
        yield from _whole(options.threads_list[-1], options)


def _step(name, net, threads, options) -> list[Row]:
    rng = np.random.default_rng(0)
    inputs = rng.random((BATCH, 1, 33, 33), np.float32)
    label = 33 - net.margin
    labels = rng.random((BATCH, 1, label, label), np.float32)
    right, grads = net.loss_and_grads(inputs, labels)
    contestants = {"npsrcnn": lambda: net.loss_and_grads(inputs, labels)}
    for by, step in training(net, inputs, labels, threads):
        if by not in options.beside:
            continue
        loss, theirs = step()
        assert abs(loss / right - 1) < 1e-4
        for ours, other in zip(itertools.chain(*grads), theirs, strict=True):
            same(ours, other, f"the gradient by {by}")
        contestants[by] = step
    times = interleaved({**contestants, "peak": peak(threads)}, options.repeats, options.patience)
    best, flops = peak_gflops(threads, times.pop("peak")), BATCH * _flops(net)
    found = []
    for by, taken in times.items():
        rate = flops / taken / 1e9
        value = f"{BATCH / taken:,.0f} sub-images/s"
        found.append(
            Row("training", f"{name} step of {BATCH}", by, threads, 1e3 * taken, rate, rate / best,
                value=value)
        )  # fmt: skip
    return with_ratios(found)


def _flops(net: SRCNN) -> int:
    """Count operations of a sub-image: forward, gradients to weights and to maps."""
    total, side = 0, 33
    for depth, (w, _) in enumerate(net.layers):
        side -= w.shape[2] - 1
        total += 2 * w.size * side**2 * (2 if depth == 0 else 3)
    return total


def _whole(threads: int, options: argparse.Namespace) -> Iterator[Row]:
    """Measure training on sub-images of dead leaves, beside the bare step on one batch."""
    source = sub_images(dead_leaves(8), 3, orientations=True)
    net = SRCNN("9-1-5", seed=1)
    optimizer = SGD(net.layers, [(1, 1)] * len(net.layers))
    trainer = Trainer(net, source, optimizer, lambda step, progress: 1e-6, batch=BATCH,
                      clip=1.0, average=0.999)  # fmt: skip
    inputs, labels = next(iter(source.batches(0, 0, BATCH)))

    def steps() -> Iterator[float]:
        while True:
            yield from trainer.run_epoch(lambda step: 0.0)

    def whole() -> None:
        for _ in itertools.islice(running, STEPS):
            pass

    def bare() -> None:
        for _ in range(STEPS):
            net.loss_and_grads(inputs, labels)

    running = steps()
    times = interleaved({"whole": whole, "bare": bare}, options.repeats, options.patience)
    running.close()
    for by, taken in times.items():
        yield Row(
            "training", f"9-1-5, {STEPS} steps of {BATCH}", f"npsrcnn, {by} training", threads,
            1e3 * taken, value=f"{STEPS * BATCH / taken:,.0f} sub-images/s",
        )  # fmt: skip
