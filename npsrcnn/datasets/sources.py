"""Sources of batches: from images in memory, or from files read again in each epoch.

Either has ``len(source)``, ``steps(batch_size)``, ``size``, ``label_size``, ``channels``,
``skipped`` and ``batches(seed, epoch, batch_size, start=0, rows=...)``, which gives the same
batches for the same seed, epoch and batch size, wherever it starts, and whichever rows of them.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Generator, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from npsrcnn.datasets.cutting import (
    ALL,
    Batch,
    Cut,
    NoSubImages,
    Pair,
    Rows,
    SubImages,
    check_batch_size,
)
from npsrcnn.errors import DataError, UserError
from npsrcnn.images import read_array, read_size

MEMORY = 1 << 30  # bytes: T91 with its copies takes 140 MB, in three channels 420 MB
RESCALED = (1.0, 0.9, 0.8, 0.7, 0.6)  # an image and its smaller copies, as FSRCNN (2016) has them

Skipped = list[tuple[Path, str]]  # files that cannot be used, and why
_log = logging.getLogger(__name__)


def sub_images(
    images: Iterable[np.ndarray | str | Path],
    scale: int,
    size: int = 33,
    label_size: int = 21,
    stride: int = 14,
    *,
    color: str = "y",
    orientations: bool = False,
    rescale: Sequence[float] = (1.0,),
    label_offset: int | None = None,
    memory: int = MEMORY,
) -> SubImages | Stream:
    """Blur images and cut both versions into sub-images, as the authors did (TPAMI section 4).

    Parameters
    ----------
    images : iterable of ndarray or path
        (H, W) or (H, W, 3), uint8, uint16, or floats in 0..1; or files. Files that cannot be
        read, or are smaller than a sub-image, are skipped, and named in a warning of the log.
    scale : int
        By which each image is reduced and enlarged again.
    size, label_size, stride : int
        Pixels: side of the inputs, of the labels (``size`` minus the network's margin), and
        from one sub-image to the next.
    color : "y", "rgb" or "ycbcr"
        One channel or three. A grey image is Y as it is, or grey RGB.
    orientations : bool
        Turn and mirror each sub-image at random, anew in each epoch (eight ways).
    rescale : sequence of float
        Sizes at which each image is used; 1 is its own. :data:`RESCALED` gives five.
    label_offset : int
        First row and column of the label in the sub-image; default the centre. (Filters of
        even size take one pixel more from one side.)
    memory : int
        Bytes to use. Where all images need more, each epoch reads them again while it goes on.

    Returns
    -------
    SubImages or Stream

    Raises
    ------
    UserError
        None of the images can be used; or sizes that do not fit each other.
    """
    cut = Cut(scale, size, label_size, stride, color, tuple(rescale), label_offset)
    pictures = Pictures(images, cut)
    room = sum(cut.bytes(*shape) for shape in pictures.shapes)
    if room > memory:
        pictures.report()
        return Stream(pictures, orientations, memory)
    pairs = (
        pair
        for i in range(len(pictures))
        if (image := pictures.read(i)) is not None
        for pair in cut.pairs(image)
    )
    try:
        source = SubImages(pairs, cut, orientations, room, pictures.skipped)
    except NoSubImages:
        raise pictures.none() from None
    pictures.report()
    return source


class Pictures:
    """Images, some of them files: those that seem usable with their shapes, and the others."""

    def __init__(self, images: Iterable[np.ndarray | str | Path], cut: Cut) -> None:
        self.cut = cut
        self.images: list[np.ndarray | Path] = []
        self.shapes: list[tuple[int, int]] = []
        self.skipped: Skipped = []
        self.total = 0
        self._reported = 0
        for image in images:
            self.total += 1
            if isinstance(image, np.ndarray):
                shape = image.shape[:2]
            else:
                image = Path(image)
                try:
                    shape = read_size(image)
                except (UserError, OSError) as error:
                    self.skipped.append((image, _reason(error, image)))
                    continue
            if cut.count(*shape):
                self.images.append(image)
                self.shapes.append(shape)
            elif isinstance(image, Path):
                reason = f"{shape[1]} x {shape[0]} pixels, smaller than a sub-image"
                self.skipped.append((image, reason))
        if not self.images:
            raise self.none()

    def __len__(self) -> int:
        return len(self.images)

    def name(self, i: int) -> str:
        """What an image is called where its folder does not matter."""
        image = self.images[i]
        return image.name if isinstance(image, Path) else f"image {i}"

    def failed(self, some: Iterable[int]) -> dict[str, str]:
        """Those of ``some`` images that could not be read, by name, and why."""
        reasons = dict(self.skipped)
        paths = (self.images[i] for i in some if isinstance(self.images[i], Path))
        return {path.name: reasons[path] for path in paths if path in reasons}

    def none(self) -> DataError:
        """The error to raise where no image is left."""
        return DataError(
            f"none of the {self.total} images can be used for sub-images of {self.cut.size} x "
            f"{self.cut.size} pixels"
            + "".join(f"; the first, {path.name}: {why}" for path, why in self.skipped[:1])
        )

    def read(self, i: int) -> np.ndarray | None:
        """Decode an image; None, once it is known why, where it cannot be."""
        image = self.images[i]
        if isinstance(image, np.ndarray):
            return image
        try:
            pixels = read_array(image)
            if sorted(pixels.shape[:2]) != sorted(self.shapes[i]):  # it may have been turned
                raise UserError(f"{image}: another size than its headers said")
            return pixels
        except (UserError, OSError) as error:
            if image not in (path for path, _ in self.skipped):
                self.skipped.append((image, _reason(error, image)))
            return None

    def report(self) -> None:
        """Name in one line what has been skipped since the last time."""
        new = self.skipped[self._reported :]
        self._reported = len(self.skipped)
        if new:
            names = "; ".join(f"{path.name}: {why}" for path, why in new[:5])
            more = f"; and {len(new) - 5} more" if len(new) > 5 else ""
            _log.warning("skipped %d of %d images: %s%s", len(new), self.total, names, more)


def _reason(error: Exception, path: Path) -> str:
    """What is wrong, without the path where the message begins with it."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return " ".join(str(error).removeprefix(f"{path}: ").split())


class Stream:
    """Sub-images of more images than memory holds; what :func:`sub_images` returns for those.

    In each epoch the images are read in another order, a group at a time. The sub-images of a
    group are shuffled, while a thread reads and blurs the next group. Of an image that is large
    beside a group, each epoch takes a part, another each time, so that a group always holds many
    images. A file that turns out unreadable is replaced by others of its group.

    Attributes
    ----------
    size, label_size, channels : int
        As of :class:`SubImages`.
    skipped : list of (Path, str)
        Files that could not be used, and why; grows while files are read for the first time.
    """

    GROUPS = 3  # that fit in memory: in use, next, and the images that become the next
    IMAGES = 16  # in a group, at least

    def __init__(self, pictures: Pictures, orientations: bool, memory: int) -> None:
        self._pictures, self.cut, self.orientations = pictures, pictures.cut, orientations
        self.size, self.label_size = self.cut.size, self.cut.label_size
        self.channels, self.skipped = self.cut.channels, pictures.skipped
        self._group_bytes = memory // self.GROUPS
        parts = [self._part(*shape) for shape in pictures.shapes]
        self._counts = np.array([self.cut.count(*part) for part in parts])
        self._bytes = np.array([self.cut.bytes(*part) for part in parts])

    def __len__(self) -> int:
        return int(self._counts.sum())

    def steps(self, batch_size: int) -> int:
        """How many batches make an epoch."""
        return len(self) // batch_size

    def _part(self, height: int, width: int) -> tuple[int, int]:
        """The size of the part of an image that one epoch takes: all of it, if small enough."""
        need = self.cut.bytes(height, width) * self.IMAGES
        if need <= self._group_bytes:
            return height, width
        shrink = math.sqrt(self._group_bytes / need)
        least = math.ceil(2 * self.size / max(self.cut.rescale))
        short = min(height, width, max(least, int(min(height, width) * shrink)))
        long = min(max(height, width), max(short, int(height * width * shrink**2 / short)))
        return (short, long) if height <= width else (long, short)

    def batches(
        self, seed: int, epoch: int, batch_size: int, start: int = 0, rows: Rows = ALL
    ) -> Generator[Batch, None, None]:
        """As :meth:`SubImages.batches`; ``start`` costs reading one group, and ``rows`` saves
        nothing: images are read whole."""
        check_batch_size(len(self), batch_size)
        order = np.random.default_rng((seed, epoch)).permutation(len(self._counts))
        before = np.cumsum(self._bytes[order]) - self._bytes[order]
        cuts = np.flatnonzero(np.diff(before // self._group_bytes)) + 1
        groups = np.split(order, cuts)
        ends = np.cumsum([self._counts[group].sum() for group in groups])
        position, stop = start * batch_size, len(self) // batch_size * batch_size
        if position >= stop:
            return
        with ThreadPoolExecutor(1, thread_name_prefix="npsrcnn-images") as thread:
            g = int(np.searchsorted(ends, position, side="right"))
            following = thread.submit(self._read, groups, g, seed, epoch)
            filled, batch = 0, None
            while position < stop:
                group, chosen, turns = following.result()
                self._pictures.report()
                if g + 1 < len(groups):
                    following = thread.submit(self._read, groups, g + 1, seed, epoch)
                here = position - (ends[g] - len(chosen))
                while here < len(chosen) and position < stop:
                    if filled == 0:
                        batch = group.empty(batch_size)
                    n = min(batch_size - filled, len(chosen) - here)
                    now, place = slice(here, here + n), slice(filled, filled + n)
                    group.gather(chosen[now], turns[now], batch[0][place], batch[1][place])
                    here, position, filled = here + n, position + n, (filled + n) % batch_size
                    if filled == 0:
                        yield tuple(part[rows] for part in batch)
                g += 1

    def _read(
        self, groups: list[np.ndarray], g: int, seed: int, epoch: int
    ) -> tuple[SubImages, np.ndarray, np.ndarray]:
        """Group g in memory, shuffled: its sub-images, their order and turns.

        Exactly as many as were foretold, drawn more than once where a file cannot be read. If
        none of its files can, the group is made of the next group's images.
        """
        wanted = int(self._counts[groups[g]].sum())
        rng = np.random.default_rng((seed, epoch, g + 1))
        for group in groups[g:] + groups[:g]:
            try:
                source = SubImages(
                    self._pairs(group, rng), self.cut, self.orientations, self._bytes[group].sum()
                )
            except NoSubImages:
                continue
            drawn = [source.shuffled(rng) for _ in range(-(-wanted // len(source)))]
            order, turns = (np.concatenate(parts)[:wanted] for parts in zip(*drawn, strict=True))
            return source, order, turns
        raise self._pictures.none()

    def _pairs(self, group: np.ndarray, rng: np.random.Generator) -> Iterator[Pair]:
        """The images of a group, or a part of each, drawn at random, blurred and sharp."""
        for i in group:
            image = self._pictures.read(i)
            corner = rng.random(2)  # drawn in any case: files that fail change no other
            if image is not None:
                part = self._part(*image.shape[:2])
                y, x = (
                    int(u * (have - take + 1))
                    for u, have, take in zip(corner, image.shape, part, strict=False)
                )
                yield from self.cut.pairs(image[y : y + part[0], x : x + part[1]])
