"""The contract of kernels on an NVIDIA GPU, with tensor cores in ``forward``; see ``--precision``.

The first two layers' products are of numbers in TF32 (11 significant bits), added up in float32;
all else is float32, as in :mod:`npsrcnn.kernels.cuda`.

What this costs, by rounding so in NumPy (``tests/tf32_emulation.py``; on a GPU it has not been
measured), over Set5 and Set14: of the authors' 9-1-5 and 9-5-5, 0.03 to 0.06 of 255 grey levels
root mean square, 0.44 at most, and PSNR changes by up to 0.0053 dB for an image, 0.001 dB for a
set. Networks that SOAP has trained have larger weights, which cancel, and lose more: those that
ship 0.06 to 0.29 root mean square, 4.2 at most, PSNR up to 0.023 dB for an image, 0.008 for a set.
"""

from __future__ import annotations

import numpy as np

from npsrcnn.kernels.cuda import (
    Layers,
    conv2d,
    conv2d_grads,
    device,
    inference,
    loss_and_grads,
    mse,
    mse_grad,
    relu,
    relu_grad,
)

__all__ = [
    "conv2d", "conv2d_grads", "forward", "loss_and_grads", "mse", "mse_grad", "relu", "relu_grad",
    "require",
]  # fmt: skip


def require() -> None:
    """Make sure that there is a GPU with tensor cores that know TF32.

    Raises
    ------
    UserError
        As :func:`npsrcnn.kernels.cuda.device.require`; or the GPU is older.
    """
    device.require((8, 0), "Ampere", "leave --precision tf32 out")


@device.errors_for_people()
def forward(layers: Layers, images: np.ndarray, padding: str = "replicate") -> np.ndarray:
    """As :func:`npsrcnn.kernels.cuda.forward`, the first two layers in TF32."""
    return inference.forward(layers, images, padding, tf32=True)
