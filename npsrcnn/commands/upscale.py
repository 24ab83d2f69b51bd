"""`npsrcnn upscale photo.jpg --scale 3`: enlarge pictures with SRCNN.

A picture is written beside its source as NAME_x3, those of a folder into FOLDER_x3, or where -o
says. The format stays where it can hold the result, else it is PNG; of pal.gif and pal.png, which
would both become pal_x3.png, the first becomes pal_gif_x3.png. Transparency, 16 bits, colour
profile and metadata are kept, CMYK becomes sRGB, and the picture is upright. A picture or a folder
that cannot be read or written is named and counted, and the others go on.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import json
import sys
import time
import traceback
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path
from typing import TextIO

from npsrcnn import images
from npsrcnn.commands import frame
from npsrcnn.commands.progress import Progress
from npsrcnn.errors import UsageError, UserError, describe
from npsrcnn.kernels import DEVICES
from npsrcnn.model.ensemble import ensemble
from npsrcnn.model.network import SRCNN
from npsrcnn.runtime import memory
from npsrcnn.runtime.files import check_writable, write_atomically
from npsrcnn.runtime.jit import compilations
from npsrcnn.upscaling.arrays import choose_models
from npsrcnn.upscaling.cluster import ClusterError
from npsrcnn.upscaling.cluster_files import enlarge_files as enlarge_on_cluster
from npsrcnn.upscaling.compiling import compile_kernels
from npsrcnn.upscaling.enlarger import steps_of
from npsrcnn.upscaling.files import MEMORY, Job, Settings, enlarge_file
from npsrcnn.upscaling.folder import Outcome, enlarge_files, hopeless
from npsrcnn.upscaling.jobs import (
    Failure,
    check_targets,
    find,
    is_file_name,
    make_folders,
    one_job,
    plan,
)


def make_parser() -> argparse.ArgumentParser:
    """The options of the command."""
    parser = frame.parser("upscale", "Enlarge pictures with SRCNN.", __doc__)
    parser.add_argument("sources", nargs="+", type=Path, metavar="IN", help="pictures and folders")
    parser.add_argument(
        "--scale", type=frame.positive_float, metavar="S", help="how much larger, 2, 3, 4 or,"
        " in steps, any number above 1 (default: what the model was trained for)",
    )  # fmt: skip
    parser.add_argument(
        "--model", help="a file of weights, or a name that ships (default: the best for the scale)"
    )
    parser.add_argument(
        "-o", "--output", type=Path, metavar="OUT",
        help="a folder, made if missing; of one picture also a file",
    )  # fmt: skip
    parser.add_argument("--suffix", help="appended to names (default: _x and the scale)")
    parser.add_argument("--format", help="png, jpg, tif, webp... (default: as IN)")
    parser.add_argument(
        "--skip-existing", action="store_true", help="leave pictures that have been made already"
    )
    parser.add_argument(
        "--also-bicubic", action="store_true", help="write NAME_bicubic as well, to compare with"
    )
    parser.add_argument(
        "--memory", type=_bytes, default=MEMORY, metavar="N",
        help="how much to take at most, about, as 2G or 600M (default: 900M); TIFF files that"
        " need more are read and written block by block, and keep an Orientation tag",
    )  # fmt: skip
    parser.add_argument(
        "--resume", action="store_true", help="go on with large TIFF files that were begun"
    )
    parser.add_argument(
        "--dask", metavar="ADDRESS", help="on workers of Dask: local:4 starts four here,"
        " tcp://HOST:8786 is a scheduler's",
    )  # fmt: skip
    parser.add_argument("--json", metavar="FILE", help="what was done, as JSON; - is the output")
    parser.add_argument(
        "--ensemble",
        action="store_true",
        help="the mean over eight orientations: better, and eight times as slow",
    )
    parser.add_argument("--device", choices=DEVICES, default="cpu")
    parser.add_argument(
        "--cuda", action="store_const", const="cuda", dest="device",
        help="the same as --device cuda",
    )  # fmt: skip
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; see ``--help``."""
    return frame.run(make_parser, run, argv)


def run(options: argparse.Namespace) -> int:
    """Enlarge picture by picture, print as it goes, and count what failed."""
    if options.model is None and options.scale is None:
        raise UsageError("give --scale, or --model, or both")
    format_suffix = _format_suffix(options)
    if is_file_name(options.output):
        check_writable(options.output)
    if options.json not in (None, "-"):
        check_writable(options.json)
    nets, scale = choose_models(options.model, options.scale, options.device)
    steps = steps_of(nets, scale)
    if options.ensemble:
        nets = [ensemble(net) for net in nets]
    suffix = f"_x{scale:g}" if options.suffix is None else options.suffix
    if is_file_name(options.output):
        jobs, failures = [one_job(options.sources, options.output)], []
    else:
        pictures, failures = find(options.sources, options.output, suffix)
        jobs = plan(pictures, suffix, format_suffix)
    check_targets(jobs, options.also_bicubic)
    jobs = make_folders(jobs, options.output, failures)

    text = sys.stderr if options.json == "-" else sys.stdout
    if len(steps) > 1:
        print(_said(nets, steps, scale), file=text)
    settings = Settings(nets, scale, options.also_bicubic, options.memory, options.resume)
    rows = _run(jobs, failures, settings, options, text)
    failed = sum("error" in row for row in rows) + len(jobs) + len(failures) - len(rows)
    if options.json:
        facts = {"scale": scale, "steps": steps, "model": options.model or "default"}
        result = json.dumps({**facts, "failed": failed, "pictures": rows}, indent=1) + "\n"
        if options.json == "-":
            sys.stdout.write(result)
        else:
            with write_atomically(options.json) as temporary:
                temporary.write_text(result)
    return 1 if failed else 0


