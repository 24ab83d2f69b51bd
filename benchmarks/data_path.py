"""Split the time of enlarging an image to 1080p by its steps."""

from __future__ import annotations

import argparse
import statistics
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

import npsrcnn
from benchmarks.measure import Row, seconds
from benchmarks.peers import npsrcnn_threads
from npsrcnn import images, upscale
from npsrcnn.datasets import dead_leaves

MODELS = ("9-1-5-x2", "fast-x2")
SCALE = 2
SMALL = (540, 960)


def rows(options: argparse.Namespace) -> Iterator[Row]:
    """Time reading, enlarging with the network, writing, and the network alone."""
    with tempfile.TemporaryDirectory() as folder:
        for model in MODELS:
            for threads in options.threads_list:
                for suffix in (".png", ".jpg"):
                    with npsrcnn_threads(threads):
                        yield from _rows(model, Path(folder), suffix, threads, options.repeats)


def _rows(model, folder, suffix, threads, repeats) -> Iterator[Row]:
    net = npsrcnn.load(model)
    source, target = folder / f"small{suffix}", folder / f"large{suffix}"
    grey = dead_leaves(1, SMALL)[0]
    small = (grey * 255).astype(np.uint8) if grey.dtype.kind == "f" else grey
    images.write(source, small if small.ndim == 3 else np.stack([small] * 3, axis=2))
    read = images.read_array(source)
    large = upscale(read, SCALE, net)
    y = np.random.default_rng(0).random((1, 1, *large.shape[:2]), np.float32)
    steps = {
        "reading": lambda: images.read_array(source),
        "bicubic, colour and network": lambda: upscale(read, SCALE, net),
        "the network alone": lambda: net.forward(y),
        "writing": lambda: images.write(target, large),
    }
    times: dict[str, list[float]] = {step: [] for step in steps}
    for work in steps.values():
        work()
    for _ in range(repeats):
        for step, work in steps.items():
            times[step].append(seconds(work))
    found = {step: statistics.median(taken) for step, taken in times.items()}
    network = found["the network alone"]
    whole = sum(found.values()) - network
    case = f"{model}, {read.shape[1]} x {read.shape[0]} to {large.shape[1]} x {large.shape[0]}"
    for step, taken in found.items():
        yield Row(
            "data path",
            f"{case}, {suffix[1:].upper()}",
            step,
            threads,
            1e3 * taken,
            value=f"{taken / whole:.0%} of the whole, {taken / network:.0%} of the network",
        )
