"""The contract on the CPU: see :mod:`npsrcnn.kernels.cpu.passes`."""

from npsrcnn.kernels.cpu.passes import (
    conv2d,
    conv2d_grads,
    forward,
    halo,
    loss_and_grads,
    mse,
    mse_grad,
    relu,
    relu_grad,
)

__all__ = [
    "conv2d",
    "conv2d_grads",
    "forward",
    "halo",
    "loss_and_grads",
    "mse",
    "mse_grad",
    "relu",
    "relu_grad",
]
