"""Draw batches of sub-images from images that are held in memory.

Sub-images overlap, so they are not stored: the images are, one after the other in one array, and a
compiled kernel gathers each batch from them. All of T91 takes 43 MB, 140 MB with its four rescaled
copies.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import DTypeLike

from npsrcnn.datasets.cutting import ALL, Batch, Cut, Pair, Rows, check_batch_size
from npsrcnn.datasets.protocols import Source
from npsrcnn.errors import UserError
from npsrcnn.runtime.jit import jit

ORIENTATIONS = 8  # of a square: four rotations, each also mirrored


class NoSubImages(UserError):
    """None of the images that could be read is as large as a sub-image."""


class SubImages(Source):
    """Sub-images of images that are held in memory; each image is read and blurred once.

    Attributes are those of :class:`.protocols.Source`, and ``cut``.

    Parameters
    ----------
    pairs : iterable of Pair
        Images, blurred and sharp, float32.
    cut : Cut
    orientations : bool
        Rotate and mirror each sub-image at random, anew in each epoch.
    nbytes : int
        Bytes of all pairs together, at least.
    skipped : sequence of (Path, str)
        Files that could not be used, and why.

    Raises
    ------
    NoSubImages
        No image is as large as a sub-image.
    """

    def __init__(
        self,
        pairs: Iterable[Pair],
        cut: Cut,
        orientations: bool,
        nbytes: int,
        skipped: Sequence[tuple[Path, str]] = (),
    ) -> None:
        self.cut, self.orientations, self.skipped = cut, orientations, skipped
        self.size, self.label_size, self.channels = cut.size, cut.label_size, cut.channels
        self._blurred, self._sharp = (np.empty(nbytes // 8, np.float32) for _ in range(2))
        places, pixels = [np.empty((0, 3), np.int64)], 0
        for blurred, sharp in pairs:
            height, width = blurred.shape[1:]
            rows, columns = cut.starts(height), cut.starts(width)
            first = pixels + (rows[:, None] * width + columns).ravel()
            place = np.empty((len(first), 3), np.int64)
            place[:, 0], place[:, 1], place[:, 2] = first, width, height * width
            places.append(place)
            stop = pixels + blurred.size
            self._blurred[pixels:stop], self._sharp[pixels:stop] = blurred.ravel(), sharp.ravel()
            pixels = stop
        self._places = np.concatenate(places)
        if not len(self):
            raise NoSubImages(f"no image as large as a sub-image, {cut.size} x {cut.size} pixels")

    def __len__(self) -> int:
        return len(self._places)

    def batches(
        self, seed: int, epoch: int, batch_size: int, start: int = 0, rows: Rows = ALL
    ) -> Generator[Batch, None, None]:
        """Yield the batches of an epoch; see :meth:`.protocols.Source.batches`.

        Batches before ``start`` cost nothing.
        """
        check_batch_size(len(self), batch_size)
        order, orientation = self.shuffled(np.random.default_rng((seed, epoch)))
        for step in range(start, self.steps(batch_size)):
            part = slice(step * batch_size, (step + 1) * batch_size)
            chosen = order[part][rows]
            batch = self.cut.empty_batch(len(chosen))
            self.gather(chosen, orientation[part][rows], batch)
            yield batch

    def pixels(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the arrays that :meth:`gather` reads, not copied.

        Returns
        -------
        blurred, sharp : (pixels,) float32
            All images, one after the other.
        places : (len(self), 3) int64
            For each sub-image its first pixel, pixels a row, and pixels a channel.
        """
        return self._blurred, self._sharp, self._places

    def shuffled(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Return the numbers of all sub-images in random order, and the orientation of each."""
        return shuffled(len(self), self.orientations, rng)

    def gather(self, chosen: np.ndarray, orientation: np.ndarray, batch: Batch) -> None:
        """Copy the chosen sub-images, each in its orientation, into ``batch``."""
        for pixels, result in zip((self._blurred, self._sharp), batch, strict=True):
            gather(pixels, self._places, chosen, orientation, self.size, result)


def shuffled(
    count: int, orientations: bool, rng: np.random.Generator, dtype: DTypeLike = np.int64
) -> tuple[np.ndarray, np.ndarray]:
    """Return the numbers below ``count`` in random order, and an orientation (0..7) for each.

    Numbers do not depend on ``dtype``. Orientations are 0, as cut, where ``orientations`` is false.
    """
    order = np.arange(count, dtype=dtype)
    rng.shuffle(order)
    if orientations:
        return order, rng.integers(ORIENTATIONS, size=count, dtype=np.uint8)
    return order, np.zeros(count, np.uint8)


@jit
def gather(
    pixels: np.ndarray,
    places: np.ndarray,
    chosen: np.ndarray,
    orientation: np.ndarray,
    size: int,
    result: np.ndarray,
) -> None:
    """Write the central pixels of sub-image chosen[n], once oriented, to result[n, c].

    A square in another orientation holds the same pixels from another corner, with other steps
    from row to row and from column to column: bit 2 of an orientation swaps rows and columns, bits
    0 and 1 mirror them. Unsigned indices spare Numba's test for negative ones, and let the inner
    loop be a copy.
    """
    side = result.shape[2]
    border = (size - side) // 2
    for n in range(len(chosen)):
        first, width, plane = places[chosen[n]]
        corner = 0
        down, right = (1, side) if orientation[n] & 4 else (side, 1)
        if orientation[n] & 1:
            corner, down = corner + (side - 1) * down, -down
        if orientation[n] & 2:
            corner, right = corner + (side - 1) * right, -right
        first += border * width + border
        for c in range(result.shape[1]):
            oriented = result[n, c].reshape(-1)
            for i in range(side):
                source = pixels[first + c * plane + i * width :]
                start = corner + i * down
                for j in range(side):
                    oriented[np.uint64(start + j * right)] = source[np.uint64(j)]
