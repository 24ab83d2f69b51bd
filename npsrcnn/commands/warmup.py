"""`npsrcnn warmup`: compile every kernel ahead of its first use.

Kernels are compiled for the processor at hand when they are first called, and kept on disk. This
calls all of them, on a few pixels, so that no later command has to wait: in the image of a
container, say, or before measuring times.
"""

from __future__ import annotations

import argparse
import itertools
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from npsrcnn import images
from npsrcnn.commands import frame
from npsrcnn.datasets import sub_images
from npsrcnn.datasets.leaves import dead_leaves
from npsrcnn.errors import UserError
from npsrcnn.evaluation.methods import by_network
from npsrcnn.evaluation.protocol import EvaluationImage
from npsrcnn.evaluation.scores import score
from npsrcnn.kernels import cpu
from npsrcnn.model.network import SRCNN
from npsrcnn.pixels.resize import imresize
from npsrcnn.runtime.jit import cache_folders, compilations
from npsrcnn.training.soap import SOAP
from npsrcnn.upscaling import compiling
from npsrcnn.upscaling.arrays import upscale
from npsrcnn.words import counted

DTYPES = (np.uint8, np.uint16, np.float32, np.float64)
SHAPES = ((16, 15), (16, 15, 2), (16, 15, 3), (16, 15, 4))  # grey, RGB; with alpha
COLORS = ("y", "rgb", "ycbcr")


def _network(color: str) -> SRCNN:
    return SRCNN("9-1-5", 1 if color == "y" else 3, n=(8, 8), metadata={"color": color})


def _upscaling() -> None:
    for dtype, shape, writeable in itertools.product(DTYPES, SHAPES, (True, False)):
        image = np.zeros(shape, dtype)
        image[0, 0] = 1  # visible, and the rest transparent
        image.flags.writeable = writeable  # pixels from a file are not: to Numba another type
        imresize(image, 2)
        for color in COLORS:
            upscale(image, 3, _network(color))


def _files() -> None:
    for dtype, shape in itertools.product((np.uint8, np.uint16), SHAPES):
        pixels = np.zeros(shape, dtype)
        with tempfile.TemporaryDirectory() as folder:
            images.write(Path(folder) / "picture.png", pixels)
            images.read(Path(folder) / "picture.png")


def _evaluation() -> None:
    for shape, writeable in itertools.product(((64, 63), (64, 63, 3)), (True, False)):
        pixels = np.zeros(shape, np.uint8)
        pixels.flags.writeable = writeable
        image = EvaluationImage.from_array(pixels, 3)
        for color in COLORS:
            restored = by_network(_network(color))(image)
            score(image, restored, color=True)


def _training() -> None:
    leaves = list(dead_leaves(2, (64, 63)))
    for color in COLORS:
        source = sub_images(leaves, 3, color=color, orientations=True)
        net = _network(color)
        for inputs, labels in itertools.islice(source.batches(0, 0, 2), 1):
            net.loss_and_grads(inputs, labels)
    # 16 maps are as few as Winograd's method and groups take; 24 fill no vector of AVX-512.
    for name, n in (("9-1-5", (16, 8)), ("9-5-5", (24, 16)), ("9-5-5", (16, 16))):
        net = SRCNN(name, n=n)
        inputs, labels = (np.zeros((1, 1, side, side), np.float32) for side in (net.margin + 1, 1))
        _, grads = net.loss_and_grads(inputs, labels)
    SOAP(net.layers, [(1, 1)] * len(net.layers), every=1).step(net.layers, grads, 0.1)


def _gradients() -> None:
    net = SRCNN("3-1", n=(2,))
    for dtype in (np.float32, np.float64):
        layers = [(w.astype(dtype), b.astype(dtype)) for w, b in net.layers]
        x, labels = np.ones((1, 1, 3, 4), dtype), np.ones((1, 1, 1, 2), dtype)
        cpu.forward(layers, x)
        cpu.loss_and_grads(layers, x, labels)
        y = cpu.relu(cpu.conv2d(x, *layers[0]))
        cpu.conv2d_grads(x, layers[0][0], cpu.relu_grad(y, cpu.mse_grad(y, y)))
        cpu.mse(y, y)


JOBS: dict[str, Callable[[], object]] = {
    **compiling.JOBS,
    "upscaling": _upscaling,
    "files": _files,
    "evaluation": _evaluation,
    "training": _training,
    "gradients": _gradients,
}


def make_parser() -> argparse.ArgumentParser:
    parser = frame.parser("warmup", "Compile every kernel ahead of its first use.")
    parser.add_argument(
        "jobs", nargs="*", metavar="JOB", type=_job, help=f"{', '.join(JOBS)} (default: all)"
    )
    return parser


def _job(name: str) -> str:
    if name not in JOBS:
        raise argparse.ArgumentTypeError(f"no {name!r}: there are {', '.join(JOBS)}")
    return name


def _run(options: argparse.Namespace) -> int:
    begin, all_compiled = time.perf_counter(), []
    for name in options.jobs or JOBS:
        start = time.perf_counter()
        with compilations() as compiled:
            JOBS[name]()
        all_compiled += compiled
        seconds = time.perf_counter() - start
        print(f"{name}: {counted(len(compiled), 'function')} compiled, {seconds:.1f} s", flush=True)
    if not all_compiled:
        print("All kernels had been compiled before.")
        return 0
    folders = sorted({str(folder) for folder in cache_folders(all_compiled)})
    if not folders:
        raise UserError(
            "what was compiled cannot be kept: set NUMBA_CACHE_DIR to a folder that can be written"
        )
    print(f"Compiled in {time.perf_counter() - begin:.1f} s, and kept in {', '.join(folders)}.")
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return 1 if compiled kernels cannot be kept anywhere."""
    return frame.run(make_parser, _run, argv)
