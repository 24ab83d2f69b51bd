from .model import load
from .model.network import SRCNN
from .model.shipped import models
from .pixels.color import rgb2ycbcr, ycbcr2rgb
from .pixels.metrics import psnr, ssim
from .pixels.resize import imresize
from .upscaling.arrays import upscale
from .version import __version__

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
