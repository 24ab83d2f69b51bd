"""Say what is odd about a clip, or lost, where it is enlarged all the same."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from npsrcnn.video import advice
from npsrcnn.video.clips import OWN_CLOCK, Clip
from npsrcnn.video.encoders import Encoding
from npsrcnn.words import counted

PLACES_NAMED = 5
LONGEST_GAP = 10  # seconds, from which on ffmpeg closes gaps of clocks of no meaning


def notes_on(clip: Clip, encoding: Encoding) -> Iterator[str]:
    """Yield lines to be read before a clip is enlarged."""
    if clip.cut_off:
        yield (
            f"it ends {clip.cut_off:.1f} s before its own header says: the recording was cut off, "
            "or the copy"
        )
    if clip.holes:
        shown = [f"{hole.seconds - float(clip.start):.1f} s" for hole in clip.holes[:PLACES_NAMED]]
        places = ", ".join(shown) + (" and later" if len(clip.holes) > PLACES_NAMED else "")
        missing = counted(sum(hole.frames for hole in clip.holes), "frame")
        yield f"its file is damaged, and has lost {missing} at {places}, by the times around"
    gap, at = max(((b - a, a) for a, b in itertools.pairwise(clip.pts)), default=(0, 0))
    if clip.container in OWN_CLOCK and gap * clip.time_base > LONGEST_GAP:
        yield (
            f"its clock jumps by {float(gap * clip.time_base):.0f} s at "
            f"{float(at * clip.time_base - clip.start):.1f} s, as the result's will: "
            f"{advice.copied(clip.path, clip.container)} closes the gap"
        )
    if clip.has_dynamic_hdr:
        yield "HDR10+ changes from scene to scene, and is lost; HDR10 is kept"
    if clip.hdr and encoding.name != "hevc":
        yield f"{encoding.name} carries no mastering data of HDR10: hevc does"
