"""SRCNN from scratch: super-resolution by three convolutions, in NumPy and Numba.

>>> import npsrcnn
>>> larger = npsrcnn.upscale(image, 3)                # an array in, an array out  # doctest: +SKIP
>>> net = npsrcnn.SRCNN("9-1-5", channels=1, seed=0)  # or npsrcnn.load(name_or_path)
"""

from npsrcnn.model import load
from npsrcnn.model.network import SRCNN
from npsrcnn.model.shipped import models
from npsrcnn.pixels.color import rgb2ycbcr, ycbcr2rgb
from npsrcnn.pixels.metrics import psnr, ssim
from npsrcnn.pixels.resize import imresize
from npsrcnn.upscaling.arrays import upscale
from npsrcnn.version import __version__

__all__ = [
    "SRCNN",
    "__version__",
    "imresize",
    "load",
    "models",
    "psnr",
    "rgb2ycbcr",
    "ssim",
    "upscale",
    "ycbcr2rgb",
]
