"""A picture: pixels as an array, and all that belongs to it beside them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from npsrcnn.images import mpf
from npsrcnn.images.metadata import Metadata
from npsrcnn.pixels.color import as_native, peak
from npsrcnn.pixels.values import DTYPES, Values


@dataclass
class Companion:
    """A picture that goes with another: see :mod:`npsrcnn.images.mpf`."""

    picture: Picture
    attribute: int
    is_gain_map: bool = False

    def __str__(self) -> str:
        """Return what it is, in words."""
        return "gain map" if self.is_gain_map else "other picture"


@dataclass
class Picture:
    """An image with all that belongs to it.

    Attributes
    ----------
    pixels : ndarray, (H, W) grey or (H, W, 3) RGB
        Of a type in :data:`npsrcnn.pixels.values.DTYPES`.
    alpha : ndarray, (H, W), or None
        Opacity, with the dtype of ``pixels``, which are not multiplied with it.
    metadata : Metadata
    nodata : float or None
        What stands for no value in ``pixels``, beside NaN and infinity.
    others : list of Companion
        What goes with the picture in its file, and in JPEG files alone: a gain map, the other
        picture of a stereo pair.
    role : int
        What the picture is for where there are ``others``.
    lost : tuple of str
        What its file held as well, and is not kept, in words.
    black : ndarray, (H, W), or None
        Of CMYK how little black ink there is; ``pixels`` are then how little cyan, magenta and
        yellow, so that white is white.
    lossless : bool
        Its file is of a format that may lose something, WebP, and did not; nor will a new one.
    """

    pixels: np.ndarray
    alpha: np.ndarray | None = None
    metadata: Metadata = field(default_factory=Metadata)
    nodata: float | None = None
    others: list[Companion] = field(default_factory=list)
    role: int = mpf.BASELINE
    lost: tuple[str, ...] = ()
    lossless: bool = False
    black: np.ndarray | None = None

    @classmethod
    def from_samples(cls, samples: np.ndarray, metadata: Metadata | None = None) -> Picture:
        """Make a picture of (H, W) or (H, W, C): C is 1 grey, 2 grey and alpha, 3 RGB, 4 RGBA."""
        samples = as_native(samples)
        samples = samples[..., None] if samples.ndim == 2 else samples
        channels = samples.shape[2] if samples.ndim == 3 else 0
        if channels not in (1, 2, 3, 4) or samples.size == 0:
            raise ValueError(f"no image: an array of {samples.shape}")
        if samples.dtype not in DTYPES:
            raise TypeError(f"no image of {samples.dtype}: use uint8, uint16 or float32")
        pixels = samples[..., 0] if channels < 3 else samples[..., :3]
        alpha = samples[..., -1] if channels in (2, 4) else None
        return cls(pixels, alpha, metadata or Metadata())

    @classmethod
    def from_inks(cls, inks: np.ndarray, metadata: Metadata) -> Picture:
        """Make a picture of CMYK, (H, W, 4) uint8: 255 is all ink."""
        light = 255 - inks
        return cls(light[..., :3], metadata=metadata, black=light[..., 3])

    def inks(self) -> np.ndarray:
        """Return CMYK, (H, W, 4) uint8: the inverse of :meth:`from_inks`."""
        assert self.black is not None
        return 255 - np.dstack([self.pixels, self.black])

    def is_opaque(self) -> bool:
        """Return whether alpha, if there is one, is at its maximum everywhere."""
        return self.alpha is None or bool((self.alpha == peak(self.alpha.dtype)).all())

    def stripped(self) -> Picture:
        """Return the picture alone, with what tells of its colours."""
        lost = (*self.lost, *map(str, self.others))
        metadata = self.metadata.stripped()
        return replace(self, metadata=metadata, others=[], role=mpf.BASELINE, lost=lost)

    def values(self) -> Values:
        """Return what the numbers in ``pixels`` mean."""
        return Values.measured([(self.pixels, self.alpha)], self.pixels.dtype, self.nodata)

    def samples(self) -> np.ndarray:
        """Return (H, W, C), contiguous: the inverse of :meth:`from_samples`."""
        parts = (self.pixels,) if self.alpha is None else (self.pixels, self.alpha)
        return np.dstack(parts) if len(parts) > 1 else np.atleast_3d(self.pixels)
