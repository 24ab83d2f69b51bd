"""Find out from pixels alone whether, and how strongly, an image was once compressed as JPEG.

After JPEG the DCT coefficients of each 8 x 8 block lie near multiples of the table's steps, even in
a PNG file made of the result, and even if that was saved again as a better JPEG file: the histogram
of each frequency's coefficients has peaks one step apart (Z. Fan, R. de Queiroz, "Identification of
bitmap compression history", IEEE Transactions on Image Processing 12(2), 2003). A candidate step q
is scored by the mean of cos(2 pi c / q) over the coefficients c that it does not round to zero: it
is about 1 if they lie at its multiples, about 0 if they lie anywhere.

Drawings have coefficients of few sizes, which lie at multiples of some step by chance: letters of
two greys, or pixels that were doubled. But whatever was rounded leaves a gap between zero and the
first step, in higher frequencies too, and letters fill it.

Where an image has few blocks, many frequencies have too few coefficients beside zero to show a step
each. Then libjpeg's own tables are tried, of which each gives the steps of all frequencies at once:
what counts is how improbable their cosines are together, however many they are, and how much more
so than at the grid's other places.

The blocks need not begin at the image's corner, where a picture was cropped after its compression.
So all 64 places of the grid are tried.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from npsrcnn.pixels.color import peak
from npsrcnn.pixels.jpeg import (
    LUMINANCE,
    luminance_table,
    quality_of_strength,
    strength_of_quality,
)

SIDE = 8  # pixels of a block
LOWEST = 5  # frequencies along an axis
FREQUENCIES = np.array([(u, v) for u in range(LOWEST) for v in range(LOWEST - u) if u + v])  # no DC
SEARCH_BLOCKS = 1024  # blocks that are looked at for each place of the grid
BLOCKS = 4096  # blocks that are looked at for the place that was found
STEPS = np.arange(2, 160)  # candidates: 1 leaves no trace beside the rounding to 8 bits
BIN = 0.5  # width of a histogram's bins
BINS = int(2.5 * STEPS[-1] / BIN)
# A step counts if it is seen in so many coefficients, so clearly, and so improbably by chance (in
# standard deviations of the mean cosine); an image counts if so many frequencies have a step.
LEAST_COEFFICIENTS, LEAST_SCORE, LEAST_DEVIATIONS = 6, 0.35, 5.0
LEAST_FREQUENCIES = 8
# For a table, of the coefficients of all frequencies together: how clearly, how improbably, and how
# many times as improbably as at any other place of the grid. Of 2,688 crops of 48 and 72 pixels of
# photographs, drawings, enlarged pictures and gradients, never compressed, none reaches all three.
LEAST_TABLE_SCORE, LEAST_TABLE_DEVIATIONS, LEAST_TIMES = 0.6, 7.0, 1.4
TABLE_QUALITIES = range(5, 93)
# Higher frequencies, and the parts of a step between which coefficients are rare, and many, after
# rounding. For each of the many there are at most 0.7 of the others after JPEG (but for letters of
# quality 5, cut off at white), 0.2 of a flat table, whose high steps strength overrates; in
# drawings at least 1.4 and 0.4.
HIGH = np.add.outer(np.arange(SIDE), np.arange(SIDE)) >= LOWEST
GAP, TOOTH, CLEAR_GAP = (0.25, 0.4), (0.8, 1.2), 3.0  # the last: where a gap begins, above noise
MOST_IN_GAP, MOST_IN_GAP_FLAT, FLAT = 0.9, 0.27, 15  # the last: the standard's low steps
NEAR_BEST = 0.75  # of divisors of the step, which score as well as it does, the largest is it


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
        smaller or larger since, or had a quality of 93 or more, or it is a drawing.
    """
    # Places of the grid at which at least one whole block lies inside.
    rows, columns = (max(0, min(SIDE, side - SIDE + 1)) for side in image.shape[:2])
    if not rows or not columns:
        return None
    spots = _luma(_patches(image, (0, 0), (SIDE + rows - 1, SIDE + columns - 1), SEARCH_BLOCKS))
    found = _cosine_sums(_histograms(spots, (rows, columns)))
    strengths = _strengths(*found)
    corner = divmod(int(strengths.argmax()), columns)
    corners = list(dict.fromkeys([(0, 0), corner]))
    blocks = [_luma(_patches(image, corner, (SIDE, SIDE), BLOCKS)) for corner in corners]
    histograms = [_histograms(luma, (1, 1)) for luma in blocks]
    strengths = _strengths(*_cosine_sums(np.concatenate(histograms)))
    best = int(strengths.argmax())
    if strengths[best] > 0:
        strength = float(strengths[best])
        return Trace(strength, corners[best]) if _leaves_gap(blocks[best], strength) else None
    if rows * columns < SIDE**2:
        return None
    place, strength = _strength_of_table(*found)
    corner = divmod(place, columns)
    luma = _luma(_patches(image, corner, (SIDE, SIDE), BLOCKS))
    return Trace(strength, corner) if strength and _leaves_gap(luma, strength) else None


