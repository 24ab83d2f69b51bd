"""`npsrcnn upscale photo.jpg`: enlarge pictures and clips with SRCNN.

A picture is written beside its source as NAME_x3, those of a folder into FOLDER_x3, or where -o
says. The format stays where it can hold the result, else it is PNG. A result of another format
keeps the old suffix in its name: photo.gif becomes photo_gif_x3.png. Transparency, 16 bits, colour
profile and metadata are kept, CMYK becomes sRGB unless --keep-cmyk is given, and the picture is
upright. A picture or a folder that cannot be read or written is named and counted, and the others
go on.

Of a clip the picture is enlarged and all else is copied; what its container cannot hold is said
before the first frame. A run that was interrupted goes on with --resume.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import time
import traceback
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TextIO

from npsrcnn.commands import clips, frame, pipes
from npsrcnn.commands.progress import Progress
from npsrcnn.errors import UsageError, UserError
from npsrcnn.images.encoding import Encoding
from npsrcnn.kernels import DEVICES
from npsrcnn.runtime.files import check_writable, expand_pattern
from npsrcnn.upscaling.batch import enlarge_all
from npsrcnn.upscaling.choice import Automatic, BySize, Choice, Chosen, choose
from npsrcnn.upscaling.enlarger import steps_of
from npsrcnn.upscaling.files import MEMORY, EnlargeOptions, Job
from npsrcnn.upscaling.jobs import check_encoding, chosen_format, is_file_name, plan_jobs
from npsrcnn.upscaling.outcomes import ClusterError, Enlarged, Failed, Outcome, Skipped
from npsrcnn.upscaling.sizes import Size
from npsrcnn.upscaling.source_quality import AUTO, check_source_quality
from npsrcnn.video.kinds import has_name_of_clip, is_animation

DEFAULT_SCALE = 2.0
SIDES = {
    "width": "the width of results in pixels, exactly",
    "height": "their height; with --width where both fit the picture",
    "longest": "their longer side",
}


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of the command."""
    parser = frame.parser("upscale", "Enlarge pictures and clips with SRCNN.", __doc__)
    parser.add_argument(
        "sources",
        nargs="+",
        type=Path,
        metavar="IN",
        help="pictures, folders, patterns, clips; - is standard input",
    )
    parser.add_argument(
        "--scale",
        type=frame.positive_float,
        metavar="S",
        help="how much larger, 2, 3, 4 or,"
        " in steps, any number above 1; 1 restores compressed pictures at their size"
        f" (default: {DEFAULT_SCALE:g}, with --model what it was trained for)",
    )
    for side, what in SIDES.items():
        parser.add_argument(
            f"--{side}", type=frame.positive_int, metavar="N", help=f"instead of --scale: {what}"
        )
    parser.add_argument(
        "--model", help="a file of weights, or a name that ships (default: the best for the scale)"
    )
    parser.add_argument(
        "--residual",
        action="store_true",
        help="the model makes what is to be added to the enlarged picture, as VDSR does",
    )
    parser.add_argument(
        "--source-quality",
        type=_source_quality,
        default=AUTO,
        metavar="Q",
        help="how the pictures were compressed: auto (by the file's table, or by what the pixels"
        " show), clean (not at all), or the JPEG quality, 1 to 100 (default: auto; a --model is"
        " taken as it is)",
    )
    parser.add_argument(
        "--fast", action="store_true", help="with smaller networks: nearly as good, much sooner"
    )
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        metavar="OUT",
        help="a folder, made if missing; of one picture also a file, or - for standard output",
    )
    parser.add_argument("--suffix", help="appended to names (default: _x and the scale)")
    parser.add_argument("--format", help="png, jpg, tif, webp, heic, jxl... (default: as IN)")
    parser.add_argument(
        "--quality",
        type=frame.quality,
        metavar="N",
        help="of JPEG, WebP, AVIF, HEIC and JPEG XL, 1 to 100 (default: 95, of the last three 90)",
    )
    parser.add_argument(
        "--lossless",
        action="store_true",
        help="lose nothing: JPEG and AVIF become PNG, and WebP is without loss, as it is anyway"
        " where IN was",
    )
    parser.add_argument(
        "--background",
        type=frame.color,
        metavar="COLOR",
        help="behind transparent pixels where the format holds none, as JPEG: white, #1e90ff",
    )
    parser.add_argument(
        "--strip",
        action="store_true",
        help="without EXIF, places, texts and previews; colour profiles are kept",
    )
    parser.add_argument(
        "-r", "--recursive", action="store_true", help="folders within folders too, as a tree"
    )
    parser.add_argument(
        "--skip-existing", action="store_true", help="leave pictures that have been made already"
    )
    parser.add_argument(
        "--also-bicubic", action="store_true", help="write NAME_bicubic as well, to compare with"
    )
    parser.add_argument(
        "--memory",
        type=frame.byte_count,
        default=MEMORY,
        metavar="N",
        help="how much to take at most, about, as 2G or 600M (default: 900M); TIFF files that"
        " need more are read and written block by block; with 10G also pictures of 200 million"
        " pixels, with more still larger ones",
    )
    parser.add_argument(
        "--page", type=frame.positive_int, metavar="N", help="of TIFF files of several pages one"
    )
    parser.add_argument(
        "--keep-cmyk",
        action="store_true",
        help="enlarge the four inks of CMYK, in TIFF and JPEG (default: it becomes sRGB)",
    )
    parser.add_argument(
        "--times",
        choices=("keep", "now"),
        default="keep",
        help="the date of a result: its picture's, or today's (default: keep)",
    )
    parser.add_argument(
        "--resume",
        action="store_true",
        help="go on with clips and large TIFF files that were begun",
    )
    parser.add_argument(
        "--dask",
        metavar="ADDRESS",
        help="on workers of Dask: local:4 starts four here, tcp://HOST:8786 is a scheduler's",
    )
    parser.add_argument("--json", metavar="FILE", help="what was done, as JSON; - is the output")
    parser.add_argument(
        "--report",
        type=Path,
        metavar="FILE",
        help="a page to look at, FILE.html: each picture beside bicubic interpolation",
    )
    parser.add_argument(
        "--ensemble",
        action="store_true",
        help="the mean over eight orientations: better, and eight times as slow",
    )
    clips.add_options(parser)
    parser.set_defaults(called=None)  # how lines call the result, if not by its file's name
    frame.add_device(parser, DEVICES)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; see ``--help``."""
    return frame.run(make_parser, run, argv)


def run(options: argparse.Namespace) -> int:
    """Enlarge what is named, or what is piped in; return 1 if anything failed."""
    if not pipes.is_piped(options):
        return _run(options, sys.stderr if options.json == "-" else sys.stdout)
    with pipes.files_instead(options) as with_files:
        return _run(with_files, sys.stderr)


def _run(options: argparse.Namespace, stream: TextIO) -> int:
    """Enlarge picture by picture, print as it goes, and return 1 if any failed."""
    if options.residual and options.model is None:
        raise UsageError("--residual says what a --model is: give both")
    size = _size(options)
    if options.model is None and options.scale is None and size is None:
        options.scale = DEFAULT_SCALE
    if options.model is not None and options.fast:
        raise UsageError("--fast chooses among weights that ship: leave out --fast, or --model")
    options.sources = [path for named in options.sources for path in expand_pattern(named)]
    if clips.among(options.sources):
        return clips.run(options)
    clips.check_no_clip_options(options)
    format_suffix = chosen_format(options.output, options.format)
    encoding = Encoding(options.quality, options.lossless, options.background)
    check_encoding(format_suffix, encoding)
    if options.output is not None and is_file_name(options.output):
        check_writable(options.output)
    for file in (options.json, options.report):
        if file not in (None, "-"):
            check_writable(file)
    choice, scale = _choose(options, size)
    likely = choice.likely.without_chroma()
    steps = [] if isinstance(scale, Size) else steps_of(likely.nets, scale)
    jobs, found = plan_jobs(
        options.sources,
        options.output,
        suffix=_suffix(scale) if options.suffix is None else options.suffix,
        format_suffix=format_suffix,
        also_bicubic=options.also_bicubic,
        recursive=options.recursive,
        skip_existing=options.skip_existing,
        is_clip=lambda path: has_name_of_clip(path) or is_animation(path),
    )
    for line in found.lines():
        frame.say(line, stream)
    if len(steps) > 1 and not isinstance(scale, Size):
        frame.say(_steps_line(likely, steps, scale), stream)
    how = EnlargeOptions(
        choice,
        scale,
        options.memory,
        options.resume,
        options.page,
        keep_times=options.times == "keep",
        encoding=encoding,
        strip=options.strip,
        keep_cmyk=options.keep_cmyk,
    )
    started = time.perf_counter()
    done = _enlarge(jobs, how, options, stream)
    seconds = time.perf_counter() - started
    outcomes = [*found.failures, *(done[job] for job in jobs if job in done)]
    failed = [outcome for outcome in outcomes if isinstance(outcome, Failed)]
    for failure in failed:
        if options.debug:
            traceback.print_exception(failure.error)
        frame.say(f"npsrcnn upscale: {failure.message}", sys.stderr)
    not_begun = len(jobs) - len(done)
    if len(outcomes) + not_begun > 1:
        _sum_up(outcomes, not_begun, seconds, stream)
    if options.json:
        report: dict[str, object] = {"size": asdict(size)} if size else {"scale": scale}
        report |= {} if size else {"steps": steps}
        rows = [outcome.row() for outcome in outcomes]
        left_out = [str(path) for path in (*found.clips, *found.left_out, *found.subfolders)]
        report |= {"model": options.model or "default", "failed": len(failed) + not_begun}
        report |= {"left_out": left_out, "pictures": rows}
        frame.write_json(options.json, report)
    if options.report:
        from npsrcnn.report.enlarged import write_upscale_report

        write_upscale_report(outcomes, scale, options.command_line, options.report)
        frame.say(f"report in {options.report.resolve()}", stream)
    return 1 if failed or not_begun else 0


def _size(options: argparse.Namespace) -> Size | None:
    """Return the size that results are to have, if one is given."""
    sides = {side: getattr(options, side) for side in SIDES}
    if not any(sides.values()):
        return None
    named = next(side for side in SIDES if sides[side])
    if options.scale is not None:
        raise UsageError(f"--scale and --{named} both say how large: choose one")
    if options.longest and named != "longest":
        raise UsageError(f"--longest and --{named} both say how large: choose one")
    return Size(**sides)


def _choose(options: argparse.Namespace, size: Size | None) -> tuple[Choice | BySize, float | Size]:
    """Return the networks, and how large results become."""
    kinds = {"fast": options.fast, "orientations": options.ensemble, "device": options.device}
    known = None
    if size is None or options.model is not None:
        known, scale = choose(
            options.model,
            options.scale,
            options.source_quality,
            residual=options.residual,
            **kinds,
        )
        if size is None:
            return known, scale
    assert not isinstance(known, Automatic)
    return BySize(known, options.source_quality, **kinds), size


def _suffix(scale: float | Size) -> str:
    """Return what names of results end in, if nothing else is given."""
    return f"_{scale}" if isinstance(scale, Size) else f"_x{scale:g}"


def _enlarge(
    jobs: Sequence[Job], how: EnlargeOptions, options: argparse.Namespace, stream: TextIO
) -> dict[Job, Outcome]:
    """Print picture by picture as they are done; jobs that were not begun are left out."""
    outcomes: dict[Job, Outcome] = {}
    for job in jobs if options.skip_existing else ():
        if target := job.finished():
            outcomes[job] = Skipped(job.source, target)
            frame.say(f"{target} is there, skipped", stream)
    left = [job for job in jobs if job not in outcomes]
    with Progress(len(left), stream) as progress:
        results = enlarge_all(
            left, how, cluster=options.dask, progress=progress.part, say=progress.write
        )
        try:
            with contextlib.closing(results):
                for job, outcome in results:
                    outcomes[job] = outcome
                    if isinstance(outcome, Enlarged):
                        progress.write(_line(outcome, options.called or str(outcome.target)))
                    progress.picture(job, failed=isinstance(outcome, Failed))
        except ClusterError as error:  # all workers have gone: what is done is done
            frame.say(f"npsrcnn upscale: {error}", sys.stderr)
    return outcomes


def _line(done: Enlarged, name: str) -> str:
    """Say what became of a picture; its result is called ``name``."""
    (width, height), (large_width, large_height) = done.size, done.enlarged
    line = f"{name}  {width} x {height} -> {large_width} x {large_height}"
    line += f"  {done.seconds:.2f} s"
    if done.peak_memory:
        line += f", peak memory {done.peak_memory / 1e6:.0f} MB"
    line += ", most of them to compile kernels" * done.compiled
    line += f"  without its {' and '.join(done.lost)}" if done.lost else ""
    return f"{line}  {done.comment}" if done.comment else line


def _sum_up(outcomes: Sequence[Outcome], not_begun: int, seconds: float, stream: TextIO) -> None:
    """Print the last line of many pictures."""
    enlarged, skipped, failed = (
        sum(isinstance(outcome, kind) for outcome in outcomes)
        for kind in (Enlarged, Skipped, Failed)
    )
    if not_begun:
        print(
            f"{not_begun} not begun: run it again with --skip-existing when that is fixed",
            file=stream,
        )
    speed = f", {enlarged / seconds:.2f} images a second" if enlarged else ""
    print(
        f"{seconds:.1f} s{speed}: {enlarged} enlarged, {skipped} skipped, {failed} failed",
        file=stream,
    )


def _steps_line(chosen: Chosen, steps: Sequence[float], scale: float) -> str:
    """Say in one line how a scale is reached that no weights were trained for."""
    words = [f"x{step:g} by {net.name}" for net, step in zip(chosen.nets, steps, strict=False)]
    if len(steps) > len(chosen.nets):
        words.append(f"x{steps[-1]:.4g} by bicubic interpolation")
    return f"x{scale:g}, for which no weights ship, in steps: {', '.join(words)}"


def _source_quality(text: str) -> str | int:
    """Parse --source-quality for argparse."""
    try:
        return check_source_quality(text)
    except UserError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
