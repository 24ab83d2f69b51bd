"""Mutate model files of every format, and count what is read, what is refused, what escapes.

``python benchmarks/fuzz_model_files.py 5000``: nothing may escape but a UserError of one line.
Files that do, or that take more than two seconds, are kept in the folder that is printed.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

import npsrcnn
from npsrcnn.errors import UserError
from npsrcnn.model_files import READERS, WRITERS

ROOT = Path(__file__).resolve().parents[1]
# Tests write what npsrcnn only reads.
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "tests" / "model_files")]

SLOW = 2.0  # seconds


def mutated(data: bytes, rng: np.random.Generator) -> bytes:
    """Return data with one to five changes: bits, bytes, gaps, additions, a large number."""
    result = bytearray(data)
    for _ in range(rng.integers(1, 6)):
        place = int(rng.integers(0, max(1, len(result))))
        some = rng.bytes(int(rng.integers(1, 20)))
        change = rng.integers(0, 5)
        if change == 0:
            result[place : place + 1] = some[:1]
        elif change == 1 and place < len(result):
            result[place] ^= 1 << int(rng.integers(0, 8))
        elif change == 2:
            del result[place : place + len(some)]
        elif change == 3:
            result[place:place] = some
        else:
            result[place : place + 4] = b"\xff\xff\xff\x7f"
    return bytes(result)


def _only_read(net: npsrcnn.SRCNN, folder: Path) -> dict[str, bytes]:
    """Return files of formats that are not written, by their suffixes."""
    from keras_files import sequential, write_h5, write_keras
    from test_caffemodel import message_of

    config = sequential(net)
    write_h5(folder / "seed.h5", net, config)
    write_keras(folder / "seed.keras", net, config)
    found = {suffix: (folder / f"seed{suffix}").read_bytes() for suffix in (".h5", ".keras")}
    return found | {".caffemodel": message_of(net).SerializeToString()}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the mutations, and return 1 if anything escaped."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("count", type=int)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--suffix", nargs="+", help="of these alone, as .h5 .keras")
    options = parser.parse_args(argv)
    warnings.simplefilter("ignore")
    folder = Path(tempfile.mkdtemp())
    rng = np.random.default_rng(options.seed)
    net = npsrcnn.SRCNN("5-1-3", n=(4, 3), device="reference")
    seeds = {}
    for suffix in WRITERS.keys() & READERS.keys():
        net.save(folder / f"seed{suffix}")
        seeds[suffix] = (folder / f"seed{suffix}").read_bytes()
    seeds |= _only_read(net, folder)
    outcomes: Counter[str] = Counter()
    chosen = sorted(options.suffix or seeds)
    for i in range(options.count):
        suffix = chosen[i % len(chosen)]
        path = folder / f"{i}{suffix}"
        path.write_bytes(mutated(seeds[suffix], rng))
        began = time.perf_counter()
        outcome = "read"
        try:
            npsrcnn.load(path, device="reference")
        except UserError:
            outcome = "refused"
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt):
                raise
            outcome = "escaped"
            print(path, type(error).__name__, str(error)[:200])
        if time.perf_counter() - began > SLOW:
            outcomes["slow"] += 1
        elif outcome != "escaped":
            path.unlink()
        outcomes[outcome] += 1
    print(dict(outcomes), folder)
    return 1 if outcomes["escaped"] else 0


if __name__ == "__main__":
    raise SystemExit(main())
