"""Whole processes: importing, and the first upscaled image with and without a filled cache."""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from benchmarks.measure import Row, seconds
from npsrcnn import images

NOTHING = "pass"
NUMBA = "import numpy, numba"
IMPORT = "import npsrcnn"
MODELS = ("9-1-5-x3", "9-5-5-x3")


def rows(options: argparse.Namespace) -> Iterator[Row]:
    """Medians of new processes, in turn. The cache is a folder of its own."""
    with tempfile.TemporaryDirectory() as folder:
        picture = Path(folder) / "picture.png"
        images.write(picture, np.random.default_rng(0).integers(0, 256, (86, 86, 3), np.uint8))
        upscale = ["-m", "npsrcnn", "upscale", str(picture), "-o", folder, "--model"]
        cases = {
            "an empty Python": ["-c", NOTHING],
            "import numpy, numba": ["-c", NUMBA],
            "import npsrcnn": ["-c", IMPORT],
        }
        for model in MODELS:
            for cached in ("kernels", "nothing"):
                cases[f"first image of 258 x 258 by {model}, {cached} cached"] = [*upscale, model]
        times: dict[str, list[float]] = {case: [] for case in cases}
        for turn in range(options.repeats + 1):
            for case, arguments in cases.items():
                kept = "every turn" if "nothing" not in case else f"turn {turn}"
                environment = {**os.environ, "NUMBA_CACHE_DIR": str(Path(folder) / kept)}
                taken = seconds(lambda a=arguments, e=environment: _run(a, e))
                if turn:  # the first turn fills the cache
                    times[case].append(taken)
        for case, found in times.items():
            yield Row("start-up", case, "npsrcnn", options.threads_list[-1],
                      1e3 * statistics.median(found))  # fmt: skip


def _run(arguments: list[str], environment: dict[str, str]) -> None:
    subprocess.run([sys.executable, *arguments], env=environment, check=True, capture_output=True)
