"""BigTIFF files that grow tile by tile."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile
from random_inputs import random_samples

from npsrcnn.images import Picture, read
from npsrcnn.images.scenes import TILE, TiledFile, compress, tiles_of
from npsrcnn.images.tiff import Kind, TiffReader


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_a_file_of_tiles_in_any_order_reads_back(tmp_path, rng, dtype, channels):
    size, path = (TILE + 30, 2 * TILE + 1), tmp_path / "a.tif"
    samples = random_samples(rng, (*size, channels), dtype)
    kind = Kind(size, np.dtype(dtype), 3 if channels > 2 else 1, channels in (2, 4))
    file = TiledFile.begin(path, [(kind, {})])
    assert tiles_of(size) == 6
    offsets, counts = np.zeros((2, 3), np.uint64), np.zeros((2, 3), np.uint64)
    for y, x in rng.permutation([(y, x) for y in range(2) for x in range(3)]):
        top, left = TILE * y, TILE * x
        window = Picture.from_samples(samples[top : top + TILE, left : left + TILE])
        tiles = compress(window.pixels, window.alpha)
        offsets[y, x], counts[y, x] = file.end, len(tiles[0])
        file.append(tiles)
    file.finish([(offsets.ravel(), counts.ravel())])
    np.testing.assert_array_equal(np.atleast_3d(tifffile.imread(path)), samples)
    np.testing.assert_array_equal(read(path).samples(), samples)
    assert TiffReader(path).kind == kind


def test_what_was_written_after_the_known_end_is_cut_off(tmp_path):
    kind = Kind((TILE, TILE), np.dtype(np.uint8), 1, False)
    file = TiledFile.begin(tmp_path / "a.tif", [(kind, {})])
    end = file.end
    file.append([b"a tile cut short"])
    again = TiledFile(tmp_path / "a.tif", end)
    assert again.end == (tmp_path / "a.tif").stat().st_size == end
