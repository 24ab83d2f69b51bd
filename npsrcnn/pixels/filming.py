"""Film a picture: what an encoder of video leaves of it in a frame of a short clip.

The picture moves evenly over the clip and is where it belongs in one frame, which is kept. Before
and after that its edges are continued. It moves by whole pixels before it is reduced, so that the
small picture moves by parts of pixels, which motion compensation must interpolate.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from npsrcnn.errors import UserError
from npsrcnn.pixels.resize import imresize

FRAMES = 6  # of a clip: one I frame, and B and P frames
MOST_CRF = 51  # of both encoders: QP at most
RATE = 25  # frames a second
LEAST_SIDE = 65  # of x265 4.1: what fits into one block of 64 x 64 differs from run to run
NO_PYAV = 'clips need PyAV: pip install "npsrcnn[video]"'

# One thread, and no macroblock tree, with which x264 differs from run to run: the same bits always.
ENCODERS = {
    "libx264": {"x264-params": "threads=1:lookahead-threads=1:mbtree=0"},
    "libx265": {"x265-params": "pools=none:frame-threads=1:log-level=none"},
}
DECODERS = {"libx264": "h264", "libx265": "hevc"}


@dataclass(frozen=True)
class Shot:
    """How a picture is filmed.

    Attributes
    ----------
    encoder : "libx264" or "libx265"
        Of a picture that is smaller than 65 pixels after it is reduced it is always the former.
    crf : int
        From 0 to 51.
    velocity : (int, int)
        Pixels a frame, down and right, before the picture is reduced.
    kept : int
        The number of the frame in which the picture is where it belongs, from 1 to ``FRAMES`` - 1.
    """

    encoder: str
    crf: int
    velocity: tuple[int, int]
    kept: int


def film(picture: np.ndarray, scale: int, shot: Shot) -> np.ndarray:
    """Reduce a picture, film it, and return the frame that is kept.

    Parameters
    ----------
    picture : ndarray, (H, W), float
        Y in 0..1; both sides multiples of ``scale``.
    scale : int
    shot : Shot

    Returns
    -------
    ndarray, (H / scale, W / scale), uint8

    Raises
    ------
    UserError
        PyAV is not installed.
    """
    frames = [
        _eight_bits(imresize(_moved(picture, shot, number), 1 / scale)) for number in range(FRAMES)
    ]
    encoder = shot.encoder if min(frames[0].shape) >= LEAST_SIDE else "libx264"
    return _through(encoder, shot.crf, frames)[shot.kept]


def _moved(picture: np.ndarray, shot: Shot, number: int) -> np.ndarray:
    """Return the picture as far from its place as it is in a frame."""
    rows, columns = (
        (np.arange(side) - (number - shot.kept) * speed).clip(0, side - 1)
        for side, speed in zip(picture.shape, shot.velocity, strict=True)
    )
    moved: np.ndarray = picture[rows][:, columns]
    return moved


def _eight_bits(image: np.ndarray) -> np.ndarray:
    nearest: np.ndarray = np.floor(image * 255 + 0.5).clip(0, 255).astype(np.uint8)
    return nearest


def _through(encoder: str, crf: int, frames: list[np.ndarray]) -> list[np.ndarray]:
    """Encode frames of Y, (H, W) uint8, and return them decoded."""
    try:
        import av
        from av.video.codeccontext import VideoCodecContext
    except ImportError as error:
        raise UserError(NO_PYAV) from error
    height, width = frames[0].shape
    context = av.CodecContext.create(encoder, "w")
    decoder = av.CodecContext.create(DECODERS[encoder], "r")
    assert isinstance(context, VideoCodecContext) and isinstance(decoder, VideoCodecContext)
    context.width, context.height, context.pix_fmt = width, height, "gray"
    context.time_base, context.framerate = Fraction(1, RATE), Fraction(RATE)
    context.options = {"crf": str(crf), "preset": "medium", **ENCODERS[encoder]}
    packets = []
    for number, y in enumerate(frames):
        frame = av.VideoFrame(width, height, "gray")
        _rows(frame)[:] = 0  # what lies between width and line size too
        _rows(frame)[:, :width] = y
        frame.pts = number
        packets += context.encode(frame)
    packets += context.encode(None)
    decoder.thread_count = 1
    units = [*decoder.parse(b"".join(map(bytes, packets))), *decoder.parse(None)]
    decoded = [frame for unit in (*units, None) for frame in decoder.decode(unit)]
    assert len(decoded) == len(frames)
    return [_rows(frame)[:, :width].copy() for frame in decoded]


def _rows(frame: object) -> np.ndarray:
    """Return the plane of Y of a frame, (H, line size) uint8, not copied."""
    plane = frame.planes[0]  # type: ignore[attr-defined]  # av is imported late
    return np.frombuffer(memoryview(plane), np.uint8).reshape(plane.height, -1)
