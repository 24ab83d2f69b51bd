"""`npsrcnn` lists the commands; `npsrcnn train ...` runs one of them."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence

from npsrcnn.version import __version__

COMMANDS = {  # name: what it does, and an example
    "train": ("from images to weights", "--data my_pictures --scale 2 --minutes 20"),
    "upscale": ("from a picture to a larger one", "photo.jpg --scale 3"),
    "evaluate": ("the paper's protocol and its tables", "--data set5 --scale 3"),
    "models": ("the weights that ship", "9-5-5-x3"),
    "datasets": ("fetch, prepare, reduce or make images", "fetch t91 set5"),
    "convert": ("weights from one format to another", "weights.mat weights.onnx"),
    "gradcheck": ("the gradients, checked before your eyes", "--network 9-1-5"),
    "warmup": ("compile every kernel before its first use", ""),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command named first in ``argv``; without one, list them."""
    argv = list(sys.argv[1:] if argv is None else argv)
    if not argv or argv[0] in ("-h", "--help"):
        print("npsrcnn: super-resolution by three convolutions\n")
        for name, (description, example) in COMMANDS.items():
            print(f"  {name:10} {description:42} npsrcnn {name} {example}".rstrip())
        print("\nnpsrcnn COMMAND --help explains each; `python -m npsrcnn COMMAND` is the same.")
        return 0
    if argv[0] == "--version":
        print(__version__)
        return 0
    if argv[0] not in COMMANDS:
        print(f"npsrcnn: no command {argv[0]!r}; there are {', '.join(COMMANDS)}", file=sys.stderr)
        return 2
    return importlib.import_module(f"npsrcnn.commands.{argv[0]}").main(argv[1:])


if __name__ == "__main__":
    sys.exit(main())
