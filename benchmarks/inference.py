"""Time the network on a whole image: milliseconds, useful GFLOP/s, share of the peak, ratios."""

from __future__ import annotations

import argparse
from collections.abc import Iterator

import numpy as np

from benchmarks.measure import Row, interleaved, peak, peak_gflops, same, with_ratios
from benchmarks.peers import failures, installed, npsrcnn_threads
from npsrcnn import SRCNN

SIZES = {"256": (256, 256), "1080p": (1080, 1920), "4K": (2160, 3840)}
NETWORKS = ("9-1-5", "9-3-5", "9-5-5")


def rows(options: argparse.Namespace) -> Iterator[Row]:
    """Yield one case for each network, size and number of threads, each contestant in turn."""
    for name in options.networks or NETWORKS:
        net = SRCNN(name, seed=1, padding="zeros")
        for size in options.sizes or SIZES:
            x = np.random.default_rng(0).random((1, 1, *SIZES[size]), np.float32)
            flops = 2 * sum(w.size for w, _ in net.layers) * x[0, 0].size
            for threads in options.threads_list:
                yield from _case(f"{name} {size}", net, x, flops, threads, options)


def _case(case, net, x, flops, threads, options) -> list[Row]:
    found = []
    with npsrcnn_threads(threads):
        right = net.forward(x)
        contestants = {"npsrcnn": lambda: net.forward(x)}
        for by, peer in installed().items():
            if by not in options.beside:
                continue
            try:
                run = peer.make(net, x, threads)
                same(run(), right, f"{case} by {by}", peer.tolerance)
            except failures() as error:
                reason = str(error).strip().partition("\n")[0] or type(error).__name__
                found.append(Row("inference", case, by, threads, value=f"failed: {reason}"))
            else:
                contestants[by] = run
        times = interleaved(
            {**contestants, "peak": peak(threads)}, options.repeats, options.patience
        )
    best = peak_gflops(threads, times.pop("peak"))
    found.insert(0, Row("inference", case, "registers only", threads, gflops=best))
    for by, taken in times.items():
        rate = flops / taken / 1e9
        found.append(Row("inference", case, by, threads, 1e3 * taken, rate, rate / best))
    return with_ratios(found)
