"""`python -m benchmarks.shards FOLDER`: training from a prepared set, beside training from memory.

Prepares a set of dead leaves in FOLDER where there is none yet (5 million sub-images take 11 GB,
and 3 GB beside it while it is made). Steps are taken in turn, in one process: from 25,600
sub-images in memory and from the set, first while the system's page cache holds as much of it as
it can, then each time after the cache has been emptied of it, so that every sub-image comes from
the disk. How much memory training from the set takes is asked of a process of its own.
"""

from __future__ import annotations

import argparse
import itertools
import os
import shutil
import statistics
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.measure import seconds
from npsrcnn.commands import frame as commands
from npsrcnn.datasets import Shards, Source, dead_leaves, is_prepared, sub_images, write_shards
from npsrcnn.datasets.cutting import Cut
from npsrcnn.images import list_images, write
from npsrcnn.model.network import SRCNN
from npsrcnn.training.build import optimizer_of
from npsrcnn.training.recipes import RECIPES
from npsrcnn.training.trainer import Trainer

SCALE = 3
SIDE = 1024  # pixels, of the images that the set is made of
BATCH = 128
MEMORY = """
import itertools, sys
from benchmarks.shards import steps
from npsrcnn.datasets import Shards
from npsrcnn.runtime import memory
source = Shards(sys.argv[1], orientations=True)
for _ in itertools.islice(steps(source), int(sys.argv[2])):
    pass
print(memory.peak_resident_bytes())
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; see ``--help``."""
    return commands.run(make_parser, measure, argv)


def make_parser() -> argparse.ArgumentParser:
    """The options of the command."""
    parser = commands.parser(
        "benchmarks.shards", "Compare training from disk with training from memory.", __doc__
    )
    parser.add_argument("folder", type=Path, help="for the set; it stays there")
    parser.add_argument(
        "--sub-images",
        type=commands.positive_int,
        default=5_000_000,
        metavar="N",
        help="of a set to be made (default: 5000000)",
    )
    parser.add_argument("--steps", type=commands.positive_int, default=50, help="(default: 50)")
    parser.add_argument("--repeats", type=commands.positive_int, default=7, help="(default: 7)")
    return parser


def measure(options: argparse.Namespace) -> None:
    """Print sub-images a second, and the memory that was resident at most."""
    images = options.folder.with_name(f"{options.folder.name}-images")
    if images.exists() or not is_prepared(options.folder):
        _make(options.folder, images, options.sub_images)
    source = Shards(options.folder, orientations=True)
    memory = sub_images(dead_leaves(100), SCALE, orientations=True)
    print(f"9-1-5, batches of {BATCH}, {len(source):,} sub-images on disk")
    running = {"memory": steps(memory), "disk": steps(source)}
    for training in running.values():
        _do(training, 1)  # compiles
    for cached in (True, False):
        if cached:
            _read(options.folder)
        times: dict[str, list[float]] = {name: [] for name in running}
        for _ in range(options.repeats):
            for name, training in running.items():
                if name == "disk" and not cached:
                    _forget(options.folder)
                times[name].append(seconds(lambda t=training: _do(t, options.steps)))
        memory_rate, rate = (
            options.steps * BATCH / statistics.median(times[name]) for name in ("memory", "disk")
        )
        print(
            f"{'disk, cached' if cached else 'disk'}: {rate:,.0f} sub-images a second, "
            f"{rate / memory_rate:.1%} of {memory_rate:,.0f} from memory"
        )
    code = [sys.executable, "-c", MEMORY, str(options.folder), str(10 * options.steps)]
    peak = subprocess.run(code, capture_output=True, text=True, check=True).stdout.split()[-1]
    print(f"resident at most   {int(peak) / 1e9:.2f} GB")


def steps(source: Source) -> Iterator[float]:
    """Train by the default recipe without end; yield after each step."""
    net, recipe = SRCNN("9-1-5", seed=1), RECIPES["default"]
    trainer = Trainer(
        net,
        source,
        optimizer_of(net, recipe, None),
        lambda step, progress: 1e-6,
        batch=BATCH,
        clip=recipe.clip,
        average=recipe.average,
    )
    while True:
        yield from trainer.run_epoch(lambda step: 0.0)


def _do(training: Iterator[float], count: int) -> None:
    for _ in itertools.islice(training, count):
        pass


def _make(folder: Path, images: Path, count: int) -> None:
    """Prepare a set, from images that are written first; go on with one that is half made."""
    images.mkdir(parents=True, exist_ok=True)
    for i in range(-(-count // Cut(SCALE).count(SIDE, SIDE))):
        path = images / f"{i:05}.ppm"
        if not path.exists():
            write(path, dead_leaves(1, (SIDE, SIDE), first=i)[0])
    write_shards(list_images(images), folder, SCALE)
    shutil.rmtree(images)


def _read(folder: Path) -> None:
    """Have the system keep a folder's files in its page cache, as far as they fit."""
    for path in folder.iterdir():
        with open(path, "rb", buffering=0) as file:
            while file.read(1 << 24):
                pass


def _forget(folder: Path) -> None:
    """Empty the page cache of a folder's files, where the system can be asked to."""
    for path in folder.iterdir():
        with open(path, "rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


if __name__ == "__main__":
    sys.exit(main())
