"""Find frames that a Matroska file has lost: where its bytes are damaged, and its times jump.

FFmpeg says nothing of them: it looks for the next cluster and goes on. A jump of the times alone
proves nothing, as recordings of screens and phones leave frames out, and bytes alone do not say
how many are missing. Only both together, in a clip whose frames are equally long everywhere else,
are taken for a hole.
"""

from __future__ import annotations

import itertools
import mmap
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

MATROSKA = "matroska,webm"  # FFmpeg's name
CLUSTER = b"\x1f\x43\xb6\x75"
ENTERED = {0x18538067, 0x1F43B675}  # segment and cluster, whose elements follow as all others
ELEMENTS = ENTERED | {0x1A45DFA3, 0x114D9B74, 0x1549A966, 0x1654AE6B, 0x1C53BB6B, 0x1254C367}
ELEMENTS |= {0x1043A770, 0x1941A469}  # the header; what lies beside clusters
ELEMENTS |= {0xE7, 0xA7, 0xAB, 0x5854, 0xA3, 0xA0, 0xAF}  # of a cluster: times, blocks...
ELEMENTS |= {0xEC, 0xBF}  # anywhere: what is void, and checksums
REORDERED = 16  # frames by which the order in a file differs from the one shown, H.264's most


class Hole(NamedTuple):
    """Frames that are missing, by the times of those around them."""

    seconds: float  # at which the last one before them is shown
    frames: int


def find_holes(
    path: Path, packets: Sequence[tuple[int, int]], time_base: Fraction, rate: Fraction
) -> tuple[Hole, ...]:
    """Return the holes of a Matroska file; none where frames elsewhere are not equally long.

    Parameters
    ----------
    path : Path
    packets : sequence of (position, pts)
        Of the picture, in the order of the file; positions in bytes, times in units of
        ``time_base``.
    time_base, rate : Fraction
        Seconds, and frames a second.
    """
    pts, frame = sorted(time for _, time in packets), 1 / (rate * time_base)
    jumps = []
    for a, b in itertools.pairwise(pts):
        frames = round((b - a) / frame)
        if frames < 1 or abs(b - a - frames * frame) > 1:  # Matroska rounds to milliseconds
            return ()
        if frames > 1:
            jumps.append((a, b, frames - 1))
    if not jumps or 2 * len(jumps) > len(pts):  # the rate may be that of fields
        return ()
    holes = set()
    for start, stop in damaged_bytes(path):
        before = sum(position < start for position, _ in packets)
        after = sum(position < stop for position, _ in packets)
        times = {time for _, time in packets[max(0, before - REORDERED) : after + REORDERED]}
        holes |= {jump for jump in jumps if times.issuperset(jump[:2])}
    if len(holes) < len(jumps):  # it leaves out frames by itself
        return ()
    return tuple(Hole(float(a * time_base), frames) for a, _, frames in jumps)


def damaged_bytes(path: Path) -> Iterator[tuple[int, int]]:
    """Yield from where to where a Matroska file is no chain of elements, up to the next cluster.

    Each element says what it is and how long: only these few bytes of each are read.
    """
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        place, end = 0, len(data)
        while place < end:
            following = _next(data, place)
            if following is None:
                following = data.find(CLUSTER, place + 1)
                if following < 0:  # cut off, or damaged at its end
                    return
                yield place, following
            place = following


def _next(data: mmap.mmap, place: int) -> int | None:
    """Return where the element after the one at ``place`` begins; None if there is none."""
    kind, size_at = _number(data, place, keep_length=True)
    if kind not in ELEMENTS:
        return None
    size, content = _number(data, size_at, keep_length=False)
    if kind in ENTERED:  # of a live stream their size is unknown
        return content
    return content + size if content + size <= len(data) else None


def _number(data: mmap.mmap, place: int, keep_length: bool) -> tuple[int, int]:
    """Return a number of EBML and where it ends: its first set bit says how many bytes it has."""
    first = data[place : place + 1]
    if not first or not first[0]:
        return 0, place + 1
    length = 9 - first[0].bit_length()
    value = int.from_bytes(data[place : place + length], "big")
    return value if keep_length else value & ~(1 << 7 * length), place + length
