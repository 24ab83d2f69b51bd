"""Enlarge a clip or an animated picture in a process of its own, which a cancel ends at once.

The process runs what the command runs, and says in lines of JSON on its output how far it is. What
it needs to know comes in one line on its input; it ends when that is closed, as it is however the
app ends. Decoders that many hands wrote for files from anywhere stay out of the server.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import math
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from PIL import Image

from npsrcnn.app.compiling import telling
from npsrcnn.app.limits import check_moving, without_folder
from npsrcnn.app.sessions import LOOK_SECONDS, Session
from npsrcnn.errors import UserError, describe
from npsrcnn.model.network import SRCNN
from npsrcnn.pixels.filming import NO_PYAV
from npsrcnn.runtime.apart import python_calling
from npsrcnn.upscaling.compiling import compile_kernels
from npsrcnn.upscaling.jobs import result_name
from npsrcnn.upscaling.source_quality import AUTO
from npsrcnn.video.animations import enlarge_animation
from npsrcnn.video.kinds import is_animation, target_suffix
from npsrcnn.video.restoring import Weights
from npsrcnn.words import counted

PREVIEW_SECONDS = 3
PREVIEW = ".webm"  # in VP9, which every browser plays, and which has odd sizes
PLAYED = {".mp4", ".m4v", ".webm"}
TOLD_SECONDS = 0.2  # between two lines on how far it is


@dataclass(frozen=True)
class Wanted:
    """What is asked of a clip.

    Attributes
    ----------
    scale, model, fast, source_quality
        See :class:`npsrcnn.video.restoring.Weights`.
    preview : bool
        The first seconds alone, the left half by bicubic interpolation; of an animated picture
        the first seconds.
    deinterlace : bool
    drop : tuple of str
        See :data:`npsrcnn.video.plan.DROPPABLE`.
    """

    scale: float
    model: str | None = None
    fast: bool = False
    source_quality: str | int = AUTO
    preview: bool = False
    deinterlace: bool = False
    drop: tuple[str, ...] = ()

    def target(self, source: Path, folder: Path) -> Path:
        """Return the file that a clip becomes."""
        kind = target_suffix(source)
        suffix = f"_x{self.scale:g}"
        if self.preview:
            suffix += "_preview"
            kind = kind if is_animation(source) else PREVIEW
        return folder / result_name(source, suffix, kind)


class Frames(NamedTuple):
    """How far a clip is: frames done, and of all, and how many a second."""

    source: Path
    done: int
    frames: int
    a_second: float

    def text(self) -> str:
        """Return it in words."""
        line = f"{self.source.name}: frame {self.done} of {self.frames}"
        if not self.a_second:
            return line
        left = round((self.frames - self.done) / self.a_second)
        return f"{line}, {self.a_second:.2f} a second, {left // 60}:{left % 60:02d} left"


@dataclass(frozen=True)
class EnlargedClip:
    """A clip or an animated picture that was enlarged.

    Attributes
    ----------
    source, target : Path
    size, enlarged : (width, height)
        Of its frames, and of the result's.
    frames : int
    seconds : float
        That it took.
    notes : list of str
        What there is to know, a line each.
    """

    source: Path
    target: Path
    size: tuple[int, int]
    enlarged: tuple[int, int]
    frames: int
    seconds: float
    notes: list[str] = field(default_factory=list)

    def text(self) -> str:
        """Return it in words."""
        line = (
            f"{self.target.name}: {self.size[0]} x {self.size[1]} → "
            f"{self.enlarged[0]} x {self.enlarged[1]}, {counted(self.frames, 'frame')} in "
            f"{self.seconds:.2f} s, {self.frames / self.seconds:.2f} a second"
        )
        return "; ".join([line, *self.notes])


def can_read_clips() -> bool:
    """Return whether clips are taken, or animated pictures alone: whether PyAV is there."""
    return importlib.util.find_spec("av") is not None


def enlarge_moving(
    session: Session,
    source: Path,
    folder: Path,
    wanted: Wanted,
    report: Callable[[Frames | str], None],
) -> EnlargedClip:
    """Enlarge a clip or an animated picture, as the command does, in a process of its own.

    Parameters
    ----------
    session : Session
        Whose cancel ends it.
    source : Path
    folder : Path
        To be made for the result; gone again where there is none.
    wanted : Wanted
    report
        Called some times a second with how far it is, or what it waits for.

    Raises
    ------
    Cancelled
        The process has ended.
    UserError
        What the command says.
    """
    folder.mkdir()
    target, said = wanted.target(source, folder), folder / "said.txt"
    asked = {**asdict(wanted), "source": str(source), "target": str(target)}
    started = time.perf_counter()

    def told(line: dict[str, Any]) -> None:
        report(line["waits"] if "waits" in line else Frames(source, **line))

    with contextlib.ExitStack() as unless_done:
        unless_done.callback(shutil.rmtree, folder, ignore_errors=True)
        facts = _watched(session, asked, said, told)
        if "error" in facts:
            raise UserError(without_folder(without_folder(facts["error"], source), target))
        unless_done.pop_all()
    said.unlink()
    size, enlarged = ((width, height) for width, height in (facts["size"], facts["enlarged"]))
    seconds = time.perf_counter() - started
    return EnlargedClip(source, target, size, enlarged, facts["frames"], seconds, facts["notes"])


def _watched(
    session: Session,
    asked: dict[str, object],
    said: Path,
    report: Callable[[dict[str, Any]], None],
) -> dict[str, Any]:
    """Run the process until it ends, or is cancelled; return the last that it says."""
    facts: dict[str, Any] = {}
    with (
        open(said, "wb") as writer,
        open(said, encoding="utf-8") as reader,
        _process(writer) as run,
    ):
        assert run.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # it is no more, which shows below
            run.stdin.write(json.dumps(asked).encode() + b"\n")  # open still: it ends with it
        running, rest = True, ""
        while running:
            session.check()
            with contextlib.suppress(subprocess.TimeoutExpired):
                run.wait(LOOK_SECONDS)
                running = False
            *lines, rest = (rest + reader.read()).split("\n")
            for line in map(json.loads, lines):
                if "done" in line or "waits" in line:
                    report(line)
                else:
                    facts = line
    return facts or {
        "error": f"{asked['source']}: the process that enlarged it ended early ({run.returncode})"
    }


@contextlib.contextmanager
def _process(said: BinaryIO) -> Iterator[subprocess.Popen[bytes]]:
    """Start the process; in the end it is there no more, nor what it has started."""
    process = subprocess.Popen(
        python_calling(__name__),
        stdin=subprocess.PIPE,
        stdout=said,
        stderr=subprocess.DEVNULL,
        bufsize=0,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            if hasattr(os, "killpg"):
                os.killpg(process.pid, signal.SIGKILL)
            process.kill()
            process.wait()
        if process.stdin is not None:
            process.stdin.close()


def main() -> int:
    """Be the process."""
    asked = json.loads(sys.stdin.readline())
    threading.Thread(target=_end_with_input, daemon=True).start()
    source, target = Path(asked.pop("source")), Path(asked.pop("target"))
    try:
        _say(**_enlarged(source, target, Wanted(**asked)))
    except (UserError, OSError, MemoryError) as error:
        _say(error=describe(error))
        return 1
    return 0


def _end_with_input() -> None:
    sys.stdin.read()
    os._exit(1)


def _say(**facts: object) -> None:
    print(json.dumps(facts), flush=True)


class _Told:
    """Say how far it is, some times a second; the first frame, with all before it, is not timed."""

    def __init__(self, frames: int = 0) -> None:
        self._frames, self._done = frames, 0
        self._first: tuple[int, float] | None = None
        self._last = 0.0

    def more(self, more: int) -> None:
        """Say that so many more of all frames are done."""
        if more:
            self._done += more
            self(self._done, self._frames)

    def __call__(self, done: int, frames: int) -> None:
        now = time.monotonic()
        first, since = self._first = self._first or (done, now)
        if now - self._last > TOLD_SECONDS or done == frames:
            self._last = now
            a_second = (done - first) / (now - since) if done > first else 0.0
            _say(done=done, frames=frames, a_second=a_second)


def _enlarged(source: Path, target: Path, wanted: Wanted) -> dict[str, Any]:
    """Enlarge what is wanted, and return the facts of an :class:`EnlargedClip`."""
    weights = Weights(wanted.model, wanted.scale, wanted.source_quality, wanted.fast)
    if is_animation(source):
        return _enlarged_animation(source, target, wanted, weights)
    if not can_read_clips():
        raise UserError(NO_PYAV)
    from npsrcnn.video.clips import look_through
    from npsrcnn.video.making import make_clip
    from npsrcnn.video.plan import DROPPABLE, Wishes, make_plan

    clip = look_through(source)
    frames = None
    if wanted.preview:
        end = clip.pts[0] + PREVIEW_SECONDS / clip.time_base
        frames = 0, max(1, bisect_left(clip.pts, end))
    check_moving(source, clip.first.size, frames[1] if frames else len(clip.pts), wanted.scale)
    wishes = Wishes(
        drop=frozenset(DROPPABLE if wanted.preview else wanted.drop),
        deinterlace=wanted.deinterlace or wanted.preview,
        frames=frames,
        compare="split" if wanted.preview else None,
    )
    choice, scale, comment = weights.for_clip(clip.quantizer)
    plan = make_plan(clip, target, choice.nets, scale, wishes)
    _compile(choice.nets)
    made = make_clip(plan, report=_Told(len(plan.pts)).more)
    notes = [comment, *plan.notes] if comment else [*plan.notes]
    if made.lost:
        notes.append(made.lost)
    size, enlarged = clip.first.size, plan.encoding.size
    return {"size": size, "enlarged": enlarged, "frames": made.frames, "notes": notes}


def _compile(nets: Sequence[SRCNN]) -> None:
    with telling(lambda line: _say(waits=line)):
        compile_kernels(nets)


def _enlarged_animation(
    source: Path, target: Path, wanted: Wanted, weights: Weights
) -> dict[str, Any]:
    with Image.open(source) as image:
        check_moving(source, image.size, getattr(image, "n_frames", 1), wanted.scale, at_once=True)
    choice, scale = weights.for_animation(source)
    _compile(choice.nets)
    seconds = PREVIEW_SECONDS if wanted.preview else math.inf
    made = enlarge_animation(source, target, choice.nets, scale, seconds=seconds, report=_Told())
    notes = [choice.comment] if choice.comment else []
    return {"size": made.size, "enlarged": made.enlarged, "frames": made.frames, "notes": notes}
