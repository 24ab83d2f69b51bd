"""Make a source of batches from images: in memory, or from files read again in each epoch."""

from __future__ import annotations

import logging
import math
from collections.abc import Generator, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from npsrcnn.datasets.compression import Compression, Qualities
from npsrcnn.datasets.cutting import ALL, Batch, Cut, Pair, Rows, check_batch_size
from npsrcnn.datasets.filming import Crfs, Filming
from npsrcnn.datasets.in_memory import NoSubImages, SubImages
from npsrcnn.datasets.protocols import Source
from npsrcnn.errors import DataError, UserError
from npsrcnn.images import read_array, read_size
from npsrcnn.words import counted

MEMORY_BYTES = 1 << 30  # T91 with its copies takes 140 MB, in three channels 420 MB
RESCALED = (1.0, 0.9, 0.8, 0.7, 0.6)  # an image and its smaller copies, as FSRCNN (2016) has them

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
    memory: int = MEMORY_BYTES,
    jpeg: Qualities | None = None,
    crf: Crfs | None = None,
    seed: int = 0,
) -> SubImages | Stream:
    """Blur images and cut both versions into sub-images, as the authors did (TPAMI section 4).

    Parameters
    ----------
    images : iterable of ndarray or path
        (H, W) or (H, W, 3), uint8, uint16, or floats in 0..1; or files. Files that cannot be
        read, or are smaller than a sub-image, are skipped, and named in a warning of the log.
    scale : int
        By which each image is reduced and enlarged again; 1 only with ``jpeg``.
    size, label_size, stride : int
        Pixels: side of the inputs, of the labels at their centre (``size`` minus the network's
        margin, which is even), and from one sub-image to the next.
    color : "y", "rgb" or "ycbcr"
        One channel or three. A grey image is Y as it is, or grey RGB.
    orientations : bool
        Rotate and mirror each sub-image at random, anew in each epoch (eight ways).
    rescale : sequence of float
        Sizes at which each image is used; 1 is its own. :data:`RESCALED` gives five.
    memory : int
        Bytes to use. Where all images need more, each epoch reads them again while it goes on.
    jpeg : int or (int, int)
        Quality, 1 to 100, or lowest and highest quality, of which all between are equally
        frequent: each reduced image is compressed as JPEG, with 4:2:0 or 4:4:4, before it is
        enlarged. Default: none is.
    crf : int or (int, int)
        CRF of x264 and x265, 0 to 51, or lowest and highest: each image is filmed, see
        :mod:`npsrcnn.pixels.filming`; for Y, without ``jpeg``.
    seed : int
        Of how each image and copy is compressed. Not negative.

    Returns
    -------
    SubImages or Stream

    Raises
    ------
    UserError
        None of the images can be used; or sizes that do not fit each other.
    """
    losses = Compression.of(jpeg, seed), Filming.of(crf, seed)
    cut = Cut(scale, size, label_size, stride, color, tuple(rescale), *losses)
    usable = UsableImages(images, cut)
    nbytes = sum(cut.nbytes(*shape) for shape in usable.shapes)
    if nbytes > memory:
        usable.report_skipped()
        return Stream(usable, orientations, memory)
    pairs = (
        pair
        for i in range(len(usable))
        if (image := usable.read(i)) is not None
        for pair in cut.pairs(image, i)
    )
    try:
        source = SubImages(pairs, cut, orientations, nbytes, usable.skipped)
    except NoSubImages:
        raise usable.none_left() from None
    usable.report_skipped()
    return source


