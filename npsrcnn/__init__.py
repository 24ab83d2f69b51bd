"""SRCNN from scratch: super-resolution by three convolutions, in NumPy and Numba."""

from npsrcnn.network import SRCNN
from npsrcnn.version import __version__

__all__ = ["SRCNN", "__version__"]
