"""Load a trained network: from a file, or by the name of weights that ship."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np

from npsrcnn import kernels, model_files
from npsrcnn.errors import UserError
from npsrcnn.model.foreign import ModelWarning, added_to_input, fault_of
from npsrcnn.model.interpolation import read_between
from npsrcnn.model.network import SRCNN


def load(
    path_or_name: str | Path,
    device: str = "cpu",
    padding: str | None = None,
    *,
    residual: bool = False,
) -> SRCNN:
    """Load a trained network from a file, or from the weights that ship.

    A file of another program whose network does not keep a flat grey is loaded with a
    :class:`~npsrcnn.model.foreign.ModelWarning`, which says what it looks like.

    Parameters
    ----------
    path_or_name
        A file, .npz, .mat, .pth, .pt, .ckpt or .pth.tar; or a name, such as "9-1-5-x3": see
        :func:`npsrcnn.models`. "9-5-5-x2-q62" is for pictures that were JPEG files of quality 62:
        any quality from 1 to 100. Where a file does not say its scale, a name that ends in x1,
        x2, x3 or x4 does, as the authors' do.
    device
        "cpu", "reference" or "cuda".
    padding
        "replicate" or "zeros", what is put around the image before every layer. Default: what
        the file says; where it does not, "replicate" for .mat (as in the authors' code) and
        "zeros" for a state_dict (as in most PyTorch ports).

    residual
        The file's network makes what is to be added to its input (as VDSR does): return the
        network that makes the sum, with two more maps for each channel.

    Raises
    ------
    UserError
        No such file or name; a file that is damaged, foreign, too large or malicious; or as
        :func:`npsrcnn.kernels.choose`.
    """
    kernels.choose(device)  # or it says what the device lacks, which is no fault of the file
    path = Path(path_or_name)
    shipped = path.suffix.lower() not in model_files.READERS and not path.exists()
    if shipped:
        layers, facts = read_between(str(path_or_name))
    else:
        layers, facts = model_files.read(path)
    padding = padding or facts["padding"]
    del facts["padding"]
    try:
        with np.errstate(over="ignore"):  # float64 beyond float32 is refused as infinite
            net = SRCNN.from_layers(layers, device=device, padding=padding, metadata=facts)
    except UserError as error:
        raise UserError(f"{path}: {error}") from error
    if residual:
        net.layers = added_to_input(net.layers)
    if not shipped and "npsrcnn" not in facts and (fault := fault_of(net)):
        warnings.warn(f"{path}: {fault}", ModelWarning, stacklevel=2)
    return net
