"""Images from files: bad ones named and skipped, many streamed, resumable all the same."""

from __future__ import annotations

import logging

import numpy as np
import pytest
from PIL import Image

from npsrcnn.datasets import RESCALED, Stream, SubImages, sources, sub_images
from npsrcnn.errors import UserError

SHAPE = (60, 75)
CUT = {"scale": 3, "size": 17, "label_size": 5, "stride": 8}
EACH = 6 * 8  # sub-images that one image gives
BYTES = 60 * 75 * 2 * 4  # that one image takes


@pytest.fixture
def files(tmp_path, rng):
    """Sixty small images of noise."""
    paths = [tmp_path / f"{i:02}.bmp" for i in range(60)]
    for path in paths:
        Image.fromarray(rng.integers(0, 255, SHAPE, np.uint8, endpoint=True)).save(path)
    return paths


def stream(files, images=37.5, **options) -> Stream:
    """Stream the files in memory for so many images, a third of them in a group."""
    source = sub_images(files, **CUT, memory=int(images * BYTES), **options)
    assert isinstance(source, Stream)
    return source


def everything(source, epoch=0, batch_size=16):
    """Return all inputs and labels of an epoch, side by side, sorted."""
    batches = source.batches(3, epoch, batch_size)
    flat = np.vstack(
        [np.hstack([x.reshape(len(x), -1), y.reshape(len(y), -1)]) for x, y in batches]
    )
    return flat[np.lexsort(flat.T)]


def assert_same(batches, others):
    for (x, y), (same_x, same_y) in zip(batches, others, strict=True):
        np.testing.assert_array_equal(x, same_x)
        np.testing.assert_array_equal(y, same_y)


@pytest.fixture
def small_groups(monkeypatch):
    """Let a group hold as few as three of these small images."""
    monkeypatch.setattr(Stream, "MIN_IMAGES_PER_GROUP", 3)


@pytest.mark.usefixtures("small_groups")
def test_a_stream_holds_the_same_sub_images_as_memory(files):
    in_memory = sub_images(files, **CUT)
    assert isinstance(in_memory, SubImages)
    streamed = stream(files)
    assert len(streamed) == len(in_memory) == len(files) * EACH
    np.testing.assert_array_equal(everything(streamed), everything(in_memory))


@pytest.mark.usefixtures("small_groups")
def test_groups_and_the_order_in_them_change_with_the_epoch(tmp_path):
    paths = [tmp_path / f"{i}.bmp" for i in range(20)]
    for i, path in enumerate(paths):  # of each image one can see which it is
        Image.new("L", SHAPE[::-1], i).save(path)
    source = stream(paths, 14)  # five in the first group
    first = []
    for epoch in range(2):
        labels = np.concatenate([y for _, y in source.batches(0, epoch, 5 * EACH)])
        first.append(labels[: 5 * EACH, 0, 0, 0])
        assert len(np.unique(first[-1])) == 5
        assert len(np.unique(first[-1][:12])) > 1
    assert set(first[0]) != set(first[1])
    named = [[list(dict.fromkeys(order)).index(i) for i in order] for order in first]
    assert named[0] != named[1]  # whatever the images are, in the order of their appearance


