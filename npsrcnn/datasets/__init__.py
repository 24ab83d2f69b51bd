"""What to train on: sub-images of a folder of images, or of dead leaves made on the spot."""

from npsrcnn.datasets.cutting import COLORS, SubImages
from npsrcnn.datasets.downloads import fetch, find
from npsrcnn.datasets.leaves import Style, dead_leaves
from npsrcnn.datasets.sources import RESCALED, Stream, sub_images

__all__ = [
    "COLORS",
    "RESCALED",
    "Stream",
    "Style",
    "SubImages",
    "dead_leaves",
    "fetch",
    "find",
    "sub_images",
]
