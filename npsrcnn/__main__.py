"""`python -m npsrcnn` lists the commands; `python -m npsrcnn train ...` runs one of them."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence

COMMANDS = {
    "train": ("npsrcnn.train", "from images to weights"),
    "upscale": ("npsrcnn.upscale.__main__", "from an image to a larger one"),
    "evaluate": ("npsrcnn.evaluate", "the paper's protocol, the paper's tables"),
    "models": ("npsrcnn.models.__main__", "the weights that ship"),
    "datasets": ("npsrcnn.datasets.__main__", "fetch the paper's images, or make dead leaves"),
    "convert": ("npsrcnn.convert", "weights from .npz, .mat, .pth to .npz, .mat, .onnx"),
    "gradcheck": ("npsrcnn.gradcheck", "the gradients, checked before your eyes"),
    "warmup": ("npsrcnn.warmup", "compile every kernel ahead of its first use"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command named first in ``argv``; without one, list them."""
    argv = list(sys.argv[1:] if argv is None else argv)
    if not argv or argv[0] in ("-h", "--help"):
        print("npsrcnn: super-resolution by three convolutions\n")
        for name, (_, description) in COMMANDS.items():
            print(f"  python -m npsrcnn.{name:10} {description}")
        print("\nEach explains itself with --help. `npsrcnn train` is `python -m npsrcnn.train`.")
        return 0
    if argv[0] == "--version":
        from npsrcnn.version import __version__

        print(__version__)
        return 0
    if argv[0] not in COMMANDS:
        print(f"npsrcnn: no command {argv[0]!r}; there are {', '.join(COMMANDS)}", file=sys.stderr)
        return 2
    return importlib.import_module(COMMANDS[argv[0]][0]).main(argv[1:])


if __name__ == "__main__":
    sys.exit(main())
