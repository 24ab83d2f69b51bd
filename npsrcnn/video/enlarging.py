"""Enlarge frame by frame: Y by the network, Cb and Cr bicubically, where they lie."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from av.video.frame import PictureType, VideoFrame
from av.video.reformatter import VideoReformatter

from npsrcnn.model.network import SRCNN
from npsrcnn.pixels.resize import Resizer
from npsrcnn.upscaling.enlarger import steps_of
from npsrcnn.upscaling.flat import subtract_flat_error
from npsrcnn.video.planes import planar, plane, read_luma, write_luma

SIDE, SPLIT = "side", "split"
LINE = 2  # columns of white between bicubic and SRCNN


class FrameEnlarger:
    """The enlargement of frames of one size and format.

    Parameters
    ----------
    nets : sequence of SRCNN
        Of one channel, Y: one after the other, see :func:`npsrcnn.upscaling.enlarger.steps_of`.
    scale : float
    size : (width, height)
        Of the frames.
    pixel_format : str
        Of what comes out: planar.
    full_range : bool
        Whether Y goes from 0 to the largest value, and not from 16 to 235.
    compare : None, "side" or "split"
        Bicubic and restored side by side, twice as wide; or the left half bicubic.

    Attributes
    ----------
    size : (width, height)
        Of what comes out.
    """

    def __init__(
        self,
        nets: Sequence[SRCNN],
        scale: float,
        size: tuple[int, int],
        pixel_format: str,
        full_range: bool,
        compare: str | None = None,
    ) -> None:
        width, height = size
        whole = Resizer((height, width), scale).shape
        self._nets, self._compare, self._full_range = nets, compare, full_range
        self._resizers = []
        shape = (height, width)
        for step in steps_of(nets, scale)[: len(nets)]:
            self._resizers.append(Resizer(shape, step))
            shape = self._resizers[-1].shape
        if shape != whole:
            self._resizers.append(Resizer(shape, shape=whole))
        self._shape, self._pixel_format = whole, pixel_format
        self._reformat = VideoReformatter().reformat  # which keeps its filters
        self.size = ((2 if compare == SIDE else 1) * whole[1], whole[0])

    def __call__(self, frame: VideoFrame) -> VideoFrame:
        """Return a larger frame, with the time, colour tags and side data of this one."""
        source = planar(frame.format.name)
        if source != frame.format.name:
            frame = self._reformat(frame, format=source)
        large = self._reformat(
            frame,
            self._shape[1],
            self._shape[0],
            self._pixel_format,
            interpolation="BICUBIC",
            src_color_range=frame.color_range,
            dst_color_range=frame.color_range,
        )
        if large is frame:  # of the same size: what the decoder may still look at is left alone
            large = _copy(frame)
        restored = self._restored(read_luma(frame, self._full_range))
        if self._compare == SIDE:
            large = self._side_by_side(large)
            write_luma(large, restored, self._full_range, first_column=self._shape[1])
        elif self._compare == SPLIT:
            middle = self._shape[1] // 2
            write_luma(large, restored[:, middle:].copy(), self._full_range, first_column=middle)
            plane(large)[:, middle - LINE // 2 : middle + LINE // 2] = 235 << _shift(large)
        else:
            write_luma(large, restored, self._full_range)
        large.pict_type = PictureType.NONE  # of the source's the encoder would make its own
        return large

    def _restored(self, y: np.ndarray) -> np.ndarray:
        for i, resizer in enumerate(self._resizers):
            if resizer.shape != resizer.size:
                y = resizer(y)
            if i < len(self._nets):
                restored = self._nets[i].forward(y)
                y = subtract_flat_error(self._nets[i], y[None], restored[None])[0]
        return y

    def _side_by_side(self, large: VideoFrame) -> VideoFrame:
        """Return a frame of twice the width, with the same frame in both halves."""
        both = self._reformat(large, *self.size, large.format.name, interpolation="POINT")
        for number in range(len(large.planes)):
            half = plane(large, number)
            target = plane(both, number)
            target[:, : half.shape[1]] = half
            target[:, target.shape[1] - half.shape[1] :] = half
        return both


def _copy(frame: VideoFrame) -> VideoFrame:
    """Return a frame of the same content, in memory of its own."""
    twice = frame.reformat(2 * frame.width, frame.height, interpolation="POINT")
    copied = twice.reformat(frame.width, frame.height, interpolation="POINT")
    for number in range(len(frame.planes)):
        plane(copied, number)[:] = plane(frame, number)
    return copied


def _shift(frame: VideoFrame) -> int:
    return frame.format.components[0].bits - 8
