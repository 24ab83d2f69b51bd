"""Whole processes: importing, and a first picture with and without compiled kernels in a cache."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

SIDE = 86


class Start:
    """Starts of the command; the cache of kernels is a folder of its own."""

    timeout = 300
    number = 1
    repeat = (3, 5, 60.0)
    rounds = 1

    def setup(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        pixels = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3), np.uint8)
        picture = Path(self.folder.name) / "picture.npy"
        np.save(picture, pixels)
        self.code = f"import numpy, npsrcnn; npsrcnn.upscale(numpy.load({str(picture)!r}), 3)"
        self._run(self.code, "warm")

    def teardown(self) -> None:
        self.folder.cleanup()

    def time_import(self) -> None:
        self._run("import npsrcnn", "warm")

    def time_first_picture_warm(self) -> None:
        self._run(self.code, "warm")

    def time_first_picture_cold(self) -> None:
        with tempfile.TemporaryDirectory(dir=self.folder.name) as empty:
            self._run(self.code, empty)

    def _run(self, code: str, cache: str) -> None:
        environment = {**os.environ, "NUMBA_CACHE_DIR": str(Path(self.folder.name) / cache)}
        subprocess.run([sys.executable, "-c", code], env=environment, check=True)
