"""Enlarge TIFF files that memory does not hold: block by block, resumable.

A block is a window of a page of the result, whole tiles of the file that is written. While one is
computed, the next is read and the last compressed. Beside the file OUT that is to be, OUT.part
grows tile by tile, and OUT.journal says, a line for each block, which blocks are in it. A process
that dies in the middle leaves both; ``resume`` cuts off what the journal does not know and goes on,
and the file becomes, byte for byte, the one it would have become.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
from collections import deque
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from npsrcnn.errors import UserError
from npsrcnn.images import tiff_metadata
from npsrcnn.images.ifd import Directory
from npsrcnn.images.scenes import TILE, TiledFile, compress
from npsrcnn.images.tiff import TiffReader
from npsrcnn.images.tiff_pages import TiffPages
from npsrcnn.images.upright import UprightReader
from npsrcnn.model.network import SRCNN
from npsrcnn.pixels.values import IN_NETWORK, Values
from npsrcnn.runtime.files import beside, replace
from npsrcnn.runtime.threads import wait_for_any, with_check
from npsrcnn.upscaling.enlarger import Enlarger, Window
from npsrcnn.upscaling.sizes import Fit, Size, fit

PART, JOURNAL = ".part", ".journal"  # appended to a file's name
BASE = 250 << 20  # bytes that Python, NumPy, Numba and the kernels take
FLOATS = 9  # that a pixel of the result needs while it is in work
COPIES = 4  # of the result's own samples: as computed, with alpha, in tiles, compressed
TABLES = 310  # bytes, at most, while a row's or column's weights of interpolation are found
BLOCKS_IN_WORK = 2
LARGEST, SMALLEST = 2048, TILE  # side of a block

Compute = Callable[["BlockJob", "Sequence[Block]"], Generator[list[bytes], None, None]]


class Block(NamedTuple):
    """A window of the result, of a page that is counted from 0 on."""

    page: int
    window: Window


class ScenePage(NamedTuple):
    """A page to enlarge, and what its numbers mean."""

    reader: UprightReader
    values: Values

    def fit(self, scale: float | Size) -> Fit:
        """Return how the page becomes as large as asked for."""
        return fit(scale, self.reader.kind.size)

    def enlarger(self, nets: Sequence[SRCNN], scale: float | Size) -> Enlarger:
        """Return the enlargement of the page."""
        factor, shape = self.fit(scale)
        return Enlarger(self.reader.kind.size, nets, factor, self.values, shape)

    def enlarged_tags(
        self, scale: float | Size, shape: tuple[int, int], *, alone: bool, strip: bool
    ) -> Directory:
        """Return what to store with the enlarged page: as a picture in memory gets it.

        ``alone``: it is taken out of others.
        """
        metadata = self.reader.stored.metadata()
        metadata = metadata.stripped() if strip else metadata
        metadata = tiff_metadata.of_one_page(metadata) if alone else metadata
        return tiff_metadata.to_directory(metadata.enlarged(self.fit(scale).factor, shape), shape)


class Scene(NamedTuple):
    """What became of a file: rows and columns of its first page before and after, and values."""

    size: tuple[int, int]
    enlarged: tuple[int, int]
    values: list[Values]  # of each page
    lost: tuple[str, ...] = ()  # what the file held as well, in words


@dataclass(frozen=True)
class BlockJob:
    """Compute the tiles of a block, when called with it; goes to other processes as it is."""

    pages: Sequence[ScenePage]
    nets: Sequence[SRCNN]
    scale: float | Size

    def __call__(self, block: Block) -> list[bytes]:
        """Return the compressed tiles of one block."""
        page, window = self.pages[block.page], block.window
        enlarger = page.enlarger(self.nets, self.scale)
        rows, columns = enlarger.needs(*window)
        pixels, alpha = page.reader.read(rows, columns)
        return compress(*enlarger(pixels, alpha, *window, corner=(rows[0], columns[0])))


def in_threads(job: BlockJob, blocks: Sequence[Block]) -> Generator[list[bytes], None, None]:
    """Yield ``job(block)`` for each block, in their order, some at a time."""
    waiting: deque[Future[list[bytes]]] = deque()

    def first() -> list[bytes]:
        wait_for_any(list(waiting)[:1])
        return waiting.popleft().result()

    with ThreadPoolExecutor(BLOCKS_IN_WORK) as pool:
        for block in blocks:
            if len(waiting) == BLOCKS_IN_WORK:
                yield first()
            waiting.append(pool.submit(with_check(job), block))
        while waiting:
            yield first()


def enlarge_scene(
    source: Path,
    target: Path,
    nets: Sequence[SRCNN],
    scale: float | Size,
    *,
    memory: int,
    resume: bool = False,
    page: int | None = None,
    strip: bool = False,
    compute: Compute | None = None,
    progress: Callable[[int, int], None] = lambda done, blocks: None,
) -> Scene:
    """Enlarge a TIFF file into a BigTIFF file, page by page, in bounded memory.

    Parameters
    ----------
    source, target : Path
    nets, scale
        As for :class:`npsrcnn.upscaling.enlarger.Enlarger`.
    memory : int
        Bytes that the process may have resident, about.
    resume : bool
        Go on where an interrupted call has stopped, if one has.
    page : int, optional
        The only page to enlarge, from 1 on; default: all.
    strip : bool
        Leave out metadata, but what tells of colours.
    compute
        A generator: ``compute(job, blocks)`` yields ``job(block)`` for each block, in their
        order; default: two at a time on threads of this process.
    progress
        Called with the number of blocks done, and of all.

    Raises
    ------
    UserError
        A file that is not taken; too little memory; something to resume and no ``resume``, or
        from another source, or with other weights.
    OSError
        The disk is full, a folder is gone. What was done is kept for ``resume``.
    """
    pages = _opened(source, page, scale, memory)
    enlargers = [one.enlarger(nets, scale) for one in pages]
    facts = _facts(source, nets, scale) | ({} if page is None else {"page": page})
    facts |= {"strip": True} if strip else {}
    orientations = [one.reader.stored.orientation for one in pages]
    facts |= {"orientation": orientations} if any(n != 1 for n in orientations) else {}
    journal = Journal(target)
    try:
        if journal.exists():
            if not resume:
                raise UserError(
                    f"{target} was begun and not finished: give --resume to go on, "
                    f"or remove {journal.path.name}"
                )
            journal.read(facts)
        else:
            side = min(
                _side(one.reader, enlarger, memory)
                for one, enlarger in zip(pages, enlargers, strict=True)
            )
            begun = []
            for one, enlarger in zip(pages, enlargers, strict=True):
                kind = one.reader.kind._replace(size=enlarger.shape)
                tags = one.enlarged_tags(scale, enlarger.shape, alone=page is not None, strip=strip)
                begun.append((kind, tags))
            file = TiledFile.begin(journal.part, begun)
            journal.begin(facts, side, file.end)
        file = TiledFile(journal.part, journal.end)
        blocks = [
            Block(i, window)
            for i, (one, enlarger) in enumerate(zip(pages, enlargers, strict=True))
            for window in one.reader.in_order_of_rows(enlarger.windows(journal.side, journal.side))
        ]
        done = len(journal.sizes)
        results = (compute or in_threads)(BlockJob(pages, nets, scale), blocks[done:])
        with contextlib.closing(results):
            for tiles in results:
                file.append(tiles)
                journal.add([len(tile) for tile in tiles])
                done += 1
                progress(done, len(blocks))
        file.finish(_tile_tables([enlarger.shape for enlarger in enlargers], blocks, journal))
        replace(journal.part, target)
        journal.path.unlink()
    except OSError as error:
        if error.errno is None or error.filename == str(source):
            raise
        raise OSError(error.errno, os.strerror(error.errno), str(target)) from error
    finally:
        pages[0].reader.stored.close()
    values = [one.values for one in pages]
    return Scene(pages[0].reader.kind.size, enlargers[0].shape, values)


def _opened(source: Path, page: int | None, scale: float | Size, memory: int) -> list[ScenePage]:
    """Open a file's pages, or one of them, and find out what their numbers mean."""
    pages = TiffPages(source)
    count = len(pages.places)
    if page is not None and not 1 <= page <= count:
        raise UserError(f"{source}: no page {page}: the file holds {count}")
    readers = [
        TiffReader(source, number, pages)
        for number in (range(count) if page is None else [page - 1])
    ]
    for reader in readers:
        check_memory(upright := UprightReader(reader), fit(scale, upright.kind.size), memory)
    return [ScenePage(UprightReader(reader), reader.values()) for reader in readers]


