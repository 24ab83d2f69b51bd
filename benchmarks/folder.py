"""A folder of JPEG files: images a second of the whole command, beside the network's alone.

``python -m benchmarks.folder FOLDER --scale 3 --images 200``. "The network" is ``forward`` on one
picture after the other, enlarged already and in memory, with all threads: what a folder would take
if decoding, interpolation, colour and encoding took no time. "Side by side" is the same on as many
pictures at a time as there are cores, one thread each: all that the cores can do.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from npsrcnn import images, load
from npsrcnn.commands.upscale import main as upscale
from npsrcnn.model.network import SRCNN
from npsrcnn.pixels.color import luma
from npsrcnn.pixels.resize import imresize
from npsrcnn.runtime.threads import get_num_threads, limited, set_num_threads


def main(argv: Sequence[str] | None = None) -> int:
    """Measure in turn, and print medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="of JPEG files")
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--scale", type=float, default=3)
    parser.add_argument("--model", default="9-1-5-x3", help="(default: 9-1-5-x3)")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=get_num_threads())
    options = parser.parse_args(argv)
    set_num_threads(options.threads)
    net = load(options.model)
    paths = images.list_images(options.folder)[: options.images]
    with tempfile.TemporaryDirectory() as name:
        source, target = Path(name) / "in", Path(name) / "out"
        source.mkdir()
        for path in paths:
            (source / path.name).symlink_to(path.resolve())
        how = ["--scale", f"{options.scale:g}", "--model", options.model]
        arguments = [str(source), *how, "-o", str(target)]
        sample = [_enlarged(path, options.scale) for path in paths[:: max(1, len(paths) // 32)]]
        cases = {
            "the network": (lambda: _one_by_one(net, sample), len(sample)),
            "the network, side by side": (lambda: _side_by_side(net, sample), len(sample)),
            "the folder": (lambda: _command(arguments), len(paths)),
        }
        _command([str(paths[0]), *arguments[1:]])  # compiles
        rates: dict[str, list[float]] = {case: [] for case in cases}
        for _ in range(options.repeats):
            for case, (run, number) in cases.items():
                rates[case].append(number / _seconds(run))
    alone = statistics.median(rates["the network"])
    for case, found in rates.items():
        rate = statistics.median(found)
        print(f"{case:26} {rate:7.2f} images a second  {rate / alone:6.1%}")
    return 0


def _enlarged(path: Path, scale: float) -> np.ndarray:
    y = luma(images.read_array(path)).astype(np.float32) / np.float32(255)
    return imresize(y, scale)


def _one_by_one(net: SRCNN, sample: list[np.ndarray]) -> None:
    for y in sample:
        net.forward(y)


def _side_by_side(net: SRCNN, sample: list[np.ndarray]) -> None:
    def one(y: np.ndarray) -> None:
        with limited(1):
            net.forward(y)

    with ThreadPoolExecutor(get_num_threads()) as pool:
        list(pool.map(one, sample))


def _command(arguments: list[str]) -> None:
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
        if upscale(arguments):
            raise SystemExit("a picture failed")


def _seconds(run: Callable[[], None]) -> float:
    started = time.perf_counter()
    run()
    return time.perf_counter() - started


if __name__ == "__main__":
    sys.exit(main())
