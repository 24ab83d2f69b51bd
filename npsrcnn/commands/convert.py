"""`npsrcnn convert A B`: convert weights from one format to another.

Reads .npz, .mat (the authors'), PyTorch's .pth, .pt, .ckpt and .pth.tar (a state_dict, a checkpoint
or a whole module; nothing in it is run), .safetensors, .onnx, Keras's .keras, .h5 and .hdf5,
Caffe's .caffemodel and the names of weights that ship; writes .npz, .mat, .pth, .safetensors and
.onnx.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from npsrcnn.commands import frame
from npsrcnn.errors import UserError
from npsrcnn.kernels import PADDINGS
from npsrcnn.model import load
from npsrcnn.words import counted

COLORS = {1: ("y",), 3: ("rgb", "ycbcr")}


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of the command's options."""
    parser = frame.parser("convert", "Convert weights between kinds of files.", __doc__)
    parser.add_argument("source", metavar="A", help="the file to read, or a name: 9-1-5-x3")
    parser.add_argument("target", metavar="B", type=Path, help="the file to write")
    known = parser.add_argument_group("what the file to read does not say, or says wrongly")
    known.add_argument(
        "--scale",
        type=int,
        choices=range(2, 9),
        metavar="S",
        help="the enlargement that the weights were trained for, 2 to 8",
    )
    known.add_argument(
        "--padding",
        choices=PADDINGS,
        help="of images before every layer (.mat: replicate; .pth: zeros)",
    )
    known.add_argument("--color", choices=("y", "rgb", "ycbcr"), help="what the channels are")
    known.add_argument(
        "--residual",
        action="store_true",
        help="its result is added to its input, as VDSR's is; B makes the sum itself",
    )
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; see ``--help``."""
    return frame.run(make_parser, convert, argv)


def convert(options: argparse.Namespace) -> None:
    """Read, add the facts that options give, write, and print what was written."""
    net = load(
        options.source, device="reference", padding=options.padding, residual=options.residual
    )
    if options.scale is not None:
        net.metadata["scale"] = options.scale
    if options.color is not None:
        if options.color not in COLORS[net.channels]:
            raise UserError(
                f"{options.source} has {counted(net.channels, 'channel')}: "
                f"--color {' or '.join(COLORS[net.channels])}"
            )
        net.metadata["color"] = options.color
    net.save(options.target)
    scale = f"x{net.scale}" if net.scale else "scale not known (--scale)"
    print(f"{options.target.resolve()}: {net.name}, {net.color}, {scale}, padding {net.padding}")