class Journal:
    """The record of a file that is not finished: a line of facts, then one for each block.

    Attributes
    ----------
    path, part : Path
        The journal itself, and the file.
    side : int
        Of a block.
    sizes : list of list of int
        How long the tiles are of each block that is done.
    start, end : int
        Where the first tile begins in the file, and where the last one ends.
    """

    def __init__(self, target: Path) -> None:
        self.path, self.part = (beside(target, ending) for ending in (JOURNAL, PART))
        self.sizes: list[list[int]] = []

    def exists(self) -> bool:
        """Return whether there is something to go on with."""
        return self.path.exists() and self.part.exists()

    def begin(self, facts: dict[str, object], side: int, start: int) -> None:
        """Write the first line; replaces a journal that was there."""
        self.side, self.start, self.end = side, start, start
        self._write({**facts, "side": side, "start": start}, "w")

    def read(self, facts: dict[str, object]) -> None:
        """Read what is there, but for a last line or block that was cut short.

        Raises
        ------
        UserError
            It was begun with other ``facts``.
        """
        # Bytes: lengths of text are others where a newline is two of them.
        first, *lines = self.path.read_bytes().splitlines(keepends=True) or [b""]
        try:
            begun = json.loads(first)
            self.side, self.start = begun["side"], begun["start"]
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(f"{self.path}: damaged in its first line; remove it") from error
        for key, value in facts.items():
            if begun.get(key) != value:
                raise UserError(
                    f"{self.path}: begun with another {key} ({begun.get(key)}, now {value}): "
                    "remove it to start over"
                )
        self.end, length = self.start, self.part.stat().st_size
        for line in lines:
            if not line.endswith(b"\n") or self.end + sum(json.loads(line)) > length:
                break
            self.sizes.append(json.loads(line))
            self.end += sum(self.sizes[-1])
        os.truncate(self.path, len(b"".join([first, *lines[: len(self.sizes)]])))

    def add(self, sizes: list[int]) -> None:
        """Record the lengths of the tiles of one more block."""
        self._write(sizes, "a")
        self.sizes.append(sizes)
        self.end += sum(sizes)

    def _write(self, value: object, mode: str) -> None:
        with open(self.path, mode, encoding="utf-8", newline="\n") as file:
            file.write(json.dumps(value, separators=(",", ":")) + "\n")
            file.flush()
            os.fsync(file.fileno())


