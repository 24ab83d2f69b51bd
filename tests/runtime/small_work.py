"""A little of all that CPU kernels do, for processes that tests start."""

from __future__ import annotations

import hashlib

import numpy as np

from npsrcnn.kernels import cpu
from npsrcnn.kernels.cpu import inference, training

_rng = np.random.default_rng(0)
_layers = [
    (_rng.standard_normal((3, 1, 3, 3), np.float32), np.ones(3, np.float32)),
    (_rng.standard_normal((1, 3, 2, 2), np.float32), np.ones(1, np.float32)),
]
_x = _rng.standard_normal((19, 1, 9, 8), np.float32)
_t = _rng.standard_normal((19, 1, 6, 5), np.float32)


def plain():
    return [cpu.conv2d(_x, *_layers[0])]


def fused_inference():
    return [inference.forward(_layers, _x)]


def fused_training():
    return [a for pair in training.loss_and_grads(_layers, _x, _t)[1] for a in pair]


def digests(*parts):
    """One digest for each of the functions above."""
    return [hashlib.sha256(b"".join(a.tobytes() for a in part())).hexdigest() for part in parts]
