"""Make a prepared set: shards of sub-images on disk; :mod:`npsrcnn.datasets.shards` reads them.

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
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from npsrcnn.datasets.cutting import Cut, Pair
from npsrcnn.datasets.shards import is_prepared, read_index, record, write_index
from npsrcnn.datasets.sources import Pictures
from npsrcnn.errors import UserError
from npsrcnn.runtime.files import write_atomically
from npsrcnn.runtime.threads import get_num_threads

SHARD = 256 << 20  # bytes of a shard, about
MOST_SHARDS = 500  # of a set, about: training keeps all of them open
AT_ONCE = 512 << 20  # bytes of images in work, blurred and sharp; one image may take more

Progress = Callable[[int, int], object]


def prepare(
    images: Iterable[np.ndarray | str | Path],
    folder: str | Path,
    scale: int,
    size: int = 33,
    stride: int = 14,
    *,
    color: str = "y",
    rescale: Sequence[float] = (1.0,),
    shard_bytes: int = SHARD,
    progress: Progress = lambda count, total: None,
) -> list[dict[str, Any]]:
    """Cut images into sub-images, as :func:`npsrcnn.datasets.sub_images` does, and write them.

    Parameters
    ----------
    images, scale, size, stride, color, rescale
        As for :func:`npsrcnn.datasets.sub_images`.
    folder : path
        Where to; made if it is not there. A set that is half made or damaged is completed.
    shard_bytes : int
        Size of a shard, about.
    progress : callable
        Called with the number of sub-images just written or verified, and that of all.

    Returns
    -------
    list of dict
        The shards, as :func:`npsrcnn.datasets.shards.read_index` describes them.

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
    cut = Cut(scale, size, size, stride, color, tuple(rescale))
    pictures, folder = Pictures(images, cut), Path(folder)
    counts = [cut.count(*shape) for shape in pictures.shapes]
    each = record(cut.channels, size).itemsize
    groups = _groups(counts, max(shard_bytes, sum(counts) * each // MOST_SHARDS) // each)
    plan = [
        {
            "file": f"{i:05}.bin",
            "images": [pictures.name(k) for k in group],
            "expected": sum(counts[k] for k in group),
        }
        for i, group in enumerate(groups)
    ]
    shards = _begun(folder, cut, plan)

    def told(count: int) -> None:
        progress(count, sum(counts))

    todo = []
    for i, shard in enumerate(shards):
        if _is_good(folder, shard):
            told(shard["count"])
        else:
            todo.append(i)
    _check_space(folder, each * sum(plan[i]["expected"] for i in todo))
    made = _made(pictures, [k for i in todo for k in groups[i]], cut)
    with contextlib.closing(made):
        for i in todo:
            mine = itertools.islice(made, len(groups[i]))
            written = _write(folder / plan[i]["file"], mine, cut, told)
            shards[i] = {**plan[i], **written, "skipped": pictures.failed(groups[i])}
            write_index(folder, cut, shards)
            pictures.report()
    if not any(shard["count"] for shard in shards):
        raise pictures.none()
    return shards


def _check_space(folder: Path, need: int) -> None:
    free = shutil.disk_usage(folder).free
    if need > free:
        raise UserError(
            f"{folder}: {need / 1e6:,.0f} MB are to be written, and {free / 1e6:,.0f} MB are free"
        )


def _groups(counts: Sequence[int], most: int) -> list[range]:
    """Images in a row for each shard: it ends with the one that fills it."""
    groups, first, total = [], 0, 0
    for i, count in enumerate(counts):
        total += count
        if total >= most or i == len(counts) - 1:
            groups.append(range(first, i + 1))
            first, total = i + 1, 0
    return groups


def _begun(folder: Path, cut: Cut, plan: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What of the plan is already there; an index is in the folder from here on."""
    if is_prepared(folder):
        before, shards = read_index(folder)
        facts = [{name: shard[name] for name in plan[0]} for shard in shards]
        if before != cut or facts != plan:
            how = f"at x{before.scale}, stride {before.stride}, in {before.color}"
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


def _is_good(folder: Path, shard: dict[str, Any]) -> bool:
    """Whether a shard has been written, and holds what was written."""
    if "sha256" not in shard:
        return False
    try:
        with open(folder / shard["file"], "rb") as file:
            digest = hashlib.sha256()
            while block := file.read(1 << 20):
                digest.update(block)
    except OSError:
        return False
    return digest.hexdigest() == shard["sha256"]


def _write(
    path: Path,
    made: Iterator[list[Pair]],
    cut: Cut,
    progress: Callable[[int], object],
) -> dict[str, Any]:
    """Write the sub-images of all that is ``made`` as one shard: how many, and their digest."""
    digest, count = hashlib.sha256(), 0
    with write_atomically(path) as temporary, open(temporary, "wb") as file:
        for blurred, sharp in itertools.chain.from_iterable(made):
            for records in _records(blurred, sharp, cut):
                data = memoryview(records).cast("B")
                file.write(data)
                digest.update(data)
                count += len(records)
                progress(len(records))
    return {"count": count, "sha256": digest.hexdigest()}


def _records(blurred: np.ndarray, sharp: np.ndarray, cut: Cut) -> Iterator[np.ndarray]:
    """The sub-images of an image, both versions (C, H, W) uint8, a row of them at a time."""
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


def _made(pictures: Pictures, order: Sequence[int], cut: Cut) -> Iterator[list[Pair]]:
    """Images blurred and sharp, in 8 bits, in this order; some of them made ahead by threads."""

    def make(k: int) -> list[Pair]:
        image = pictures.read(k)
        return [] if image is None else [tuple(map(_rounded, pair)) for pair in cut.pairs(image)]

    threads = get_num_threads()
    pool = ThreadPoolExecutor(threads, thread_name_prefix="npsrcnn-images")
    ahead: collections.deque[tuple[Future, int]] = collections.deque()
    try:
        for k in order:
            need = cut.bytes(*pictures.shapes[k])
            while ahead and (
                len(ahead) == 2 * threads or sum(n for _, n in ahead) + need > AT_ONCE
            ):
                yield ahead.popleft()[0].result()
            ahead.append((pool.submit(make, k), need))
        while ahead:
            yield ahead.popleft()[0].result()
    finally:
        pool.shutdown(cancel_futures=True)


def _rounded(pixels: np.ndarray) -> np.ndarray:
    return np.rint(pixels * np.float32(255)).clip(0, 255).astype(np.uint8)
