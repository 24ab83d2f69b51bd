"""Sub-images on disk: training sets larger than memory, drawn from in one global shuffle.

A prepared set (:func:`npsrcnn.datasets.prepare` makes it) is a folder of shards and an index. A
shard is nothing but records of one size, one for each sub-image: the blurred and the sharp pixels
as uint8, and their CRC-32. Overlapping sub-images hold most pixels several times, which is what it
costs that any of them is one short read, wherever the shuffle goes. All of a shard can be mapped:
``np.memmap(file, record(channels, size), "r")``.

Training itself does not map. It reads the records of a batch into a buffer, in the order of their
places, after it has told the system which ones the next batch needs: so memory stays what a few
batches take (mapped pages count as resident), and a shard that ends too early or cannot be read is
an error with a name (in a mapped file, a signal that ends the process). It is also faster. From
5 million sub-images, 11 GB on a virtual disk, a batch of 128 took 0.9 ms where the system's cache
held them and 4 ms where it did not; mapped 1.8 and 110 ms, read without telling 1.1 and 21 ms.

A checksum of its own lets each record be verified when it is used, instead of the whole set before
anything begins.
"""

from __future__ import annotations

import contextlib
import json
import os
import zlib
from collections.abc import Generator
from dataclasses import asdict, replace
from io import FileIO
from pathlib import Path
from typing import Any

import numpy as np

from npsrcnn.datasets.cutting import ALL, Batch, Cut, Rows, check_batch_size, gather, shuffled
from npsrcnn.errors import DataError, UserError
from npsrcnn.runtime.files import write_atomically

INDEX = "shards.json"
FORMAT = "npsrcnn sub-images, version 1"
RECIPE = ("scale", "size", "stride", "color", "rescale")  # what of a Cut is settled in a set
MEND = "repeat the command that prepared the set: it makes what is missing or damaged"
WHITE = np.float32(255)

Place = tuple[int, FileIO, int]  # of a sub-image: its index in the batch, file and byte


def record(channels: int, size: int) -> np.dtype:
    """What is stored of a sub-image: input and label, (C, size, size), and the CRC-32 of both."""
    pixels = ("u1", (channels, size, size))
    return np.dtype([("input", *pixels), ("label", *pixels), ("crc32", "<u4")])


def is_prepared(folder: str | Path) -> bool:
    """Whether a folder holds a prepared set, be it damaged or half made."""
    return (Path(folder) / INDEX).is_file()


