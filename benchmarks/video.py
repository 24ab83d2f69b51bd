"""A clip: frames a second of the whole, beside the network alone; and what compression leaves.

``python -m benchmarks.video PICTURE`` moves a window over a picture, and encodes that. Speed:
640 x 360 to 1280 x 720, decoded, enlarged and encoded (x264, CRF 17, medium), beside the network on
frames in memory, bicubic interpolation by FFmpeg, and the same network by ONNX Runtime and OpenVINO
behind the same decoder and encoder. CPU seconds a frame say it on a machine that does other things
too. ``--quality`` measures instead, for each CRF, the mean over all pictures of PSNR of Y, and
flicker: the rms error of the differences between neighbouring frames, over that of bicubic
interpolation. There the models "auto" and "auto-fast" are what ``npsrcnn upscale`` takes.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np

from benchmarks.peers import PEERS, Run, failures
from npsrcnn import images, load
from npsrcnn.model.network import SRCNN
from npsrcnn.pixels.color import luma
from npsrcnn.pixels.resize import imresize
from npsrcnn.runtime.threads import get_num_threads, set_num_threads

SIZE = (640, 360)  # width, height
QUALITY_SIZE = (192, 128)
SAMPLE = 16  # frames on which the network alone is timed
PATIENCE = 60  # seconds: what takes longer is measured once, as other engines at 240 frames
ENGINES = ("ONNX Runtime", "OpenVINO")
STEP = 512  # ticks of 1/12800 s: 25 frames a second


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "pictures",
        type=Path,
        nargs="+",
        help="at least 1500 x 800 for speed, 400 x 270 for quality",
    )
    parser.add_argument(
        "--models", nargs="+", default=["9-1-5-x2"], help="names; of --quality also auto, auto-fast"
    )
    parser.add_argument("--frames", type=int, default=240)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=get_num_threads())
    parser.add_argument("--quality", action="store_true", help="PSNR and flicker, not speed")
    parser.add_argument("--codec", default="libx264", help="of --quality (default: libx264)")
    parser.add_argument("--crf", nargs="+", default=["0", "20", "26", "32"])
    options = parser.parse_args(argv)
    set_num_threads(options.threads)
    pictures = [luma(images.read_array(path)) for path in options.pictures]
    with tempfile.TemporaryDirectory() as name:
        if options.quality:
            measure_quality(pictures, Path(name), options)
        else:
            measure_speed(pictures[0], Path(name), options)
    return 0


def moving_window(picture: np.ndarray, size: tuple[int, int], frames: int) -> list[np.ndarray]:
    """Return windows of a picture (H, W) that go to and fro over it, by 1.5 pixels a frame."""
    width, height = size
    room = np.array(picture.shape) - (height, width)
    if min(room) < 1:
        raise SystemExit(f"the picture is smaller than {width} x {height}")
    found = []
    for i in range(frames):
        top, left = (
            int(abs((v * i + r) % (2 * r) - r)) for v, r in zip((1, 1.5), room, strict=True)
        )
        found.append(picture[top : top + height, left : left + width])
    return found


def write_clip(path: Path, frames: list[np.ndarray], codec: str, options: dict[str, str]) -> Path:
    """Encode frames of Y, with colour that moves not."""
    import av

    quiet = {"x265-params": "log-level=none"} if codec == "libx265" else {}
    with av.open(str(path), "w") as out:
        stream = out.add_stream(codec, rate=25, options=quiet | options)
        stream.height, stream.width = frames[0].shape
        stream.pix_fmt = "yuv420p"
        stream.codec_context.time_base = stream.time_base = Fraction(1, 25 * STEP)
        for i, y in enumerate(frames):
            frame = av.VideoFrame(stream.width, stream.height, "yuv420p")
            for plane in frame.planes:
                np.frombuffer(memoryview(plane), np.uint8)[:] = 128
            rows = np.frombuffer(memoryview(frame.planes[0]), np.uint8)
            rows.reshape(len(y), -1)[:, : y.shape[1]] = y
            frame.pts, frame.time_base = i * STEP, Fraction(1, 25 * STEP)
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return path


def measure_speed(picture: np.ndarray, folder: Path, options: argparse.Namespace) -> None:
    """Print frames a second, CPU seconds a frame, and the share of the network's rate."""
    if min(picture.shape[1] / SIZE[0], picture.shape[0] / SIZE[1]) < 1.05:
        picture = imresize(
            picture, 1.1 * max(SIZE[0] / picture.shape[1], SIZE[1] / picture.shape[0])
        )
    frames = moving_window(picture, SIZE, options.frames)
    source = write_clip(folder / "source.mp4", frames, "libx264", {"crf": "17"})
    enlarged = [imresize(y / np.float32(255), 2) for y in frames[:SAMPLE]]
    print(
        f"{options.frames} frames, {SIZE[0]} x {SIZE[1]} to twice that, {options.threads} threads"
    )
    print(f"{'':44} frames a second   CPU s a frame   of the network's")
    bicubic = _best(lambda: _bicubic(source, folder / "bicubic.mp4"), options)
    _print("bicubic, by FFmpeg", bicubic, options.frames, None)
    for name in options.models:
        net = load(name)
        net.forward(enlarged[0])
        alone = _best(lambda net=net: [net.forward(y) for y in enlarged], options)
        rate = alone[1] / SAMPLE
        _print(f"{name}, the network alone", alone, SAMPLE, rate)
        for engine in ("npsrcnn", *ENGINES):
            what = f"{name}, whole, by {engine}"
            try:
                run_by = net if engine == "npsrcnn" else _by_engine(net, engine)
                times = _best(lambda net=run_by: _whole(source, folder / "out.mp4", net), options)
            except failures() as error:
                reason = str(error).strip().partition("\n")[0] or type(error).__name__
                print(f"{what}: not measured ({reason})", flush=True)
            else:
                _print(what, times, options.frames, rate)


