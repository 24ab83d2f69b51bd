"""Train in a process of its own: the command, started, watched, stopped and resumed."""

from __future__ import annotations

import csv
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path

from npsrcnn.errors import UserError
from npsrcnn.runtime.apart import python_calling
from npsrcnn.training.runs import BEST, CHECKPOINT, LAST, LOG

PATIENCE = 20.0  # seconds for a training to save itself before it is killed


class TrainingProcess:
    """One training in a folder, as ``npsrcnn train`` does it.

    Parameters
    ----------
    folder : Path
        Of the run.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._said = folder.with_name(f"{folder.name}-said.txt")
        self._process: subprocess.Popen[bytes] | None = None
        self.minutes = 0.0  # in all, with those before it was stopped

    @property
    def running(self) -> bool:
        """Return whether it trains."""
        return self._process is not None and self._process.poll() is None

    def start(self, minutes: float, *, scale: int, network: str, data: Sequence[Path] = ()) -> None:
        """Begin to train for some minutes, from dead leaves or pictures."""
        self.minutes = minutes
        where = ["--data", *map(str, data)] if data else []
        self._run(["--out", str(self.folder), "--scale", str(scale), "--network", network, *where])

    def resume(self, minutes: float) -> None:
        """Go on for some more minutes where it was stopped.

        Raises
        ------
        UserError
            It trains, or there is nothing to go on with.
        """
        if self.running:
            raise UserError("it is training: stop it first")
        if not (self.folder / CHECKPOINT).exists():
            raise UserError("nothing to go on with yet: train first")
        self.minutes = self.log()[-1]["seconds"] / 60 + minutes
        self._run(["--resume", str(self.folder)])

    def stop(self) -> None:
        """Let it save what it has and end; kill it if that takes too long."""
        if self._process is None or not self.running:
            return
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def log(self) -> list[dict[str, float]]:
        """Return what it measured so far, a row each."""
        path = self.folder / LOG
        if not path.exists():
            return []
        with open(path, encoding="utf-8") as file:
            return [{k: float(v) for k, v in row.items()} for row in csv.DictReader(file)]

    def weights(self, best: bool = True) -> Path | None:
        """Return the file of the best, or the last, weights so far; None before the first."""
        path = self.folder / (BEST if best else LAST)
        return path if path.exists() else None

    def failure(self) -> str:
        """Return why it ended, in one line; empty if it did not fail."""
        if self._process is None or self._process.poll() in (None, 0, 130, -signal.SIGTERM):
            return ""
        lines = self._said.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        text = lines[-1] if lines else f"it ended with {self._process.returncode}"
        return text.removeprefix("npsrcnn train: ").replace(f"{self.folder.parent}/", "")

    def _run(self, arguments: Sequence[str]) -> None:
        command = python_calling("npsrcnn.train", "--minutes", f"{self.minutes:g}")
        with open(self._said, "wb") as said:
            self._process = subprocess.Popen(
                [*command, *arguments], stdin=subprocess.DEVNULL, stdout=said, stderr=said
            )
