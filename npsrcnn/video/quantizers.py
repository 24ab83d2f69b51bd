"""Read how strongly a frame was quantized from its headers: H.265, VP9 and AV1.

FFmpeg's filter ``trace_headers`` parses the headers of all of them, and writes every field that it
reads to the log: H.265's QP is ``26 + init_qp_minus26 + slice_qp_delta``, VP9 and AV1 have an index
into one table of steps, ``base_q_idx``.

The scales are not H.264's, and an encoder divides its bits between a frame and its blocks in its
own way: :data:`OFFSETS` were measured.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from typing import cast

import av
import numpy as np
from av.bitstream import BitStreamFilterContext
from av.sidedata.encparams import VideoEncParams
from av.video.stream import VideoStream

OFFSETS = {"hevc": -11.0, "vp9": -1.5, "av1": -1.0}
"""QP of clips by x264 less that of clips by x265, libvpx and SVT-AV1 that the same weights restore
best. x265 writes a QP for the frame, and by its tree a much lower one for most blocks."""
STEP_OF_QP_4 = 8  # of the tables of VP9 and AV1
INDICES = [0, 1, 95, 120, 137, 150, 160, 169, 176, 188, 198, 206, 210, 255]
AC_STEPS = [4, 8, 102, 152, 203, 255, 305, 359, 408, 510, 615, 715, 771, 1828]
"""Steps of some indices, of 8 bits: straight lines between them, and from 210 on of logarithms."""
BLOCK_FIELDS = 5  # of FFmpeg's AVVideoBlockParams, 32 bits each: x, y, width, height, delta of QP
FIELD = re.compile(r"(init_qp_minus26|slice_qp_delta|base_q_idx)\s.*= (-?\d+)\s*$")


def read_quantizer(packet: av.Packet[VideoStream], stream: VideoStream) -> float | None:
    """Return the quantizer of a packet's first frame on H.264's scale.

    Parameters
    ----------
    packet, stream
        Of a clip.

    Returns
    -------
    float or None
        None where :data:`OFFSETS` has not the codec, or the headers do not say it.
    """
    codec = stream.codec_context.codec.canonical_name
    if codec not in OFFSETS:
        return None
    found = _fields(_trace(packet, stream))
    if codec == "hevc" and "slice_qp_delta" in found:
        return 26 + found.get("init_qp_minus26", 0) + found["slice_qp_delta"] + OFFSETS[codec]
    if "base_q_idx" in found:
        return quantizer_of_index(found["base_q_idx"]) + OFFSETS[codec]
    return None


def mean_quantizer(told: VideoEncParams, size: tuple[int, int]) -> float:
    """Return the mean QP of the blocks of a decoded frame of H.264 that lie in the picture.

    PyAV's ``qp_map`` takes no frame that has more blocks than its picture needs, as interlaced
    ones of an odd number of rows of them, and cropped ones.

    Parameters
    ----------
    told : VideoEncParams
        What lies beside the frame.
    size : (width, height)
    """
    start, length = told.blocks_offset, told.block_size
    data = np.frombuffer(cast(bytes, told), np.uint8)[start : start + told.nb_blocks * length]
    blocks = np.ascontiguousarray(data.reshape(-1, length)[:, : 4 * BLOCK_FIELDS]).view(np.int32)
    shown = (blocks[:, 0] < size[0]) & (blocks[:, 1] < size[1])
    return told.qp + float(blocks[shown, -1].mean())


def quantizer_of_index(index: int) -> float:
    """Return the QP of H.264 whose step is that of an index, 0 to 255, of VP9 and AV1."""
    if index <= INDICES[-2]:
        step = float(np.interp(index, INDICES, AC_STEPS))
    else:
        step = math.exp(float(np.interp(index, INDICES[-2:], np.log(AC_STEPS[-2:]))))
    return 4 + 6 * math.log2(step / STEP_OF_QP_4)


def _trace(packet: av.Packet[VideoStream], stream: VideoStream) -> list[str]:
    """Return what the filter writes of a packet, and before that of the stream's headers."""
    before = av.logging.get_level()
    av.logging.set_level(av.logging.INFO)
    try:
        with av.logging.Capture(local=False) as lines:
            copy = av.Packet(bytes(packet))  # a filter takes away what it is given
            BitStreamFilterContext("trace_headers", stream).filter(copy)
    except av.error.FFmpegError:
        return []  # damaged: the run counts what cannot be decoded
    finally:
        av.logging.set_level(before)
    return [text for _, name, text in lines if name == "trace_headers"]


def _fields(lines: Iterable[str]) -> dict[str, int]:
    """Return the first slice's value of each field; of headers that come again, the last."""
    found: dict[str, int] = {}
    for line in lines:
        match = FIELD.search(line)
        if match and (match[1] == "init_qp_minus26" or match[1] not in found):
            found[match[1]] = int(match[2])
    return found