def _best(work: Callable[[], object], options: argparse.Namespace) -> tuple[float, float]:
    """Return wall and CPU seconds of the run that took the least CPU time; a long one is alone."""
    found = []
    for _ in range(options.repeats):
        wall, cpu = time.perf_counter(), time.process_time()
        work()
        found.append((time.perf_counter() - wall, time.process_time() - cpu))
        if found[-1][0] > PATIENCE:
            break
    return min(found, key=lambda times: times[1])


def _print(what: str, times: tuple[float, float], frames: int, network: float | None) -> None:
    wall, cpu = (seconds / frames for seconds in times)
    share = f"{network / cpu:16.0%}" if network else ""
    print(f"{what:44} {1 / wall:15.2f} {cpu:15.4f} {share}", flush=True)


def _whole(source: Path, target: Path, net: SRCNN) -> None:
    from npsrcnn.video.clips import look_through
    from npsrcnn.video.making import make_clip
    from npsrcnn.video.plan import Wishes, make_plan

    make_clip(make_plan(look_through(source), target, [net], 2, Wishes()))


def _bicubic(source: Path, target: Path) -> None:
    """Decode, enlarge by FFmpeg's bicubic filter, and encode as npsrcnn does."""
    import av
    from av.filter import Graph

    with av.open(str(source)) as container, av.open(str(target), "w") as out:
        video = container.streams.video[0]
        video.thread_type = "AUTO"
        graph = Graph()
        scale = graph.add("scale", f"{2 * SIZE[0]}:{2 * SIZE[1]}:flags=bicubic")
        graph.link_nodes(graph.add_buffer(template=video), scale, graph.add("buffersink"))
        graph.configure()
        stream = out.add_stream("libx264", rate=25, options={"crf": "17", "preset": "medium"})
        stream.width, stream.height, stream.pix_fmt = 2 * SIZE[0], 2 * SIZE[1], "yuv420p"
        for frame in container.decode(video):
            graph.vpush(frame)
            large = graph.vpull()
            large.pict_type = 0
            out.mux(stream.encode(large))
        out.mux(stream.encode(None))


class _ByEngine(SRCNN):
    """A network whose ``forward`` another engine runs, on images of one size."""

    image: np.ndarray
    run: Run

    def forward(self, x: np.ndarray, **part: object) -> np.ndarray:
        """Restore (H, W), the whole image alone."""
        self.image[0, 0] = x
        return self.run()[0, 0]


def _by_engine(net: SRCNN, engine: str) -> SRCNN:
    other = _ByEngine.from_layers(net.layers, padding=net.padding, metadata=net.metadata)
    other.image = np.zeros((1, 1, 2 * SIZE[1], 2 * SIZE[0]), np.float32)
    other.run = PEERS[engine].make(net, other.image, get_num_threads())
    return other


def measure_quality(
    pictures: Sequence[np.ndarray], folder: Path, options: argparse.Namespace
) -> None:
    """Print PSNR of Y and flicker, for each CRF and model, and bits a pixel; means."""
    names = ["bicubic", *options.models]
    print(f"{'':24} bits a pixel   PSNR, dB   flicker, of bicubic's")
    for crf in options.crf:
        rows = np.array([_quality(picture, folder, crf, names, options) for picture in pictures])
        for name, (bits, psnr, flicker) in zip(names, rows.mean(axis=0), strict=True):
            row = f"{options.codec} CRF {crf}"
            print(f"{row:14} {name:14} {bits:7.3f} {psnr:10.2f} {flicker:12.3f}", flush=True)


def _quality(
    picture: np.ndarray, folder: Path, crf: str, names: Sequence[str], options: argparse.Namespace
) -> list[tuple[float, float, float]]:
    """Measure bits a pixel, PSNR and flicker of one picture, for each model."""
    large = QUALITY_SIZE[0] * 2, QUALITY_SIZE[1] * 2
    truth = moving_window(picture, large, options.frames)
    small = [imresize(y, 0.5) for y in truth]
    source = write_clip(folder / "source.mkv", small, options.codec, {"crf": crf})
    bits = 8 * source.stat().st_size / (len(small) * small[0].size)
    found: list[tuple[float, float, float]] = []
    reference = None
    for name in names:
        made = _enlarged(source, name)
        error = np.stack(made).astype(np.float32) - np.stack(truth)
        psnr = 10 * np.log10(255**2 / (error**2).mean())
        flicker = float(np.sqrt((np.diff(error, axis=0) ** 2).mean()))
        reference = reference or flicker
        found.append((bits, psnr, flicker / reference))
    return found


def _enlarged(source: Path, name: str) -> list[np.ndarray]:
    """Return Y of all frames of a clip, enlarged, rounded."""
    from npsrcnn.video.clips import look_through
    from npsrcnn.video.enlarging import FrameEnlarger
    from npsrcnn.video.planes import plane
    from npsrcnn.video.reading import DamageCount, read_frames
    from npsrcnn.video.restoring import choose_for

    clip = look_through(source)
    frames = read_frames(clip, clip.pts[0], None, False, DamageCount())
    with contextlib.closing(frames):
        if name == "bicubic":
            return [imresize(plane(frame).copy(), 2) for frame in frames]
        if name.startswith("auto"):
            nets = choose_for(clip.quantizer, 2, fast=name == "auto-fast").nets
        else:
            nets = [load(name)]
        enlarge = FrameEnlarger(nets, 2, clip.first.size, "yuv420p", False)
        return [plane(enlarge(frame)).copy() for frame in frames]


if __name__ == "__main__":
    sys.exit(main())
