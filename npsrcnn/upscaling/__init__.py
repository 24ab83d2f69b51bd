"""From pictures to larger ones: arrays, files, folders, scenes, clusters."""

from npsrcnn.upscaling.arrays import upscale

__all__ = ["upscale"]