def _run(
    jobs: Sequence[Job],
    failures: Sequence[Failure],
    settings: Settings,
    options: argparse.Namespace,
    text: TextIO,
) -> list[dict[str, object]]:
    """Print picture by picture as they are done, then what failed; rows in the order of jobs."""
    started = time.perf_counter()
    rows: dict[Job, dict[str, object]] = {}
    for job in jobs if options.skip_existing else ():
        if made := job.finished(options.also_bicubic):
            rows[job] = {"source": str(job.source), "target": str(made.resolve()), "skipped": True}
            print(f"{made} is there, skipped", file=text)
    left = [job for job in jobs if job not in rows]
    with (
        Progress(len(left), text) as progress,
        contextlib.closing(_outcomes(left, settings, progress, options.dask)) as outcomes,
        _ended_by_cluster(),
    ):
        for job, outcome, compiled in outcomes:
            if isinstance(outcome, dict):
                rows[job] = outcome
                once = ", most of them to compile kernels: only this once" if compiled else ""
                progress.write(_line(outcome) + once)
            else:
                rows[job] = _failed(job.source, outcome, options.debug)
            progress.picture(failed="error" in rows[job])
    result = [_failed(*failure, options.debug) for failure in failures]
    result += [rows[job] for job in jobs if job in rows]
    for row in result:
        if "error" in row:
            print(f"npsrcnn upscale: {row['error']}", file=sys.stderr, flush=True)
    if len(jobs) + len(failures) > 1:
        _sum_up(result, len(jobs) - len(rows), time.perf_counter() - started, text)
    return result


@contextlib.contextmanager
def _ended_by_cluster() -> Iterator[None]:
    """What is done is done when all workers have gone: say so, and sum up."""
    try:
        yield
    except ClusterError as error:
        print(f"npsrcnn upscale: {error}", file=sys.stderr, flush=True)


def _outcomes(
    jobs: Sequence[Job], settings: Settings, progress: Progress, cluster: str | None
) -> Generator[tuple[Job, Outcome, bool], None, None]:
    """Each picture as it is done, and whether kernels were compiled for it.

    The first one goes alone, on all cores: it compiles what the others need.
    """
    if cluster is not None and jobs:
        done = enlarge_on_cluster(cluster, jobs, settings, progress.block, progress.write)
        with contextlib.closing(done):
            for job, outcome in done:
                yield job, outcome, False
        return
    for first in jobs[:1]:
        outcome: Outcome
        if seconds := compile_kernels(settings.nets):
            progress.write(
                f"kernels compiled for this processor in {seconds:.1f} s: only this once"
            )
        with compilations() as compiled:
            try:
                outcome = enlarge_file(first, settings, progress=progress.block, say=progress.write)
            except (UserError, OSError, MemoryError) as error:
                outcome = error
        yield first, outcome, bool(compiled)
        if isinstance(outcome, Exception) and hopeless(first, outcome):
            return
    if len(jobs) > 1:
        memory.keep_freed_memory()
    enlarge = functools.partial(enlarge_file, say=progress.write)
    for job, outcome in enlarge_files(jobs[1:], settings, enlarge):
        yield job, outcome, False


def _sum_up(rows: list[dict[str, object]], rest: int, seconds: float, text: TextIO) -> None:
    """The last line of many pictures."""
    skipped, failed = (sum(key in row for row in rows) for key in ("skipped", "error"))
    done = len(rows) - skipped - failed
    if rest:
        print(f"{rest} not begun: run it again with --skip-existing when that is mended", file=text)
    speed = f", {done / seconds:.2f} images a second" if done else ""
    print(
        f"{seconds:.1f} s{speed}: {done} enlarged, {skipped} skipped, {failed} failed",
        file=text,
    )


def _said(nets: Sequence[SRCNN], steps: Sequence[float], scale: float) -> str:
    """One line on how a scale is reached that no weights were trained for."""
    words = [f"x{step:g} by {net.name}" for net, step in zip(nets, steps, strict=False)]
    if len(steps) > len(nets):
        words.append(f"x{steps[-1]:.4g} by bicubic interpolation")
    return f"x{scale:g}, for which no weights ship, in steps: {', '.join(words)}"


def _format_suffix(options: argparse.Namespace) -> str | None:
    """The suffix of the files to write, ".png", where the user chose it."""
    chosen = None
    if options.format is not None:
        chosen = "." + options.format.lower().removeprefix(".")
    if is_file_name(options.output):
        named = options.output.suffix.lower()
        if chosen and images.writable(named) != images.writable(chosen):
            raise UsageError(f"-o {options.output} and --format {options.format}: choose one")
        chosen = named
    if chosen:
        try:
            images.writable(chosen)
        except UserError as error:
            raise UsageError(str(error)) from error
    return chosen


def _bytes(text: str) -> int:
    """An argparse type: bytes, as 2G, 600M or 2e9."""
    factor = {"K": 1e3, "M": 1e6, "G": 1e9, "T": 1e12}.get(text[-1:].upper())
    return int(frame.positive_float(text[:-1] if factor else text) * (factor or 1))


def _line(row: dict[str, object]) -> str:
    (width, height), (large_width, large_height) = row["size"], row["enlarged"]
    return (
        f"{row['target']}  {width} x {height} -> {large_width} x {large_height}"
        f"  {row['seconds']:.2f} s"
        + (f", peak memory {row['peak_memory'] / 1e6:.0f} MB" if row.get("peak_memory") else "")
    )


def _failed(source: Path, error: Exception, debug: bool) -> dict[str, object]:
    """The row of what could not be enlarged."""
    if debug:
        traceback.print_exception(error)
    text = describe(error)
    if isinstance(error, MemoryError):
        text = f"{source}: {text}"
    return {"source": str(source), "error": text}
