"""Keep the contract of kernels on an NVIDIA GPU, in numba.cuda; float32, NumPy in and out.

N batch, C channels in, O channels out, H W height and width, K kernel size. Arrays are NCHW.

===================  ===========================================================================
``device``           the one import of ``numba.cuda``, and what to say where it cannot run
``launches``         launches kernels one by one, or all of a step at once
``tiles``            two register tiles: all fast arithmetic
``planes``           maps on the device
``blocks``           which block and thread computes which pixels
``shared``           fills the shared memory of a block
``weights``          a network's weights on the device
``convolution``      one convolution: a layer, or the gradient to its input
``gradients``        the gradients to weights and biases
``fused``            the first two layers in one pass: inference
``inference``        whole images, in strips where they do not fit
``steps``            ReLU, loss, the optimizer's step, drawing of sub-images
``soap``             the steps of SOAP, which are more than elementwise
``backpropagation``  loss and gradients of a batch
``training``         a whole training on the device
===================  ===========================================================================
"""

from npsrcnn.kernels.cuda.device import require
from npsrcnn.kernels.cuda.passes import (
    conv2d,
    conv2d_grads,
    forward,
    halo,
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
    "require",
]
