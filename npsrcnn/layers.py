"""Define the type that many rooms share: the weights of a network."""

from __future__ import annotations

import numpy as np

Layers = list[tuple[np.ndarray, np.ndarray]]
"""Weights of a network, ``[(w, b), ...]``: w (O, C, K, K), b (O,). Gradients have the same form."""
