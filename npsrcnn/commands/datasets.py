"""`npsrcnn datasets`: fetch images, prepare large training sets, look at dead leaves."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from npsrcnn.commands import frame
from npsrcnn.words import counted

EXAMPLES = """\
examples:
  npsrcnn datasets fetch t91 set5        into NPSRCNN_DATA, else the user's cache;
                                                   then: train --data t91 --eval set5
  npsrcnn datasets prepare photos/ -o shards/ --scale 3
                                                   then: train --data shards/ --scale 3
  npsrcnn datasets dead-leaves 12 -o leaves/
"""


def make_parser() -> argparse.ArgumentParser:
    """Make the parser of the command's options."""
    from npsrcnn.datasets.downloads import SETS

    parser = frame.parser("datasets", "Images to train on and to measure with.", EXAMPLES)
    parser.set_defaults(action=None)
    actions = parser.add_subparsers(metavar="fetch | prepare | reduce | dead-leaves", required=True)

    fetch = actions.add_parser("fetch", help="download the paper's images")
    fetch.set_defaults(action=_fetch)
    fetch.add_argument("names", nargs="+", choices=tuple(SETS), metavar="NAME")
    fetch.add_argument("-o", "--out", type=Path, metavar="FOLDER")
    fetch.add_argument("--mirror", metavar="URL")
    fetch.description = (
        f"Download {', '.join(SETS)}, each into a folder of its own in FOLDER (default: "
        "NPSRCNN_DATA, else the user's cache), from the public copy, or from the folder at URL "
        "with T91, Set5, Set14 and LIVE1 in it. Every file is checked; those here are left alone."
    )
    prepare = actions.add_parser("prepare", help="write a training set larger than memory")
    prepare.set_defaults(action=_prepare)
    prepare.add_argument("data", nargs="+", metavar="FOLDER")
    prepare.add_argument("-o", "--out", type=Path, metavar="FOLDER", required=True)
    prepare.add_argument("--scale", type=int, choices=(1, 2, 3, 4), required=True)
    prepare.add_argument("--channels", choices=("y", "rgb", "ycbcr"), default="y")
    prepare.add_argument(
        "--rescale",
        type=frame.positive_floats,
        default=[],
        metavar="A,B,...",
        help="copies of the images, smaller by these factors",
    )
    prepare.add_argument(
        "--jpeg",
        type=frame.qualities,
        metavar="QUALITY",
        help="compress the small images as JPEG: 75, or drawn from 60-80; --scale 1 takes it",
    )
    prepare.add_argument(
        "--crf",
        type=frame.crfs,
        metavar="CRF",
        help="film the images by x264 or x265: at CRF 27, or drawn from 20-32; see train --crf",
    )
    prepare.add_argument(
        "--seed", type=int, default=0, metavar="N", help="of what --jpeg and --crf draw"
    )
    prepare.add_argument("--size", type=frame.positive_int, default=33, metavar="PIXELS")
    prepare.add_argument("--stride", type=frame.positive_int, default=14, metavar="PIXELS")
    prepare.description = (
        "Cut the images of folders, files or patterns into sub-images (default: 33 pixels wide, 14 "
        "apart, as in the paper) and write them to FOLDER, blurred and sharp, in 8 bits; train "
        "--data FOLDER reads them as it goes. Stopped, or damaged later, the set is completed by "
        "the same command."
    )
    reduce = actions.add_parser("reduce", help="write smaller copies of images as PNG files")
    reduce.set_defaults(action=_reduce)
    reduce.add_argument("data", nargs="+", metavar="FOLDER")
    reduce.add_argument("factor", type=_reduction, metavar="FACTOR")
    reduce.add_argument("-o", "--out", type=Path, metavar="FOLDER", required=True)
    reduce.description = (
        "Reduce the images of folders, files or patterns by FACTOR (0.75, say), bicubically, into "
        "FOLDER. Traces of JPEG and noise in photographs are much fainter then, so that they are "
        "better to train on."
    )
    leaves = actions.add_parser("dead-leaves", help="write generated images as PNG files")
    leaves.set_defaults(action=_dead_leaves)
    leaves.add_argument("count", type=frame.positive_int, metavar="N")
    leaves.add_argument("-o", "--out", type=Path, metavar="FOLDER", required=True)
    leaves.add_argument("--size", type=frame.positive_int, default=256, metavar="PIXELS")
    leaves.add_argument("--seed", type=int, default=0, metavar="N")
    leaves.description = "Write N generated images, PIXELS high and wide (default 256), to FOLDER."
    for action in (fetch, prepare, reduce, leaves):
        action.add_argument("--debug", action="store_true", help=argparse.SUPPRESS)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; see ``--help``."""
    return frame.run(make_parser, lambda options: options.action(options), argv)


def _fetch(options: argparse.Namespace) -> None:
    from npsrcnn.datasets.downloads import checksums, fetch

    for name in options.names:
        folder = fetch(name, options.out, options.mirror)
        print(f"{folder}: {len(checksums(name))} images, complete")


def _prepare(options: argparse.Namespace) -> None:
    from tqdm import tqdm

    from npsrcnn.datasets.drawing import in_words
    from npsrcnn.datasets.paths import paths_of_all
    from npsrcnn.datasets.shard_writer import write_shards
    from npsrcnn.runtime.files import quoted

    bar = tqdm(desc="preparing", unit=" sub-images", unit_scale=True, leave=False, disable=None)
    with bar:

        def progress(count: int, total: int) -> None:
            bar.total = total
            bar.update(count)

        shards = write_shards(
            paths_of_all(options.data),
            options.out,
            options.scale,
            options.size,
            options.stride,
            color=options.channels,
            rescale=sorted({1.0, *options.rescale}, reverse=True),
            jpeg=options.jpeg,
            crf=options.crf,
            seed=options.seed,
            progress=progress,
        )
    compressed = f" --jpeg {in_words(options.jpeg)}" if options.jpeg else ""
    compressed += f" --crf {in_words(options.crf)}" if options.crf else ""
    count = sum(shard["count"] for shard in shards)
    images = sum(len(shard["images"]) - len(shard["skipped"]) for shard in shards)
    nbytes = sum((options.out / shard["file"]).stat().st_size for shard in shards)
    print(
        f"{options.out.resolve()}: {counted(count, 'sub-image', ',')} of "
        f"{counted(images, 'image', ',')}, {nbytes / 1e6:,.0f} MB in "
        f"{counted(len(shards), 'shard')}, complete\n"
        f"train on it: npsrcnn train --data {quoted(options.out)} "
        f"--scale {options.scale}{compressed}"
    )


def _reduction(text: str) -> float:
    factor = frame.positive_float(text)
    if factor >= 1:
        raise argparse.ArgumentTypeError(f"{text} is not below 1")
    return factor


def _reduce(options: argparse.Namespace) -> None:
    from npsrcnn.datasets.paths import paths_of_all
    from npsrcnn.datasets.reducing import write_reduced

    count = write_reduced(paths_of_all(options.data), options.out, options.factor)
    print(f"{options.out.resolve()}: {counted(count, 'image')}, reduced by {options.factor:g}")


def _dead_leaves(options: argparse.Namespace) -> None:
    from npsrcnn.datasets.leaves import write_dead_leaves

    write_dead_leaves(options.out, options.count, (options.size, options.size), options.seed)
    print(
        f"{options.out.resolve()}: {counted(options.count, 'image')} of {options.size} x "
        f"{options.size} pixels"
    )
