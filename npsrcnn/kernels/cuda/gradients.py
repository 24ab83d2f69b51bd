"""Compute the gradients of a layer to its weights and biases, summed in a fixed order.

dw[o, c, u, v] is the sum over all samples and pixels of dy[o, i, j] x[c, i + u, j + v]. A block
takes a few samples and copies band after band of their pixels to shared memory. Each of its
threads has a tile of the gradient in registers (some maps o, some channels c, one filter row u,
all v), and adds up four neighbouring pixels at a time. Where a block has more threads than
tiles, they share the pixels, and their sums are added up one after the other. Neighbouring
threads have neighbouring maps, which lie an odd number of fours apart: eight of them read from
different banks of shared memory.

The blocks' sums go to different places of ``partials``, added up in their order by
:mod:`npsrcnn.kernels.cuda.steps`. There are no atomic additions: the same batch gives the same
bits, on any GPU, since how samples are grouped depends on their number alone.

N batch, C channels in, O channels out, H W height and width, K kernel size.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np
from numba import types

from npsrcnn.kernels.cuda import device, tiles
from npsrcnn.kernels.cuda.convolution import Shape
from npsrcnn.kernels.cuda.device import DeviceArray, Kernel, cuda, divide_up, even, round_up
from npsrcnn.kernels.cuda.launches import launch
from npsrcnn.kernels.cuda.planes import Planes, extent_at
from npsrcnn.kernels.cuda.shared import copy_pixels, spread
from npsrcnn.kernels.cuda.tiles import add_tile, aligned, gradient_tile, zero_tile

THREADS = 256
"""Most threads of a block."""
SAMPLE_GROUPS = 128
"""Most groups of samples, each with its own partial sums."""
SUMS = 72
"""Most sums that a thread keeps in registers."""
BAND_COLUMNS = 32
"""Most columns of a band."""


class Blocking(NamedTuple):
    """How the work is cut up."""

    maps: int  # of a thread's tile
    channels: int
    block_maps: int  # of a block
    block_channels: int
    rows: int  # of a band
    columns: int

    def tiles(self, size: int) -> int:
        """Count the tiles of a block: a thread has one."""
        return (self.block_maps // self.maps) * (self.block_channels // self.channels) * size

    def slices(self, size: int, threads: int) -> int:
        """Count the threads that share the pixels of a tile."""
        return max(1, threads // self.tiles(size))

    def pitch(self, size: int) -> int:
        """Return the floats of a row of x in shared memory."""
        return tiles.row_floats(self.columns, 4, size)

    def planes(self, size: int) -> tuple[int, int]:
        """Return the floats from one map to the next in shared memory, of x and of dy."""
        fours = (self.rows + size - 1) * self.pitch(size) // 4, self.rows * self.columns // 4
        return 4 * (fours[0] | 1), 4 * (fours[1] | 1)

    def floats(self, size: int) -> tuple[int, int]:
        """Return the floats of shared memory for x and for dy."""
        x_plane, y_plane = self.planes(size)
        return self.block_channels * x_plane, self.block_maps * y_plane

    def sums(self, size: int) -> int:
        """Count the numbers of the gradient that a block computes."""
        return self.tiles(size) * self.maps * self.channels * size


@functools.lru_cache(maxsize=256)
def blocking(shape: Shape, columns: int) -> Blocking:
    """Choose how to cut up the work for maps dy of ``columns``."""
    size = shape.size
    maps = even(shape.maps, max(1, min(8, SUMS // size)))
    channels = fair(shape.channels, max(1, min(8, SUMS // (maps * size))))
    block_maps = maps * even(divide_up(shape.maps, maps), 8)
    tiles_each = block_maps // maps * size  # of a block, for each of its tiles' channels
    sums_each = 4 * tiles_each * maps * channels * size  # their bytes
    most = max(1, min(THREADS // tiles_each, 64 // channels, device.SHARED_BYTES // sums_each))
    block_channels = channels * fair(divide_up(shape.channels, channels), most)
    band = min(BAND_COLUMNS, round_up(4, columns))
    parts = Blocking(maps, channels, block_maps, block_channels, 1, band)
    while parts.rows < 8:
        taller = parts._replace(rows=parts.rows + 1)
        if 4 * sum(taller.floats(size)) > device.SHARED_BYTES - 1024:
            break
        parts = taller
    return parts


def fair(total: int, most: int) -> int:
    """Return parts of at most ``most``: of equal size where that is not much less, else nearly."""
    best = max(part for part in range(1, most + 1) if total % part == 0)
    return best if 2 * best >= most else even(total, most)


def sample_groups(n: int) -> int:
    """Count the groups that ``n`` samples make."""
    return divide_up(n, divide_up(n, SAMPLE_GROUPS))


@functools.lru_cache(maxsize=256)
def kernel(shape: Shape, parts: Blocking, threads: int) -> Kernel:
    """Compile ``add_up(x, dy, partials, geometry)``.

    Grid: (groups of samples, blocks of maps times blocks of channels). ``geometry``: extents of x
    and dy, number of samples, floats in partials from one group of samples to the next, and where
    the weights of this layer begin there; then come its biases.
    """
    all_channels, all_maps, size = shape.channels, shape.maps, shape.size
    maps, channels, block_maps, block_channels, rows, columns = parts
    tile_count, slices = parts.tiles(size), parts.slices(size, threads)
    map_tiles, map_blocks = block_maps // maps, divide_up(all_maps, block_maps)
    channel_tiles = block_channels // channels
    x_plane, y_plane = parts.planes(size)
    lines, pitch, taps = rows + size - 1, parts.pitch(size), size * size
    across_x, across_y = spread(threads, pitch // 4, lines), spread(threads, columns // 4, rows)
    across, fours = columns // 4, rows * columns // 4
    each = maps * channels * size  # sums of a tile
    x_floats, y_floats = parts.floats(size)
    helpers = max(1, threads // block_maps)  # threads that share the bias gradient of a map
    share = divide_up(rows * columns, helpers)
    all_floats = max(x_floats + y_floats, parts.sums(size), threads)
    if 4 * all_floats > device.SHARED_BYTES:
        raise ValueError(f"no room for filters of {size} x {size} in shared memory")

    @device.jit(threads)
    def add_up(x, dy, partials, geometry):
        shared = aligned(cuda.shared.array(all_floats, types.float32))
        x_extent, y_extent = extent_at(geometry, 0), extent_at(geometry, 4)
        samples, stride, start_of_layer = geometry[8], geometry[9], geometry[10]
        t = cuda.threadIdx.x
        first_map = cuda.blockIdx.y % map_blocks * block_maps
        first_channel = cuda.blockIdx.y // map_blocks * block_channels
        tile, part = t % tile_count, t // tile_count
        # The maps of a tile are o, o + map_tiles, ..., its channels likewise.
        o, u, c = tile % map_tiles, tile // map_tiles % size, tile // (map_tiles * size)
        per_group = (samples + cuda.gridDim.x - 1) // cuda.gridDim.x
        first = cuda.blockIdx.x * per_group
        last = first + per_group if first + per_group < samples else samples
        # Maps beyond the last are left undefined; their sums are dropped.
        x_maps, y_maps = all_channels - first_channel, all_maps - first_map
        x_maps = x_maps if x_maps < block_channels else block_channels
        y_maps = y_maps if y_maps < block_maps else block_maps
        zero = np.float32(0)

        acc = zero_tile(maps, channels, size)
        bias_sum = zero
        for n in range(first, last):
            for top in range(0, y_extent.rows, rows):
                for left in range(0, y_extent.columns, columns):
                    cuda.syncthreads()
                    # What lies outside is 0 in both: 0 times the undefined would not be.
                    copy_pixels(
                        shared, (0, lines, pitch // 4, x_plane), (t, *across_x), x, x_extent,
                        n * all_channels + first_channel, x_maps, top, left, True,
                    )  # fmt: skip
                    copy_pixels(
                        shared, (x_floats, rows, columns // 4, y_plane), (t, *across_y), dy,
                        y_extent, n * all_maps + first_map, y_maps, top, left, True,
                    )  # fmt: skip
                    cuda.syncthreads()
                    if part < slices:
                        for k in range(part, fours, slices):
                            i, j = k // across, k % across * 4
                            acc = gradient_tile(
                                acc, maps, channels, size,
                                shared, x_floats + o * y_plane + i * columns + j,
                                map_tiles * y_plane,
                                shared, c * x_plane + (i + u) * pitch + j,
                                channel_tiles * x_plane,
                            )  # fmt: skip
                    if t < block_maps * helpers:
                        start = t % helpers * share
                        stop = start + share if start + share < rows * columns else rows * columns
                        base = x_floats + t // helpers * y_plane
                        for k in range(start, stop):
                            bias_sum += shared[base + k]

        target = cuda.blockIdx.x * stride + start_of_layer
        for s in range(slices):
            cuda.syncthreads()
            if part == s:
                add_tile(acc, maps, channels, size, shared, tile * each, s == 0)
        cuda.syncthreads()
        for k in range(t, tile_count * each, threads):
            my_tile, at = k // each, k % each
            m = first_map + my_tile % map_tiles + at // (channels * size) * map_tiles
            ch = first_channel + my_tile // (map_tiles * size)
            ch += at // size % channels * channel_tiles
            if m < all_maps and ch < all_channels:
                tap = my_tile // map_tiles % size * size + at % size
                partials[target + (ch * taps + tap) * all_maps + m] = shared[k]
        cuda.syncthreads()
        shared[t] = bias_sum
        cuda.syncthreads()
        m = first_map + t
        if t < block_maps and m < all_maps and first_channel == 0:
            total = zero
            for k in range(helpers):
                total += shared[t * helpers + k]
            partials[target + all_channels * taps * all_maps + m] = total

    return add_up


def weight_gradients(
    x: Planes, dy: Planes, shape: Shape, partials: DeviceArray, stride: int, first: int
) -> None:
    """Put each group's dw (C, K, K, O) and then db at ``first`` in its part of ``partials``."""
    parts = blocking(shape, dy.columns)
    geometry = device.integers(*x.extent, *dy.extent, x.n, stride, first)
    blocks_of_maps = divide_up(shape.maps, parts.block_maps)
    grid = sample_groups(x.n), blocks_of_maps * divide_up(shape.channels, parts.block_channels)
    launch(kernel(shape, parts, THREADS), grid, THREADS, x.data, dy.data, partials, geometry)
