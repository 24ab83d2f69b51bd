"""Check that what is drawn for sub-images is the same however they are made."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from npsrcnn.datasets import Shards, Stream, SubImages, sub_images, write_shards
from npsrcnn.runtime.threads import set_num_threads


def batch_of(source):
    """Return all sub-images, sorted."""
    batches = source.batches(3, 0, 1)
    flat = np.vstack([np.hstack([x.reshape(1, -1), y.reshape(1, -1)]) for x, y in batches])
    return flat[np.lexsort(flat.T)]


def assert_same_everywhere(pictures, folder: Path, options, memory, others, **shards):
    """Compare memory, a stream that takes ``memory`` bytes, and shards, on one thread and three.

    With each of ``others`` in place of some options they must differ.
    """
    small = {**options, "label_size": 5}
    whole, streamed = sub_images(pictures, **small), sub_images(pictures, **small, memory=memory)
    assert isinstance(whole, SubImages) and isinstance(streamed, Stream)
    expected = batch_of(whole)
    np.testing.assert_array_equal(batch_of(streamed), expected)
    for other in others:
        assert not np.array_equal(batch_of(sub_images(pictures, **small | other)), expected)
    files = []
    for threads in (1, 3):
        set_num_threads(threads)
        np.testing.assert_array_equal(batch_of(sub_images(pictures, **small)), expected)
        place = folder / str(threads)
        write_shards(pictures, place, **options, **shards)
        files.append({path.name: path.read_bytes() for path in place.iterdir()})
    assert files[0] == files[1]
    batches = Shards(place).batches(2, 1, 16), whole.batches(2, 1, 16)
    for (x, y), (u, v) in zip(*batches, strict=True):
        half = 0.5 / 255 + 1e-6  # of a grey level
        np.testing.assert_allclose(x, u.clip(0, 1), rtol=0, atol=half)
        np.testing.assert_allclose(y, v, rtol=0, atol=half)
    return files[0]