class UsableImages:
    """Images, given as arrays or files, of which each has room for a sub-image.

    Attributes
    ----------
    images : list of ndarray or Path
    shapes : list of (int, int)
        Rows and columns of each image; of files, as their headers say.
    skipped : list of (Path, str)
        Files that cannot be used, and why; grows where :meth:`read` fails.

    Raises
    ------
    DataError
        None of the images can be used.
    """

    def __init__(self, images: Iterable[np.ndarray | str | Path], cut: Cut) -> None:
        self.cut = cut
        self.images: list[np.ndarray | Path] = []
        self.shapes: list[tuple[int, int]] = []
        self.skipped: list[tuple[Path, str]] = []
        self._given = 0
        self._reported = 0
        for image in images:
            self._given += 1
            if isinstance(image, np.ndarray):
                height, width = image.shape[:2]
            else:
                image = Path(image)
                try:
                    height, width = read_size(image)
                except (UserError, OSError) as error:
                    self.skipped.append((image, _reason(error, image)))
                    continue
            if cut.count(height, width):
                self.images.append(image)
                self.shapes.append((height, width))
            elif isinstance(image, Path):
                reason = f"{width} x {height} pixels, smaller than a sub-image"
                self.skipped.append((image, reason))
        if not self.images:
            raise self.none_left()

    def __len__(self) -> int:
        return len(self.images)

    def name(self, i: int) -> str:
        """Return the name of an image, without its folder."""
        image = self.images[i]
        return image.name if isinstance(image, Path) else f"image {i}"

    def failed(self, chosen: Iterable[int]) -> dict[str, str]:
        """Return those of the chosen images that could not be read, by name, and why."""
        reasons = dict(self.skipped)
        paths = (image for i in chosen if isinstance(image := self.images[i], Path))
        return {path.name: reasons[path] for path in paths if path in reasons}

    def none_left(self) -> DataError:
        """Return the error to raise where no image can be used."""
        return DataError(
            f"none of the {counted(self._given, 'image')} can be used for sub-images of "
            f"{self.cut.size} x {self.cut.size} pixels"
            + "".join(f"; the first, {path.name}: {why}" for path, why in self.skipped[:1])
        )

    def read(self, i: int) -> np.ndarray | None:
        """Decode an image; where it cannot be read, enter why in ``skipped`` and return None."""
        image = self.images[i]
        if isinstance(image, np.ndarray):
            return image
        try:
            pixels = read_array(image)
            if sorted(pixels.shape[:2]) != sorted(self.shapes[i]):  # EXIF may have rotated it
                raise UserError(f"{image}: another size than its headers said")
            return pixels
        except (UserError, OSError) as error:
            if image not in (path for path, _ in self.skipped):
                self.skipped.append((image, _reason(error, image)))
            return None

    def report_skipped(self) -> None:
        """Log in one line the files that were skipped since the last call."""
        new = self.skipped[self._reported :]
        self._reported = len(self.skipped)
        if new:
            names = "; ".join(f"{path.name}: {why}" for path, why in new[:5])
            more = f"; and {len(new) - 5} more" if len(new) > 5 else ""
            _log.warning("skipped %d of %d images: %s%s", len(new), self._given, names, more)


