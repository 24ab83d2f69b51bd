"""Self-ensemble: a picture restored in eight orientations, turned back, and averaged.

A network that has learned from a finite number of images restores a mirrored picture a little
differently; the mean of all eight has less of each one's error. Timofte, Rothe, Van Gool: "Seven
ways to improve example-based single image super resolution", CVPR 2016, section 3.5 (enhanced
prediction). It takes eight times as long.
"""

from __future__ import annotations

import numpy as np

from npsrcnn.model.network import SRCNN

ORIENTATIONS = 8  # of a square: swapped or not, each axis mirrored or not


class Ensemble(SRCNN):
    """An :class:`npsrcnn.SRCNN` whose :meth:`forward` is the mean over the eight orientations."""

    def forward(
        self,
        x: np.ndarray,
        *,
        origin: tuple[int, int] = (0, 0),
        size: tuple[int, int] | None = None,
    ) -> np.ndarray:
        """Restore an image; arguments, shape and errors are those of :meth:`SRCNN.forward`."""
        x = np.asarray(x)
        parts = zip(origin, x.shape[-2:], size or x.shape[-2:], strict=True)
        place = [(start, whole - length - start, whole) for start, length, whole in parts]
        total = np.zeros((), np.float32)
        for turn in range(ORIENTATIONS):
            rows, columns = place[::-1] if turn & 4 else place
            total = total + turned_back(
                super().forward(
                    turned(x, turn),
                    origin=(rows[turn & 1], columns[turn >> 1 & 1]),
                    size=(rows[2], columns[2]),
                ),
                turn,
            )
        return total / total.dtype.type(ORIENTATIONS)


def ensemble(net: SRCNN) -> Ensemble:
    """Return a network that restores in eight orientations, of the weights of ``net``."""
    return Ensemble.from_layers(
        net.layers, device=net.device, padding=net.padding, metadata=net.metadata
    )


def turned(x: np.ndarray, turn: int) -> np.ndarray:
    """Swap the last two axes (bit 2 of ``turn``), then mirror them (bits 0 and 1); a view."""
    x = x.swapaxes(-1, -2) if turn & 4 else x
    return x[..., :: -1 if turn & 1 else 1, :: -1 if turn & 2 else 1]


def turned_back(x: np.ndarray, turn: int) -> np.ndarray:
    """Undo :func:`turned`."""
    x = x[..., :: -1 if turn & 1 else 1, :: -1 if turn & 2 else 1]
    return x.swapaxes(-1, -2) if turn & 4 else x
