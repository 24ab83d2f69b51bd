"""What to train on: sub-images of images or dead leaves, in memory or on disk."""

from npsrcnn.datasets.cutting import COLORS, SubImages
from npsrcnn.datasets.downloads import fetch, find
from npsrcnn.datasets.leaves import Style, dead_leaves
from npsrcnn.datasets.preparing import prepare
from npsrcnn.datasets.shards import Shards, is_prepared
from npsrcnn.datasets.sources import RESCALED, Stream, sub_images

__all__ = [
    "COLORS",
    "RESCALED",
    "Shards",
    "Stream",
    "Style",
    "SubImages",
    "dead_leaves",
    "fetch",
    "find",
    "is_prepared",
    "prepare",
    "sub_images",
]