@pytest.mark.usefixtures("small_groups")
@pytest.mark.parametrize("batch_size", [16, 100, 700])  # a group has 624: 700 spans three
def test_a_stream_is_resumable(files, batch_size):
    source = stream(files, orientations=True)
    batches = list(source.batches(7, 1, batch_size))
    assert len(batches) == source.steps(batch_size) == len(source) // batch_size
    for start in {0, 1, len(batches) // 2, len(batches) - 1, len(batches)}:
        assert_same(
            batches[start:], stream(files, orientations=True).batches(7, 1, batch_size, start)
        )
    for seed, epoch in [(7, 2), (8, 1)]:
        assert not np.array_equal(next(source.batches(seed, epoch, batch_size))[0], batches[0][0])


@pytest.mark.usefixtures("small_groups")
def test_memory_is_bounded_and_groups_are_mixed(files, monkeypatch):
    groups, read = [], Stream._read

    def spy(self, *args):
        groups.append(read(self, *args))
        return groups[-1]

    monkeypatch.setattr(Stream, "_read", spy)
    everything(stream(files))
    sizes = [group._blurred.nbytes + group._sharp.nbytes for group, _, _ in groups]
    assert sum(sizes) == len(files) * BYTES  # nothing twice
    assert 10 * BYTES < max(sizes[:-1]) <= 13 * BYTES  # memory for 37 images, in three parts


def test_of_large_images_each_epoch_takes_other_parts(files):
    source = stream(files)  # a group has room for 12.5 images, and 16 are wanted in it
    assert 0 < len(source) < len(files) * EACH
    one, two = everything(source, 0), everything(source, 1)
    assert one.shape == two.shape
    assert not np.array_equal(one, two)
    whole = sub_images(files, 3, 17, 5, 1)  # every place in every image
    assert_same(source.batches(3, 1, 16, 2), list(source.batches(3, 1, 16))[2:])
    labels = {y.tobytes() for _, batch in whole.batches(0, 0, len(files)) for y in batch}
    seen = {y.tobytes() for e in range(4) for _, batch in source.batches(3, e, 16) for y in batch}
    assert seen <= labels
    assert len(seen) > 2 * len(source)


@pytest.mark.parametrize("shape", [(4000, 3000), (40, 100_000), (100_000, 40), (70, 70)])
def test_parts_are_as_small_as_they_should_be(files, shape):
    source = stream(files, rescale=RESCALED)
    source._group_bytes = 2**24
    part = source._part(*shape)
    assert source._part(*shape[::-1]) == part[::-1]  # as a file's EXIF orientation may turn it
    assert part[0] <= shape[0] and part[1] <= shape[1]
    assert source.cut.count(*part) > 0
    if shape != (70, 70):
        assert 0.9 < source.cut.nbytes(*part) * Stream.MIN_IMAGES_PER_GROUP / 2**24 < 1.05
    else:
        assert part == shape


def spoil(files, tmp_path):
    """Add five useless files, one of which looks fine until it is read to its end."""
    text = tmp_path / "text.png"
    text.write_text("this is no image")
    small = tmp_path / "small.png"
    Image.new("L", (16, 200)).save(small)
    noise = np.random.default_rng(0).integers(0, 255, (90, 90, 3), np.uint8)
    cut_short = tmp_path / "cut-short.jpg"
    Image.fromarray(noise).save(cut_short)
    cut_short.write_bytes(cut_short.read_bytes()[:4000])
    empty = tmp_path / "empty.bmp"
    empty.touch()
    return [text, *files[:30], small, cut_short, tmp_path / "gone.bmp", empty, *files[30:]]


def test_bad_files_are_named_in_one_line(files, tmp_path, caplog):
    source = sub_images(spoil(files, tmp_path), **CUT)
    assert len(source) == len(files) * EACH
    (line,) = [record.getMessage() for record in caplog.records]
    assert line.startswith("skipped 5 of 65 images: ") and "\n" not in line
    names = {"text.png", "small.png", "cut-short.jpg", "gone.bmp", "empty.bmp"}
    assert all(name in line for name in names)
    assert "16 x 200 pixels, smaller than a sub-image" in line
    assert {path.name for path, _ in source.skipped} == names


def test_a_file_that_changes_after_its_size_was_read(files, caplog, monkeypatch):
    read_size = sources.read_size

    def before(path):
        shape = read_size(path)
        return (shape[0] - 3, shape[1]) if path == files[1] else shape

    monkeypatch.setattr(sources, "read_size", before)
    assert len(sub_images(files, **CUT)) == (len(files) - 1) * EACH
    (line,) = [record.getMessage() for record in caplog.records]
    assert line == "skipped 1 of 60 images: 01.bmp: another size than its headers said"


def test_many_bad_files_are_counted(files, tmp_path, caplog):
    bad = [tmp_path / f"none{i}.bmp" for i in range(9)]
    sub_images([*files, *bad], **CUT)
    (line,) = [record.getMessage() for record in caplog.records]
    assert line.startswith("skipped 9 of 69 images: none0.bmp: ")
    assert line.endswith("; and 4 more") and "none5" not in line


@pytest.mark.usefixtures("small_groups")
def test_a_stream_goes_on_over_bad_files(files, tmp_path, caplog):
    caplog.set_level(logging.WARNING)
    paths = spoil(files, tmp_path)
    source = stream(paths)
    batches = [*source.batches(0, 0, 32), *source.batches(0, 1, 32)]
    assert len(batches) == 2 * (len(source) // 32)  # as many as were foretold
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == 2, lines  # what the headers showed, and then what reading did, once
    assert lines[0].startswith("skipped 4 of 65 images: ")
    assert lines[1].startswith("skipped 1 of 65 images: cut-short.jpg: ")
    assert len(source.skipped) == 5
    fresh = stream(paths)
    assert_same(batches[5 : len(batches) // 2], fresh.batches(0, 0, 32, 5))


@pytest.mark.usefixtures("small_groups")
def test_a_stream_survives_the_loss_of_a_group_but_not_of_all(files):
    source = stream(files)
    for path in files[:-2]:
        path.unlink()
    left = everything(source)
    assert left.shape[0] == len(source)
    assert len(np.unique(left, axis=0)) == 2 * EACH
    for path in files[-2:]:
        path.unlink()
    with pytest.raises(UserError, match="none of the 60 images can be used"):
        next(source.batches(0, 0, 16))


def test_none_usable_is_an_error(tmp_path):
    path = tmp_path / "text.png"
    path.write_text("this is no image")
    with pytest.raises(UserError, match=r"none of the 1 image can be used.*first, text.png: "):
        sub_images([path], **CUT)
    Image.new("L", (90, 90)).save(tmp_path / "short.bmp")
    data = (tmp_path / "short.bmp").read_bytes()
    (tmp_path / "short.bmp").write_bytes(data[: len(data) // 2])
    with pytest.raises(UserError, match=r"none of the 1 image can be used.*first, short.bmp: "):
        sub_images([tmp_path / "short.bmp"], **CUT)
    with pytest.raises(UserError, match="none of the 0 images"):
        sub_images([], **CUT)


def test_a_stream_may_be_left_at_any_time(files):
    batches = stream(files).batches(0, 0, 16)
    next(batches)
    batches.close()
    with pytest.raises(UserError, match="cannot be drawn from"):
        next(stream(files).batches(0, 0, 10**6))
