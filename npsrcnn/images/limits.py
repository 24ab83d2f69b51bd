"""Bound the memory that a file may ask for: by its pixels, and by sizes that are damaged.

Pillow may take larger pictures, where whoever asks has memory for them.
"""

from __future__ import annotations

import contextlib
import io
import threading
from collections.abc import Iterator
from pathlib import Path

from PIL import Image

LARGE_READ = 1 << 20  # bytes


class BoundedFile(io.BufferedReader):
    """An opened file that takes no memory for more bytes than it has.

    Python takes it for as many as are asked for, and Pillow asks for what sizes in JPEG 2000 and
    Photoshop files say.
    """

    def __init__(self, path: str | Path) -> None:
        super().__init__(io.FileIO(path))

    def read(self, size: int | None = -1, /) -> bytes:
        """Read so many bytes, fewer where the file ends."""
        if size is not None and size > LARGE_READ:
            place = self.tell()
            size = min(size, max(0, self.seek(0, io.SEEK_END) - place))
            self.seek(place)
        return super().read(size)


def check_pixels(height: int, width: int) -> None:
    """Raise Pillow's DecompressionBombError for a picture of more pixels than it takes."""
    if Image.MAX_IMAGE_PIXELS and height * width > 2 * Image.MAX_IMAGE_PIXELS:
        raise Image.DecompressionBombError


class _PixelLimit:
    """Raise Pillow's limit for a while, on any number of threads.

    Pillow has one for the whole process, and refuses pictures of twice as many pixels, which may
    be small files made to fill memory. While several ask, the most that any of them takes counts.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._asked: list[int] = []

    @contextlib.contextmanager
    def at_least(self, pixels: int) -> Iterator[None]:
        """Take pictures of ``pixels``, and as many as before in any case."""
        with self._lock:
            if not self._asked:
                self._usual = Image.MAX_IMAGE_PIXELS
            self._asked.append(pixels)
            self._set()
        try:
            yield
        finally:
            with self._lock:
                self._asked.remove(pixels)
                self._set()

    def _set(self) -> None:
        if self._usual is not None:
            Image.MAX_IMAGE_PIXELS = max([self._usual, *(-(-n // 2) for n in self._asked)])


pixel_limit = _PixelLimit()
