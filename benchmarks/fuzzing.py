"""Damage files, and read them in a process that may crash, hang or ask for too much memory.

What may come of a file is a result or a :class:`~npsrcnn.errors.UserError` of one line. All else
escapes: another exception (also the MemoryError at a limit of 1 GiB beyond what the process has
when it has read a good file of each kind, set by RLIMIT_AS), a crash, more than two seconds of CPU
time, or text of a C library on stderr.
"""

from __future__ import annotations

import argparse
import faulthandler
import multiprocessing
import os
import shlex
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TypeAlias

import numpy as np

from npsrcnn.errors import UserError
from npsrcnn.runtime.memory import limit_memory

Read: TypeAlias = Callable[[Path, int], None]
"""Read a file, in the way of a number: there may be several, of which each has its turn."""

SLOW = 2.0  # seconds of CPU time
HANGS = 120.0  # seconds after which a file is given up
MORE_BYTES = 1 << 30  # of memory
ENDS = 512  # first and last bytes, where half of the changes are made
WAYS = 12  # in which a good file is read first
ESCAPES = ("escaped", "crashed", "hung", "slow", "printed")


def mutated(data: bytes, rng: np.random.Generator) -> bytes:
    """Return data with one to five changes.

    They are bits, bytes, gaps, additions, zeros, repetitions, extreme numbers, an early end.
    """
    result = bytearray(data)
    for _ in range(rng.integers(1, 6)):
        place = _place(len(result), rng)
        length = int(2 ** rng.uniform(0, 9))
        some = rng.bytes(min(length, 20))
        change = rng.integers(0, 12)
        if change < 2:
            result[place : place + 1] = some[:1]
        elif change < 4 and place < len(result):
            result[place] ^= 1 << int(rng.integers(0, 8))
        elif change == 4:
            del result[place : place + length]
        elif change == 5:
            result[place:place] = some
        elif change == 6:
            result[place : place + length] = bytes(len(result[place : place + length]))
        elif change == 7:
            result[place:place] = result[place : place + length]
        elif change == 8 and rng.random() < 0.25:
            del result[int(rng.integers(0, len(result) + 1)) :]
        else:
            size = int(rng.choice([1, 2, 4, 8]))
            result[place : place + size] = _extreme(size, len(data), rng)
    return bytes(result)


def _place(length: int, rng: np.random.Generator) -> int:
    """Return a place, as often as not near one of the ends."""
    near = rng.random()
    low = max(0, length - ENDS) if near < 0.25 else 0
    high = min(length, ENDS) if 0.25 <= near < 0.5 else length
    return int(rng.integers(low, max(low + 1, high)))


def _extreme(size: int, length: int, rng: np.random.Generator) -> bytes:
    """Return the bytes of a number that a reader may stumble over."""
    bits = 8 * size
    numbers = [0, 1, 2**bits - 1, 2 ** (bits - 1) - 1, 2 ** (bits - 1), length, 2 * length]
    numbers += [1 << int(rng.integers(0, bits))]
    number = numbers[rng.integers(0, len(numbers))] % 2**bits
    return number.to_bytes(size, "little" if rng.random() < 0.5 else "big")


class _Reader:
    """A process that reads files."""

    def __init__(self, read: Read, good: Sequence[Path]) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, there = context.Pipe()
        self._process = context.Process(target=_serve, args=(there, read, good), daemon=True)
        self._process.start()
        there.close()
        if said := self._pipe.recv():
            raise SystemExit(said)

    def outcome(self, path: Path, way: int) -> tuple[str, str]:
        """Return what became of a file, and what there is to say of it."""
        self._pipe.send((path, way))
        if not self._pipe.poll(HANGS):
            self.stop()
            return "hung", f"more than {HANGS:.0f} s"
        try:
            outcome: tuple[str, str] = self._pipe.recv()
        except EOFError:
            self._process.join()
            return "crashed", f"the process ended by {self._process.exitcode}"
        return outcome

    def stop(self) -> None:
        self._process.kill()
        self._process.join()


def _serve(pipe: Connection, read: Read, good: Sequence[Path]) -> None:
    """Read files that are good, and then, with little memory, whatever comes."""
    warnings.simplefilter("ignore")
    with tempfile.TemporaryFile(buffering=0) as said:
        os.dup2(said.fileno(), 2)
        faulthandler.enable(said)
        for path in good:
            for way in range(WAYS):
                outcome, text = _outcome(read, path, way)
                if outcome == "escaped":
                    pipe.send(f"{path}: {text}")
                    return
        limit_memory(MORE_BYTES)
        said.truncate(0)
        pipe.send("")
        while True:
            path, way = pipe.recv()
            began = time.process_time()
            outcome, text = _outcome(read, path, way)
            taken = time.process_time() - began
            if outcome != "escaped" and taken > SLOW:
                outcome, text = "slow", f"{taken:.1f} s"
            said.seek(0)
            if outcome != "escaped" and (printed := said.read()):
                outcome, text = "printed", printed.decode(errors="replace")
            said.seek(0)
            said.truncate()
            pipe.send((outcome, text))


def _outcome(read: Read, path: Path, way: int) -> tuple[str, str]:
    try:
        read(path, way)
    except UserError as error:
        text = str(error)
        return ("refused" if text and "\n" not in text else "escaped"), text
    except Exception as error:
        return "escaped", f"{type(error).__name__}: {error}"
    return "read", ""


def run(
    module: str,
    description: str | None,
    make_seeds: Callable[[Path], dict[str, bytes]],
    read: Read,
    argv: Sequence[str] | None,
    mend: Callable[[bytes, np.random.Generator], bytes] = lambda data, rng: data,
) -> int:
    """Damage files and read them, as a command; return 1 if anything escaped.

    Parameters
    ----------
    module : str
        Name of the command, to say how a file is made again.
    description : str or None
    make_seeds : callable
        Returns good files by their names; it may write into the folder it gets.
    read : callable
        A function of a module, as it is called in another process.
    argv : sequence of str, optional
    mend : callable
        Makes a damaged file look whole where a reader would look no further.
    """
    parser = argparse.ArgumentParser(prog=f"python -m {module}", description=description)
    parser.add_argument("count", type=int)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0, help="number of the first file")
    parser.add_argument("--suffix", nargs="+", help="of these alone, as .png .tif")
    options = parser.parse_args(argv)
    folder = Path(tempfile.mkdtemp())
    seeds = {
        name: data
        for name, data in sorted(make_seeds(folder).items())
        if not options.suffix or Path(name).suffix in options.suffix
    }
    names, good = list(seeds), []
    for name, data in seeds.items():
        good.append(folder / f"good_{name}")
        good[-1].write_bytes(data)
    outcomes: Counter[str] = Counter()
    reader = _Reader(read, good)
    for number in range(options.first, options.first + options.count):
        rng = np.random.default_rng([options.seed, number])
        name = names[number % len(names)]
        path = folder / f"{number}_{name}"
        path.write_bytes(mend(mutated(seeds[name], rng), rng))
        outcome, text = reader.outcome(path, number // len(names))
        outcomes[outcome] += 1
        if outcome not in ESCAPES:
            path.unlink()
            continue
        words = [sys.executable, "-m", module, "1", f"--seed={options.seed}", f"--first={number}"]
        words += ["--suffix", *options.suffix] if options.suffix else []
        print(f"{path}: {outcome}: {' '.join(text.split())[:300]}\n    {shlex.join(words)}")
        if outcome in ("crashed", "hung"):
            reader = _Reader(read, good)
    reader.stop()
    print(dict(outcomes), folder)
    return 1 if any(outcomes[name] for name in ESCAPES) else 0
