"""Keep flat areas as they are: subtract from a restored image what the network does to flat ones.

A network trained on pictures maps a flat one to nearly the same grey, wrong by up to 1.5 of 255
levels. In a flat area each layer sees the same value everywhere, so that its filters act by their
sums alone: the error depends on the value, and on nothing else. Without it flat areas come out as
they went in, and PSNR is within 0.005 dB of what it was.
"""

from __future__ import annotations

import numpy as np

from npsrcnn.layers import Layers
from npsrcnn.model.interpolation import flat_response
from npsrcnn.model.network import SRCNN
from npsrcnn.pixels.color import Y_BLACK, Y_RANGE
from npsrcnn.runtime.jit import jit
from npsrcnn.runtime.threads import PIECE_PIXELS, parallel

STEPS = 4096  # between the values of a table, which are those of Y; beyond, its ends hold:
# what overshoots at edges is not flat, and networks have seen little of it


def subtract_flat_error(net: SRCNN, blurred: np.ndarray, restored: np.ndarray) -> np.ndarray:
    """Subtract from each restored pixel what the network would do to a flat image of its value.

    Parameters
    ----------
    net : SRCNN
    blurred : ndarray, (c, H, W), float32
        What the network was given.
    restored : ndarray, (c, H, W)
        What it returned; may be changed.

    Returns
    -------
    ndarray, (c, H, W), float32
    """
    if net.channels > 1:
        flat = SRCNN.from_layers(net.derived(_on_flat_images), device=net.device)
        colors = blurred.clip(0, 1)
        corrected: np.ndarray = restored - (flat.forward(colors[None])[0] - colors)
        return corrected
    result = np.require(restored, np.float32, ["C", "W"])
    table = net.derived(_table)
    height, width = result.shape[1:]
    block = max(1, PIECE_PIXELS // width)
    black, per_unit = np.float32(Y_BLACK), np.float32(STEPS / Y_RANGE)

    def piece(i: int) -> None:
        stop = min((i + 1) * block, height)
        places, shares = np.empty(width, np.int32), np.empty(width, np.float32)
        _subtract_rows(
            i * block, stop, blurred[0], table, black, per_unit, places, shares, result[0]
        )

    parallel(piece, -(-height // block))
    return result


def _on_flat_images(layers: Layers) -> Layers:
    """Return the network of 1 x 1 filters that does to any image what ``layers`` do to flat ones.

    Sums are float64.
    """
    return [
        (w.astype(np.float64).sum(axis=(2, 3), keepdims=True), b.astype(np.float64))
        for w, b in layers
    ]


def _table(layers: Layers) -> np.ndarray:
    """Tabulate the error on flat images of one channel, float32: of Y from black to white."""
    values = Y_BLACK + Y_RANGE * np.arange(STEPS + 1) / STEPS
    error: np.ndarray = flat_response(layers, values)[0] - values
    return error.astype(np.float32)


@jit
def _subtract_rows(start, stop, blurred, table, black, per_unit, places, shares, restored):
    # columns in three loops: all but the look into the table is SIMD
    zero, one, last = np.float32(0), np.float32(1), np.float32(len(table) - 2)
    for i in range(start, stop):
        for j in range(len(places)):
            place = (blurred[i, j] - black) * per_unit
            place = place if place > zero else zero
            places[j] = np.int32(place if place < last else last)
            share = place - np.float32(places[j])
            shares[j] = share if share < one else one
        for j in range(len(places)):
            k = np.uint32(places[j])
            error = table[k]
            shares[j] = error + shares[j] * (table[k + np.uint32(1)] - error)
        for j in range(len(places)):
            restored[i, j] -= shares[j]
