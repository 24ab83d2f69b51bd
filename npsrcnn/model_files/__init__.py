"""Weights as files: npsrcnn's own .npz, the authors' .mat, PyTorch's, ONNX, Keras's, Caffe's.

=====================  =============  ===========================================================
``.npz``               read, written  npsrcnn's own: arrays, and one JSON text of what is known
``.mat``               read, written  the layout of the files that the paper's authors released
``.pth .pt``           read, written  PyTorch's: a ``state_dict``, a checkpoint or a whole module
``.ckpt .pth.tar``     read           the same by other names; nothing in them is executed
``.safetensors``       read, written  arrays named as PyTorch names them; needs ``safetensors``
``.onnx``              read, written  of other runtimes; needs the package ``onnx``
``.keras .h5``         read           Keras's models and weights; needs the package ``h5py``
``.caffemodel``        read           Caffe's nets; needs the package ``protobuf``
=====================  =============  ===========================================================

Files come from strangers. Whatever a file holds, reading it runs no code, takes little memory, and
ends in a network or in one line that says what is wrong.
"""

from npsrcnn.model_files.facts import Facts, shape_of
from npsrcnn.model_files.formats import READERS, WRITERS, read, write

__all__ = ["READERS", "WRITERS", "Facts", "read", "shape_of", "write"]
