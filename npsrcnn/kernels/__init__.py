"""Convolutions and all else that a network computes: see :mod:`npsrcnn.kernels.contract`."""

from npsrcnn.kernels.contract import DEVICES, PADDINGS, choose

__all__ = ["DEVICES", "PADDINGS", "choose"]
