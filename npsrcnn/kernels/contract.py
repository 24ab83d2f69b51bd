"""State what a convolutional network needs of its kernels, and nothing else.

N batch, C channels in, O channels out, H W height and width, K kernel size. Arrays are NCHW.
Convolution is cross-correlation (nothing is flipped), as in the paper's code and in PyTorch.

==================================  =====================================================
``conv2d(x, w, b)``                 valid convolution: (N, C, H, W), (O, C, K, K), (O,)
                                    -> (N, O, H-K+1, W-K+1)
``conv2d_grads(x, w, dy)``          its gradients ``dx, dw, db``
``relu(x)``, ``relu_grad(x, dy)``   max(0, x), and dy where x > 0
``mse(y, t)``, ``mse_grad(y, t)``   sum of (y - t)^2 / 2N (Caffe's EuclideanLoss), and (y - t)/N
``forward(layers, images, ...)``    the whole network, size kept
``prepare(layers)``                 the function ``forward(images, ...)`` of these layers, for many
                                    calls
``halo(layers)``                    the pixels around a part of an image that ``forward`` needs
``loss_and_grads(layers, ...)``     the whole training step, no padding
==================================  =====================================================

``layers`` is ``[(w, b), ...]``; a ReLU follows every layer but the last. ``reference`` computes
each in textbook NumPy, ``cpu`` computes it fast, ``cuda`` on an NVIDIA GPU.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np

from npsrcnn.errors import UserError
from npsrcnn.layers import Layers

DEVICES = ("reference", "cpu", "cuda")
PADDINGS = ("replicate", "zeros")


class Forward(Protocol):
    """:meth:`Kernels.forward` of layers that are given."""

    def __call__(
        self,
        images: np.ndarray,
        padding: str = "replicate",
        origin: tuple[int, int] = (0, 0),
    ) -> np.ndarray: ...


class Kernels(Protocol):
    """The operations that the modules ``reference``, ``cpu`` and ``cuda`` have in common."""

    def conv2d(self, x: np.ndarray, w: np.ndarray, b: np.ndarray) -> np.ndarray:
        """Compute a valid convolution: (N, C, H, W), (O, C, K, K), (O,) -> (N, O, ...)."""

    def conv2d_grads(
        self, x: np.ndarray, w: np.ndarray, dy: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Compute the gradients dx, dw and db of <conv2d(x, w, b), dy>."""

    def relu(self, x: np.ndarray) -> np.ndarray:
        """Compute max(0, x)."""

    def relu_grad(self, x: np.ndarray, dy: np.ndarray) -> np.ndarray:
        """Return dy where x > 0, else 0."""

    def mse(self, y: np.ndarray, t: np.ndarray) -> float:
        """Compute the sum of (y - t)^2 / 2N: Caffe's EuclideanLoss."""

    def mse_grad(self, y: np.ndarray, t: np.ndarray) -> np.ndarray:
        """Compute the gradient of mse to y: (y - t) / N."""

    def halo(self, layers: Layers) -> int:
        """Count the pixels around a part of an image that :meth:`forward` needs to restore it."""

    def forward(
        self,
        layers: Layers,
        images: np.ndarray,
        padding: str = "replicate",
        origin: tuple[int, int] = (0, 0),
    ) -> np.ndarray:
        """Restore images (N, C, H, W); of parts of images ``origin`` is where they begin."""

    def prepare(self, layers: Layers) -> Forward:
        """Return :meth:`forward` of ``layers`` as they are now, which keeps what it can reuse."""

    def loss_and_grads(
        self, layers: Layers, inputs: np.ndarray, labels: np.ndarray, l1: float = 0.0
    ) -> tuple[float, Layers]:
        """Compute the loss of a batch and its gradients; ``l1`` weighs the sum of all maps."""


def choose(device: str) -> Kernels:
    """Return the kernels for ``device``, one of ``DEVICES``; imported when first asked for.

    Raises
    ------
    UserError
        No such device, or "cuda" on a machine where it cannot run. Never a silent CPU.
    """
    if device == "reference":
        from npsrcnn.kernels import reference

        return reference
    if device == "cpu":
        from npsrcnn.kernels import cpu

        return cpu
    if device == "cuda":
        from npsrcnn.kernels import cuda

        cuda.require()
        return cuda
    raise UserError(f"no device {device!r}; there are {', '.join(DEVICES)}")
