"""Enlarge what a tab has sent, picture by picture, as the command does."""

from __future__ import annotations

import contextlib
import time
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from html import escape
from pathlib import Path

import numpy as np

from npsrcnn import images
from npsrcnn.app.clips import PLAYED, EnlargedClip, Frames, Wanted, enlarge_moving
from npsrcnn.app.compiling import Kernels, telling
from npsrcnn.app.limits import is_moving, take_pictures, without_folder
from npsrcnn.app.sessions import Cancelled, Session
from npsrcnn.errors import UserError
from npsrcnn.images import Picture
from npsrcnn.images.metadata import Metadata
from npsrcnn.pixels.color import luma
from npsrcnn.pixels.metrics import psnr, shave
from npsrcnn.report.compare import Panel, as_shown, slider
from npsrcnn.report.enlarged import most_changed
from npsrcnn.runtime.threads import checked
from npsrcnn.upscaling.batch import enlarge_all
from npsrcnn.upscaling.choice import choose
from npsrcnn.upscaling.files import EnlargeOptions, Job
from npsrcnn.upscaling.jobs import plan_jobs
from npsrcnn.upscaling.outcomes import Enlarged, Failed, Outcome, Skipped, outcome_of
from npsrcnn.upscaling.strips import enlarge
from npsrcnn.video.kinds import ANIMATIONS

SHOWN_SIDE = 2048  # pixels: of larger results the page shows the part that changed most

CANCELLED_MEANWHILE = "Cancelled; it ends when the kernels are compiled that it has begun with."

Done = Enlarged | EnlargedClip
Report = str | tuple[Job, int, int] | Frames | Outcome | EnlargedClip


@dataclass
class Progress:
    """How far it is.

    Attributes
    ----------
    pictures : int
        How many there are.
    done : list of Enlarged and EnlargedClip
    refused : list of str
        Lines on those that were not enlarged.
    at_work : dict of Path to str
        How far large pictures and clips are, in words.
    waits : str
        What they wait for, in words.
    seconds : float
        Since it began.
    cancelled : bool
        It has ended before all were enlarged; before that, ``waits`` says what a cancel waits for.
    """

    pictures: int
    done: list[Done] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    at_work: dict[Path, str] = field(default_factory=dict)
    waits: str = ""
    seconds: float = 0.0
    cancelled: bool = False

    @property
    def finished(self) -> int:
        """How many are done, or were refused."""
        return len(self.done) + len(self.refused)

    def take(self, report: Report | None) -> None:
        """Take in what is new: a picture is done, or a part of one, or it waits for something."""
        if report is not None:
            self.waits = report if isinstance(report, str) else ""
        if isinstance(report, str):
            return
        if isinstance(report, tuple) and not isinstance(report, Frames):
            job, done, parts = report
            what = f"{done / parts:.0%} computed" if done < parts else "computed, is being written"
            self.at_work[job.source] = f"{job.source.name}: {what}"
        elif isinstance(report, Frames):
            self.at_work[report.source] = report.text()
        elif report is not None:
            self.at_work.pop(report.source, None)
            if isinstance(report, Failed):
                self.refused.append(without_folder(report.message, report.source))
            elif not isinstance(report, Skipped):
                self.done.append(report)

    def text(self) -> str:
        """Return all that there is to say, as Markdown."""
        lines = [f"**{len(self.done)} of {self.pictures} enlarged** in {self.seconds:.2f} s"]
        if self.cancelled:
            lines[0] += f", then cancelled; {self.pictures - self.finished} were not"
        lines += [self.waits] if self.waits else []
        lines += self.at_work.values()
        for one in self.done[-5:]:
            if isinstance(one, EnlargedClip):
                lines.append(one.text())
                continue
            (width, height), (large_width, large_height) = one.size, one.enlarged
            line = f"{one.target.name}: {width} x {height} → {large_width} x {large_height}"
            weights = ", ".join(Path(name).name for name in one.model)
            line += f" in {one.seconds:.2f} s with {weights}"
            lines.append(
                "; ".join(
                    [
                        line,
                        *([one.comment] if one.comment else []),
                        *(f"without its {what}" for what in one.lost),
                    ]
                )
            )
        lines += [f"⚠ {line}" for line in self.refused]
        return "\n\n".join(lines)


