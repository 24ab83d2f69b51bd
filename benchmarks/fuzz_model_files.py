"""Damage model files of every format, and count what is read, what is refused, what escapes.

``python -m benchmarks.fuzz_model_files 5000``. What may come of a file, and the limits of time and
memory: :mod:`benchmarks.fuzzing`. Files that escape are kept in the folder that is printed.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import npsrcnn
from benchmarks.fuzzing import run
from npsrcnn.model_files import READERS, WRITERS

ROOT = Path(__file__).resolve().parents[1]
# Tests write what npsrcnn only reads.
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "tests" / "model_files")]


def _only_read(net: npsrcnn.SRCNN, folder: Path) -> dict[str, bytes]:
    """Return files of formats that are not written, by their names."""
    from keras_files import sequential, write_h5, write_keras
    from test_caffemodel import message_of

    config = sequential(net)
    write_h5(folder / "seed.h5", net, config)
    write_keras(folder / "seed.keras", net, config)
    found = {name: (folder / name).read_bytes() for name in ("seed.h5", "seed.keras")}
    return found | {"seed.caffemodel": message_of(net).SerializeToString()}


def make_seeds(folder: Path) -> dict[str, bytes]:
    """Return good files, by their names."""
    net = npsrcnn.SRCNN("5-1-3", n=(4, 3), device="reference")
    seeds = {}
    for suffix in WRITERS.keys() & READERS.keys():
        path = folder / f"seed{suffix}"
        net.save(path)
        seeds[path.name] = path.read_bytes()
    return seeds | _only_read(net, folder)


def read(path: Path, way: int) -> None:
    """Read a model file, in the one way there is."""
    npsrcnn.load(path, device="reference")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the mutations, and return 1 if anything escaped."""
    return run("benchmarks.fuzz_model_files", __doc__, make_seeds, read, argv)


if __name__ == "__main__":
    sys.exit(main())
