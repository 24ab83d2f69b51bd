"""Enlarge an image window by window: any part of the result from a part of the image.

A pixel of the result sees only what bicubic interpolation and the network's filters reach, so
every window of it can be computed alone, from a window of the image with some more around it. It
comes out the same to the last bit, however the result is cut: in memory, in the tiles of a scene
that no memory holds, or on another machine.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from npsrcnn.model.network import SRCNN
from npsrcnn.pixels.color import Y_BLACK, Y_RANGE, peak, to_pixels, to_planes, to_rgb, to_ycbcr
from npsrcnn.pixels.resize import Resizer, Span
from npsrcnn.pixels.transparency import fill, without_nan
from npsrcnn.pixels.values import IN_NETWORK, Values, keep_missing
from npsrcnn.runtime.threads import limited, parallel, work_space
from npsrcnn.upscaling.flat import subtract_flat_error

STRIP_PIXELS = 1 << 18  # that a thread finishes at a time, behind the network
SUPPORT = 2  # bicubic interpolation looks this far, in pixels of the small image

Window = tuple[Span, Span]  # rows and columns


def steps_of(nets: Sequence[SRCNN], scale: float) -> list[float]:
    """Return by how much each network enlarges, and bicubic interpolation in the end, if it must.

    [3] for x3; [2, 3] for x6; [2, 0.75] for x1.5: enlarged to x2 and reduced by 0.75; [1, 3] where
    Cb and Cr are restored first.
    """
    steps = [scale if net.scale is None else net.scale for net in nets]
    rest = scale / math.prod(steps)
    return steps if rest == 1 else [*steps, rest]


class Enlarger:
    """The enlargement of images of one size.

    Parameters
    ----------
    size : (H, W)
        Of the image.
    nets : sequence of SRCNN
        One, or several in turn: see :func:`steps_of`. None: bicubic interpolation alone, of
        integers rounded after each axis, as :func:`npsrcnn.pixels.resize.imresize` does.
    scale : float
    values : Values, optional
        What the numbers of the images mean; default: black and white by their type.
    shape : (rows, columns), optional
        Of the result, where that is not ``ceil(scale * size)``: what the networks and ``scale``
        make is brought to it by bicubic interpolation.

    Attributes
    ----------
    size, shape : (rows, columns)
        Of the image, and of the result.
    """

    def __init__(
        self,
        size: tuple[int, int],
        nets: Sequence[SRCNN],
        scale: float,
        values: Values | None = None,
        shape: tuple[int, int] | None = None,
    ) -> None:
        self._values = values
        self._alpha = Resizer(size, scale) if shape is None else Resizer(size, shape=shape)
        self.size, self.shape = self._alpha.size, self._alpha.shape
        self._scales = (scale, scale) if shape is None else (shape[0] / size[0], shape[1] / size[1])
        factors = steps_of(nets, scale)
        self._reach = _reach(nets, factors) + 1
        self._steps: list[_Step] = []
        for net, factor in zip(nets, factors, strict=False):
            self._steps.append(_Step(Resizer(size, factor), net))
            size = self._steps[-1].resizer.shape
        if size != self.shape or not nets:
            self._steps.append(_Step(Resizer(size, shape=self.shape), None))
        self._alone = len(factors) == len(self._steps) == 1

    def windows(self, height: int, width: int) -> Iterator[Window]:
        """Cut the result into windows of at most ``height`` by ``width``."""
        for top in range(0, self.shape[0], height):
            for left in range(0, self.shape[1], width):
                yield (
                    (top, min(top + height, self.shape[0])),
                    (left, min(left + width, self.shape[1])),
                )

    def needs(self, rows: Span, columns: Span) -> Window:
        """Return the rows and columns of the image that make a window of the result."""
        window = rows, columns
        for step in reversed(self._steps):
            window = step.needs(*window)
        alpha = self._alpha.needs(rows, columns)
        return (
            _widened(_union(window[0], alpha[0]), self._reach, self.size[0]),
            _widened(_union(window[1], alpha[1]), self._reach, self.size[1]),
        )

    def __call__(
        self,
        pixels: np.ndarray,
        alpha: np.ndarray | None,
        rows: Span,
        columns: Span,
        corner: tuple[int, int] = (0, 0),
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Compute a window of the result.

        Parameters
        ----------
        pixels : ndarray, (H, W) or (H, W, 3)
            The image, or a part that holds what :meth:`needs` says; as :func:`npsrcnn.upscale`
            takes it.
        alpha : ndarray, (H, W), or None
        rows, columns : (start, stop)
            Of the result.
        corner : (row, column)
            Of the image, where ``pixels`` and ``alpha`` begin.

        Returns
        -------
        pixels, alpha
            Of the window, with the dtype of those given.
        """
        (top, bottom), (left, right) = self.needs(rows, columns)
        part = np.s_[top - corner[0] : bottom - corner[0], left - corner[1] : right - corner[1]]
        image, corner = pixels[part], (top, left)
        opacity = None if alpha is None else without_nan(alpha[part])
        values = self._values or Values.of_type(image.dtype)
        missing = values.missing(image)
        pixels = fill(values.to_network(image, missing), opacity, self._reach, missing)
        result = values.from_network(self._pixels(pixels, corner, rows, columns), image.dtype)
        if missing is not None:
            keep_missing(result, image, missing, (rows, columns), corner, self._scales)
        if opacity is not None:
            opacity = self._opacity(opacity, corner, rows, columns)
        return result, opacity

    def _opacity(
        self, alpha: np.ndarray, corner: tuple[int, int], rows: Span, columns: Span
    ) -> np.ndarray:
        """Enlarge a window of alpha within its range."""
        white, dtype = peak(alpha.dtype), alpha.dtype
        if dtype.kind == "f" or dtype in IN_NETWORK:
            return self._alpha.window(alpha, corner, rows, columns).clip(0, dtype.type(white))
        share = self._alpha.window(alpha / white, corner, rows, columns)
        return np.rint(share.clip(0, 1) * white).astype(dtype)

    def _pixels(
        self, pixels: np.ndarray, corner: tuple[int, int], rows: Span, columns: Span
    ) -> np.ndarray:
        """Compute a window of the result's pixels, of a type that networks take."""
        if self._alone:
            return self._steps[0].window(pixels, corner, rows, columns)
        white, dtype = peak(pixels.dtype), pixels.dtype
        pixels = pixels.astype(np.float32) / np.float32(white)  # not rounded between steps
        windows = [(rows, columns)]
        for step in self._steps[:0:-1]:
            windows.append(step.needs(*windows[-1]))
        for step, window in zip(self._steps, reversed(windows), strict=True):
            pixels = step.window(pixels, corner, *window)
            corner = window[0][0], window[1][0]
        if dtype.kind == "u":
            pixels = np.floor(pixels * white + 0.5).clip(0, white)
        return pixels.astype(dtype)


