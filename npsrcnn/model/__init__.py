"""The network, the weights that ship, and what can be seen inside them."""

from npsrcnn.model.loading import load
from npsrcnn.model.network import SRCNN
from npsrcnn.model.shipped import models

__all__ = ["SRCNN", "load", "models"]
