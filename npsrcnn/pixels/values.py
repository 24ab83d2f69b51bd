"""Say what the numbers of an image mean: which is black, which white, and which stand for nothing.

Networks work in 0..1. Images of 8 and 16 unsigned bits have their white by their type; of others
(degrees, metres, counts) the least and the largest value that an image has take the place of black
and white while it is in the network. A number that is declared to mean "no data", NaN and infinity
are left out, and kept.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from npsrcnn.errors import UserError
from npsrcnn.pixels.color import peak
from npsrcnn.pixels.resize import Span

DTYPES = tuple(
    np.dtype(name)
    for name in (
        *("uint8", "uint16", "uint32", "int8", "int16", "int32", "float16", "float32", "float64"),
    )
)
"""Types of the samples of pictures."""
IN_NETWORK = (np.uint8, np.uint16)  # whose white is the largest value of the type
LEAST_CONTRAST = 1 / 16  # of floats in 0..1, for which these are black and white: the network's
# rounding, 1e-7, is then nothing beside what the image shows
LEAST_FLOAT, LARGEST_FLOAT = -0.5, 1.5  # beyond, floats are plainly not in 0..1
ALMOST_LARGEST = 0.999  # of the largest float: nobody measures that, but many files mark with it


class AlphaError(UserError):
    """Alpha of floats that are plainly not in 0..1."""


@dataclass(frozen=True)
class Values:
    """What the numbers of an image mean.

    Attributes
    ----------
    black, white : float
        What becomes 0 and 1 in the network.
    nodata : float or None
        Stands for no value; NaN and infinity always do.
    """

    black: float
    white: float
    nodata: float | None = None

    @classmethod
    def of_type(cls, dtype: np.dtype, nodata: float | None = None) -> Values:
        """Return black and white of a type: of integers 0 and the largest, of floats 0 and 1."""
        return cls(0.0, peak(dtype), nodata)

    @classmethod
    def measured(
        cls,
        parts: Iterable[tuple[np.ndarray, np.ndarray | None]],
        dtype: np.dtype,
        nodata: float | None = None,
    ) -> Values:
        """Find black and white of an image.

        Parameters
        ----------
        parts : iterable of (pixels, alpha)
            The image in one or several parts; taken only where the type does not say it. Pixels
            whose alpha is 0 are not counted.
        dtype : dtype
            Of the pixels.
        nodata : float, optional
        """
        usual = cls.of_type(dtype, nodata)
        if dtype in IN_NETWORK:
            return usual
        least, largest = extent(parts, usual)
        if least > largest:
            return usual
        if dtype.kind == "f" and least >= 0 and largest <= 1 and largest - least >= LEAST_CONTRAST:
            return usual
        if least == largest:
            largest += max(1.0, abs(largest))
        return cls(least, largest, nodata)

    def is_usual(self, dtype: np.dtype) -> bool:
        """Return whether black and white are those of the network's own types."""
        if dtype.kind != "f" and dtype not in IN_NETWORK:
            return False
        return (self.black, self.white) == (0.0, peak(dtype))

    def missing(self, pixels: np.ndarray) -> np.ndarray | None:
        """Return where there is no value, a boolean array of the shape of ``pixels``, or None."""
        missing = None
        if pixels.dtype.kind == "f":
            with np.errstate(invalid="ignore"):
                missing = ~(np.abs(pixels) < ALMOST_LARGEST * np.finfo(pixels.dtype).max)
        nodata = self.nodata_of(pixels.dtype)
        if nodata is not None:
            equal = pixels == nodata
            missing = equal if missing is None else missing | equal
        return missing if missing is not None and missing.any() else None

    def nodata_of(self, dtype: np.dtype) -> Any:
        """Return ``nodata`` in a type; None where that has no such number."""
        if self.nodata is None or np.isnan(self.nodata):
            return None
        if dtype.kind == "f":
            with np.errstate(over="ignore"):
                return dtype.type(self.nodata)
        whole = self.nodata == np.rint(self.nodata)
        inside = least_of(dtype) <= self.nodata <= largest_of(dtype)
        return dtype.type(int(self.nodata)) if whole and inside else None

    def to_network(self, pixels: np.ndarray, missing: np.ndarray | None = None) -> np.ndarray:
        """Return pixels that a network takes: uint8, uint16, or floats with 0 black and 1 white.

        Of a usual image they are what was given; where there is no value, they are 0.
        """
        if self.is_usual(pixels.dtype):
            return pixels if missing is None else np.where(missing, pixels.dtype.type(0), pixels)
        share = pixels.astype(np.float64)
        if missing is not None:
            share[missing] = self.black
        share -= self.black
        share /= self.white - self.black
        share.clip(0, 1, out=share)  # beyond is only what nobody sees
        return share.astype(np.float32)

    def from_network(self, result: np.ndarray, dtype: np.dtype) -> np.ndarray:
        """Return pixels of ``dtype`` for what a network made of :meth:`to_network`'s."""
        if not self.is_usual(dtype):
            values = result.astype(np.float64)
            values *= self.white - self.black
            values += self.black
            if dtype.kind != "f":
                np.rint(values, out=values)
                values.clip(least_of(dtype), largest_of(dtype), out=values)
            result = values.astype(dtype)
        nodata = self.nodata_of(dtype)
        if nodata is None or not (equal := result == nodata).any():
            return result
        # a value that there is must not come to mean that there is none
        up = float(nodata) < (self.black + self.white) / 2
        if dtype.kind == "f":
            beside = np.nextafter(nodata, dtype.type(np.inf if up else -np.inf))
        else:
            beside = dtype.type(int(nodata) + (1 if up else -1))
        return np.where(equal, beside, result)


