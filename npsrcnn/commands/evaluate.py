"""`npsrcnn evaluate`: measure how much better than bicubic, by the paper's own protocol.

Each image is cropped so that it divides by the scale, made smaller by bicubic interpolation,
enlarged again to its size by bicubic interpolation and by the method, and both are compared with
the original: PSNR and SSIM of Y, rounded to 8 bits, as many pixels as the scale shaved from every
side. With the authors' weights this gives the figures of their papers.

With --jpeg the small image, or at --scale 1 the image itself, is compressed as JPEG first, once for
each quality, and without --model the weights are those that ship for the quality. At scale 1 the
whole picture is measured, and PSNR-B, which counts visible blocks, stands beside PSNR and SSIM.
With --crf each image moves in a short clip instead, of which one frame is measured.
"""

from __future__ import annotations

import argparse
import csv
import io
import math
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TextIO

from npsrcnn.commands import frame
from npsrcnn.datasets.paths import paths_of
from npsrcnn.errors import UsageError, UserError, describe
from npsrcnn.evaluation.methods import Candidate, by_patches, srcnn
from npsrcnn.evaluation.protocol import EvaluationImage, check_compression, input_name, protocol
from npsrcnn.evaluation.scores import score, summary
from npsrcnn.kernels import DEVICES, PADDINGS
from npsrcnn.runtime.files import check_writable
from npsrcnn.sparse_coding.methods import TITLES
from npsrcnn.words import counted

COLOR_KEYS = ("cb", "cr", "ycbcr", "rgb")


def _srcnn(options: argparse.Namespace) -> Candidate:
    if options.model is None and options.scale is None:
        raise UsageError("give --scale, or --model, or both")
    return srcnn(
        options.model,
        options.scale,
        device=options.device,
        padding=options.padding,
        orientations=options.ensemble,
        jpeg=options.jpeg,
    )


def _by_patches(options: argparse.Namespace) -> Candidate:
    given = [name for name in ("model", "padding", "ensemble") if getattr(options, name)]
    if options.device != "cpu":
        given.append("device")
    if given:
        raise UsageError(f"--{given[0]} is for --method srcnn, not {options.method}")
    if options.scale is None:
        raise UsageError(f"--method {options.method} needs --scale")
    if options.scale == 1:
        raise UsageError(f"--method {options.method} enlarges: it needs --scale 2 or more")
    return by_patches(options.method, options.scale, options.train_data)


METHODS: dict[str, Callable[[argparse.Namespace], Candidate]] = {
    "srcnn": _srcnn,
    **dict.fromkeys(TITLES, _by_patches),
}
"""Each ``--method`` by its name; another registers here. It is called for each quality of JPEG,
``options.jpeg``, which is None without any."""


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of the command's options."""
    parser = frame.parser("evaluate", "Measure PSNR and SSIM in the paper's protocol.", __doc__)
    parser.add_argument(
        "--data",
        required=True,
        metavar="FOLDER",
        help="images to measure on: a folder, an image, or set5, set14, live1, t91",
    )
    parser.add_argument(
        "--scale", type=_scale, metavar="S", help="enlargement (default: the model's)"
    )
    parser.add_argument(
        "--model",
        metavar="MODEL",
        help="a file, or the name of weights that ship (default: the best for the scale)",
    )
    parser.add_argument(
        "--jpeg",
        type=_qualities,
        metavar="Q,Q,...",
        help="compress as JPEG of each of these qualities, from 1 to 100",
    )
    parser.add_argument(
        "--crf",
        type=frame.crf,
        metavar="CRF",
        help="film each image by x264 at this CRF, 0 to 51, and measure one frame (extra: video)",
    )
    parser.add_argument(
        "--method",
        choices=tuple(METHODS),
        default="srcnn",
        help="srcnn (default), or a super-resolver by patches, trained when first asked for",
    )
    parser.add_argument(
        "--train-data",
        default="t91",
        metavar="FOLDER",
        help="what the others are trained on: t91 (default), a folder, or dead-leaves",
    )
    parser.add_argument(
        "--edge",
        choices=("clamp", "mirror"),
        default="clamp",
        help="of bicubic interpolation: clamp (the paper) or mirror (newer MATLAB)",
    )
    parser.add_argument(
        "--color",
        action="store_true",
        help="PSNR of Cb, Cr and RGB as well, as in the paper's Table 5",
    )
    parser.add_argument(
        "--padding", choices=PADDINGS, help="of the network's layers (default: as the model says)"
    )
    parser.add_argument(
        "--ensemble",
        action="store_true",
        help="the mean over eight orientations: better, and eight times as slow",
    )
    frame.add_device(parser, DEVICES)
    result = parser.add_argument_group("results in files")
    result.add_argument("--json", metavar="FILE", help="all figures as JSON; - is the output")
    result.add_argument("--csv", metavar="FILE", help="the same as CSV; - is the output")
    result.add_argument(
        "--report",
        type=Path,
        metavar="FILE",
        help="a page to look at, FILE.html: each image before, after and as it was, the worst"
        " first, and the table",
    )
    result.add_argument(
        "--save",
        type=Path,
        metavar="FOLDER",
        help="the enlarged images, and a crop of each beside bicubic and original; of a.jpg and"
        " a.png the first is a_jpg",
    )
    return parser


