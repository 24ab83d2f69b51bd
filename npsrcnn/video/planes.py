"""Read and write the Y plane of frames, as the network was trained: black at 16, white at 235.

Planes are read with their line size, which to_ndarray of PyAV is not able to of odd 4:2:0 and of
most formats of 10 bits.
"""

from __future__ import annotations

import numpy as np
from av.video.format import VideoFormat
from av.video.frame import VideoFrame

from npsrcnn.pixels.color import Y_BLACK, Y_RANGE
from npsrcnn.runtime.jit import jit
from npsrcnn.runtime.threads import PIECE_PIXELS, parallel

PLANAR = {
    "nv12": "yuv420p",
    "nv21": "yuv420p",
    "nv16": "yuv422p",
    "yuyv422": "yuv422p",
    "uyvy422": "yuv422p",
    "yvyu422": "yuv422p",
    "p010le": "yuv420p10le",
    "p210le": "yuv422p10le",
}
"""Formats whose samples are the same as those of a planar one, in another order."""


def planar(pixel_format: str) -> str | None:
    """Return the format with planes, little endian, that holds the same samples; None of RGB."""
    name = PLANAR.get(pixel_format, pixel_format)
    name = f"{name[:-2]}le" if name.endswith("be") else name
    return name if name.startswith(("yuv", "gray")) and "f" not in name[4:] else None


def bits_of(pixel_format: str) -> int:
    """Return how many bits a sample of Y has."""
    return VideoFormat(pixel_format).components[0].bits


def has_half_planes(pixel_format: str) -> tuple[bool, bool]:
    """Return whether Cb and Cr have half the columns, and half the rows, of Y."""
    kind = VideoFormat(pixel_format, 16, 16)
    return kind.chroma_width(16) < 16, kind.chroma_height(16) < 16


def plane(frame: VideoFrame, number: int = 0) -> np.ndarray:
    """Return a plane of a planar frame, (H, W) uint8 or uint16, as a view to read or write."""
    return _lines(frame, number)[:, : frame.planes[number].width]


def _lines(frame: VideoFrame, number: int = 0) -> np.ndarray:
    """Return a plane with what lies between its width and its line size: C-contiguous."""
    samples = np.uint16 if frame.format.components[0].bits > 8 else np.uint8
    whole: np.ndarray = np.frombuffer(memoryview(frame.planes[number]), samples)
    return whole.reshape(frame.planes[number].height, -1)


def read_luma(frame: VideoFrame, full_range: bool) -> np.ndarray:
    """Return Y of a planar frame, (H, W) float32: black at 16/255, white at 235/255."""
    factor, offset = _to_network(frame, full_range)
    y = plane(frame).astype(np.float32)
    y *= np.float32(factor)
    if offset:
        y += np.float32(offset)
    return y


def write_luma(frame: VideoFrame, y: np.ndarray, full_range: bool, first_column: int = 0) -> None:
    """Write Y, what :func:`read_luma` returns, into a frame, rounded.

    ``first_column`` is that of the frame from which on ``y`` is written.
    """
    factor, offset = _to_network(frame, full_range)
    target = _lines(frame)
    per_unit, half = np.float32(1 / factor), np.float32(0.5 - offset / factor)
    top = np.float32((1 << bits_of(frame.format.name)) - 1)
    rows = max(1, PIECE_PIXELS // y.shape[1])

    def piece(i: int) -> None:
        part = np.s_[i * rows : (i + 1) * rows]
        _round_rows(y[part], per_unit, half, top, first_column, target[part])

    parallel(piece, -(-len(y) // rows))


@jit
def _round_rows(
    y: np.ndarray,
    per_unit: np.float32,
    half: np.float32,
    top: np.float32,
    first_column: int,
    target: np.ndarray,
) -> None:
    zero = np.float32(0)
    for i in range(y.shape[0]):
        row = target[i, first_column:]
        for j in range(y.shape[1]):
            level = y[i, j] * per_unit + half
            level = level if level > zero else zero
            row[j] = np.int32(level if level < top else top)  # of what is >= 0 this is floor


def _to_network(frame: VideoFrame, full_range: bool) -> tuple[float, float]:
    """Return factor and offset from samples to what the network was trained on.

    In video range white is 235 of 8 bits, 940 of 10: samples over 255, over 1020.
    """
    bits = bits_of(frame.format.name)
    if full_range:
        return Y_RANGE / ((1 << bits) - 1), Y_BLACK
    return 1 / (255 << (bits - 8)), 0.0
