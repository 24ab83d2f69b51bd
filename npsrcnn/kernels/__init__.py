"""One contract, three implementations: what a convolutional network needs, and nothing else.

N batch, C channels in, O channels out, H W height and width, K kernel size. Arrays are NCHW.
Convolution is cross-correlation (nothing is flipped), as in the paper's code and in PyTorch.

==================================  =====================================================
``conv2d(x, w, b)``                 valid convolution: (N, C, H, W), (O, C, K, K), (O,)
                                    -> (N, O, H-K+1, W-K+1)
``conv2d_grads(x, w, dy)``          its gradients ``dx, dw, db``
``relu(x)``, ``relu_grad(x, dy)``   max(0, x), and dy where x > 0
``mse(y, t)``, ``mse_grad(y, t)``   sum of (y - t)^2 / 2N (Caffe's EuclideanLoss), and (y - t)/N
``forward(layers, images, ...)``    the whole network, size kept
``loss_and_grads(layers, ...)``     the whole training step, no padding
==================================  =====================================================

``layers`` is ``[(w, b), ...]``; a ReLU follows every layer but the last. ``reference`` and ``cpu``
take a fourth argument to ``loss_and_grads``, ``l1``: a penalty on the maps. ``reference`` says in
textbook NumPy what each computes, ``cpu`` computes it fast, ``cuda`` on an NVIDIA GPU;
``cuda-tf32`` is ``cuda`` with tensor cores in ``forward``, whose results are less exact.
"""

from __future__ import annotations

import importlib
from types import ModuleType

from npsrcnn.errors import UserError

DEVICES = ("reference", "cpu", "cuda")
MODULES = {**{name: name for name in DEVICES}, "cuda-tf32": "cuda.tf32"}
PADDINGS = ("replicate", "zeros")


def choose(device: str) -> ModuleType:
    """The kernels for ``device``, a key of ``MODULES``; imported when first asked for.

    Raises
    ------
    UserError
        No such device, or "cuda" on a machine where it cannot run. Never a silent CPU.
    """
    if device not in MODULES:
        raise UserError(f"no device {device!r}; there are {', '.join(MODULES)}")
    kernels = importlib.import_module(f"npsrcnn.kernels.{MODULES[device]}")
    if device.startswith("cuda"):
        kernels.require()
    return kernels
