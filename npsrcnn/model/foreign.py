"""Tell weights of other programs that are no SRCNN, and make those of a residual network one.

An SRCNN returns a flat grey as it is, within a few levels of 255. Weights that do not were made
for something else that is missing from the file: a sum with the input, as in VDSR (Kim, Lee, Lee:
CVPR 2016), another range of values, or another padding.
"""

from __future__ import annotations

import numpy as np

from npsrcnn.kernels import reference
from npsrcnn.layers import Layers
from npsrcnn.model.interpolation import flat_response
from npsrcnn.model.network import SRCNN

GREYS = np.array([0.25, 0.5, 0.75])
TOLERANCE = 6 / 255  # weights that ship are within 2.5 levels, the authors' within 0.3
SMALL = 0.1  # what a residual network adds to a flat grey is less
EDGE = 0.15  # mean error along an edge; the authors' 9-5-5 has 0.36 where zeros are put around


class ModelWarning(UserWarning):
    """Weights of another program do not do what an SRCNN does."""


def fault_of(net: SRCNN) -> str:
    """Return what is strange about what a network does to flat greys; "" where nothing is."""
    greys = flat_response(net.layers, GREYS)
    if np.abs(greys - GREYS).max() <= TOLERANCE:
        return _fault_at_edges(net)
    made = f"makes {round(255 * greys[:, 1].mean())} of a flat grey of 128"
    if np.abs(greys).max() < SMALL:
        return (
            f"{made}: this looks like a residual network, whose result is added to its input; "
            "--residual adds it (in Python: load(path, residual=True))"
        )
    levels = flat_response(net.layers, GREYS * 255) / 255
    if np.abs(levels - GREYS).max() <= TOLERANCE:
        return f"{made}: it looks trained on values from 0 to 255, not from 0 to 1"
    return f"{made}: it is not trained, or no SRCNN"


def _fault_at_edges(net: SRCNN) -> str:
    """Return what zeros around a flat grey do to its edges, if they spoil them."""
    if net.padding != "zeros":
        return ""  # to repeated edges a flat grey has none
    side = net.margin + 2
    grey = np.full((1, net.channels, side, side), 0.5, np.float32)
    edge = reference.forward(net.layers, grey, net.padding)[0, :, 0]
    if np.abs(edge - 0.5).mean() <= EDGE:
        return ""
    return (
        f"makes {255 * edge.mean():.0f} of a flat grey of 128 at edges, around which it puts "
        "zeros: --padding replicate of npsrcnn convert (in Python: load(path, "
        'padding="replicate")) is closer to its training'
    )


def added_to_input(layers: Layers) -> Layers:
    """Return layers that compute the input plus what ``layers`` make of it.

    Two more maps for each channel carry the input through, max(0, x) and max(0, -x): their
    difference is x, to the last bit.
    """
    channels = layers[0][0].shape[1]
    one = np.eye(channels, dtype=layers[0][0].dtype)
    signed = np.concatenate([one, -one])
    result: Layers = []
    for depth, (w, b) in enumerate(layers):
        first, last = depth == 0, depth == len(layers) - 1
        carried = one if first and last else signed if first else signed.T if last else None
        if carried is None:
            carried = np.eye(2 * channels, dtype=w.dtype)
        outputs, inputs, f, _ = w.shape
        more_inputs = 0 if first else 2 * channels
        more_outputs = 0 if last else 2 * channels
        larger = np.zeros((outputs + more_outputs, inputs + more_inputs, f, f), w.dtype)
        larger[:outputs, :inputs] = w
        larger[-len(carried) :, -carried.shape[1] :, f // 2, f // 2] += carried
        result.append((larger, np.concatenate([b, np.zeros(more_outputs, b.dtype)])))
    return result
