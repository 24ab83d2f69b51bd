"""Change what programs write into a TIFF file's description on the size of its pixels.

OME-XML and ImageJ's lines tell microscopes' pixel sizes, and tifffile's JSON an array's shape.
"""

from __future__ import annotations

import json
import math
import re

TAG = 270  # TIFF's
SIZES = re.compile(r"(?<=\s)(Size[XY])(\s*=\s*)([\"'])(\d+)\3")
PHYSICAL = re.compile(r"(?<=\s)(PhysicalSize[XY])(\s*=\s*)([\"'])([0-9.eE+-]+)\3")
SHAPED = '{"shape":'
COUNTS = re.compile(r"(?m)^(images|channels|slices|frames)=\d+\n|^hyperstack=\w+\n|^loop=\w+\n")


def is_imagej(text: str) -> bool:
    """Return whether ImageJ wrote a description, or a program that does as it does."""
    return text.startswith("ImageJ=")


def is_ome(text: str) -> bool:
    """Return whether a description is OME-XML."""
    return "<OME" in text[:4096] and text.rstrip().endswith(("OME>", "-->"))


def resized(text: str, scale: float, size: tuple[int, int]) -> str:
    """Return the description of a picture ``scale`` times as large, of ``size`` (H, W)."""
    if is_ome(text):
        text = SIZES.sub(lambda m: f"{m[1]}{m[2]}{m[3]}{math.ceil(scale * int(m[4]))}{m[3]}", text)
        return PHYSICAL.sub(lambda m: f"{m[1]}{m[2]}{m[3]}{_divided(m[4], scale)}{m[3]}", text)
    if text.startswith(SHAPED):
        return _reshaped(text, scale, size)
    return text


def _divided(number: str, scale: float) -> str:
    try:
        return f"{float(number) / scale:.12g}"
    except ValueError:
        return number


def _reshaped(text: str, scale: float, size: tuple[int, int]) -> str:
    """Change the shape that tifffile has noted: its rows and columns are the result's, divided."""
    try:
        facts = json.loads(text)
        shape = [int(length) for length in facts["shape"]]
    except (ValueError, TypeError, KeyError):
        return text
    for last in (len(shape) - 1, len(shape) - 2):  # columns come last, or channels do
        if last >= 1 and tuple(math.ceil(scale * n) for n in shape[last - 1 : last + 1]) == size:
            shape[last - 1 : last + 1] = size
            return json.dumps({**facts, "shape": shape})
    return text


def of_one_page(text: str) -> str:
    """Return the description of one page out of several; nothing where it was of all of them."""
    if is_imagej(text):
        return COUNTS.sub("", text)
    return "" if is_ome(text) or text.startswith(SHAPED) else text
