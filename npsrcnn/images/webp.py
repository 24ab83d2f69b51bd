"""WebP: read from a file's headers how strongly its pixels were compressed, or whether at all.

A lossy WebP file is a frame of VP8, whose header (RFC 6386, section 9) names a quantizer index,
0 to 127, for the whole picture. Its fields are coded by a boolean entropy coder (section 7).
"""

from __future__ import annotations

import io
import struct
from pathlib import Path
from typing import BinaryIO

STRENGTH_OF_INDEX = 1.3
"""Percent of JPEG's standard table that an index amounts to: what the networks that restore JPEG do
best as, over Set5 at x2 and libwebp's qualities from 20 to 95."""
LOSSY, LOSSLESS = b"VP8 ", b"VP8L"  # chunks with pixels
ANIMATED, PLACE_BYTES = b"ANMF", 16  # a chunk of chunks, after the place and delay of a frame
HEADER_BYTES = 256  # of a frame, in which its first fields lie
FRAME_TAG = 10  # bytes before the coded fields of a key frame: tag, start code, width and height


def read_strength(path: Path) -> float | None:
    """Read how strongly a WebP file was compressed.

    Returns
    -------
    float or None
        As :func:`npsrcnn.pixels.jpeg.strength_of_table`, of an animation its first frame's; None of
        a lossless file, or one whose header ends early.
    """
    with open(path, "rb") as file:
        name, size = _find_frame(file)
        if name != LOSSY:
            return None
        frame = file.read(min(size, HEADER_BYTES))
        return STRENGTH_OF_INDEX * _quantizer_index(frame) if len(frame) > 16 else None


def is_lossless(data: bytes) -> bool:
    """Return whether the pixels of a WebP file were compressed without loss."""
    return _find_frame(io.BytesIO(data))[0] == LOSSLESS


def _find_frame(file: BinaryIO) -> tuple[bytes, int]:
    """Go to the frame of a WebP file; return the name and size of its chunk, b"" if it has none."""
    if file.read(4) == b"RIFF" and file.read(8)[4:] == b"WEBP":
        while len(head := file.read(8)) == 8:
            name, size = head[:4], struct.unpack("<I", head[4:])[0]
            if name in (LOSSY, LOSSLESS):
                return name, size
            file.seek(PLACE_BYTES if name == ANIMATED else size + size % 2, 1)
    return b"", 0


def _quantizer_index(frame: bytes) -> int:
    """Read y_ac_qi from the header of a key frame (section 9.2 to 9.6)."""
    fields = _BooleanDecoder(frame[FRAME_TAG:])
    fields.literal(2)  # color_space, clamping_type
    if fields.literal(1):  # segmentation_enabled
        update_map, update_data = fields.literal(1), fields.literal(1)
        if update_data:
            fields.literal(1)  # segment_feature_mode
            for bits in [7] * 4 + [6] * 4:  # quantizers and loop filters of the segments
                fields.optional(bits + 1)  # with a sign
        if update_map:
            for _ in range(3):
                fields.optional(8)
    fields.literal(1 + 6 + 3)  # filter_type, loop_filter_level, sharpness_level
    if fields.literal(1) and fields.literal(1):  # loop_filter_adj_enable, mode_ref_lf_delta_update
        for _ in range(8):
            fields.optional(6 + 1)
    fields.literal(2)  # log2_nbr_of_dct_partitions
    return fields.literal(7)


class _BooleanDecoder:
    """Decode bits of probability one half (RFC 6386, section 7.3)."""

    def __init__(self, data: bytes) -> None:
        self._data, self._next = data, 2
        self._value, self._range, self._shifts = int.from_bytes(data[:2], "big"), 255, 0

    def _bit(self) -> int:
        split = 1 + ((self._range - 1) >> 1)
        bit = int(self._value >= split << 8)
        if bit:
            self._range -= split
            self._value -= split << 8
        else:
            self._range = split
        while self._range < 128:
            self._range <<= 1
            self._value <<= 1
            self._shifts += 1
            if self._shifts == 8:
                self._shifts = 0
                self._value |= self._data[self._next] if self._next < len(self._data) else 0
                self._next += 1
        return bit

    def literal(self, bits: int) -> int:
        """Decode an unsigned integer of so many bits."""
        value = 0
        for _ in range(bits):
            value = 2 * value + self._bit()
        return value

    def optional(self, bits: int) -> int:
        """Decode a flag and, where it is set, an integer of so many bits."""
        return self.literal(bits) if self.literal(1) else 0
