"""What users wait for: the network alone, whole pictures, small ones, and what lies around."""

from __future__ import annotations

import statistics
import time

import numpy as np

import npsrcnn
from npsrcnn.pixels.jpeg_traces import find_trace
from npsrcnn.runtime.threads import set_num_threads

SIZE = 540, 960
SMALL = 64


def seconds(work, turns: int = 5) -> float:
    """Return the median time of some turns, after one that fills caches."""
    work()
    times = []
    for _ in range(turns):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


class Network:
    """One thread: a busy machine disturbs it least."""

    params = ("9-1-5", "9-3-5", "9-5-5")
    param_names = ("network",)

    def setup(self, name: str) -> None:
        set_num_threads(1)
        self.net = npsrcnn.SRCNN(name, metadata={"scale": 2})
        rng = np.random.default_rng(0)
        self.y = rng.random(SIZE, np.float32)
        self.small = rng.random((SMALL, SMALL), np.float32)
        self.rgb = rng.integers(0, 256, (SIZE[0] // 2, SIZE[1] // 2, 3), np.uint8)
        self.net.forward(self.y)  # compiles
        npsrcnn.upscale(self.rgb, model=self.net)

    def time_forward(self, name: str) -> None:
        self.net.forward(self.y)

    def time_forward_of_64_x_64(self, name: str) -> None:
        self.net.forward(self.small)

    def time_upscale_rgb(self, name: str) -> None:
        npsrcnn.upscale(self.rgb, model=self.net)

    def track_upscale_over_forward(self, name: str) -> float:
        """What lies around the network: 1 would be nothing."""
        whole = seconds(lambda: npsrcnn.upscale(self.rgb, model=self.net))
        return whole / seconds(lambda: self.net.forward(self.y))

    def track_64_x_64_over_its_share(self, name: str) -> float:
        """What a small picture costs beyond its pixels: 1 would be nothing."""
        small = seconds(lambda: self.net.forward(self.small), turns=50)
        share = SMALL * SMALL / self.y.size
        return small / (seconds(lambda: self.net.forward(self.y)) * share)


class Around:
    """What is done to pictures beside the network."""

    def setup(self) -> None:
        set_num_threads(1)
        self.rgb = np.random.default_rng(0).integers(0, 256, (*SIZE, 3), np.uint8)
        npsrcnn.imresize(self.rgb, 2)

    def time_imresize(self) -> None:
        npsrcnn.imresize(self.rgb, 2)

    def time_traces_of_jpeg(self) -> None:
        find_trace(self.rgb)