def _patches(
    image: np.ndarray, corner: tuple[int, int], shape: tuple[int, int], count: int
) -> np.ndarray:
    """Take at most ``count`` patches, spread over the image, of pixels of 8 bits: (n, *shape, ...).

    Each begins a multiple of 8 rows and columns from ``corner``. One of 15 x 15 pixels holds a
    block of each place of the grid.
    """
    windows = sliding_window_view(image, shape, axis=(0, 1))[corner[0] :: SIDE, corner[1] :: SIDE]
    height, width = windows.shape[:2]
    chosen = np.linspace(0, height * width - 1, min(count, height * width)).astype(np.intp)
    patches: np.ndarray = windows[chosen // width, chosen % width] * (255 / peak(image.dtype))
    return patches if image.ndim == 2 else np.moveaxis(patches, 1, -1)


def _luma(pixels: np.ndarray) -> np.ndarray:
    """Return JPEG's own Y, in which the blocks were: full range, unlike MATLAB's."""
    return pixels if pixels.ndim == 3 else pixels @ np.array((0.299, 0.587, 0.114))


def _histograms(luma: np.ndarray, places: tuple[int, int]) -> np.ndarray:
    """Count the coefficients of blocks by their size.

    Parameters
    ----------
    luma : ndarray, (n, 7 + rows, 7 + columns)
        Patches.
    places : (rows, columns)
        A block begins at each of the first so many pixels of a patch.

    Returns
    -------
    ndarray, (rows * columns, 14, BINS)
    """
    count, height, width = luma.shape
    rows, columns = places
    lines = luma.astype(np.float32).reshape(-1, width) @ _transforms(columns)
    lines = lines.reshape(count, height, -1).transpose(2, 0, 1)  # (columns and v, count, height)
    blocks = lines.reshape(-1, height) @ _transforms(rows)
    coefficients = blocks.reshape(columns, LOWEST, count, rows, LOWEST)
    result = np.empty((len(FREQUENCIES), columns, rows, BINS), np.int64)
    starts = (BINS + 1) * np.arange(rows * columns).reshape(columns, 1, rows)
    for counts, (u, v) in zip(result, FREQUENCIES, strict=True):
        sizes = np.abs(coefficients[:, v, :, :, u]) * np.float32(1 / BIN)
        bins = np.minimum(sizes, BINS).astype(np.intp) + starts
        found = np.bincount(bins.ravel(), minlength=rows * columns * (BINS + 1))
        counts[:] = found.reshape(columns, rows, BINS + 1)[..., :-1]
    return result.transpose(2, 1, 0, 3).reshape(rows * columns, len(FREQUENCIES), BINS)


def _cosine_sums(histograms: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return of each place, frequency and step the sum of cosines, and of how many coefficients."""
    stacked = histograms.reshape(-1, BINS)
    first_bins, cosines = _candidates()
    larger = np.zeros((len(stacked), BINS + 1), np.int32)
    np.cumsum(stacked[:, ::-1], axis=1, out=larger[:, 1:])
    shape = (*histograms.shape[:2], len(STEPS))
    sums = stacked.astype(np.float32) @ cosines.T
    return sums.reshape(shape), larger[:, BINS - first_bins].reshape(shape)


def _strengths(sums: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Return the strength that each place's coefficients show; 0 where none."""
    scores = sums / np.maximum(counts, 1)
    seen = (counts >= LEAST_COEFFICIENTS) & (scores > LEAST_SCORE)
    seen &= scores * np.sqrt(2 * counts) > LEAST_DEVIATIONS
    seen &= scores > NEAR_BEST * np.where(seen, scores, 0).max(axis=2, keepdims=True)
    last = seen.shape[2] - 1 - seen[..., ::-1].argmax(axis=2)
    steps = np.where(seen.any(axis=2), STEPS[last], 0)
    ratios = 100 * steps / LUMINANCE[FREQUENCIES[:, 0], FREQUENCIES[:, 1]]
    return np.array(
        [np.median(r[r > 0]) if (r > 0).sum() >= LEAST_FREQUENCIES else 0.0 for r in ratios]
    )


def _strength_of_table(sums: np.ndarray, counts: np.ndarray) -> tuple[int, float]:
    """Return the place at which coefficients lie at the steps of a table, and its strength.

    The strength is 0 where they lie at none's, or as well at those of another place.
    """
    steps = _table_steps()
    index = np.clip(steps - STEPS[0], 0, len(STEPS) - 1)
    frequencies = np.arange(len(FREQUENCIES))
    held = (steps >= STEPS[0]) & (steps <= STEPS[-1])
    cosines = (sums[:, frequencies, index] * held).sum(axis=2)
    number = np.maximum((counts[:, frequencies, index] * held).sum(axis=2), 1)
    deviations = cosines * np.sqrt(2 / number)  # (places, tables)
    by_place = deviations.max(axis=1)
    place = int(by_place.argmax())
    table = int(deviations[place].argmax())
    seen = by_place[place] > max(
        LEAST_TABLE_DEVIATIONS, LEAST_TIMES * np.delete(by_place, place).max()
    )
    if not seen or cosines[place, table] <= LEAST_TABLE_SCORE * number[place, table]:
        return place, 0.0
    near = deviations[place] > NEAR_BEST * by_place[place]
    first = int(near.argmax())  # of tables whose steps are parts of its steps the largest is it
    middle = first + int(np.append(~near[first:], True).argmax()) // 2
    return place, strength_of_quality(TABLE_QUALITIES[middle])


def _leaves_gap(luma: np.ndarray, strength: float) -> bool:
    """Return whether coefficients of high frequencies are rare between zero and the first step.

    Parameters
    ----------
    luma : ndarray, (n, 8, 8)
        Blocks.
    strength : float
        Percent of the standard's table, or of a flat one.
    """
    matrix = _cosines(SIDE)
    sizes = np.abs(matrix.T @ luma.astype(np.float32) @ matrix)[:, HIGH]
    gap, tooth = _gap_and_tooth(sizes, LUMINANCE[HIGH] * (strength / 100))
    if gap <= MOST_IN_GAP * tooth:
        return True
    gap, tooth = _gap_and_tooth(sizes, np.full(sizes.shape[1], FLAT * strength / 100))
    return gap < MOST_IN_GAP_FLAT * tooth


def _gap_and_tooth(sizes: np.ndarray, steps: np.ndarray) -> tuple[int, int]:
    """Count coefficients (n, frequencies) before the first step, and at it."""
    clear = GAP[0] * steps > CLEAR_GAP
    parts = sizes[:, clear] / steps[clear].astype(np.float32)
    gap, tooth = (((parts > low) & (parts < high)).sum() for low, high in (GAP, TOOTH))
    return int(gap), int(tooth)


def _cosines(frequencies: int) -> np.ndarray:
    """Return the first columns, (8, frequencies), of the matrix that transforms a line."""
    angles = np.pi / (2 * SIDE) * np.arange(frequencies) * (2 * np.arange(SIDE)[:, None] + 1)
    scale = np.where(np.arange(frequencies) == 0, np.sqrt(0.5), 1) / 2
    cosines: np.ndarray = np.cos(angles) * scale
    return cosines.astype(np.float32)


@functools.cache
def _table_steps() -> np.ndarray:
    """Return libjpeg's steps of each frequency, (qualities, 14)."""
    tables = np.array([luminance_table(quality) for quality in TABLE_QUALITIES])
    steps: np.ndarray = tables[:, FREQUENCIES[:, 0], FREQUENCIES[:, 1]]
    return steps


@functools.cache
def _transforms(places: int) -> np.ndarray:
    """Return the matrix, (7 + places, places * LOWEST), that transforms a line at each place."""
    cosines = _cosines(LOWEST)
    matrix = np.zeros((SIDE - 1 + places, places, LOWEST), np.float32)
    for place in range(places):
        matrix[place : place + SIDE, place] = cosines
    return matrix.reshape(len(matrix), -1)


@functools.cache
def _candidates() -> tuple[np.ndarray, np.ndarray]:
    """Return of each step the first bin that it does not round to zero, and cosines from there on.

    Cosines (steps, bins) of the bins' middles; made when first asked for, as that takes 5 ms.
    """
    sizes = BIN * (np.arange(BINS) + 0.5)
    kept = sizes > STEPS[:, None] / 2
    cosines = np.cos(2 * np.pi * sizes / STEPS[:, None]) * kept
    return kept.argmax(axis=1), cosines.astype(np.float32)
