"""Compute convolutions and all else of a network: see :mod:`npsrcnn.kernels.contract`."""

from npsrcnn.kernels.contract import DEVICES, PADDINGS, Kernels, choose

__all__ = ["DEVICES", "PADDINGS", "Kernels", "choose"]