class _Step(NamedTuple):
    """Bicubic interpolation, and a network that restores what it lost, or none."""

    resizer: Resizer
    net: SRCNN | None

    def around(self, rows: Span, columns: Span) -> Window:
        """Return what the network sees of the enlarged image to restore a window of it."""
        halo = self.net.halo if self.net else 0
        height, width = self.resizer.shape
        return _widened(rows, halo, height), _widened(columns, halo, width)

    def needs(self, rows: Span, columns: Span) -> Window:
        """Return the rows and columns of this step's image that make a window of its result."""
        return self.resizer.needs(*self.around(rows, columns))

    def window(
        self, pixels: np.ndarray, corner: tuple[int, int], rows: Span, columns: Span
    ) -> np.ndarray:
        """Compute a window of the result, from pixels (H, W) or (H, W, 3) from ``corner`` on."""
        if self.net is None or (self.net.keeps_y and pixels.ndim == 2):
            return self.resizer.window(pixels, corner, rows, columns)
        net, white = self.net, peak(pixels.dtype)
        planes = planes_of(pixels, net, white)
        around = self.around(rows, columns)
        origin = around[0][0], around[1][0]
        seen = np.empty((net.channels, *(stop - start for start, stop in around)), np.float32)
        self._enlarge(planes[: net.channels], corner, *around, seen)
        restored = net.forward(seen[None], origin=origin, size=self.resizer.shape)[0]
        (top, bottom), (left, right) = rows, columns
        result = np.empty((bottom - top, right - left, *pixels.shape[2:]), pixels.dtype)
        step = max(1, STRIP_PIXELS // (right - left))

        def finish(i: int) -> None:
            first, last = top + i * step, min(top + (i + 1) * step, bottom)
            part = np.s_[
                :, first - origin[0] : last - origin[0], left - origin[1] : right - origin[1]
            ]
            blurred = np.ascontiguousarray(seen[part])
            with limited(1):
                corrected = subtract_flat_error(net, blurred, restored[part])
                size = len(planes), *corrected.shape[1:]
                lines = work_space(math.prod(size)).reshape(size)  # no network needs it any more
                lines[: net.channels] = corrected
                if net.keeps_y:
                    lines[0] = blurred[0]
                others = planes[net.channels :]
                self._enlarge(others, corner, (first, last), columns, lines[net.channels :])
                write_pixels(lines, net, white, result[first - top : last - top])

        parallel(finish, -(-len(result) // step))
        return result

    def _enlarge(
        self,
        planes: np.ndarray,
        corner: tuple[int, int],
        rows: Span,
        columns: Span,
        result: np.ndarray,
    ) -> None:
        """Enlarge a window of each plane."""
        (top, bottom), (left, right) = rows, columns
        for plane, enlarged in zip(planes, result, strict=True):
            if self.resizer.shape == self.resizer.size:
                enlarged[:] = plane[
                    top - corner[0] : bottom - corner[0], left - corner[1] : right - corner[1]
                ]
            else:
                self.resizer.window(plane, corner, rows, columns, enlarged)


def planes_of(pixels: np.ndarray, net: SRCNN, white: float) -> np.ndarray:
    """Convert pixels to the planes of a network's colours: Y, or Y, Cb, Cr, or R, G, B.

    A network of Y has seen black at 16 and white at 235 of 255: grey pixels become Y alike.

    Returns
    -------
    ndarray, (1 or 3, H, W)
        float32, in 0..1 where ``pixels`` are in 0..``white``.
    """
    if pixels.ndim == 2 and net.channels == 1:
        grey = (pixels / np.float32(white)).astype(np.float32, copy=False)[None]
        return grey * np.float32(Y_RANGE) + np.float32(Y_BLACK)
    matrix, offset = (np.eye(3), np.zeros(3)) if net.color == "rgb" else to_ycbcr(1.0)
    color = pixels if pixels.ndim == 3 else np.stack([pixels] * 3, axis=2)
    color = color.astype(np.float32) if color.dtype == np.float16 else color
    planes = np.empty((3, *pixels.shape[:2]), np.float32)
    to_planes(color, matrix / white, offset, planes)
    return planes


def write_pixels(planes: np.ndarray, net: SRCNN, white: float, pixels: np.ndarray) -> None:
    """Write the planes of a network's colours, (1 or 3, H, W), to pixels (H, W) or (H, W, 3)."""
    back, offset = (np.eye(3), np.zeros(3)) if net.color == "rgb" else to_rgb(1.0)
    if pixels.ndim == 3:
        of_kernels = white != 1 or pixels.dtype == np.float32
        color = pixels if of_kernels else np.empty(pixels.shape, np.float32)
        to_pixels(planes, back * white, offset * white, color)
        if not of_kernels:
            pixels[:] = color
        return
    if len(planes) == 1:
        grey = (planes[0] - np.float32(Y_BLACK)) * np.float32(1 / Y_RANGE)
    else:  # the mean of the three colours
        weights = back.mean(axis=0)
        grey = weights[0] * planes[0] + weights[1] * planes[1] + weights[2] * planes[2]
        grey += offset.mean()
    pixels[:] = grey if white == 1 else np.floor(grey * white + 0.5).clip(0, white)


def _union(a: Span, b: Span) -> Span:
    return min(a[0], b[0]), max(a[1], b[1])


def _widened(span: Span, border: int, length: int) -> Span:
    """Widen a span by ``border`` on both sides, within an axis of ``length``."""
    return max(0, span[0] - border), min(length, span[1] + border)


def _reach(nets: Sequence[SRCNN], steps: Sequence[float]) -> int:
    """Return how far a pixel of the result sees, in pixels of the small image."""
    reach, zoom = 0.0, 1.0
    margins = [net.margin / 2 for net in nets] + [0.0] * (len(steps) - len(nets))
    for margin, step in zip(margins, steps, strict=True):
        reach += (SUPPORT / min(step, 1) + margin / step) / zoom
        zoom *= step
    return math.ceil(reach)