def extent(
    parts: Iterable[tuple[np.ndarray, np.ndarray | None]], values: Values
) -> tuple[float, float]:
    """Return the least and the largest value of pixels that have one and are not hidden by alpha.

    Of none these are infinity and its negative.

    Raises
    ------
    AlphaError
        Alpha is of floats that are plainly not in 0..1; what resampling makes of edges may be.
    """
    least, largest = np.inf, -np.inf
    for pixels, alpha in parts:
        missing = values.missing(pixels)
        if alpha is not None and alpha.dtype.kind == "f":
            _check_alpha(alpha)
        if missing is not None or alpha is not None:
            seen = np.ones(pixels.shape, bool) if missing is None else ~missing
            if alpha is not None:
                seen &= (alpha != 0).reshape(*alpha.shape, *[1] * (pixels.ndim - 2))
            pixels = pixels[seen]
        if pixels.size:
            least, largest = min(least, float(pixels.min())), max(largest, float(pixels.max()))
    return least, largest


def _check_alpha(alpha: np.ndarray) -> None:
    known = alpha[np.isfinite(alpha)]
    for value in (known.min(), known.max()) if known.size else ():
        if not LEAST_FLOAT <= value <= LARGEST_FLOAT:
            raise AlphaError(
                f"alpha of {value:.6g}, and of floats 0 is transparent, 1 opaque: divide alpha by "
                "what is opaque, or save a channel that is none as an image of its own"
            )


def keep_missing(
    result: np.ndarray,
    pixels: np.ndarray,
    missing: np.ndarray,
    window: tuple[Span, Span],
    corner: tuple[int, int],
    scales: tuple[float, float],
) -> None:
    """Put back, into a window of a result, what stands for no value.

    Parameters
    ----------
    result : ndarray, (rows, columns) or (rows, columns, C)
        The window; changed.
    pixels, missing : ndarray
        A part of the image, and where it has no value.
    window : (rows, columns), each (start, stop)
        Of the result.
    corner : (row, column)
        Of the image, where ``pixels`` begin.
    scales : (float, float)
        Of rows and columns. Each pixel of the result gets what the pixel below its centre has.
    """
    below = [
        np.minimum((np.arange(*span) + 0.5) // scale, start + length - 1).astype(np.intp) - start
        for span, start, length, scale in zip(window, corner, pixels.shape, scales, strict=False)
    ]
    place = np.ix_(*below)
    np.copyto(result, pixels[place], where=missing[place])


def least_of(dtype: np.dtype) -> float:
    """Return the least value of a type."""
    return float(np.finfo(dtype).min if dtype.kind == "f" else np.iinfo(dtype).min)


def largest_of(dtype: np.dtype) -> float:
    """Return the largest value of a type."""
    return float(np.finfo(dtype).max if dtype.kind == "f" else np.iinfo(dtype).max)


def to_16_bits(samples: np.ndarray, bits: int) -> np.ndarray:
    """Return integers of 1 to 16 bits, whose white is the largest of these, as uint16."""
    white = 2**bits - 1
    wide: np.ndarray = ((samples.astype(np.uint32) * 65535 + white // 2) // white).astype(np.uint16)
    return wide
