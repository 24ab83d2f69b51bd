"""Write BigTIFF files that no memory holds, tile by tile, in any order.

A file is begun with all its tags and no tile, grows tile by tile, and learns in the end where its
tiles lie: what was written stays good if the process dies, and :mod:`npsrcnn.upscaling.streaming`
goes on from there.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from npsrcnn.images.tiff import (
    DEFLATE,
    DIFFERENCES,
    TILE_COUNTS,
    TILE_OFFSETS,
    Kind,
    Ratio,
    deflate,
)

TILE = 256  # rows and columns of a tile


class TiledFile:
    """Grow a BigTIFF file by tiles, in any order.

    Parameters
    ----------
    path : Path
        Of a file that :meth:`begin` has made.
    end : int
        Its length; what lies behind it, a write that was cut short, goes.
    """

    def __init__(self, path: Path, end: int) -> None:
        self.path, self.end = path, end
        os.truncate(path, end)

    @classmethod
    def begin(
        cls,
        path: Path,
        kind: Kind,
        tags: Sequence[tuple[int, int, int | None, object, bool]] = (),
        resolution: tuple[tuple[Ratio, Ratio] | None, int | None] = (None, None),
    ) -> TiledFile:
        """Write all but the tiles."""
        import tifffile

        shape = (*kind.size, kind.samples) if kind.samples > 1 else kind.size
        with tifffile.TiffWriter(path, bigtiff=True, byteorder="<") as writer:
            writer.write(
                (b"" for _ in range(tiles_of(kind.size))),
                shape=shape,
                dtype=kind.dtype,
                tile=(TILE, TILE),
                compression=DEFLATE,
                predictor=DIFFERENCES if kind.dtype.kind == "u" else None,
                photometric="rgb" if kind.colors == 3 else "minisblack",
                planarconfig="contig",
                extrasamples=["unassalpha"] if kind.alpha else None,
                metadata=None,
                software=False,
                extratags=tags,
                resolution=resolution[0],
                resolutionunit=resolution[1],
            )
        return cls(path, path.stat().st_size)

    def append(self, tiles: Sequence[bytes]) -> None:
        """Write compressed tiles, down to the disk."""
        with open(self.path, "rb+") as file:
            file.seek(self.end)
            file.writelines(tiles)
            file.flush()
            os.fsync(file.fileno())
        self.end += sum(map(len, tiles))

    def finish(self, offsets: np.ndarray, counts: np.ndarray) -> None:
        """Write offset and length in bytes of each tile, row by row of tiles."""
        import tifffile

        with tifffile.TiffFile(self.path, mode="r+") as file:
            tags = file.pages.first.tags
            tags[TILE_OFFSETS].overwrite(offsets.tolist())
            tags[TILE_COUNTS].overwrite(counts.tolist())


def tiles_of(size: tuple[int, int]) -> int:
    """Return how many tiles an image of ``size`` (H, W) has."""
    return -(-size[0] // TILE) * -(-size[1] // TILE)


def compress(pixels: np.ndarray, alpha: np.ndarray | None) -> list[bytes]:
    """Compress the tiles of a window that begins where a tile does, row by row."""
    samples = np.atleast_3d(pixels) if alpha is None else np.dstack([pixels, alpha])
    height, width, channels = samples.shape
    tiles = []
    for top in range(0, height, TILE):
        for left in range(0, width, TILE):
            part = samples[top : top + TILE, left : left + TILE]
            tile = np.zeros((TILE, TILE, channels), samples.dtype)
            tile[: len(part), : part.shape[1]] = part
            tiles.append(tile)
    return deflate(tiles)
