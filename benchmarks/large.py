"""Peak memory for a TIFF file of 40,000 x 40,000 pixels, without the hours that it would take.

``python -m benchmarks.large``. The file is real, but a hole of 4.8 GB; the first blocks
are computed as always, the others are claimed to be empty. All that grows with the image is there:
tables of interpolation, the journal, the directory of 390,625 tiles.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Generator, Sequence
from itertools import islice
from pathlib import Path

import numpy as np
import tifffile

from npsrcnn.images.scenes import TILE
from npsrcnn.runtime import memory
from npsrcnn.upscaling.choice import choose_models
from npsrcnn.upscaling.enlarger import Window
from npsrcnn.upscaling.files import MEMORY
from npsrcnn.upscaling.streaming import BlockJob, enlarge_scene, in_threads


def main(argv: Sequence[str] | None = None) -> int:
    """Print sizes and the peak."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--side", type=int, default=40_000, help="rows and columns")
    parser.add_argument("--model", default="9-1-5-x4", help="(default: 9-1-5-x4)")
    parser.add_argument("--blocks", type=int, default=8, help="that are computed")
    parser.add_argument("--memory", type=int, default=MEMORY, help="bytes")
    options = parser.parse_args(argv)
    nets, scale = choose_models(options.model, None)

    def compute(job: BlockJob, blocks: Sequence[Window]) -> Generator[list[bytes], None, None]:
        yield from in_threads(job, blocks[: options.blocks])
        for rows, columns in islice(blocks, options.blocks, None):
            yield [b""] * (_tiles(rows) * _tiles(columns))

    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "scene.tif", Path(folder) / "large.tif"
        shape = (options.side, options.side, 3)
        tifffile.imwrite(source, shape=shape, dtype=np.uint8, photometric="rgb", rowsperstrip=1,
                         bigtiff=True, metadata=None)  # fmt: skip
        size, enlarged = enlarge_scene(
            source, target, nets, scale, memory=options.memory, compute=compute
        )
    print(
        f"{size[1]} x {size[0]} -> {enlarged[1]} x {enlarged[0]}, {_tiles((0, enlarged[0])) ** 2} "
        f"tiles: peak memory {memory.peak_resident_bytes() / 1e6:.0f} MB "
        f"of {options.memory / 1e6:.0f}"
    )
    return 0


def _tiles(span: tuple[int, int]) -> int:
    return -(-(span[1] - span[0]) // TILE)


if __name__ == "__main__":
    sys.exit(main())
