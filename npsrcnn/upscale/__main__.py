"""`python -m npsrcnn.upscale photo.jpg --scale 3`: enlarge pictures with SRCNN.

A picture is written beside its source as NAME_x3, those of a folder into FOLDER_x3, or where -o
says. The format stays where it can hold the result, else it is PNG. Transparency, 16 bits, colour
profile and metadata are kept, CMYK becomes sRGB, and the picture is upright. A picture that cannot
be read or written is named and counted, and the others go on.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from npsrcnn import commands, images
from npsrcnn.ensemble import ensemble
from npsrcnn.errors import UsageError, UserError
from npsrcnn.images import Picture
from npsrcnn.kernels import DEVICES
from npsrcnn.kernels.jit import compilations
from npsrcnn.network import SRCNN
from npsrcnn.resize import Resizer
from npsrcnn.upscale import choose_models, enlarge, steps_of
from npsrcnn.upscale.transparency import fill


@dataclass(frozen=True)
class Job:
    """One picture to enlarge, and the file it goes to."""

    source: Path
    target: Path
    fixed: bool  # the user chose the format of the target

    @property
    def fallback(self) -> Path:
        """The file it goes to where its own format cannot hold the result."""
        return self.target.with_suffix(".png")


def make_parser() -> argparse.ArgumentParser:
    """The options of the command."""
    parser = commands.parser("upscale", "Enlarge pictures with SRCNN.", __doc__)
    parser.add_argument("sources", nargs="+", type=Path, metavar="IN", help="pictures and folders")
    parser.add_argument(
        "--scale", type=commands.positive_float, metavar="S", help="how much larger, 2, 3, 4 or,"
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
        "--json", metavar="FILE", help="what was done, as JSON; - is the output"
    )  # fmt: skip
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
    return commands.run(make_parser, run, argv)


def run(options: argparse.Namespace) -> int:
    """Enlarge picture by picture, print as it goes, and count what failed."""
    if options.model is None and options.scale is None:
        raise UsageError("give --scale, or --model, or both")
    format_suffix = _format_suffix(options)
    nets, scale = choose_models(options.model, options.scale, options.device)
    steps = steps_of(nets, scale)
    if options.ensemble:
        nets = [ensemble(net) for net in nets]
    suffix = f"_x{scale:g}" if options.suffix is None else options.suffix
    jobs = list(_plan(options.sources, options.output, suffix, format_suffix))
    _check_targets(jobs)
    if options.output and not (len(jobs) == 1 and jobs[0].target == options.output):
        options.output.mkdir(parents=True, exist_ok=True)

    text = sys.stderr if options.json == "-" else sys.stdout
    if len(steps) > 1:
        print(_said(nets, steps, scale), file=text)
    taken = {job.target for job in jobs}
    rows = []
    for job in jobs:
        try:
            with compilations() as compiled:
                row = _picture(job, nets, scale, options, taken - {job.target})
        except (UserError, OSError, MemoryError) as error:
            if options.debug:
                traceback.print_exc()
            row = {"source": str(job.source), "error": _reason(error, job.source)}
            print(f"python -m npsrcnn.upscale: {row['error']}", file=sys.stderr, flush=True)
        else:
            once = ", most of them to compile kernels: only this once" if compiled else ""
            print(_line(row) + once, file=text, flush=True)
        rows.append(row)
    skipped = sum("skipped" in row for row in rows)
    failed = sum("error" in row for row in rows)
    if len(rows) > 1:
        done = len(rows) - skipped - failed
        print(f"{done} enlarged, {skipped} skipped, {failed} failed", file=text)
    if options.json:
        facts = {"scale": scale, "steps": steps, "model": options.model or "default"}
        result = json.dumps({**facts, "failed": failed, "pictures": rows}, indent=1) + "\n"
        if options.json == "-":
            sys.stdout.write(result)
        else:
            with commands.write_atomically(options.json) as temporary:
                temporary.write_text(result)
    return 1 if failed else 0


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
    if _is_file_name(options.output):
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


def _is_file_name(output: Path | None) -> bool:
    return output is not None and output.suffix.lower() in images.SUFFIXES and not output.is_dir()


def _plan(
    sources: Sequence[Path], output: Path | None, suffix: str, format_suffix: str | None
) -> Iterator[Job]:
    """Which picture goes to which file."""
    if _is_file_name(output):
        if len(sources) > 1 or sources[0].is_dir():
            raise UsageError(f"-o {output} names one file, but IN is several pictures")
        yield Job(sources[0], output, True)
        return
    if output is not None and output.exists() and not output.is_dir():
        raise UsageError(f"-o {output} is neither a folder nor the name of a picture")
    if Path(suffix).name != suffix and suffix:
        raise UsageError(f"--suffix {suffix!r} is no part of a file's name")
    for source in sources:
        if source.is_dir():
            whole = source.resolve()
            folder = output or whole.with_name(whole.name + suffix)
            if output is None:
                folder.mkdir(exist_ok=True)
            pictures = images.list_images(source)
        else:
            folder = output or source.parent
            pictures = [source]
        for path in pictures:
            kept = path.suffix if path.suffix.lower() in images.WRITABLE else ".png"
            name = path.stem + suffix + (format_suffix or kept)
            yield Job(path, folder / name, format_suffix is not None)


def _check_targets(jobs: Sequence[Job]) -> None:
    """No picture may be written over its source or over another result."""
    sources: dict[Path, Path] = {}
    for job in jobs:
        if job.target.resolve() == job.source.resolve():
            raise UsageError(f"{job.source} would be overwritten: give -o, --suffix or --format")
        first = sources.setdefault(job.target, job.source)
        if first != job.source:
            raise UsageError(f"{first} and {job.source} would both become {job.target}: give -o")


def _picture(
    job: Job, nets: Sequence[SRCNN], scale: float, options: argparse.Namespace, taken: set[Path]
) -> dict[str, object]:
    """Read, enlarge and write one picture; a row of the result."""
    started = time.perf_counter()
    row: dict[str, object] = {"source": str(job.source)}
    targets = (job.target,) if job.fixed else (job.target, job.fallback)
    made = [path for path in targets if path.exists() and path not in taken]
    if options.skip_existing and made:
        return {**row, "target": str(made[0].resolve()), "skipped": True}
    small = images.read(job.source)
    large = Picture(*enlarge(small.pixels, small.alpha, nets, scale), small.metadata)
    target = job.target
    if images.misfit(large, images.writable(target.suffix)) and not job.fixed:
        target = job.fallback
        if target in taken:
            raise UserError(f"{job.source}: no room for {target}: give --format tif")
    images.write(target, large)
    row |= {"target": str(target.resolve())}
    if options.also_bicubic:
        beside = target.with_stem(f"{target.stem}_bicubic")
        images.write(beside, _bicubic(small, large, scale))
        row |= {"bicubic": str(beside.resolve())}
    row |= {"size": small.pixels.shape[1::-1], "enlarged": large.pixels.shape[1::-1]}
    return row | {"seconds": round(time.perf_counter() - started, 3)}


def _bicubic(small: Picture, large: Picture, scale: float) -> Picture:
    """The picture enlarged by bicubic interpolation alone, as MATLAB does it."""
    pixels = small.pixels
    if small.alpha is not None:
        pixels = fill(pixels, small.alpha, 3)
    return Picture(Resizer(pixels.shape[:2], scale)(pixels), large.alpha, small.metadata)


def _line(row: dict[str, object]) -> str:
    if "skipped" in row:
        return f"{row['target']} is there, skipped"
    (width, height), (large_width, large_height) = row["size"], row["enlarged"]
    return (
        f"{row['target']}  {width} x {height} -> {large_width} x {large_height}"
        f"  {row['seconds']:.2f} s"
    )


def _reason(error: BaseException, source: Path) -> str:
    text = commands.describe(error)
    return f"{source}: {text}" if isinstance(error, MemoryError) else text


if __name__ == "__main__":
    sys.exit(main())