def enlarge_uploads(
    session: Session,
    uploads: Sequence[str],
    *,
    kernels: Kernels | None = None,
    scale: float,
    model: str | None = None,
    fast: bool = False,
    source_quality: str | int = "auto",
    preview: bool = False,
    deinterlace: bool = False,
    drop: Sequence[str] = (),
) -> Iterator[Progress]:
    """Enlarge uploads, pictures and then clips, until all are done or the work is cancelled.

    Parameters
    ----------
    session
    uploads
        Files, at the paths that the server gave them.
    kernels : Kernels, optional
        That are being compiled in another process: they are waited for.
    scale, model, fast, source_quality
        As for :func:`npsrcnn.upscaling.choice.choose`.
    preview, deinterlace, drop
        As for :class:`npsrcnn.app.clips.Wanted`; a preview is of clips alone.

    Yields
    ------
    Progress
        After each picture, and some times a second in between: the same object.

    Raises
    ------
    UserError
        Nothing to enlarge, or no weights for that.
    """
    with session.work("enlarge") as folder:
        source_folder = folder / "in"
        source_folder.mkdir()
        choice, scale = choose(model, scale, source_quality, fast=fast)
        taken, refused = take_pictures(uploads, source_folder, scale, clips=True)
        clips = [path for path in taken if is_moving(path)]
        pictures = [] if preview else [path for path in taken if path not in clips]
        if preview and not clips:
            raise UserError("no clip to preview")
        wanted = Wanted(scale, model, fast, source_quality, preview, deinterlace, tuple(drop))
        progress = Progress(len(pictures) + len(clips) + len(refused), refused=refused)
        jobs, _ = plan_jobs(pictures, folder / "out", suffix=f"_x{scale:g}")
        options = EnlargeOptions(choice, scale)

        def work(report: Callable[[Report], None]) -> None:
            if kernels is not None:
                kernels.wait(report, session.check)
            results = enlarge_all(
                jobs, options, progress=lambda *part: report(part), say=lambda line: None
            )
            with checked(session.check), contextlib.closing(results):
                while True:
                    with telling(report):  # each time anew: other weights, other kernels
                        _, outcome = next(results, (None, None))
                    if outcome is None:
                        break
                    report(outcome)
                    session.check()
            for number, clip in enumerate(clips):
                clip_folder = folder / f"clip-{number}"
                enlarge_one = partial(
                    enlarge_moving, session, clip, clip_folder, wanted, report=report
                )
                report(outcome_of(clip, enlarge_one))

        started = time.perf_counter()
        try:
            for report in session.reports(work):
                progress.seconds = time.perf_counter() - started
                progress.take(report)
                if session.cancelled and progress.waits:
                    progress.waits = CANCELLED_MEANWHILE
                yield progress
        except Cancelled:
            progress.cancelled = progress.finished < progress.pictures
            progress.at_work, progress.waits = {}, ""
        yield progress


def bundle(done: Sequence[Done]) -> Path | None:
    """Return the file to download: the picture, or of several a zip; None where there is none."""
    if len(done) < 2:
        return done[0].target if done else None
    path = done[0].target.parent / "enlarged.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:  # they are compressed
        for one in done:
            archive.write(one.target, one.target.name)
    return path


