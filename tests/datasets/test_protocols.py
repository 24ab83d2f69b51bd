"""All three sources are alike: batches of an epoch, in part or whole, by seed and epoch alone."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from npsrcnn.datasets import Shards, Stream, SubImages, sub_images, write_shards

IMAGE_BYTES = 60 * 75 * 2 * 4  # in memory


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    """A source of each kind, of the same images."""
    folder = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng(3)
    paths = [folder / f"{i:02}.bmp" for i in range(24)]
    for path in paths:
        Image.fromarray(rng.integers(0, 256, (60, 75), np.uint8)).save(path)
    write_shards(paths, folder / "set", 3, 17, 16)
    memory = sub_images(paths, 3, 17, 5, 16, orientations=True)
    stream = sub_images(paths, 3, 17, 5, 16, orientations=True, memory=20 * IMAGE_BYTES)
    return memory, stream, Shards(folder / "set", orientations=True)


@pytest.mark.parametrize("kind", range(3), ids=["memory", "stream", "shards"])
@settings(max_examples=20, deadline=None)
@given(data=st.data())
def test_any_start_and_rows_give_parts_of_the_whole_epoch(sources, kind, data):
    source = sources[kind]
    assert type(source) is (SubImages, Stream, Shards)[kind]
    seed, epoch = data.draw(st.integers(0, 2**32)), data.draw(st.integers(0, 99))
    batch_size = data.draw(st.integers(1, len(source)))
    start = data.draw(st.integers(0, source.steps(batch_size) + 1))
    rows = data.draw(
        st.one_of(
            st.slices(batch_size),
            st.lists(st.integers(0, batch_size - 1), max_size=5).map(
                lambda some: np.array(some, int)
            ),
        )
    )
    whole = list(source.batches(seed, epoch, batch_size))
    assert len(whole) == source.steps(batch_size) == len(source) // batch_size
    parts = list(source.batches(seed, epoch, batch_size, start, rows))
    assert len(parts) == max(0, len(whole) - start)
    for (inputs, labels), (some_inputs, some_labels) in zip(whole[start:], parts, strict=True):
        assert inputs.shape == (batch_size, source.channels, source.size, source.size)
        assert labels.shape == (batch_size, source.channels, source.label_size, source.label_size)
        np.testing.assert_array_equal(some_inputs, inputs[rows])
        np.testing.assert_array_equal(some_labels, labels[rows])
