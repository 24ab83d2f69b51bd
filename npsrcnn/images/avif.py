"""AVIF: what Pillow does not tell of a file's colours, and samples of 10 and 12 bits.

Pillow decodes to 8 bits and drops the box that names colours by numbers (ITU-T H.273), as phones
and cameras write it for HDR. See ISO/IEC 14496-12, 12.1.5, and AV1-ISOBMFF, 2.3.
"""

from __future__ import annotations

import struct

import numpy as np

from npsrcnn.errors import UserError
from npsrcnn.images import icc
from npsrcnn.pixels.values import to_16_bits

HEAD_BYTES = 1 << 16  # of a file, in which its boxes of properties lie
COLOR_BOX, CODEC_BOX = b"colrnclx", b"av1C"
HIGH_DEPTH, TWELVE_BITS = 0x40, 0x20  # flags of the codec's box


def color_chunks(data: bytes) -> dict[bytes, bytes]:
    """Return a file's colours as PNG's chunk cICP has them; nothing where they are sRGB."""
    head = data[:HEAD_BYTES]
    start = head.find(COLOR_BOX)
    if start < 0 or start + len(COLOR_BOX) + 4 > len(head):
        return {}
    primaries, transfer = struct.unpack_from(">HH", head, start + len(COLOR_BOX))
    return icc.chunk_of(primaries, transfer)


def bits(data: bytes) -> int:
    """Return the bits of a sample."""
    head = data[:HEAD_BYTES]
    start = head.find(CODEC_BOX)
    flags = head[start + 6] if 0 <= start < len(head) - 6 else 0
    return (12 if flags & TWELVE_BITS else 10) if flags & HIGH_DEPTH else 8


def decode_wide(data: bytes) -> np.ndarray | None:
    """Decode a file of 10 or 12 bits to 16 bits, (H, W) or (H, W, C).

    Returns None where the package for that is missing, and 8 bits are as good but for steps.

    Raises
    ------
    UserError
        It is missing, and the file is HDR, which 8 bits do not hold; or the file is damaged.
    """
    try:
        import imagecodecs
    except ImportError as error:
        name = icc.hdr_name(color_chunks(data))
        if name is None:
            return None
        raise UserError(
            f"AVIF of {bits(data)} bits in HDR ({name}), which takes a package more: "
            'pip install "npsrcnn[formats]"'
        ) from error
    try:
        samples = np.asarray(imagecodecs.avif_decode(data))
    except (imagecodecs.AvifError, ValueError) as error:
        raise UserError(f"damaged or truncated ({error})") from error
    return to_16_bits(samples, bits(data))
