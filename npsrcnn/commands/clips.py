"""`npsrcnn upscale clip.mp4`: options for clips and animated pictures, and what becomes of them."""

from __future__ import annotations

import argparse
import contextlib
import re
import sys
import time
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import TextIO

from npsrcnn.commands import frame
from npsrcnn.commands.progress import ClipProgress
from npsrcnn.errors import UsageError, UserError, describe
from npsrcnn.runtime.files import check_writable
from npsrcnn.upscaling.choice import Chosen
from npsrcnn.upscaling.compiling import compile_kernels
from npsrcnn.upscaling.jobs import result_name
from npsrcnn.video.kinds import ANIMATIONS, CONTAINERS, is_animation, is_clip, target_suffix
from npsrcnn.video.restoring import Weights
from npsrcnn.words import counted

FOR_CLIPS = ("codec", "crf", "preset", "drop", "deinterlace", "frames", "preview", "compare")
FOR_PICTURES = (
    "report",
    "page",
    "quality",
    "lossless",
    "background",
    "strip",
    "keep_cmyk",
    "width",
    "height",
    "longest",
)


@dataclass(frozen=True)
class Result:
    """What became of a clip; ``error`` is None where it was made.

    ``restored`` says, of a clip that got weights by how it was compressed, which, and why.
    """

    source: Path
    target: Path
    frames: int = 0
    seconds: float = 0.0
    skipped: bool = False
    restored: dict[str, object] = field(default_factory=dict)
    error: str | None = None

    def row(self) -> dict[str, object]:
        """Return what ``--json`` writes of it."""
        if self.error is not None:
            return {"source": str(self.source), "error": self.error}
        row: dict[str, object] = {"source": str(self.source), "target": str(self.target)}
        if self.skipped:
            return {**row, "skipped": True}
        return {**row, "frames": self.frames, "seconds": round(self.seconds, 3), **self.restored}


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that clips alone have."""
    group = parser.add_argument_group(
        "clips", "MP4, MOV, MKV, WebM, TS...; all but the picture is copied (extra: video)"
    )
    group.add_argument(
        "--codec",
        metavar="C",
        help="h264, hevc, vp9, av1, prores, or ffv1, which is lossless (default: h264; hevc for 10"
        " bits; vp9 in WebM; ProRes and FFV1 stay what they are)",
    )
    group.add_argument(
        "--crf", type=int, metavar="N", help="lower is better and larger (default: 17)"
    )
    group.add_argument(
        "--preset", metavar="P", help="of the encoder: how slow it is (default: medium)"
    )
    group.add_argument(
        "--drop",
        type=_words,
        default=frozenset(),
        metavar="KINDS",
        help="what may be left out: audio, subtitles, attachments, cover, video (other than the"
        " first), alpha, dolby-vision; several with commas",
    )
    group.add_argument("--deinterlace", action="store_true", help="interlaced clips, by bwdif")
    group.add_argument(
        "--frames", type=_frames, metavar="A:B", help="these alone, from 0 on and without B"
    )
    group.add_argument(
        "--preview", type=_seconds, metavar="S", help="so many seconds from the middle, as 5s"
    )
    group.add_argument(
        "--compare",
        choices=("side", "split"),
        help="bicubic beside SRCNN, or the left half bicubic, instead of the result",
    )


def among(sources: Sequence[Path]) -> bool:
    """Return whether sources are clips or animated pictures; all or none of them are.

    Raises
    ------
    UsageError
        Some are.
    """
    found = [source for source in sources if is_clip(source) or is_animation(source)]
    if found and len(found) < len(sources):
        other = next(source for source in sources if source not in found)
        raise UsageError(f"{found[0]} is a clip, and {other} is not: one after the other, please")
    return bool(found)


def check_no_clip_options(options: argparse.Namespace) -> None:
    """Raise UsageError where pictures are given options that clips alone have."""
    given = [name for name in FOR_CLIPS if getattr(options, name)]
    if given:
        raise UsageError(f"--{given[0]} is for clips, and {options.sources[0]} is none")


def run(options: argparse.Namespace) -> int:
    """Enlarge clip by clip, print as it goes, and return 1 if any failed."""
    if options.also_bicubic:
        raise UsageError("--also-bicubic is for pictures: give --compare side, or split")
    for name in FOR_PICTURES:
        if getattr(options, name):
            raise UsageError(
                f"--{name.replace('_', '-')} is for pictures, and {options.sources[0]} is none"
            )
    weights = Weights(
        options.model,
        options.scale,
        options.source_quality,
        fast=options.fast,
        orientations=options.ensemble,
        device=options.device,
        residual=options.residual,
    )
    scale = options.scale if weights.by_clip else weights.for_all()[1]
    targets = _plan_targets(options, scale)
    stream = sys.stderr if options.json == "-" else sys.stdout
    results = [_one(source, target, weights, options, stream) for source, target in targets.items()]
    if options.json:
        rows = [result.row() for result in results]
        failed = sum(result.error is not None for result in results)
        model = options.model or "default"
        report = {"scale": scale, "model": model, "failed": failed, "clips": rows}
        frame.write_json(options.json, report)
    return 1 if any(result.error is not None for result in results) else 0


def _compile(choice: Chosen, stream: TextIO) -> None:
    if (done := compile_kernels(choice.nets)).seconds:
        frame.say(str(done), stream)


def _one(
    source: Path,
    target: Path,
    weights: Weights,
    options: argparse.Namespace,
    stream: TextIO,
) -> Result:
    """Enlarge a clip, and print what became of it."""
    if options.skip_existing and target.exists():
        frame.say(f"{target} is there, skipped", stream)
        return Result(source, target, skipped=True)
    started = time.perf_counter()
    try:
        check_writable(target)
        enlarge = _enlarge_animation if is_animation(source) else _enlarge_clip
        frames, words, restored = enlarge(source, target, weights, options, stream)
    except UsageError:
        raise
    except (UserError, OSError, MemoryError) as error:
        if options.debug:
            traceback.print_exception(error)
        frame.say(f"npsrcnn upscale: {describe(error)}", sys.stderr)
        return Result(source, target, error=describe(error))
    seconds = time.perf_counter() - started
    speed = f"{counted(frames, 'frame')}, {frames / seconds:.2f} a second"
    frame.say(f"{target}  {words}  {speed}", stream)
    return Result(source, target.resolve(), frames, seconds, restored=restored)


def _enlarge_clip(
    source: Path,
    target: Path,
    weights: Weights,
    options: argparse.Namespace,
    stream: TextIO,
) -> tuple[int, str, dict[str, object]]:
    """Enlarge a clip; return how many frames it has, a few words on it, and what restored it."""
    source.stat()  # a file that is missing is said before a package that is
    try:
        import av  # noqa: F401 (or it says what is missing)
    except ImportError as error:
        from npsrcnn.pixels.filming import NO_PYAV

        raise UserError(NO_PYAV) from error
    from npsrcnn.video.clips import look_through
    from npsrcnn.video.cluster import make_on_cluster
    from npsrcnn.video.making import make_clip
    from npsrcnn.video.plan import DROPPABLE, Wishes, make_plan

    if unknown := sorted(options.drop - set(DROPPABLE)):
        raise UsageError(f"--drop {unknown[0]}: give some of {', '.join(DROPPABLE)}")
    wishes = Wishes(
        codec=options.codec,
        crf=options.crf,
        preset=options.preset,
        drop=options.drop,
        deinterlace=options.deinterlace,
        frames=options.frames,
        preview=options.preview,
        compare=options.compare,
    )
    clip = look_through(source)
    choice, scale, comment = weights.for_clip(clip.quantizer)
    restored: dict[str, object] = {}
    if weights.by_clip:
        restored = {"quantizer": clip.quantizer, "weights": list(choice.names)}
    plan = make_plan(clip, target, choice.nets, scale, wishes)
    _compile(choice, stream)
    for note in (comment, *plan.notes) if comment else plan.notes:
        frame.say(f"{source}: {note}", stream)
    make = partial(make_on_cluster, address=options.dask) if options.dask else make_clip
    with ClipProgress(len(plan.pts), plan.encoding.rate) as progress, _parts_told(plan.parts):
        made = make(plan, resume=options.resume, report=progress.frames)
    if made.lost:
        frame.say(f"{source}: {made.lost}", stream)
    (width, height), (columns, rows) = plan.clip.first.size, plan.encoding.size
    return made.frames, f"{width} x {height} -> {columns} x {rows}", restored


def _enlarge_animation(
    source: Path,
    target: Path,
    weights: Weights,
    options: argparse.Namespace,
    stream: TextIO,
) -> tuple[int, str, dict[str, object]]:
    """Enlarge an animated picture; return the same of it."""
    from npsrcnn.video import animations

    for name in (*FOR_CLIPS, "resume", "dask"):
        if getattr(options, name):
            raise UsageError(f"--{name} is for clips, and {source} is an animated picture")
    if target.suffix.lower() == ".gif":
        frame.say(f"{source}: {animations.FEW_COLORS}", stream)
    choice, scale = weights.for_animation(source)
    _compile(choice, stream)
    if choice.comment:
        frame.say(f"{source}: {choice.comment}", stream)
    made = animations.enlarge_animation(source, target, choice.nets, scale)
    (width, height), (columns, rows) = made.size, made.enlarged
    restored: dict[str, object] = {}
    if weights.by_clip:
        decision = choice.decision
        restored = {"source_quality": decision.quality, "decided_by": decision.decided_by}
        restored |= {"weights": list(choice.names)}
    return made.frames, f"{width} x {height} -> {columns} x {rows}", restored


@contextlib.contextmanager
def _parts_told(parts: Path) -> Iterator[None]:
    """Say after Ctrl-C that what is done is kept."""
    try:
        yield
    except KeyboardInterrupt:
        kept = f"{parts} keeps the segments that are done: go on with --resume"
        frame.say(f"npsrcnn upscale: {kept}", sys.stderr)
        raise


def _plan_targets(options: argparse.Namespace, scale: float) -> dict[Path, Path]:
    """Return the file that each clip becomes.

    Raises
    ------
    UsageError
        A format that is not written, or a result would overwrite a source or another result.
    """
    output, sources = options.output, options.sources
    suffix = f"_x{scale:g}" if options.suffix is None else options.suffix
    suffix += "_preview" if options.frames or options.preview else ""
    suffix += f"_{options.compare}" if options.compare else ""
    named = output is not None and output.suffix.lower() in {*CONTAINERS, *ANIMATIONS}
    if named and not output.is_dir():
        if len(sources) > 1:
            raise UsageError(f"-o {output} names one file, but IN is several clips")
        targets = {sources[0]: output}
    else:
        targets = {}
        for source in sources:
            name = result_name(source, suffix, _kind(source, options.format))
            targets[source] = (output or source.parent) / name
        if output is not None:
            output.mkdir(parents=True, exist_ok=True)
    for source, target in targets.items():
        kinds = ANIMATIONS if is_animation(source) else CONTAINERS
        if target.suffix.lower() not in kinds:
            raise UsageError(f"cannot write {target}: use {', '.join(kinds)}")
        if target.resolve() in {other.resolve() for other in sources}:
            raise UsageError(f"{target} would be overwritten: give another -o or --suffix")
    if len(set(targets.values())) < len(targets):
        raise UsageError("two clips would become one file: one after the other, please")
    return targets


def _kind(source: Path, wanted: str | None) -> str:
    """Return the suffix of a result."""
    if wanted is not None:
        return "." + wanted.lower().removeprefix(".")
    return target_suffix(source)


def _words(text: str) -> frozenset[str]:
    """Parse words with commas between them for argparse."""
    return frozenset(word.strip() for word in text.split(",") if word.strip())


def _frames(text: str) -> tuple[int, int | None]:
    """Parse A:B for argparse."""
    match = re.fullmatch(r"(\d*):(\d*)", text)
    if not match:
        raise argparse.ArgumentTypeError(f"{text!r} is not A:B, as 100:200")
    return int(match[1] or 0), int(match[2]) if match[2] else None


def _seconds(text: str) -> Fraction:
    """Parse seconds for argparse, as 5s or 2.5."""
    return Fraction(frame.positive_float(text.removesuffix("s"))).limit_denominator(1000)
