"""Enlarge Dask arrays lazily: blocks are computed when and where Dask decides.

A block of the result is made from a block of the image and as many pixels around it as it sees,
and comes out as from the whole image, to the last bit, however that is chunked.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import NamedTuple

import dask.array as da
import numpy as np

from npsrcnn.errors import UserError
from npsrcnn.model.network import SRCNN
from npsrcnn.pixels.resize import Span
from npsrcnn.runtime.threads import limited
from npsrcnn.upscaling.cluster import threads_given
from npsrcnn.upscaling.enlarger import Enlarger
from npsrcnn.upscaling.strips import enlarge_window, join, split

SMALLEST = 64  # pixels a side: smaller chunks are joined, for their surroundings would cost more


def upscale_lazily(image: da.Array, nets: Sequence[SRCNN], scale: float) -> da.Array:
    """Enlarge a Dask array as :func:`npsrcnn.upscale` does; nothing is computed yet.

    The chunks of the result are those of ``image``, enlarged; but those of less than 64 pixels a
    side are joined with their neighbours.

    Raises
    ------
    UserError
        Of an array whose size Dask does not know. What is wrong with pixels shows later.
    """
    if any(math.isnan(length) for length in image.shape):
        raise UserError("an array of unknown size: call its compute_chunk_sizes() first")
    enlarger = Enlarger(image.shape[:2], nets, scale)
    axes = tuple(_Axis.cut(enlarger, scale, i, image.chunks[i]) for i in (0, 1))
    channels = image.shape[2:]
    result: da.Array = da.map_overlap(
        _block,
        image.rechunk((*(axis.chunks for axis in axes), *channels)),
        depth={i: axis.depth for i, axis in enumerate(axes)},
        boundary="none",
        trim=False,
        allow_rechunk=False,
        chunks=(*(axis.enlarged for axis in axes), *((c,) for c in channels)),
        dtype=image.dtype,
        meta=np.empty((0,) * image.ndim, image.dtype),
        token="npsrcnn-upscale",
        axes=axes,
        size=enlarger.size,
        nets=list(nets),
        scale=scale,
    )
    return result


class _Axis(NamedTuple):
    """The chunks along one axis."""

    chunks: tuple[int, ...]  # their sizes
    depth: tuple[int, int]  # how many pixels of its neighbours, before and after, each needs
    windows: list[Span]  # where they are in the result

    @classmethod
    def cut(cls, enlarger: Enlarger, scale: float, axis: int, chunks: Sequence[int]) -> _Axis:
        """Join chunks to at least ``SMALLEST`` pixels, and to what their neighbours need."""
        least = SMALLEST
        while True:
            chunks = _joined(chunks, least)
            starts = [0, *accumulate(chunks)]
            windows = list(pairwise(math.ceil(scale * start) for start in starts))
            needs = [
                enlarger.needs(window, (0, 1))[0]
                if axis == 0
                else enlarger.needs((0, 1), window)[1]
                for window in windows
            ]
            before = max(start - first for start, (first, _) in zip(starts, needs, strict=False))
            after = max(last - stop for stop, (_, last) in zip(starts[1:], needs, strict=True))
            least = max(before, after)
            if len(chunks) == 1 or min(chunks) >= least:
                return cls(chunks, (max(0, before), max(0, after)), windows)

    @property
    def enlarged(self) -> tuple[int, ...]:
        """The sizes of the chunks of the result."""
        return tuple(stop - start for start, stop in self.windows)

    def start(self, i: int) -> int:
        """Return where chunk ``i`` begins, with what it needs of the one before."""
        return sum(self.chunks[:i]) - (self.depth[0] if i else 0)


def _joined(chunks: Sequence[int], least: int) -> tuple[int, ...]:
    """Join neighbouring chunks until each has at least ``least`` pixels, if there are as many."""
    result = [0]
    for size in chunks:
        if result[-1] < least:
            result[-1] += size
        else:
            result.append(size)
    if len(result) > 1 and result[-1] < least:
        result[-2:] = [result[-2] + result[-1]]
    return tuple(result)


def _block(
    block: np.ndarray,
    axes: tuple[_Axis, _Axis],
    size: tuple[int, int],
    nets: Sequence[SRCNN],
    scale: float,
    block_id: tuple[int, ...],
) -> np.ndarray:
    """Compute a block of the result, from one of the image with what it needs of its neighbours."""
    (down, across), (i, j) = axes, block_id[:2]
    window = down.windows[i], across.windows[j]
    corner = down.start(i), across.start(j)
    blocks = len(down.chunks) * len(across.chunks)
    with limited(threads_given() // blocks):
        pixels, alpha = split(block)
        enlarged = enlarge_window(Enlarger(size, nets, scale), pixels, alpha, *window, corner)
        return join(*enlarged, block.shape[2:])
