"""Read sub-images from disk: training sets larger than memory, drawn in one global shuffle.

A prepared set (:func:`npsrcnn.datasets.write_shards` makes it) is a folder of shards and an index.
A shard is nothing but records of one size, one for each sub-image: the blurred and the sharp pixels
as uint8, and their CRC-32. Overlapping sub-images hold most pixels several times, which is what it
costs that any of them is one short read, wherever the shuffle goes. All of a shard can be mapped:
``np.memmap(file, record(channels, size), "r")``.

Training itself does not map. It reads the records of a batch into a buffer, in the order of their
places, after it has told the system which ones the next batch needs. So memory stays what a few
batches take (mapped pages count as resident), and a shard that ends too early or cannot be read is
an error with a name (in a mapped file, a signal that ends the process). It is also faster. From
5 million sub-images, 11 GB on a virtual disk, a batch of 128 took 0.9 ms where the system's cache
held them and 4 ms where it did not; mapped 1.8 and 110 ms, read without telling 1.1 and 21 ms.

A checksum of its own lets each record be verified when it is used, instead of the whole set before
anything begins.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import zlib
from collections.abc import Generator
from dataclasses import asdict, replace
from io import FileIO
from pathlib import Path
from typing import TypedDict

import numpy as np

from npsrcnn.datasets.compression import Compression
from npsrcnn.datasets.cutting import ALL, Batch, Cut, Rows, check_batch_size
from npsrcnn.datasets.filming import Filming
from npsrcnn.datasets.in_memory import gather, shuffled
from npsrcnn.datasets.protocols import Source
from npsrcnn.errors import DataError, UserError
from npsrcnn.runtime.files import write_atomically
from npsrcnn.words import counted

INDEX = "shards.json"
FORMAT = "npsrcnn sub-images, version 1"
RECIPE = ("scale", "size", "stride", "color", "rescale")  # fields of Cut that any index holds
HOW_TO_REPAIR = "repeat the command that prepared the set: it makes what is missing or damaged"
WHITE = np.float32(255)

Place = tuple[int, FileIO, int]
"""Of a sub-image: its index in the batch, its file, and its first byte there."""


class PlannedShard(TypedDict):
    """The entry of a shard in the index before it is written."""

    file: str
    images: list[str]  # names
    expected: int  # sub-images, by the images' headers


class Shard(PlannedShard, total=False):
    """The entry of a shard in the index; all of it once the shard is written."""

    count: int  # sub-images
    sha256: str
    skipped: dict[str, str]  # images that could not be read, and why


def record(channels: int, size: int) -> np.dtype[np.void]:
    """Return the dtype of a stored sub-image: input, label (C, size, size), CRC-32 of both."""
    pixels = ("u1", (channels, size, size))
    return np.dtype([("input", *pixels), ("label", *pixels), ("crc32", "<u4")])


def is_prepared(folder: str | Path) -> bool:
    """Tell whether a folder holds a prepared set, be it damaged or half made."""
    return (Path(folder) / INDEX).is_file()


def read_index(folder: Path) -> tuple[Cut, list[Shard]]:
    """Read from the index of a set how its sub-images were cut, and its shards.

    Raises
    ------
    UserError
        The index is damaged or was written by another version.
    """
    path = folder / INDEX
    try:
        index = json.loads(path.read_text(encoding="utf-8"))
        if index["format"] != FORMAT:
            raise ValueError(f"its format is {index['format']!r}")
        recipe = {name: index["recipe"][name] for name in RECIPE}
        recipe["rescale"] = tuple(recipe["rescale"])
        if "jpeg" in index["recipe"]:
            lowest, highest = index["recipe"]["jpeg"]
            recipe["jpeg"] = Compression(lowest, highest, index["recipe"]["seed"])
        if "crf" in index["recipe"]:
            lowest, highest = index["recipe"]["crf"]
            recipe["film"] = Filming(lowest, highest, index["recipe"]["seed"])
        cut = Cut(**recipe, label_size=recipe["size"])
        for shard in index["shards"]:
            if "sha256" in shard:
                _ = shard["file"] + shard["sha256"], 0 + shard["count"]
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{path}: damaged, or written by another version ({error}): "
            "remove the folder and prepare the set again"
        ) from error
    return cut, index["shards"]


def write_index(folder: Path, cut: Cut, shards: list[Shard]) -> None:
    """Write the index of a set, whole or not at all."""
    facts = asdict(cut)
    recipe = {name: facts[name] for name in RECIPE}
    if cut.jpeg is not None:
        recipe.update(jpeg=cut.jpeg.ends, seed=cut.jpeg.seed)
    if cut.film is not None:
        recipe.update(crf=cut.film.ends, seed=cut.film.seed)
    pixels = {"dtype": "|u1", "shape": (cut.channels, cut.size, cut.size)}
    index = {
        "format": FORMAT,
        "recipe": recipe,
        "record": [
            {"name": "input", **pixels},
            {"name": "label", **pixels},
            {"name": "crc32", "dtype": "<u4", "shape": ()},
        ],
        "sub_images": sum(shard.get("count", 0) for shard in shards),
        "shards": shards,
    }
    with write_atomically(folder / INDEX) as path:
        path.write_text(json.dumps(index, indent=1) + "\n", encoding="utf-8")


class Shards(Source):
    """Sub-images of a prepared set, read from disk as they are drawn.

    Parameters
    ----------
    folder : path
        A complete set, made by :func:`npsrcnn.datasets.write_shards`.
    margin : int
        Pixels by which labels are smaller than inputs: those that the network without padding
        takes off an image, an even number (12 for 9-1-5).
    orientations : bool
        Rotate and mirror each sub-image at random, anew in each epoch (eight ways).

    Attributes
    ----------
    cut : Cut
        Scale, size, stride, colours, rescaled copies and compression, as the set was prepared.
    skipped : tuple
        Empty: files that could not be read were left out when the set was prepared.

    Raises
    ------
    UserError
        The set is half made; a shard is missing, cannot be read or has another size than the
        index says; a label that does not fit.
    """

    def __init__(self, folder: str | Path, *, margin: int = 12, orientations: bool = False) -> None:
        self.folder, self.orientations, self.skipped = Path(folder), orientations, ()
        cut, shards = read_index(self.folder)
        self.size, self.label_size, self.channels = cut.size, cut.size - margin, cut.channels
        self.cut = replace(cut, label_size=self.label_size)
        missing = sum("sha256" not in shard for shard in shards)
        if missing:
            raise UserError(
                f"{self.folder}: half prepared, {missing} of {counted(len(shards), 'shard')} "
                "still to be made: repeat the command that prepares it"
            )
        self._record = record(self.channels, self.size)
        self._paths = [self.folder / shard["file"] for shard in shards]
        self._stops = np.cumsum([shard["count"] for shard in shards])
        with contextlib.ExitStack() as stack:
            for file, shard in zip(self._open(stack), shards, strict=True):
                have, need = os.fstat(file.fileno()).st_size, shard["count"] * self._record.itemsize
                if have != need:
                    raise DataError(
                        f"{file.name}: {counted(have, 'byte', ',')} where {need:,} should be: "
                        f"{HOW_TO_REPAIR}"
                    )

    def __len__(self) -> int:
        return int(self._stops[-1])

    def batches(
        self, seed: int, epoch: int, batch_size: int, start: int = 0, rows: Rows = ALL
    ) -> Generator[Batch, None, None]:
        """Yield the batches of an epoch, in the order of :class:`npsrcnn.datasets.SubImages`.

        See :meth:`.protocols.Source.batches`. Batches before ``start`` cost nothing.

        Raises
        ------
        DataError
            A shard cannot be read, is cut short, or holds other bytes than were written.
        UserError
            There are fewer sub-images than ``batch_size``.
        """
        check_batch_size(len(self), batch_size)
        rng = np.random.default_rng((seed, epoch))
        order, orientation = shuffled(
            len(self), self.orientations, rng, np.min_scalar_type(len(self))
        )
        steps = range(start, self.steps(batch_size))
        with contextlib.ExitStack() as stack:
            files = self._open(stack)

            def batch(step: int) -> tuple[list[Place], np.ndarray]:
                part = slice(step * batch_size, (step + 1) * batch_size)
                return self._places(files, order[part][rows]), orientation[part][rows]

            after_last: tuple[list[Place], np.ndarray] = [], orientation[:0]
            for (places, orientations), (following, _) in itertools.pairwise(
                itertools.chain(map(batch, steps), [after_last])
            ):
                self._announce(following)
                yield self._unpack(self._read(places), orientations)

    def _open(self, stack: contextlib.ExitStack) -> list[FileIO]:
        """Open all shards, to be closed by ``stack``."""
        try:
            return [stack.enter_context(open(path, "rb", buffering=0)) for path in self._paths]
        except FileNotFoundError as error:
            raise DataError(f"{error.filename}: no such file: {HOW_TO_REPAIR}") from error
        except OSError as error:
            raise DataError(f"{error.filename}: cannot be read ({error.strerror})") from error

    def _places(self, files: list[FileIO], chosen: np.ndarray) -> list[Place]:
        """Return the places of the chosen sub-images, in the order of the disk."""
        by_place = np.argsort(chosen)
        shards = np.searchsorted(self._stops, chosen[by_place], side="right")
        begin = np.concatenate([[0], self._stops])[shards]
        bytes_before = (chosen[by_place] - begin) * self._record.itemsize
        chosen_files = [files[shard] for shard in shards.tolist()]
        return list(zip(by_place.tolist(), chosen_files, bytes_before.tolist(), strict=True))

    def _announce(self, places: list[Place]) -> None:
        """Ask the system, where it can be asked, to read these sub-images meanwhile, all at once.

        One after the other, a disk would take longer for a batch than training does.
        """
        if hasattr(os, "posix_fadvise"):
            size = self._record.itemsize
            for _, file, place in places:
                os.posix_fadvise(file.fileno(), place, size, os.POSIX_FADV_WILLNEED)

    def _read(self, places: list[Place]) -> np.ndarray:
        """Read and verify the records of these sub-images: (N, bytes) uint8."""
        size = self._record.itemsize
        rows = np.empty((len(places), size), np.uint8)
        found = np.empty(len(places), "<u4")
        space = rows.reshape(-1).data
        for n, file, place in places:
            row = space[n * size : (n + 1) * size]
            try:
                file.seek(place)
                whole = file.readinto(row) == size
            except OSError as error:
                raise DataError(f"{file.name}: cannot be read ({error.strerror})") from error
            if not whole:
                raise DataError(f"{file.name}: has been cut short: {HOW_TO_REPAIR}")
            found[n] = zlib.crc32(row[:-4])
        wrong = found != rows[:, -4:].copy().view("<u4")[:, 0]
        for n, file, place in places if wrong.any() else ():
            if wrong[n]:
                raise DataError(
                    f"{file.name}: the checksum of sub-image {place // size:,} is wrong: "
                    f"{HOW_TO_REPAIR}"
                )
        return rows

    def _unpack(self, rows: np.ndarray, orientations: np.ndarray) -> Batch:
        """Convert records to inputs and labels in 0..1, each sub-image in its orientation."""
        count, size = len(rows), self.size
        places = np.empty((count, 3), np.int64)
        places[:, 0] = np.arange(count) * self._record.itemsize
        places[:, 1:] = size, size * size
        batch = self.cut.empty_batch(count)
        for result in batch:
            gather(rows.reshape(-1), places, np.arange(count), orientations, size, result)
            result /= WHITE
            places[:, 0] += self._record["input"].itemsize  # the label follows the input
        return batch