def compared(one: Enlarged, scale: float, address: str, original: Path | None = None) -> str:
    """Return a picture before and after as HTML, under a slider, without loss.

    Parameters
    ----------
    one : Enlarged
    scale : float
    address : str
        What to put before a file's path so that the browser finds it.
    original : Path, optional
        To compare with, and to measure PSNR.

    Raises
    ------
    UserError
        The original cannot be read, or is of another size.
    """
    small, result = images.read(one.source), images.read(one.target)
    bicubic = Picture(*enlarge(small.pixels, small.alpha, (), scale), small.metadata)
    labels = {"bicubic" if scale > 1 else "before": bicubic, "SRCNN": result}
    if original is not None:
        truth = images.read(original)
        size = _common_size(result, truth)
        dB = {name: _psnr(picture, truth, size, scale) for name, picture in labels.items()}
        labels = {f"{name}, {dB[name]:.2f} dB": picture for name, picture in labels.items()}
        labels["original"] = truth
    else:
        size = result.pixels.shape[:2]
    parts = {name: _cropped(picture, size) for name, picture in labels.items()}
    before, after, *_ = parts.values()
    crop = most_changed(before.pixels, after.pixels, SHOWN_SIDE)
    panels = []
    for i, (label, picture) in enumerate(parts.items()):
        path = one.target.parent.parent / f"{one.target.stem}-view-{i}.png"
        alpha = None if picture.alpha is None else as_shown(picture.alpha[crop])
        known = Metadata(icc_profile=picture.metadata.icc_profile)
        images.write(path, Picture(as_shown(picture.pixels[crop]), alpha, known))
        panels.append(Panel(label, f"{address}{path}"))
    shown = after.pixels[crop].shape
    title = f"{one.target.name}, {one.enlarged[0]} x {one.enlarged[1]}"
    if shown[:2] != result.pixels.shape[:2]:
        title += f", of which {shown[1]} x {shown[0]}"
    first, second, *rest = panels
    return slider(title, (shown[0], shown[1]), second, [first, *rest], alt=one.source.name)


def played(one: EnlargedClip, address: str) -> str:
    """Return a clip as HTML to play, or an animated picture before and after under a slider.

    ``address`` is as for :func:`compared`.
    """
    columns, rows = one.enlarged
    title = f"{one.target.name}, {columns} x {rows}"
    place = escape(f"{address}{one.target}")
    if one.target.suffix.lower() in ANIMATIONS:
        before = Panel("before", f"{address}{one.source}")
        after = Panel("SRCNN", f"{address}{one.target}")
        return slider(title, (rows, columns), after, [before], alt=one.source.name)
    if one.target.suffix.lower() not in PLAYED:
        kind = one.target.suffix[1:].upper()
        return f"<p>{escape(title)}: no browser plays {kind}; look at a preview.</p>"
    return (
        f'<figure class="clip"><figcaption>{escape(title)}</figcaption>'
        f'<video src="{place}" controls muted loop playsinline aria-label="{escape(title)}">'
        "</video></figure>"
    )


def _common_size(result: Picture, truth: Picture) -> tuple[int, int]:
    """Return the size that both have, but for some pixels that do not divide by the scale."""
    (height, width), (rows, columns) = result.pixels.shape[:2], truth.pixels.shape[:2]
    if max(abs(height - rows), abs(width - columns)) > 8:
        raise UserError(
            f"the original is {columns} x {rows}, and the result {width} x {height}: not the same"
        )
    return min(height, rows), min(width, columns)


def _cropped(picture: Picture, size: tuple[int, int]) -> Picture:
    height, width = size
    alpha = None if picture.alpha is None else picture.alpha[:height, :width]
    return Picture(picture.pixels[:height, :width], alpha, picture.metadata)


def _psnr(picture: Picture, truth: Picture, size: tuple[int, int], scale: float) -> float:
    """Compute PSNR of Y, of 8 bits, as many pixels as the scale shaved."""
    mine, original = (
        shave(luma(as_shown(_cropped(p, size).pixels)), round(scale)).astype(np.float64)
        for p in (picture, truth)
    )
    return psnr(mine, original, 255)
