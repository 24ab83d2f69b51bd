"""Show progress: a line for each picture, and bars on a terminal."""

from __future__ import annotations

import sys
import threading
from fractions import Fraction
from typing import NoReturn, TextIO

from tqdm import tqdm

from npsrcnn.upscaling.files import Job
from npsrcnn.words import one_line

LOG_INTERVAL = 60  # seconds between updates of a bar that goes to a log


class ClipProgress:
    """A bar of a clip: time of its picture, frames a second and time left, on standard error.

    Parameters
    ----------
    total : int
        Frames.
    rate : Fraction
        Frames a second of the clip.
    """

    def __init__(self, total: int, rate: Fraction) -> None:
        self._rate, self._begun = rate, False
        pause = 0.1 if sys.stderr.isatty() else LOG_INTERVAL
        self._length = _clock(Fraction(total) / rate)
        self._bar: tqdm[NoReturn] = tqdm(
            total=total, unit="frame", leave=False, mininterval=pause, delay=pause
        )

    def __enter__(self) -> ClipProgress:
        return self

    def __exit__(self, *error: object) -> None:
        self._bar.close()

    def frames(self, more: int) -> None:
        """Show that so many more frames are done; the first call says how many were before."""
        if not self._begun:
            self._begun = True
            self._bar.initial = self._bar.n = more
            return
        self._bar.set_description_str(
            f"{_clock(Fraction(self._bar.n + more) / self._rate)} of {self._length}", refresh=False
        )
        self._bar.update(more)


def _clock(seconds: Fraction) -> str:
    """Return 1:02:03."""
    whole = int(seconds)
    return f"{whole // 3600}:{whole // 60 % 60:02d}:{whole % 60:02d}"


class Progress:
    """Progress bars: pictures done, images a second and time left; and parts of a large one.

    Parameters
    ----------
    pictures : int
        How many there are.
    stream : file
        Where lines go. Bars go to standard error: of pictures if it is a terminal, of parts
        also to a log, where they take long.
    """

    def __init__(self, pictures: int, stream: TextIO) -> None:
        self.stream = stream
        tqdm.set_lock(threading.RLock())  # its own is for processes, and takes one to watch it
        hidden = pictures < 2 or not sys.stderr.isatty()
        self._pictures: tqdm[NoReturn] = tqdm(
            total=pictures, unit="image", disable=hidden, leave=False
        )
        self._parts: tqdm[NoReturn] | None = None
        self._shown: Job | None = None  # whose parts they are
        self._one = threading.Lock()  # several pictures are computed at a time
        self._failed = 0

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *error: object) -> None:
        self._close_parts()
        self._pictures.close()

    def write(self, line: str) -> None:
        """Print a line of its own."""
        line = one_line(line)
        if sys.stderr.isatty():
            tqdm.write(line, file=self.stream)
        else:  # where tqdm.write would show bars that are not due yet, and never clear them
            self._clear_parts()
            print(line, file=self.stream)
        self.stream.flush()

    def picture(self, job: Job, failed: bool) -> None:
        """Count one more picture as done."""
        if job == self._shown:
            self._close_parts()
        self._failed += failed
        if self._failed:
            self._pictures.set_postfix_str(f"{self._failed} failed", refresh=False)
        self._pictures.update()

    def part(self, job: Job, done: int, parts: int) -> None:
        """Show that ``done`` of the ``parts`` of a picture are done; of several, of the first."""
        with self._one:
            if self._parts is None:
                pause = 0.1 if sys.stderr.isatty() else LOG_INTERVAL
                self._shown = job
                self._parts = tqdm(
                    total=parts,
                    initial=done - 1,
                    unit="block",
                    leave=False,
                    mininterval=pause,
                    delay=pause,
                )
            if job == self._shown:
                self._parts.update(done - self._parts.n)

    def _clear_parts(self) -> None:
        with self._one:
            bar = self._parts
            if bar is not None and bar.last_print_t >= bar.start_t + (bar.delay or 0):
                bar.clear()

    def _close_parts(self) -> None:
        with self._one:
            if self._parts is not None:
                self._parts.close()
                self._parts = self._shown = None
