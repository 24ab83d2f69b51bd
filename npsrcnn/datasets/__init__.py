"""Training data: sub-images of images or dead leaves, in memory or on disk."""

from npsrcnn.datasets.cutting import COLORS
from npsrcnn.datasets.downloads import fetch, find
from npsrcnn.datasets.in_memory import SubImages
from npsrcnn.datasets.leaves import Style, dead_leaves
from npsrcnn.datasets.protocols import Source
from npsrcnn.datasets.shard_writer import write_shards
from npsrcnn.datasets.shards import Shards, is_prepared
from npsrcnn.datasets.sources import RESCALED, Stream, sub_images

__all__ = [
    "COLORS",
    "RESCALED",
    "Shards",
    "Source",
    "Stream",
    "Style",
    "SubImages",
    "dead_leaves",
    "fetch",
    "find",
    "is_prepared",
    "sub_images",
    "write_shards",
]