def _facts(source: Path, nets: Sequence[SRCNN], scale: float | Size) -> dict[str, object]:
    """Return what must be the same for an interrupted call to be resumed."""
    weights = hashlib.sha256()
    for net in nets:
        weights.update(f"{type(net).__name__} {net.color} {net.padding} {net.scale}".encode())
        for array in (array for layer in net.layers for array in layer):
            weights.update(f"{array.shape}".encode() + array.tobytes())
    status = source.stat()
    return {
        "source": str(source.resolve()),
        "size": status.st_size,
        "time": status.st_mtime_ns,
        "scale": str(scale) if isinstance(scale, Size) else scale,
        "weights": weights.hexdigest()[:16],
        "device": [net.device for net in nets],
    }


def check_memory(scene: UprightReader, how: Fit, memory: int) -> None:
    """Refuse, before anything is read, a page of which a side or a strip alone is too much.

    Raises
    ------
    UserError
        It needs more memory than there is to be; perhaps it is damaged.
    """
    rows, columns = how.shape or (math.ceil(how.factor * side) for side in scene.kind.size)
    need = BASE + TABLES * (rows + columns) + scene.held_bytes(1, 1)
    if need > memory:
        raise _too_little(scene, need, memory)


def _too_little(scene: UprightReader, need: int, memory: int) -> UserError:
    return UserError(
        f"{scene.stored.source}: needs {need / 1e6:.0f} MB of memory at least; "
        f"--memory says {memory / 1e6:.0f}"
    )


def _side(scene: UprightReader, enlarger: Enlarger, memory: int) -> int:
    """Return the largest side of a block with which all fits in memory."""
    side = LARGEST
    while (need := memory_of(scene, enlarger, side)) > memory:
        if side == SMALLEST:
            raise _too_little(scene, need, memory)
        side //= 2
    return side


def memory_of(scene: UprightReader, enlarger: Enlarger, side: int) -> int:
    """Estimate the bytes that the process has resident with blocks of ``side``."""
    (top, bottom), (left, right) = enlarger.needs((0, side), (0, side))
    rows, columns = min(side, enlarger.shape[0]), min(side, enlarger.shape[1])
    kind = scene.kind
    stored = kind.samples * kind.dtype.itemsize
    wide = 0 if kind.dtype in IN_NETWORK else 8 * kind.colors
    block = rows * columns * (FLOATS * 4 + COPIES * stored + wide)
    read = (bottom - top) * (right - left) * (4 * 4 + stored)
    return BASE + BLOCKS_IN_WORK * (block + read) + scene.held_bytes(bottom - top, right - left)


def _tile_tables(
    sizes: Sequence[tuple[int, int]], blocks: Sequence[Block], journal: Journal
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return offset and length of each tile of each page, row by row of tiles, as TIFF has them."""
    tables = []
    for size in sizes:
        shape = tuple(-(-length // TILE) for length in size)
        tables.append((np.zeros(shape, np.uint64), np.zeros(shape, np.uint64)))
    end = journal.start
    for block, lengths in zip(blocks, journal.sizes, strict=True):
        offsets, counts = tables[block.page]
        part = tuple(slice(start // TILE, -(-stop // TILE)) for start, stop in block.window)
        counts[part] = np.reshape(lengths, counts[part].shape)
        offsets[part] = np.reshape(end + np.cumsum([0, *lengths[:-1]]), counts[part].shape)
        end += sum(lengths)
    return [(offsets.ravel(), counts.ravel()) for offsets, counts in tables]
