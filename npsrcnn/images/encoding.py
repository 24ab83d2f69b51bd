"""Say how pictures are written where a format leaves the choice."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from npsrcnn.images.picture import Picture


@dataclass(frozen=True)
class Encoding:
    """How to write pictures, beside their format.

    Attributes
    ----------
    quality : int or None
        Of formats that lose something, 1 to 100; None: 95, of AVIF, HEIC and JPEG XL 90.
    lossless : bool
        Lose nothing: formats that always do cannot hold such a picture.
    background : (red, green, blue) or None
        0 to 255: what shows through where a format holds no transparency; None: it is not to be
        lost.
    """

    quality: int | None = None
    lossless: bool = False
    background: tuple[int, int, int] | None = None

    def flattened(self, picture: Picture) -> Picture:
        """Return a picture of 8 bits without transparency, before the background if there is any.

        A grey picture becomes RGB where the background has a colour.
        """
        if picture.is_opaque() or picture.alpha is None or self.background is None:
            return replace(picture, alpha=None)
        color = len(set(self.background)) > 1 or picture.pixels.ndim == 3
        behind = np.array(self.background if color else self.background[0], np.uint16)
        pixels = picture.pixels
        if color:
            pixels = np.broadcast_to(np.atleast_3d(pixels), (*pixels.shape[:2], 3))
        result = np.empty(pixels.shape, np.uint8)
        for row, colors, opacity in zip(result, pixels, picture.alpha, strict=True):
            share = opacity.astype(np.uint16)[:, None] if color else opacity.astype(np.uint16)
            row[:] = (colors * share + behind * (255 - share) + 127) // 255  # at most 65152
        return replace(picture, pixels=result, alpha=None)


AS_USUAL = Encoding()
