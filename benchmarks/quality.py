"""`python -m benchmarks.quality`: minutes of training to the authors' quality, on this machine.

Runs `npsrcnn train --data t91 --scale 3 --eval set5` as a user would, in a new process,
and says when it passed 32.39 dB on Set5, which the authors' network from the same images has. Then
takes first steps (same sub-images, initial weights, rates) by turns here and in PyTorch, on the
same threads, and checks that the losses are the same. Those steps are Adam's, as PyTorch has no
SOAP; it also says how long PyTorch would take for as many as the training took.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from benchmarks.measure import seconds
from benchmarks.peers import npsrcnn_threads, torch_network
from npsrcnn import datasets
from npsrcnn.commands import frame as commands
from npsrcnn.datasets.paths import paths_of
from npsrcnn.model.network import SRCNN
from npsrcnn.runtime.threads import get_num_threads
from npsrcnn.training.build import optimizer_of
from npsrcnn.training.optimizers import paper_factors
from npsrcnn.training.recipes import RECIPES
from npsrcnn.training.trainer import SUB_IMAGES_AHEAD, Trainer, prefetch

AUTHORS = 32.39  # dB on Set5 at x3: 9-1-5 from T91 (TPAMI 2016, table 2)
RECIPE = RECIPES["default"].with_optimizer("adam")  # of what is taken by turns
BATCH, SCALE = 128, 3
TURN = 20  # steps that each takes in turn


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; see ``--help``."""
    return commands.run(make_parser, measure, argv)


def make_parser() -> argparse.ArgumentParser:
    """Return a parser of the command's options."""
    parser = commands.parser("benchmarks.quality", "Minutes to the authors' quality.", __doc__)
    parser.add_argument("--minutes", type=commands.positive_float, default=5.0,
        help="length of the training, which its rates follow (default: 5)")  # fmt: skip
    parser.add_argument("--target", type=float, default=AUTHORS, help="dB (default: 32.39)")
    parser.add_argument("--turns", type=commands.positive_int, default=7,
        help="of 20 steps, to compare speeds (default: 7)")  # fmt: skip
    return parser


def measure(options: argparse.Namespace) -> None:
    """Print when the target was passed, and both speeds."""
    rows = _training(options.minutes)
    for row in rows:
        print(f"{row['minutes']:5.2f} minutes  {row['seen']:>9,} sub-images  {row['psnr']:.3f} dB")
    passed = [row for row in rows if row["psnr"] >= options.target]
    when = f"after {passed[0]['minutes']:.1f}" if passed else f"not in {options.minutes:g}"
    print(f"{options.target} dB {when} minutes")
    ours, theirs = _speeds(options.turns)
    seen = rows[-1]["seen"]
    print(f"npsrcnn {ours:,.0f} sub-images a second, PyTorch {theirs:,.0f}: "
          f"{ours / theirs:.1f} times as fast; {seen:,} take {seen / ours / 60:.1f} and "
          f"{seen / theirs / 60:.1f} minutes")  # fmt: skip


def _training(minutes: float) -> list[dict[str, float]]:
    """Train in a process of its own; return its log."""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(
            [sys.executable, "-m", "npsrcnn", "train", "--data", "t91", "--scale", str(SCALE),
             "--eval", "set5", "--minutes", str(minutes), "--out", folder,
             "--threads", str(get_num_threads())],
            check=True, stdout=subprocess.DEVNULL,
        )  # fmt: skip
        with open(Path(folder) / "log.csv", encoding="utf-8") as file:
            log = list(csv.DictReader(file))
    return [
        {"minutes": float(row["seconds"]) / 60, "seen": int(row["sub_images"]),
         "psnr": float(row["psnr"])}
        for row in log
    ]  # fmt: skip


def _speeds(turns: int) -> tuple[float, float]:
    """Return sub-images a second here and in PyTorch: medians of turns, after one uncounted."""
    source = datasets.sub_images(
        paths_of("t91"), SCALE, orientations=True, rescale=(1.0, *RECIPE.rescale)
    )
    threads = get_num_threads()
    with npsrcnn_threads(threads):
        running = (_ours(source), _theirs(source, threads))
        losses: tuple[list[float], list[float]] = ([], [])
        times: tuple[list[float], list[float]] = ([], [])
        for turn, who in itertools.product(range(turns + 1), (0, 1)):
            steps = itertools.islice(running[who], TURN)
            taken = seconds(lambda who=who, steps=steps: losses[who].extend(steps))
            if turn:
                times[who].append(taken)
    first = (found[:TURN] for found in losses)  # later each rounding has grown
    np.testing.assert_allclose(*first, rtol=1e-3)
    ours, theirs = (TURN * BATCH / statistics.median(found) for found in times)
    return ours, theirs


def _ours(source: datasets.SubImages) -> Iterator[float]:
    net = SRCNN("9-1-5", init=RECIPE.init, seed=0)
    trainer = Trainer(
        net,
        source,
        optimizer_of(net, RECIPE, None),
        RECIPE.rate_at,
        batch=BATCH,
        average=RECIPE.average,
    )
    while True:
        yield from trainer.run_epoch(lambda step: 0.0)


def _theirs(source: datasets.SubImages, threads: int) -> Iterator[float]:
    """Take the steps in PyTorch, its memory laid out as it likes best; yield the losses."""
    import torch

    net = SRCNN("9-1-5", init=RECIPE.init, seed=0)
    model = torch_network(net, 0).to(memory_format=torch.channels_last)
    weights = list(model.parameters())
    factors = [factor for pair in paper_factors(len(net.layers)) for factor in pair]
    adam = torch.optim.Adam([{"params": [w]} for w in weights])
    average = [w.detach().clone() for w in weights]
    rate = RECIPE.rate_at
    epochs = (source.batches(0, epoch, BATCH) for epoch in itertools.count())
    batches = prefetch(itertools.chain.from_iterable(epochs), SUB_IMAGES_AHEAD // BATCH)
    for step, (inputs, labels) in enumerate(batches):
        torch.set_num_threads(threads)
        for group, factor in zip(adam.param_groups, factors, strict=True):
            group["lr"] = factor * rate(step, 0.0)
        x, t = (torch.from_numpy(a).to(memory_format=torch.channels_last) for a in (inputs, labels))
        adam.zero_grad(set_to_none=True)
        loss = ((model(x) - t) ** 2).sum() / (2 * len(t))
        loss.backward()
        adam.step()
        with torch.no_grad():
            for a, w in zip(average, weights, strict=True):
                a.lerp_(w, 1 - RECIPE.average)
        yield loss.item()


if __name__ == "__main__":
    sys.exit(main())
