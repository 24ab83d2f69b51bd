"""Say how large results are to be: so many times their pictures, or of a size in pixels."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

from npsrcnn.errors import UserError

STRETCH = 0.01  # of a side, that rounding may do to a picture whose width and height are given

Shape = tuple[int, int]  # rows and columns


@dataclass(frozen=True)
class Size:
    """A size that all results are to have; what is not given follows from the picture.

    Attributes
    ----------
    width, height : int or None
        In pixels, of the upright picture.
    longest : int or None
        Its longer side, instead.
    """

    width: int | None = None
    height: int | None = None
    longest: int | None = None

    def __str__(self) -> str:
        """Return it as names of files have it: 800, w800, h600, or 800x600."""
        if self.width and self.height:
            return f"{self.width}x{self.height}"
        return f"{'w' * bool(self.width)}{'h' * bool(self.height)}{self._given()}"

    def _given(self) -> int | None:
        return self.longest or self.width or self.height

    def shape_of(self, shape: Shape) -> Shape:
        """Return the shape of the result of a picture.

        Parameters
        ----------
        shape : (rows, columns)
            Of the upright picture.

        Raises
        ------
        UserError
            Width and height are given, and would stretch it by more than a hundredth.
        """
        height, width = shape
        if self.longest:
            factor = self.longest / max(shape)
        elif self.width and self.height:
            stretch = (self.width * height) / (self.height * width)
            if max(stretch, 1 / stretch) > 1 + STRETCH:
                raise UserError(
                    f"{width} x {height} would be stretched to {self.width} x {self.height}: "
                    "give --width, --height or --longest alone"
                )
            return self.height, self.width
        else:
            factor = self.width / width if self.width else (self.height or height) / height
        return max(1, round(factor * height)), max(1, round(factor * width))


class Fit(NamedTuple):
    """How much larger a picture becomes, and its shape where that does not follow."""

    factor: float
    shape: Shape | None = None


def fit(scale: float | Size, shape: Shape) -> Fit:
    """Return how a picture of a shape becomes as large as asked for; see :meth:`Size.shape_of`."""
    if not isinstance(scale, Size):
        return Fit(scale)
    large = scale.shape_of(shape)
    return Fit(max(large[0] / shape[0], large[1] / shape[1]), large)


def most_pixels(scale: float | Size, shape: Shape) -> Shape:
    """Return rows and columns of the result, of the larger where the picture may be turned."""
    if not isinstance(scale, Size):
        return math.ceil(scale * shape[0]), math.ceil(scale * shape[1])
    if scale.width and scale.height:
        return scale.height, scale.width
    return max(map(scale.shape_of, (shape, (shape[1], shape[0]))), key=math.prod)