def _scale(text: str) -> int:
    value = frame.positive_int(text)
    if value > 16:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1 to 16")
    return value


def _qualities(text: str) -> list[int]:
    parts = text.split(",")
    for part in parts:
        if not (part.isdecimal() and 1 <= int(part) <= 100):
            raise argparse.ArgumentTypeError(f"{part!r} is not a whole number from 1 to 100")
    return list(dict.fromkeys(int(part) for part in parts))


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; see ``--help``."""
    return frame.run(make_parser, run, argv)


def run(options: argparse.Namespace) -> int:
    """Measure image by image, print as it goes, write what was asked for."""
    if options.json == options.csv == "-":
        raise UsageError("--json - and --csv - cannot both be the output")
    for file in (options.json, options.csv, options.report):
        if file and file != "-":
            check_writable(file)
    qualities: list[int | None] = options.jpeg or [None]
    candidates = [_candidate(options, quality) for quality in qualities]
    paths = paths_of(options.data)
    readable = paths
    if options.save:
        from npsrcnn.evaluation import comparison

        files = {
            quality: comparison.files_of(paths, options.save, options.method, scale, quality)
            for quality, (_, scale, _, _) in zip(qualities, candidates, strict=True)
        }
        options.save.mkdir(parents=True, exist_ok=True)
    text = sys.stderr if "-" in (options.json, options.csv) else sys.stdout
    report = None
    if options.report:
        from npsrcnn.report.measured import EvaluationReport

        report = EvaluationReport(options.command_line, TITLES.get(options.method, "SRCNN"))
    results: list[dict[str, Any]] = []
    for quality, (method, scale, title, color) in zip(qualities, candidates, strict=True):
        if results:
            print(file=text)
        print(f"{title}\n{protocol(scale, options.edge, quality, options.crf)}\n", file=text)
        table = Table(max(len(path.name) for path in paths), color, text, input_name(scale))
        rows, read = [], []
        if report:
            report.begin(len(qualities))
        for path, image in _images(readable, scale, options, quality):
            restored = method(image)
            rows.append(score(image, restored, color))
            read.append(path)
            table.row(rows[-1])
            if report:
                report.add(image, restored, rows[-1])
            if options.save:
                comparison.save(files[quality][path], options.method, image, restored, rows[-1])
        if not rows:
            count = counted(len(paths), "image")
            raise UserError(f"{options.data}: none of its {count} can be measured")
        readable = read
        results.append(summary(scale, options.edge, rows, quality, options.crf))
        table.row({"name": "mean", **results[-1]["mean"]})
    if any(candidate[3] for candidate in candidates):
        print("\nYCbCr: of the three together, which TPAMI Table 5 calls RGB", file=text)
    if options.json:
        named = [
            {"method": title, **result}
            for (_, _, title, _), result in zip(candidates, results, strict=True)
        ]
        frame.write_json(options.json, _for_json(named if options.jpeg else results[0]))
    if options.csv:
        frame.write_text(options.csv, _as_csv(results))
    if report:
        titles = [candidate.title for candidate in candidates]
        report.page(f"{options.data}, measured", list(zip(titles, results, strict=True))).write(
            options.report
        )
        print(f"\nreport in {options.report.resolve()}", file=text)
    failed = len(paths) - len(readable)
    if options.save:
        print(f"\nimages in {options.save.resolve()}", file=text)
    if failed:
        print(f"{failed} of {counted(len(paths), 'image')} could not be measured", file=sys.stderr)
    return 1 if failed else 0


def _candidate(options: argparse.Namespace, quality: int | None) -> Candidate:
    """Return the method to be measured at one quality of JPEG, or without JPEG."""
    if options.scale is not None:
        check_compression(options.scale, quality, options.crf)
    given = argparse.Namespace(**{**vars(options), "jpeg": quality})
    method, scale, title, color = METHODS[options.method](given)
    check_compression(scale, quality, options.crf)
    return Candidate(method, scale, title, color or options.color)


def _images(
    paths: Iterable[Path], scale: int, options: argparse.Namespace, jpeg: int | None
) -> Iterator[tuple[Path, EvaluationImage]]:
    """Read each image; for one that cannot be read, print a line instead."""
    for path in paths:
        try:
            image = EvaluationImage.from_file(path, scale, options.edge, jpeg, options.crf)
        except (UserError, OSError, MemoryError) as error:
            print(f"skipped: {describe(error)}", file=sys.stderr)
        else:
            yield path, image


class Table:
    """A table whose rows are printed as they come."""

    def __init__(self, width: int, color: bool, file: TextIO, before: str) -> None:
        self.width, self.color, self.file = max(width, 5), color, file
        self.before = before.lower()
        self.kinds = [("psnr", 3), ("ssim", 4)]
        head = [before, "PSNR", "gain", before, "SSIM", "gain"]
        if before == "JPEG":
            self.kinds.append(("psnr_b", 3))
            head += [before, "PSNR-B", "gain"]
        if color:
            head += [before, "Cb", before, "Cr", before, "YCbCr", before, "RGB"]
        print(f"{'image':{self.width}}  " + " ".join(f"{h:>7}" for h in head), file=file)

    def row(self, row: dict[str, Any]) -> None:
        """Print the row of one image, or of the mean."""
        cells = []
        for kind, digits in self.kinds:
            before, after = row[f"{kind}_{self.before}"], row[kind]
            gain = after - before if math.isfinite(after - before) else 0.0
            cells += [f"{before:7.{digits}f}", f"{after:7.{digits}f}", f"{gain:+7.{digits}f}"]
        for key in COLOR_KEYS if self.color else ():
            for name in (f"psnr_{key}_{self.before}", f"psnr_{key}"):
                cells.append(f"{row[name]:7.3f}" if name in row else f"{'-':>7}")
        print(f"{row['name']:{self.width}}  " + " ".join(cells), file=self.file, flush=True)


def _for_json(value: Any) -> Any:
    """Replace infinite PSNR, which JSON does not know, by None."""
    if isinstance(value, dict):
        return {key: _for_json(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_for_json(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _as_csv(results: list[dict[str, Any]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, ["name", *results[0]["mean"]], lineterminator="\n")
    writer.writeheader()
    for result in results:
        writer.writerows([*result["images"], {"name": "mean", **result["mean"]}])
    return text.getvalue()
