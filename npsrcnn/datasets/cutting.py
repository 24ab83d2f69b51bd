"""Sub-images: what SRCNN trains on, cut from whole images as the authors cut them.

An image is blurred whole (bicubic down by the scale and up again, TPAMI section 4), then both are
cut into sub-images, 33 pixels wide and 14 apart; the label is the centre that a network without
padding can reach, 21 pixels for 9-1-5. The sub-images overlap, so they are not stored: the images
are, one after the other in one array, and a batch is gathered from them by a compiled kernel
whenever it is wanted. All of T91 takes 43 MB, 140 MB with its four rescaled copies.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from npsrcnn.errors import UserError
from npsrcnn.pixels.color import luma, peak, rgb2ycbcr
from npsrcnn.pixels.resize import degrade, imresize, modcrop
from npsrcnn.runtime.jit import jit

COLORS = {"y": 1, "rgb": 3, "ycbcr": 3}  # what the channels of a sub-image are, and how many
ORIENTATIONS = 8  # of a square: four turns, each also mirrored

Pair = tuple[np.ndarray, np.ndarray]  # blurred and sharp, each (C, H, W) float32
Batch = tuple[np.ndarray, np.ndarray]  # inputs (N, C, size, size), labels smaller
Rows = slice | np.ndarray  # of a batch: those of its sub-images that are wanted
ALL = slice(None)


@dataclass(frozen=True)
class Cut:
    """How sub-images are made of an image; see :func:`npsrcnn.datasets.sub_images`.

    Raises
    ------
    UserError
        Values that do not fit each other.
    """

    scale: int
    size: int = 33
    label_size: int = 21
    stride: int = 14
    color: str = "y"
    rescale: tuple[float, ...] = (1.0,)
    label_offset: int | None = None

    def __post_init__(self) -> None:
        size, label_size, offset = self.size, self.label_size, self.label_offset
        if offset is None:
            offset = (size - label_size) // 2
            object.__setattr__(self, "label_offset", offset)  # the way to set what is frozen
        if not (1 <= label_size <= size and 0 <= offset <= size - label_size):
            raise UserError(
                f"a label of {label_size} pixels at {offset} does not lie within "
                f"a sub-image of {size}"
            )
        if self.scale < 1 or self.stride < 1:
            raise UserError(f"scale {self.scale} and stride {self.stride} must both be at least 1")
        if not self.rescale or not all(0 < factor <= 1 for factor in self.rescale):
            raise UserError(f"sizes of copies lie between 0 and 1, not {self.rescale}")
        if self.color not in COLORS:
            raise UserError(f"no colours {self.color!r}; there are {', '.join(COLORS)}")

    @property
    def channels(self) -> int:
        """Of a sub-image."""
        return COLORS[self.color]

    def starts(self, length: int) -> np.ndarray:
        """Where sub-images begin along a side of ``length`` pixels."""
        return np.arange(0, length - self.size + 1, self.stride)

    def count(self, height: int, width: int) -> int:
        """How many sub-images an image of this size gives, with its copies."""
        copies = (self._copy(height, width, factor) for factor in self.rescale)
        return sum(len(self.starts(h)) * len(self.starts(w)) for h, w in copies)

    def bytes(self, height: int, width: int) -> int:
        """How much memory an image of this size takes, blurred and sharp, with its copies."""
        copies = (self._copy(height, width, factor) for factor in self.rescale)
        return sum(h * w for h, w in copies) * self.channels * 2 * 4

    def _copy(self, height: int, width: int, factor: float) -> tuple[int, int]:
        scale = self.scale
        return tuple(int(np.ceil(factor * side)) // scale * scale for side in (height, width))

    def pairs(self, image: np.ndarray) -> Iterator[Pair]:
        """An image and its copies, each blurred and sharp, (C, H, W) float32 in 0..1."""
        planes = _planes(np.asarray(image), self.color)
        for factor in self.rescale:
            sharp = planes if factor == 1 else imresize(planes, factor).clip(0, 1)
            if min(sharp.shape[:2]) < self.scale:
                continue
            sharp = modcrop(sharp, self.scale)
            both = degrade(sharp, self.scale), sharp
            yield tuple(np.ascontiguousarray(each.transpose(2, 0, 1)) for each in both)


def _planes(image: np.ndarray, color: str) -> np.ndarray:
    """(H, W, C) float32 in 0..1; integers are converted and rounded first, as in MATLAB."""
    white = peak(image.dtype)
    if color == "y":
        image = luma(image)[:, :, None]
    elif image.ndim == 2:
        image = np.stack([image] * 3, axis=2)
        if color == "ycbcr":
            image[:, :, 1:] = 128 * white / 255
    elif color == "ycbcr":
        image = rgb2ycbcr(image)
    return image.astype(np.float32) / np.float32(white)


class NoSubImages(UserError):
    """None of the images that could be read is as large as a sub-image."""


class SubImages:
    """Sub-images of images that are held in memory; each read once and blurred as a whole.

    Attributes
    ----------
    size, label_size, channels : int
        Batches are (N, channels, size, size) and (N, channels, label_size, label_size).
    skipped : sequence of (Path, str)
        Files that could not be used, and why.
    """

    def __init__(
        self,
        pairs: Iterable[Pair],
        cut: Cut,
        orientations: bool,
        room: int,
        skipped: Sequence[tuple[Path, str]] = (),
    ) -> None:
        self.cut, self.orientations, self.skipped = cut, orientations, skipped
        self.size, self.label_size, self.channels = cut.size, cut.label_size, cut.channels
        self._blurred, self._sharp = (np.empty(room // 8, np.float32) for _ in range(2))
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
        self._places = np.concatenate(places)  # of each: first pixel, pixels a row, a channel
        if not len(self):
            raise NoSubImages(f"no image as large as a sub-image, {cut.size} x {cut.size} pixels")

    def __len__(self) -> int:
        return len(self._places)

    def steps(self, batch_size: int) -> int:
        """How many batches make an epoch."""
        return len(self) // batch_size

    def batches(
        self, seed: int, epoch: int, batch_size: int, start: int = 0, rows: Rows = ALL
    ) -> Generator[Batch, None, None]:
        """Each sub-image once, in an order drawn from ``(seed, epoch)``.

        The ``len(self) % batch_size`` that are left over are dropped, others in each epoch: every
        batch is full, as in the paper, and a sum over 2N weighs all samples alike.

        Parameters
        ----------
        seed, epoch : int
            Decide the order, and how each sub-image is turned. Not negative.
        batch_size : int
        start : int
            Batches to leave out at the beginning, at no cost; the others stay the same.
        rows : slice or ndarray of int
            Give of each batch these sub-images alone, as one of several processes takes them.

        Yields
        ------
        inputs, labels
            (N, C, size, size) and (N, C, label_size, label_size), float32, contiguous, new.

        Raises
        ------
        UserError
            There are fewer sub-images than ``batch_size``.
        """
        check_batch_size(len(self), batch_size)
        order, turns = self.shuffled(np.random.default_rng((seed, epoch)))
        for stop in range((start + 1) * batch_size, len(self) + 1, batch_size):
            now = slice(stop - batch_size, stop)
            chosen = order[now][rows]
            batch = self.empty(len(chosen))
            self.gather(chosen, turns[now][rows], *batch)
            yield batch

    def pixels(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """What :meth:`gather` reads: all images' pixels, blurred and sharp, and for each
        sub-image its first pixel, pixels a row, and pixels a channel."""
        return self._blurred, self._sharp, self._places

    def shuffled(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """The numbers of all sub-images in random order, and how to turn each: 0 is not at all."""
        return shuffled(len(self), self.orientations, rng)

    def empty(self, batch_size: int) -> Batch:
        """Arrays for one batch."""
        return tuple(
            np.empty((batch_size, self.channels, side, side), np.float32)
            for side in (self.size, self.label_size)
        )

    def gather(
        self, chosen: np.ndarray, turns: np.ndarray, inputs: np.ndarray, labels: np.ndarray
    ) -> None:
        """Copy the chosen sub-images, each turned as told, into ``inputs`` and ``labels``."""
        size, offset = self.cut.size, self.cut.label_offset
        gather(self._blurred, self._places, chosen, turns, size, 0, inputs)
        gather(self._sharp, self._places, chosen, turns, size, offset, labels)


def shuffled(
    count: int, orientations: bool, rng: np.random.Generator, dtype: np.dtype = np.int64
) -> tuple[np.ndarray, np.ndarray]:
    """The numbers below ``count`` in random order, and a turn for each: the same in any dtype."""
    order = np.arange(count, dtype=dtype)
    rng.shuffle(order)
    if orientations:
        return order, rng.integers(ORIENTATIONS, size=count, dtype=np.uint8)
    return order, np.zeros(count, np.uint8)


def check_batch_size(available: int, batch_size: int) -> None:
    """Raise UserError unless a batch can be filled."""
    if not 1 <= batch_size <= available:
        raise UserError(
            f"a batch of {batch_size} cannot be drawn from {available} sub-images; "
            "use more or larger images, or a smaller batch"
        )


@jit
def gather(pixels, places, chosen, turns, size, offset, result):
    """result[n, c] = the pixels from (offset, offset) on of sub-image chosen[n], once turned.

    A turned square holds the same pixels from another corner, with other steps from row to row
    and from column to column: bit 2 of a turn swaps rows and columns, bits 0 and 1 mirror them.
    Unsigned indices spare Numba's test for negative ones, and let the inner loop be a copy.
    """
    side = result.shape[2]
    for n in range(len(chosen)):
        first, width, plane = places[chosen[n]]
        row, column, corner = offset, offset, 0
        down, right = (1, side) if turns[n] & 4 else (side, 1)
        if turns[n] & 1:
            row, corner, down = size - side - offset, corner + (side - 1) * down, -down
        if turns[n] & 2:
            column, corner, right = size - side - offset, corner + (side - 1) * right, -right
        first += row * width + column
        for c in range(result.shape[1]):
            turned = result[n, c].reshape(-1)
            for i in range(side):
                source = pixels[first + c * plane + i * width :]
                start = corner + i * down
                for j in range(side):
                    turned[np.uint64(start + j * right)] = source[np.uint64(j)]
