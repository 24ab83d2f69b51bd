"""What a GPU computes in TF32, in NumPy: the oracle of the kernels on tensor cores."""

from __future__ import annotations

import numpy as np

from npsrcnn.kernels import reference
from npsrcnn.kernels.cuda.tensor_tiles import tf32


def forward(layers, images, padding="replicate", conv2d=reference.conv2d):
    """The whole network; what the first two layers multiply is rounded to TF32 before."""
    x = images
    for depth, (w, b) in enumerate(layers):
        if depth < 2:
            x, w = (tf32(array).astype(array.dtype) for array in (x, w))
        x = conv2d(reference.pad(x, w.shape[2], padding), w, b)
        if depth < len(layers) - 1:
            x = reference.relu(x)
    return x


def bound(layers, image, padding="replicate"):
    """How far that may be from exact arithmetic, pixel by pixel: to first order, in float64.

    Each factor of a product of the first two layers is off by up to 2^-11 of itself.
    """
    unit, x, error = 2.0**-11, image, np.zeros_like(image)
    for depth, (w, b) in enumerate(layers):
        sizes = [reference.pad(part, w.shape[2], padding) for part in (np.abs(x), error, x)]
        none = np.zeros_like(b)
        next_error = reference.conv2d(sizes[1], np.abs(w), none)
        if depth < 2:
            next_error += 2 * unit * reference.conv2d(sizes[0], np.abs(w), none)
        x, error = reference.conv2d(sizes[2], w, b), next_error
        if depth < len(layers) - 1:
            x = reference.relu(x)
    return error
