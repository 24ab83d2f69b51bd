"""Find out from pixels alone whether, and how strongly, an image was once compressed as JPEG.

After JPEG the DCT coefficients of each 8 x 8 block lie near multiples of the table's steps, even in
a PNG file made of the result, and even if that was saved again as a better JPEG file: the histogram
of each frequency's coefficients has peaks one step apart (Z. Fan, R. de Queiroz, "Identification of
bitmap compression history", IEEE Transactions on Image Processing 12(2), 2003). A candidate step q
is scored by the mean of cos(2 pi c / q) over the coefficients c that it does not round to zero: it
is about 1 if they lie at its multiples, about 0 if they lie anywhere.

The blocks need not begin at the image's corner, where a picture was cropped after its compression.
So all 64 places of the grid are tried.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from npsrcnn.pixels.color import peak
from npsrcnn.pixels.jpeg import LUMINANCE, quality_of_strength

SIDE = 8  # pixels of a block
FREQUENCIES = np.array([(u, v) for u in range(5) for v in range(5 - u) if u + v])  # low ones, AC
SEARCH_BLOCKS = 1024  # blocks that are looked at for each place of the grid
BLOCKS = 4096  # blocks that are looked at for the place that was found
STEPS = np.arange(2, 160)  # candidates: 1 leaves no trace beside the rounding to 8 bits
BIN = 0.25  # width of a histogram's bins
SIZES = np.arange(BIN / 2, 2.5 * STEPS[-1], BIN)  # the middles of the bins
# A step counts if it is seen in so many coefficients, so clearly, and so improbably by chance (in
# standard deviations of the mean cosine); an image counts if so many frequencies have a step.
LEAST_COEFFICIENTS, LEAST_SCORE, LEAST_DEVIATIONS = 6, 0.35, 5.0
LEAST_FREQUENCIES = 8
NEAR_BEST = 0.75  # of divisors of the step, which score as well as it does, the largest is it

# The cosines of these frequencies, (14, 8, 8).
_ANGLES = np.pi / (2 * SIDE) * np.arange(SIDE)[:, None] * (2 * np.arange(SIDE) + 1)
_DCT = np.cos(_ANGLES) / 2 * np.where(np.arange(SIDE) == 0, np.sqrt(0.5), 1)[:, None]
_BASIS = np.array([np.outer(_DCT[u], _DCT[v]) for u, v in FREQUENCIES])
_NOT_ZEROED = np.greater(SIZES, STEPS[:, None] / 2).astype(np.float64)
_COSINES = np.cos(2 * np.pi * SIZES / STEPS[:, None]) * _NOT_ZEROED


class Trace(NamedTuple):
    """How an image was once compressed."""

    strength: float  # percent of the standard's table: see :mod:`npsrcnn.pixels.jpeg`
    corner: tuple[int, int]  # row and column, below 8, at which a block begins

    @property
    def quality(self) -> float:
        """The libjpeg quality of that strength."""
        return quality_of_strength(self.strength)


def find_trace(image: np.ndarray) -> Trace | None:
    """Find the strongest JPEG compression that an image shows.

    Parameters
    ----------
    image : ndarray, (H, W) or (H, W, 3)
        Grey or RGB, uint8, uint16 or floats in 0..1.

    Returns
    -------
    Trace or None
        None where there is none, or too little to tell: the image is small, or smooth, was made
        smaller or larger since, or had a quality of 93 or more.
    """
    # Corners from which at least one whole block lies inside.
    rows, columns = (range(max(0, min(SIDE, side - SIDE + 1))) for side in image.shape[:2])
    corners = [(row, column) for row in rows for column in columns]
    if not corners:
        return None
    strengths = _strengths([_histograms(image, corner, SEARCH_BLOCKS) for corner in corners])
    strongest = corners[int(strengths.argmax())]
    corners = list(dict.fromkeys([(0, 0), strongest]))
    strengths = _strengths([_histograms(image, corner, BLOCKS) for corner in corners])
    best = int(strengths.argmax())
    return Trace(float(strengths[best]), corners[best]) if strengths[best] > 0 else None


def _histograms(image: np.ndarray, corner: tuple[int, int], blocks: int) -> np.ndarray:
    """Count coefficients of Y by their size: (14, bins), of blocks spread over the image."""
    row, column = corner
    height, width = (image.shape[0] - row) // SIDE, (image.shape[1] - column) // SIDE
    inside = image[row : row + height * SIDE, column : column + width * SIDE]
    tiles = inside.reshape(height, SIDE, width, SIDE, *image.shape[2:]).swapaxes(1, 2)
    chosen = np.linspace(0, height * width - 1, min(blocks, height * width)).astype(np.intp)
    samples = tiles[chosen // width, chosen % width] * (255 / peak(image.dtype))
    # JPEG's own Y, in which the blocks were: full range, unlike MATLAB's.
    y = samples if image.ndim == 2 else np.einsum("nijc,c->nij", samples, (0.299, 0.587, 0.114))
    # Not by BLAS: its threads take longer to wake than these few products.
    coefficients = np.einsum("nij,kij->nk", y, _BASIS)
    bins = (np.abs(coefficients) / BIN).astype(np.intp).clip(0, len(SIZES))
    bins += np.arange(len(FREQUENCIES)) * (len(SIZES) + 1)
    counts = np.bincount(bins.ravel(), minlength=len(FREQUENCIES) * (len(SIZES) + 1))
    return counts.reshape(len(FREQUENCIES), -1)[:, :-1]


def _strengths(histograms: list[np.ndarray]) -> np.ndarray:
    """Return the strength that each place's histograms show; 0 where none."""
    stacked = np.concatenate(histograms).astype(np.float64)
    counts = stacked @ _NOT_ZEROED.T
    scores = stacked @ _COSINES.T / np.maximum(counts, 1)
    seen = (counts >= LEAST_COEFFICIENTS) & (scores > LEAST_SCORE)
    seen &= scores * np.sqrt(2 * counts) > LEAST_DEVIATIONS
    seen &= scores > NEAR_BEST * np.where(seen, scores, 0).max(axis=1, keepdims=True)
    last = seen.shape[1] - 1 - seen[:, ::-1].argmax(axis=1)
    steps = np.where(seen.any(axis=1), STEPS[last], 0).reshape(len(histograms), -1)
    ratios = 100 * steps / LUMINANCE[FREQUENCIES[:, 0], FREQUENCIES[:, 1]]
    return np.array(
        [np.median(r[r > 0]) if (r > 0).sum() >= LEAST_FREQUENCIES else 0.0 for r in ratios]
    )