def _reason(error: Exception, path: Path) -> str:
    """Return the message of an error, without the path where it begins with it."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return " ".join(str(error).removeprefix(f"{path}: ").split())


class Stream(Source):
    """Sub-images of more images than memory holds, read again in each epoch.

    In each epoch the images are read in another order, a group at a time. The sub-images of a
    group are shuffled, while a thread reads and blurs the next group. Of an image that is large
    beside a group, each epoch takes a part, another each time, so that a group always holds many
    images. A file that turns out unreadable is replaced by others of its group.

    Parameters
    ----------
    usable : UsableImages
    orientations : bool
        Rotate and mirror each sub-image at random, anew in each epoch.
    memory : int
        Bytes to use.

    Attributes
    ----------
    skipped : list of (Path, str)
        Files that could not be used, and why; grows while files are read for the first time.

    Others are those of :class:`.protocols.Source`, and ``cut``.
    """

    GROUPS_IN_MEMORY = 3  # one in use, the next, and the images that become the next
    MIN_IMAGES_PER_GROUP = 16

    def __init__(self, usable: UsableImages, orientations: bool, memory: int) -> None:
        self._usable, self.cut, self.orientations = usable, usable.cut, orientations
        self.size, self.label_size = self.cut.size, self.cut.label_size
        self.channels, self.skipped = self.cut.channels, usable.skipped
        self._group_bytes = memory // self.GROUPS_IN_MEMORY
        parts = [self._part(*shape) for shape in usable.shapes]
        self._counts = np.array([self.cut.count(*part) for part in parts])
        self._bytes = np.array([self.cut.nbytes(*part) for part in parts])

    def __len__(self) -> int:
        return int(self._counts.sum())

    def _part(self, height: int, width: int) -> tuple[int, int]:
        """Return the size of the part of an image that one epoch takes: all, if small enough."""
        need = self.cut.nbytes(height, width) * self.MIN_IMAGES_PER_GROUP
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
        """Yield the batches of an epoch; see :meth:`.protocols.Source.batches`.

        ``start`` costs reading one group, and ``rows`` saves nothing: images are read whole.
        """
        check_batch_size(len(self), batch_size)
        image_order = np.random.default_rng((seed, epoch)).permutation(len(self._counts))
        bytes_before = np.cumsum(self._bytes[image_order]) - self._bytes[image_order]
        first_of_group = np.flatnonzero(np.diff(bytes_before // self._group_bytes)) + 1
        groups = np.split(image_order, first_of_group)
        ends = np.cumsum([self._counts[group].sum() for group in groups])
        position, stop = start * batch_size, self.steps(batch_size) * batch_size
        if position >= stop:
            return
        with ThreadPoolExecutor(1, thread_name_prefix="npsrcnn-images") as thread:
            g = int(np.searchsorted(ends, position, side="right"))
            following = thread.submit(self._read, groups, g, seed, epoch)
            filled, batch = 0, self.cut.empty_batch(batch_size)
            while position < stop:
                group, order, orientation = following.result()
                self._usable.report_skipped()
                if g + 1 < len(groups):
                    following = thread.submit(self._read, groups, g + 1, seed, epoch)
                here = position - (ends[g] - len(order))
                while here < len(order) and position < stop:
                    n = min(batch_size - filled, len(order) - here)
                    now, place = slice(here, here + n), slice(filled, filled + n)
                    inputs, labels = batch
                    group.gather(order[now], orientation[now], (inputs[place], labels[place]))
                    here, position, filled = here + n, position + n, (filled + n) % batch_size
                    if filled == 0:
                        yield inputs[rows], labels[rows]
                        batch = self.cut.empty_batch(batch_size)
                g += 1

    def _read(
        self, groups: list[np.ndarray], g: int, seed: int, epoch: int
    ) -> tuple[SubImages, np.ndarray, np.ndarray]:
        """Read group g into memory; return it with the order and orientations of its sub-images.

        Exactly as many as were foretold, drawn more than once where a file cannot be read. If
        none of its files can, the group is made of the next group's images.
        """
        expected = int(self._counts[groups[g]].sum())
        rng = np.random.default_rng((seed, epoch, g + 1))
        for group in groups[g:] + groups[:g]:
            nbytes = int(self._bytes[group].sum())
            try:
                source = SubImages(self._pairs(group, rng), self.cut, self.orientations, nbytes)
            except NoSubImages:
                continue
            drawn = [source.shuffled(rng) for _ in range(-(-expected // len(source)))]
            order, orientation = (
                np.concatenate(parts)[:expected] for parts in zip(*drawn, strict=True)
            )
            return source, order, orientation
        raise self._usable.none_left()

    def _pairs(self, group: np.ndarray, rng: np.random.Generator) -> Iterator[Pair]:
        """Yield the images of a group, or a random part of each, blurred and sharp."""
        for i in group:
            image = self._usable.read(i)
            random_y, random_x = rng.random(2)  # in any case: files that fail change no other
            if image is not None:
                height, width = self._part(*image.shape[:2])
                y = int(random_y * (image.shape[0] - height + 1))
                x = int(random_x * (image.shape[1] - width + 1))
                yield from self.cut.pairs(image[y : y + height, x : x + width], int(i))
