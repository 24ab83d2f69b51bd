"""Write prepared sets: shards of sub-images on disk, which :mod:`npsrcnn.datasets.shards` reads.

Threads decode and blur images, one writes their sub-images, in the images' order: the same images
give the same bytes on any number of threads. Every shard appears whole or not at all, and is then
entered in the index. So whatever stops the work, the same call goes on from there; and called on a
set that is complete, it verifies every shard and makes the damaged ones anew.
"""

from __future__ import annotations

import collections
import contextlib
import hashlib
import itertools
import shutil
import zlib
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from npsrcnn.datasets.compression import Compression, Qualities
from npsrcnn.datasets.cutting import Cut, Pair
from npsrcnn.datasets.drawing import in_words
from npsrcnn.datasets.filming import Crfs, Filming
from npsrcnn.datasets.shards import Shard, is_prepared, read_index, record, write_index
from npsrcnn.datasets.sources import UsableImages
from npsrcnn.errors import UserError
from npsrcnn.runtime.files import write_atomically
from npsrcnn.runtime.threads import get_num_threads

SHARD_BYTES = 256 << 20  # about
MAX_SHARDS = 500  # of a set, about: training keeps all of them open
BYTES_IN_WORK = 512 << 20  # of images, blurred and sharp; one image may take more

Progress = Callable[[int, int], object]


