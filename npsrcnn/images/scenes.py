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

from npsrcnn.images import ifd
from npsrcnn.images.ifd import Directory
from npsrcnn.images.tiff import Kind
from npsrcnn.images.tiff_layout import TILE_COUNTS, TILE_LENGTH, TILE_OFFSETS, TILE_WIDTH
from npsrcnn.images.tiff_writer import deflate, describe

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
    def begin(cls, path: Path, pages: Sequence[tuple[Kind, Directory]]) -> TiledFile:
        """Write all but the tiles: of each page its kind and what else to store."""
        position = len(ifd.header(0, big=True))
        parts = [ifd.header(position, big=True)]
        for i, (kind, tags) in enumerate(pages):
            tiles = [0] * tiles_of(kind.size)
            directory = (
                tags
                | describe(kind)
                | {
                    TILE_WIDTH: ifd.entry(ifd.SHORT, [TILE]),
                    TILE_LENGTH: ifd.entry(ifd.SHORT, [TILE]),
                    TILE_OFFSETS: ifd.entry(ifd.LONG8, tiles),
                    TILE_COUNTS: ifd.entry(ifd.LONG8, tiles),
                }
            )
            following = i < len(pages) - 1
            parts.append(ifd.serialize(directory, position, big=True, following=following))
            position += len(parts[-1])
        path.write_bytes(b"".join(parts))
        return cls(path, position)

    def append(self, tiles: Sequence[bytes]) -> None:
        """Write compressed tiles, down to the disk."""
        with open(self.path, "rb+") as file:
            file.seek(self.end)
            file.writelines(tiles)
            file.flush()
            os.fsync(file.fileno())
        self.end += sum(map(len, tiles))

    def finish(self, tables: Sequence[tuple[np.ndarray, np.ndarray]]) -> None:
        """Write offset and length in bytes of each tile, row by row of tiles, of each page."""
        import tifffile

        with tifffile.TiffFile(self.path, mode="r+") as file:
            for page, (offsets, counts) in zip(file.pages, tables, strict=True):
                tags = page.aspage().tags
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