def read_index(folder: Path) -> tuple[Cut, list[dict[str, Any]]]:
    """How the sub-images of a set were cut, and its shards as the index has them.

    Of a shard it says ``file``, ``images`` (names), ``expected`` (sub-images, as the images'
    headers foretell), and once it is written ``count``, ``sha256`` and ``skipped`` (images that
    could not be read, and why).

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


def write_index(folder: Path, cut: Cut, shards: list[dict[str, Any]]) -> None:
    """Write what :func:`read_index` reads, whole or not at all."""
    facts = asdict(cut)
    index = {
        "format": FORMAT,
        "recipe": {name: facts[name] for name in RECIPE},
        "record": [
            {"name": name, "dtype": kind.base.str, "shape": kind.shape}
            for name, (kind, _) in record(cut.channels, cut.size).fields.items()
        ],
        "sub_images": sum(shard.get("count", 0) for shard in shards),
        "shards": shards,
    }
    with write_atomically(folder / INDEX) as path:
        path.write_text(json.dumps(index, indent=1) + "\n", encoding="utf-8")


class Shards:
    """Sub-images of a prepared set, read from disk as they are drawn.

    Parameters
    ----------
    folder : path
        What :func:`npsrcnn.datasets.prepare` has made.
    margin : int
        Pixels by which labels are smaller than inputs: what the network takes off an image
        without padding (12 for 9-1-5).
    orientations : bool
        Turn and mirror each sub-image at random, anew in each epoch (eight ways).
    label_offset : int
        First row and column of the label in the sub-image; default the centre.

    Attributes
    ----------
    cut : Cut
        Scale, size, stride, colours and rescaled copies, as the set was prepared.
    size, label_size, channels : int
        As of :class:`npsrcnn.datasets.SubImages`.
    skipped : tuple
        Empty: what could not be read was left out when the set was prepared.

    Raises
    ------
    UserError
        The set is half made; a shard is missing, cannot be read or has another size than the
        index says; a label that does not fit.
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        margin: int = 12,
        orientations: bool = False,
        label_offset: int | None = None,
    ) -> None:
        self.folder, self.orientations, self.skipped = Path(folder), orientations, ()
        cut, shards = read_index(self.folder)
        self.size, self.label_size, self.channels = cut.size, cut.size - margin, cut.channels
        self.cut = replace(cut, label_size=self.label_size, label_offset=label_offset)
        missing = sum("sha256" not in shard for shard in shards)
        if missing:
            raise UserError(
                f"{self.folder}: half prepared, {missing} of {len(shards)} shards are still to "
                "be made: repeat the command that prepares it"
            )
        self._record = record(self.channels, self.size)
        self._paths = [self.folder / shard["file"] for shard in shards]
        self._stops = np.cumsum([shard["count"] for shard in shards])
        with contextlib.ExitStack() as stack:
            for file, shard in zip(self._open(stack), shards, strict=True):
                have, need = os.fstat(file.fileno()).st_size, shard["count"] * self._record.itemsize
                if have != need:
                    raise DataError(f"{file.name}: {have:,} bytes where {need:,} should be: {MEND}")

    def __len__(self) -> int:
        return int(self._stops[-1])

    def steps(self, batch_size: int) -> int:
        """How many batches make an epoch."""
        return len(self) // batch_size

    def batches(
        self, seed: int, epoch: int, batch_size: int, start: int = 0, rows: Rows = ALL
    ) -> Generator[Batch, None, None]:
        """As :meth:`npsrcnn.datasets.SubImages.batches`, and in the same order.

        Raises
        ------
        DataError
            A shard cannot be read, is cut short, or holds other bytes than were written.
        UserError
            There are fewer sub-images than ``batch_size``.
        """
        check_batch_size(len(self), batch_size)
        rng = np.random.default_rng((seed, epoch))
        order, turns = shuffled(len(self), self.orientations, rng, np.min_scalar_type(len(self)))
        steps = self.steps(batch_size)
        with contextlib.ExitStack() as stack:
            files = self._open(stack)

            def batch(step: int) -> tuple[list[Place], np.ndarray]:
                """Where a batch lies, and how its sub-images are turned; none after the last."""
                part = slice(step * batch_size, min(step + 1, steps) * batch_size)
                return self._places(files, order[part][rows]), turns[part][rows]

            now = batch(start)
            for step in range(start, steps):
                following = batch(step + 1)
                self._announce(following[0])
                yield self._unpacked(self._read(now[0]), now[1])
                now = following

    def _open(self, stack: contextlib.ExitStack) -> list[FileIO]:
        """All shards, to be closed by ``stack``."""
        try:
            return [stack.enter_context(open(path, "rb", buffering=0)) for path in self._paths]
        except FileNotFoundError as error:
            raise DataError(f"{error.filename}: no such file: {MEND}") from error
        except OSError as error:
            raise DataError(f"{error.filename}: cannot be read ({error.strerror})") from error

    def _places(self, files: list[FileIO], chosen: np.ndarray) -> list[Place]:
        """Where these sub-images are, in that order: the index in ``chosen``, file and byte."""
        todo = np.argsort(chosen)
        shards = np.searchsorted(self._stops, chosen[todo], side="right")
        begin = np.concatenate([[0], self._stops])[shards]
        bytes_before = (chosen[todo] - begin) * self._record.itemsize
        chosen_files = [files[shard] for shard in shards.tolist()]
        return list(zip(todo.tolist(), chosen_files, bytes_before.tolist(), strict=True))

    def _announce(self, places: list[Place]) -> None:
        """Have the system read these sub-images meanwhile, all at once, where it can be asked to.

        One after the other, a disk would take longer for a batch than training does.
        """
        if hasattr(os, "posix_fadvise"):
            size = self._record.itemsize
            for _, file, place in places:
                os.posix_fadvise(file.fileno(), place, size, os.POSIX_FADV_WILLNEED)

    def _read(self, places: list[Place]) -> np.ndarray:
        """The records of these sub-images, (N, bytes) uint8, verified."""
        size = self._record.itemsize
        rows = np.empty((len(places), size), np.uint8)
        found = np.empty(len(places), "<u4")
        space = memoryview(rows.reshape(-1))
        for n, file, place in places:
            row = space[n * size : (n + 1) * size]
            try:
                file.seek(place)
                whole = file.readinto(row) == size
            except OSError as error:
                raise DataError(f"{file.name}: cannot be read ({error.strerror})") from error
            if not whole:
                raise DataError(f"{file.name}: has been cut short: {MEND}")
            found[n] = zlib.crc32(row[:-4])
        wrong = found != rows[:, -4:].copy().view("<u4")[:, 0]
        for n, file, place in places if wrong.any() else ():
            if wrong[n]:
                raise DataError(
                    f"{file.name}: the checksum of sub-image {place // size:,} is wrong: {MEND}"
                )
        return rows

    def _unpacked(self, rows: np.ndarray, turns: np.ndarray) -> Batch:
        """Inputs and labels in 0..1, each sub-image turned as told."""
        count, size = len(rows), self.size
        places = np.empty((count, 3), np.int64)
        places[:, 1:] = size, size * size
        batch = tuple(
            np.empty((count, self.channels, side, side), np.float32)
            for side in (size, self.label_size)
        )
        offsets = (0, self.cut.label_offset)
        for part, offset, result in zip(("input", "label"), offsets, batch, strict=True):
            first = self._record.fields[part][1]
            places[:, 0] = first + np.arange(count) * self._record.itemsize
            gather(rows.reshape(-1), places, np.arange(count), turns, size, offset, result)
            result /= WHITE
        return batch
