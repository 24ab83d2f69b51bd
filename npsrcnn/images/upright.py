"""Read windows of a TIFF page as if it were stored upright.

A window of the upright picture is one of the stored picture, mirrored or turned: only where it lies
has to be computed, and no more is read than from a page that is stored upright.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from npsrcnn.images.exif import UPRIGHT
from npsrcnn.images.tiff import Kind, TiffReader
from npsrcnn.pixels.resize import Span

ON_ITS_SIDE = (5, 6, 7, 8)  # orientations whose stored rows are columns of the upright picture
FROM_BELOW = (3, 4, 6, 7)  # whose stored rows are counted from the last one on
FROM_RIGHT = (2, 3, 7, 8)  # whose stored columns are


@dataclass(frozen=True)
class UprightReader:
    """Read windows of a page that is turned as its Orientation says.

    Attributes
    ----------
    stored : TiffReader
        The page as it lies in the file.
    """

    stored: TiffReader

    @property
    def on_its_side(self) -> bool:
        """Whether rows of the upright picture are columns of the file."""
        return self.stored.orientation in ON_ITS_SIDE

    @property
    def kind(self) -> Kind:
        """The size of the upright picture, and the type of its pixels."""
        kind = self.stored.kind
        return kind._replace(size=kind.size[::-1]) if self.on_its_side else kind

    def read(self, rows: Span, columns: Span) -> tuple[np.ndarray, np.ndarray | None]:
        """Return pixels (H, W) or (H, W, 3) and alpha (H, W) or None of a window."""
        orientation, (height, width) = self.stored.orientation, self.stored.kind.size
        if self.on_its_side:
            rows, columns = columns, rows
        if orientation in FROM_BELOW:
            rows = height - rows[1], height - rows[0]
        if orientation in FROM_RIGHT:
            columns = width - columns[1], width - columns[0]
        pixels, alpha = self.stored.read(rows, columns)
        return self._turned(pixels), None if alpha is None else self._turned(alpha)

    def _turned(self, image: np.ndarray) -> np.ndarray:
        turn = UPRIGHT.get(self.stored.orientation)
        return image if turn is None else np.ascontiguousarray(turn(image))

    def held_bytes(self, rows: int, columns: int) -> int:
        """Return about how many bytes are held decoded to read windows of that size."""
        return self.stored.held_bytes(columns if self.on_its_side else rows)

    def in_order_of_rows(self, windows: Iterable[tuple[Span, Span]]) -> list[tuple[Span, Span]]:
        """Sort windows so that no row of the file has to be decoded for two runs of them."""
        if self.on_its_side:
            return sorted(windows, key=lambda window: window[::-1])
        return sorted(windows)
