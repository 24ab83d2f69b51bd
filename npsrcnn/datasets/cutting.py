"""Cut sub-images from whole images, as the authors of SRCNN do.

An image is blurred whole (bicubic down by the scale and up again, TPAMI section 4), then both are
cut into sub-images, 33 pixels wide and 14 apart; the label is the centre that a network without
padding can reach, 21 pixels for 9-1-5.

With JPEG the small image is rounded to 8 bits, compressed and decoded before it is enlarged. Then
copies are made and reduced in all their colours, because JPEG mixes those; the network's colours
are taken of what was decoded.

With a CRF each image is filmed: see :mod:`npsrcnn.pixels.filming`. That is for Y alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from npsrcnn.datasets.compression import Compression
from npsrcnn.datasets.filming import Filming
from npsrcnn.errors import UserError
from npsrcnn.pixels.color import as_native, luma, peak, rgb2ycbcr
from npsrcnn.pixels.resize import degrade, imresize, modcrop
from npsrcnn.words import counted

COLORS = {"y": 1, "rgb": 3, "ycbcr": 3}  # kinds of sub-images, and the channels of each

Pair = tuple[np.ndarray, np.ndarray]
"""An image, blurred and sharp, each (C, H, W), float32 in 0..1 or uint8."""
Batch = tuple[np.ndarray, np.ndarray]
"""Inputs (N, C, size, size) and labels (N, C, label_size, label_size), float32."""
Rows = slice | np.ndarray
"""The sub-images of each batch that are wanted, as an index."""
ALL = slice(None)


@dataclass(frozen=True)
class Cut:
    """Parameters by which sub-images are cut; see :func:`npsrcnn.datasets.sub_images`.

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
    jpeg: Compression | None = None
    film: Filming | None = None

    def __post_init__(self) -> None:
        margin = self.size - self.label_size
        if self.label_size < 1 or margin < 0 or margin % 2:
            raise UserError(
                f"a label of {counted(self.label_size, 'pixel')} cannot lie at the centre of a "
                f"sub-image of {self.size}: it must be smaller by an even number of pixels, or as "
                "large"
            )
        if self.scale < 1 or self.stride < 1:
            raise UserError(f"scale {self.scale} and stride {self.stride} must both be at least 1")
        if self.scale == 1 and self.jpeg is None:
            raise UserError("at scale 1 without JPEG compression there is nothing to restore")
        if self.film is not None and (self.jpeg is not None or self.color != "y"):
            raise UserError("images are filmed in Y alone, without JPEG before that")
        if not self.rescale or not all(0 < factor <= 1 for factor in self.rescale):
            raise UserError(f"sizes of copies lie between 0 and 1, not {self.rescale}")
        if self.color not in COLORS:
            raise UserError(f"no colours {self.color!r}; there are {', '.join(COLORS)}")

    @property
    def channels(self) -> int:
        """Number of channels of a sub-image."""
        return COLORS[self.color]

    def starts(self, length: int) -> np.ndarray:
        """Return where sub-images begin along a side of ``length`` pixels."""
        return np.arange(0, length - self.size + 1, self.stride)

    def count(self, height: int, width: int) -> int:
        """Count the sub-images of an image of this size and its rescaled copies."""
        return sum(
            len(self.starts(h)) * len(self.starts(w)) for h, w in self._shapes(height, width)
        )

    def nbytes(self, height: int, width: int) -> int:
        """Return the bytes of an image and its rescaled copies, blurred and sharp, in float32."""
        return sum(h * w for h, w in self._shapes(height, width)) * self.channels * 2 * 4

    def _shapes(self, height: int, width: int) -> Iterator[tuple[int, int]]:
        """Yield the rows and columns of each rescaled copy."""
        for factor in self.rescale:
            h, w = (int(np.ceil(factor * side)) // self.scale for side in (height, width))
            yield h * self.scale, w * self.scale

    def pairs(self, image: np.ndarray, number: int = 0) -> Iterator[Pair]:
        """Yield an image and its rescaled copies, each blurred and sharp, float32 in 0..1.

        ``number``, the image's among all, is one of those that compression depends on.
        """
        image = as_native(image)
        if self.film is not None:
            for copy, sharp in self._copies(_planes(image, self.color)):
                decoded = self.film.filmed(sharp[..., 0], self.scale, number, copy)
                blurred = imresize(_floats(decoded), self.scale)
                yield blurred[None], _channels_first(sharp)
            return
        if self.jpeg is None:
            for _, sharp in self._copies(_planes(image, self.color)):
                yield _channels_first(degrade(sharp, self.scale)), _channels_first(sharp)
            return
        for copy, sharp in self._copies(image):
            small = imresize(_floats(sharp), 1 / self.scale)
            decoded = self.jpeg.compressed(_eight_bits(small), number, copy)
            blurred = imresize(_planes(decoded, self.color), self.scale)
            yield _channels_first(blurred), _channels_first(_planes(sharp, self.color))

    def _copies(self, image: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
        """Yield the number of each rescaled copy, and the copy cropped to multiples of the scale.

        The copy of size 1 is the image as it is; others are float32.
        """
        for copy, factor in enumerate(self.rescale):
            sharp = image if factor == 1 else imresize(_floats(image), factor).clip(0, 1)
            if min(sharp.shape[:2]) >= self.scale:
                yield copy, modcrop(sharp, self.scale)

    def empty_batch(self, count: int) -> Batch:
        """Allocate inputs and labels of ``count`` sub-images."""
        inputs = np.empty((count, self.channels, self.size, self.size), np.float32)
        labels = np.empty((count, self.channels, self.label_size, self.label_size), np.float32)
        return inputs, labels


def _planes(image: np.ndarray, color: str) -> np.ndarray:
    """Convert to (H, W, C) float32 in 0..1; integers are rounded before scaling, as in MATLAB."""
    if color == "y":
        image = luma(image)[:, :, None]
    elif image.ndim == 2:
        image = np.stack([image] * 3, axis=2)
        if color == "ycbcr":
            image[:, :, 1:] = 128 * peak(image.dtype) / 255
    elif color == "ycbcr":
        image = rgb2ycbcr(image)
    return _floats(image)


def _floats(image: np.ndarray) -> np.ndarray:
    """Convert to float32 in 0..1."""
    return image.astype(np.float32) / np.float32(peak(image.dtype))


def _eight_bits(image: np.ndarray) -> np.ndarray:
    """Round floats in 0..1 to 8 bits, as MATLAB's ``uint8(255 * image)``."""
    nearest: np.ndarray = np.floor(image.clip(0, 1) * np.float32(255) + np.float32(0.5))
    return nearest.astype(np.uint8)


def _channels_first(image: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(image.transpose(2, 0, 1))


def check_batch_size(available: int, batch_size: int) -> None:
    """Raise UserError unless a batch can be filled."""
    if not 1 <= batch_size <= available:
        raise UserError(
            f"a batch of {batch_size} cannot be drawn from {counted(available, 'sub-image')}; "
            "use more or larger images, or a smaller batch"
        )