def write_shards(
    images: Iterable[np.ndarray | str | Path],
    folder: str | Path,
    scale: int,
    size: int = 33,
    stride: int = 14,
    *,
    color: str = "y",
    rescale: Sequence[float] = (1.0,),
    jpeg: Qualities | None = None,
    crf: Crfs | None = None,
    seed: int = 0,
    shard_bytes: int = SHARD_BYTES,
    progress: Progress = lambda count, total: None,
) -> list[Shard]:
    """Cut images into sub-images, as :func:`npsrcnn.datasets.sub_images` does, and write them.

    Parameters
    ----------
    images, scale, size, stride, color, rescale, jpeg, crf, seed
        As for :func:`npsrcnn.datasets.sub_images`.
    folder : path
        Made if it is not there. A set that is half made or damaged is completed.
    shard_bytes : int
        Bytes of a shard, about.
    progress : callable
        Called with the number of sub-images just written or verified, and the number of all.

    Returns
    -------
    list of Shard
        The entries of the index.

    Raises
    ------
    UserError
        No image can be used; too little space; the folder holds another set, or other files.
    OSError
        The folder cannot be written to.

    Notes
    -----
    Both halves of a sub-image are rounded to 8 bits. For labels that changes nothing where
    images have 8 bits and their own size. The blurred inputs lose what lies between two grey
    levels, and their overshoot beyond black and white. That costs nothing: 510 steps more for
    the shipped 9-1-5 at x3, on T91 (Adam, 3e-4), end at 32.5289 and 32.5292 dB on Set5 from
    memory, at 32.5288 and 32.5291 from a prepared set, with two seeds.
    """
    losses = Compression.of(jpeg, seed), Filming.of(crf, seed)
    cut = Cut(scale, size, size, stride, color, tuple(rescale), *losses)
    usable, folder = UsableImages(images, cut), Path(folder)
    counts = [cut.count(*shape) for shape in usable.shapes]
    total, record_bytes = sum(counts), record(cut.channels, size).itemsize
    split = _split(counts, max(shard_bytes, total * record_bytes // MAX_SHARDS) // record_bytes)
    plan: list[Shard] = [
        {
            "file": f"{i:05}.bin",
            "images": [usable.name(k) for k in numbers],
            "expected": sum(counts[k] for k in numbers),
        }
        for i, numbers in enumerate(split)
    ]
    shards = _begin(folder, cut, plan)
    todo = []
    for i, shard in enumerate(shards):
        if _is_good(folder, shard):
            progress(shard["count"], total)
        else:
            todo.append(i)
    _check_space(folder, record_bytes * sum(plan[i]["expected"] for i in todo))
    with contextlib.closing(_pairs(usable, [k for i in todo for k in split[i]], cut)) as pairs:
        for i in todo:
            some = itertools.islice(pairs, len(split[i]))
            count, sha256 = _write(
                folder / plan[i]["file"], some, cut, lambda count: progress(count, total)
            )
            skipped = usable.failed(split[i])
            shards[i] = {**plan[i], "count": count, "sha256": sha256, "skipped": skipped}
            write_index(folder, cut, shards)
            usable.report_skipped()
    if not any(shard["count"] for shard in shards):
        raise usable.none_left()
    return shards


def _check_space(folder: Path, need: int) -> None:
    free = shutil.disk_usage(folder).free
    if need > free:
        raise UserError(
            f"{folder}: {need / 1e6:,.0f} MB are to be written, and {free / 1e6:,.0f} MB are free"
        )


def _split(counts: Sequence[int], capacity: int) -> list[range]:
    """Divide images into shards by the counts of their sub-images; the last one fills it."""
    split, first, total = [], 0, 0
    for i, count in enumerate(counts):
        total += count
        if total >= capacity or i == len(counts) - 1:
            split.append(range(first, i + 1))
            first, total = i + 1, 0
    return split


def _begin(folder: Path, cut: Cut, plan: list[Shard]) -> list[Shard]:
    """Return the shards of the folder's index, which is made where there is none yet."""
    if is_prepared(folder):
        before, shards = read_index(folder)
        found = [(shard["file"], shard["images"], shard["expected"]) for shard in shards]
        planned = [(shard["file"], shard["images"], shard["expected"]) for shard in plan]
        if before != cut or found != planned:
            how = f"at x{before.scale}, stride {before.stride}, in {before.color}"
            if before.jpeg is not None:
                how += f", JPEG {in_words(before.jpeg.ends)}, seed {before.jpeg.seed}"
            if before.film is not None:
                how += f", CRF {in_words(before.film.ends)}, seed {before.film.seed}"
            raise UserError(
                f"{folder} holds another set, {how if before != cut else 'of other images'}: "
                "choose another folder, or remove it"
            )
        for part in folder.glob(".*.bin"):  # what a kill has left
            part.unlink()
        return shards
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise UserError(f"{folder} holds other files: choose a folder that is empty or new")
    write_index(folder, cut, plan)
    return plan


def _is_good(folder: Path, shard: Shard) -> bool:
    """Tell whether a shard has been written, and holds the bytes that were written."""
    if "sha256" not in shard:
        return False
    try:
        with open(folder / shard["file"], "rb") as file:
            digest = hashlib.sha256()
            while block := file.read(1 << 20):
                digest.update(block)
    except OSError:
        return False
    return shard["sha256"] == digest.hexdigest()


def _write(
    path: Path, images: Iterable[list[Pair]], cut: Cut, progress: Callable[[int], object]
) -> tuple[int, str]:
    """Write the sub-images of some images as one shard; return their number and its SHA-256."""
    digest, count = hashlib.sha256(), 0
    with write_atomically(path) as temporary, open(temporary, "wb") as file:
        for blurred, sharp in itertools.chain.from_iterable(images):
            for records in _records(blurred, sharp, cut):
                data = records.view(np.uint8).data
                file.write(data)
                digest.update(data)
                count += len(records)
                progress(len(records))
    return count, digest.hexdigest()


def _records(blurred: np.ndarray, sharp: np.ndarray, cut: Cut) -> Iterator[np.ndarray]:
    """Yield the sub-images of an image, both versions (C, H, W) uint8, a row of them at a time."""
    window = (cut.size, cut.size)
    both = (sliding_window_view(pixels, window, axis=(1, 2)) for pixels in (blurred, sharp))
    rows = (  # (rows, columns, C, size, size)
        every[:, :: cut.stride, :: cut.stride].transpose(1, 2, 0, 3, 4) for every in both
    )
    for inputs, labels in zip(*rows, strict=True):
        records = np.empty(len(inputs), record(cut.channels, cut.size))
        records["input"], records["label"] = inputs, labels
        bodies = records.view(np.uint8).reshape(len(records), -1)[:, :-4]
        records["crc32"] = [zlib.crc32(body) for body in bodies]
        yield records


def _pairs(
    usable: UsableImages, order: Sequence[int], cut: Cut
) -> Generator[list[Pair], None, None]:
    """Yield for each image in this order its copies, blurred and sharp, in 8 bits.

    Threads make some of them ahead; an image that cannot be read gives an empty list.
    """

    def make(k: int) -> list[Pair]:
        image = usable.read(k)
        pairs = () if image is None else cut.pairs(image, k)
        return [(_rounded(blurred), _rounded(sharp)) for blurred, sharp in pairs]

    threads = get_num_threads()
    pool = ThreadPoolExecutor(threads, thread_name_prefix="npsrcnn-images")
    ahead: collections.deque[tuple[Future[list[Pair]], int]] = collections.deque()
    try:
        for k in order:
            need = cut.nbytes(*usable.shapes[k])
            while ahead and (
                len(ahead) == 2 * threads or sum(n for _, n in ahead) + need > BYTES_IN_WORK
            ):
                yield ahead.popleft()[0].result()
            ahead.append((pool.submit(make, k), need))
        while ahead:
            yield ahead.popleft()[0].result()
    finally:
        pool.shutdown(cancel_futures=True)


def _rounded(pixels: np.ndarray) -> np.ndarray:
    grey_levels: np.ndarray = np.rint(pixels * np.float32(255))
    return grey_levels.clip(0, 255).astype(np.uint8)
