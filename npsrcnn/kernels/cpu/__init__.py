"""Compute on the CPU what :mod:`npsrcnn.kernels.contract` promises; float32 fast, float64 plainly.

N batch, C channels in, O channels out, H W height and width, K kernel size. Arrays are NCHW.

=======================  ========================================================================
``passes``               each operation in plain loops, and the two whole passes: begin here
``tiles``                register tiles in explicit SIMD: all fast arithmetic
``winograd``             short convolutions of fewer products
``inference``            whole images, all layers fused, with ``inference_plan``, the layout, and
                         ``inference_stages``, the kernels of each kind of layer
``training``             loss and gradients of a batch, with ``training_plan``, the layout, and
                         ``training_winograd`` and ``training_groups``
``shares``               the partition of a batch on which the bits of a training step rest
``layout``               records and tables for kernels
=======================  ========================================================================
"""

from npsrcnn.kernels.cpu.inference import halo
from npsrcnn.kernels.cpu.passes import (
    conv2d,
    conv2d_grads,
    forward,
    loss_and_grads,
    mse,
    mse_grad,
    prepare,
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
    "prepare",
    "relu",
    "relu_grad",
]
