"""Keep what ImageJ writes into tags of its own: labels, display ranges, colour tables, properties.

A header names kinds and how many there are of each; the lengths of all are in another tag. Numbers
and texts are in the file's byte order. Regions of interest and overlays are dropped, because they
lie at pixels of the picture that was not enlarged.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

ORDERS = {b"IJIJ": ">", b"JIJI": "<"}
SWAPPED_BYTES = {b"info": 2, b"labl": 2, b"prop": 2, b"rang": 8}  # of kinds of one item: its width
REGIONS = (b"roi ", b"over")


def little_endian(data: bytes, lengths: Sequence[float]) -> tuple[bytes, list[int]]:
    """Return the value of IJMetadata and its lengths as a little-endian file has them.

    Both are empty where they are damaged, or nothing is left.
    """
    order = ORDERS.get(data[:4])
    if order is None or not lengths:
        return b"", []
    head, *sizes = map(int, lengths)
    position, header, bodies = head, b"", []
    for start in range(4, head - 7, 8):
        name, count = struct.unpack_from(order + "4sI", data, start)
        kind = name[::-1] if order == "<" else name
        if count > len(sizes):
            return b"", []
        own, sizes = sizes[:count], sizes[count:]
        parts = []
        for size in own:
            parts.append(data[position : position + size])
            position += size
        if kind in REGIONS:
            continue
        if order == ">":
            parts = [_swapped(part, SWAPPED_BYTES.get(kind, 1)) for part in parts]
        header += struct.pack("<4sI", kind[::-1], count)
        bodies += parts
    if not bodies or position > len(data):
        return b"", []
    header = b"JIJI" + header
    return header + b"".join(bodies), [len(header), *map(len, bodies)]


def _swapped(data: bytes, width: int) -> bytes:
    """Turn the order of each ``width`` bytes."""
    return b"".join(data[i : i + width][::-1] for i in range(0, len(data), width))
