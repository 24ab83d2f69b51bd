"""Prepared sets: the same sub-images as in memory, made in any number of attempts, and verified."""

from __future__ import annotations

import itertools
import json
import logging
import os
import shutil
import tracemalloc
import zlib
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from npsrcnn.commands import datasets as command
from npsrcnn.datasets import Shards, shard_writer, sub_images, write_shards
from npsrcnn.datasets.shards import INDEX, record
from npsrcnn.errors import DataError, UserError
from npsrcnn.runtime.threads import set_num_threads

CUT = {"scale": 3, "size": 17, "stride": 8}
EACH = 6 * 8  # sub-images that one image gives
SMALL = 2 * EACH * record(1, 17).itemsize  # bytes of a shard that holds two images


@pytest.fixture(scope="module")
def pictures():
    """Seven images of noise, which blurred goes beyond black and white."""
    rng = np.random.default_rng(8)
    return [rng.integers(0, 255, (60, 75, 3), np.uint8, endpoint=True) for _ in range(7)]


@pytest.fixture
def files(pictures, tmp_path):
    (tmp_path / "images").mkdir()
    paths = [tmp_path / "images" / f"{i}.bmp" for i in range(len(pictures))]
    for path, pixels in zip(paths, pictures, strict=True):
        Image.fromarray(pixels).save(path)
    return paths


@pytest.fixture
def folder(pictures, tmp_path):
    """A complete set, of four shards."""
    write_shards(pictures, tmp_path / "set", **CUT, shard_bytes=SMALL)
    return tmp_path / "set"


def opened(folder, margin=12, **options):
    return Shards(folder, margin=margin, **options)


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def assert_same(batches, others):
    for (x, y), (same_x, same_y) in zip(batches, others, strict=True):
        np.testing.assert_array_equal(x, same_x)
        np.testing.assert_array_equal(y, same_y)


@pytest.mark.parametrize(("color", "rescale"), [("y", (1.0, 0.6)), ("rgb", (1.0,))])
def test_the_same_batches_as_from_memory(pictures, tmp_path, color, rescale):
    images = [*pictures[:3], pictures[3][:40, :50, 0]]  # also another size, in grey
    write_shards(images, tmp_path / "s", **CUT, color=color, rescale=rescale, shard_bytes=SMALL)
    source = opened(tmp_path / "s", orientations=True)
    memory = sub_images(images, 3, 17, 5, 8, color=color, rescale=rescale, orientations=True)
    assert len(source) == len(memory) and source.steps(16) == memory.steps(16)
    assert (source.size, source.label_size) == (17, 5) and source.channels == memory.channels
    batches = zip(source.batches(4, 1, 16), memory.batches(4, 1, 16), strict=True)
    for (x, y), (u, v) in batches:
        assert x.dtype == y.dtype == np.float32
        assert x.flags.c_contiguous and y.flags.c_contiguous
        half = 0.5 / 255 + 1e-6  # of a grey level
        np.testing.assert_allclose(x, u.clip(0, 1), rtol=0, atol=half)
        if rescale == (1.0,):
            np.testing.assert_array_equal(y, v)  # 8 bits lose nothing of images of 8 bits
        else:
            np.testing.assert_allclose(y, v, rtol=0, atol=half)


@settings(max_examples=20, deadline=None)
@given(
    shapes=st.lists(st.tuples(st.integers(17, 40), st.integers(17, 40)), min_size=1, max_size=5),
    stride=st.integers(1, 20),
    shard_bytes=st.integers(1, 40_000),
    margin=st.integers(0, 8).map(lambda half: 2 * half),
)
def test_shards_of_any_size_hold_the_labels_of_memory(
    tmp_path_factory, shapes, stride, shard_bytes, margin
):
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 256, shape, np.uint8) for shape in shapes]
    folder = tmp_path_factory.mktemp("shards")
    shards = write_shards(images, folder, 1, 17, stride, jpeg=75, shard_bytes=shard_bytes)
    memory = sub_images(images, 1, 17, 17 - margin, stride, jpeg=75)
    source = opened(folder, margin)
    assert len(source) == len(memory) == sum(shard["count"] for shard in shards)
    for (_, y), (_, v) in zip(
        source.batches(1, 2, len(source)), memory.batches(1, 2, len(source)), strict=True
    ):
        np.testing.assert_array_equal(y, v)


def test_an_odd_margin_is_refused(folder):
    with pytest.raises(UserError, match="label of 6 pixels cannot lie at the centre"):
        opened(folder, 11)


def test_the_size_of_shards_does_not_show(pictures, folder, tmp_path):
    shards = write_shards(pictures, tmp_path / "one", **CUT)
    assert [shard["count"] for shard in shards] == [7 * EACH]
    assert sorted(contents(folder)) == [f"{i:05}.bin" for i in range(4)] + [INDEX]
    assert_same(opened(folder).batches(0, 0, 16), opened(tmp_path / "one").batches(0, 0, 16))


@pytest.mark.parametrize("batch_size", [16, 100])
def test_it_is_resumable(folder, batch_size):
    source = opened(folder, orientations=True)
    batches = list(source.batches(7, 1, batch_size))
    assert len(batches) == source.steps(batch_size)
    for start in {0, 1, len(batches) - 1, len(batches)}:
        again = opened(folder, orientations=True).batches(7, 1, batch_size, start)
        assert_same(batches[start:], again)
    for seed, epoch in [(7, 2), (8, 1)]:
        assert not np.array_equal(next(source.batches(seed, epoch, batch_size))[0], batches[0][0])
    with pytest.raises(UserError, match="cannot be drawn from"):
        next(source.batches(0, 0, 10**6))


def test_nothing_is_loaded(pictures, tmp_path):
    write_shards(pictures, tmp_path / "s", 3, 17, 1)
    size = (tmp_path / "s" / "00000.bin").stat().st_size
    tracemalloc.start()
    try:
        for _ in itertools.islice(opened(tmp_path / "s").batches(0, 0, 16), 50):
            pass
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert size > 10e6
    assert peak < size / 20  # of each sub-image its number and turn, and a few batches


def test_a_shard_can_be_mapped_and_read_by_its_description(pictures, folder):
    index = json.loads((folder / INDEX).read_text())
    fields = [(f["name"], f["dtype"], tuple(f["shape"])) for f in index["record"]]
    assert np.dtype(fields) == record(1, 17)
    shard = np.memmap(folder / "00000.bin", fields, "r")
    assert len(shard) == index["shards"][0]["count"] == 2 * EACH
    for one in shard:
        assert one["crc32"] == zlib.crc32(one["input"].tobytes() + one["label"].tobytes())
    memory = sub_images(pictures, 3, 17, 17, 8)
    batch = memory.cut.empty_batch(len(shard))
    memory.gather(np.arange(len(shard)), np.zeros(len(shard), np.uint8), batch)
    np.testing.assert_array_equal(shard["label"] / np.float32(255), batch[1])
    assert index["sub_images"] == 7 * EACH
    assert index["recipe"] == {**CUT, "color": "y", "rescale": [1.0]}


def test_the_same_bytes_on_any_number_of_threads(files, tmp_path):
    for threads in (1, 3):
        set_num_threads(threads)
        write_shards(files, tmp_path / str(threads), **CUT, shard_bytes=SMALL)
    assert contents(tmp_path / "1") == contents(tmp_path / "3")


def test_where_memory_is_for_one_image_each_is_written_before_the_next_is_read(
    pictures, tmp_path, monkeypatch
):
    events = []
    read, records = shard_writer.UsableImages.read, shard_writer._records

    def spy_read(self, i):
        events.append(f"read {i}")
        return read(self, i)

    def spy_records(*args):
        yield from records(*args)
        events.append("written")

    monkeypatch.setattr(shard_writer.UsableImages, "read", spy_read)
    monkeypatch.setattr(shard_writer, "_records", spy_records)
    monkeypatch.setattr(shard_writer, "BYTES_IN_WORK", 1)
    write_shards(pictures, tmp_path / "s", **CUT)
    assert events == [event for i in range(7) for event in (f"read {i}", "written")]


# Interrupted, damaged, completed


def interrupted(pictures, folder, monkeypatch, at=2):
    """Prepare, until the disk is full in the middle of a shard."""
    write = shard_writer._records
    left = [at * 2 + 1]  # images

    def records(*args):
        left[0] -= 1
        for n, some in enumerate(write(*args)):
            if left[0] == 0 and n == 2:
                raise OSError(28, "No space left on device")
            yield some

    with monkeypatch.context() as patch:
        patch.setattr(shard_writer, "_records", records)
        with pytest.raises(OSError, match="No space left") as caught:
            write_shards(pictures, folder, **CUT, shard_bytes=SMALL)
    assert caught.value.filename == str(folder / f"{at:05}.bin")


def test_a_half_made_set_is_refused_and_then_completed(pictures, folder, tmp_path, monkeypatch):
    half = tmp_path / "half"
    interrupted(pictures, half, monkeypatch)
    assert sorted(contents(half)) == ["00000.bin", "00001.bin", INDEX]
    with pytest.raises(UserError, match="half prepared, 2 of 4 shards") as caught:
        opened(half)
    assert "\n" not in str(caught.value)
    (half / ".00002-abcd.bin").write_bytes(b"what a kill leaves")
    os.utime(half / "00000.bin", (0, 0))
    told = []
    write_shards(pictures, half, **CUT, shard_bytes=SMALL, progress=lambda *args: told.append(args))
    assert (half / "00000.bin").stat().st_mtime == 0  # not made again
    assert sum(count for count, _ in told) == 7 * EACH and {n for _, n in told} == {7 * EACH}
    assert contents(half) == contents(folder)


def flip(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 16
    path.write_bytes(data)


def cut_short(path):
    os.truncate(path, path.stat().st_size - 100)


def into_a_folder(path):
    path.unlink()
    path.mkdir()


DAMAGE = {"checksum": flip, "cut short": cut_short, "missing": os.unlink}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_set_is_mended_by_shard_writer_it_again(pictures, folder, damage):
    good = contents(folder)
    damage(folder / "00001.bin")
    for name in ("00000.bin", "00002.bin"):
        os.utime(folder / name, (0, 0))
    write_shards(pictures, folder, **CUT, shard_bytes=SMALL)
    assert contents(folder) == good
    assert (folder / "00000.bin").stat().st_mtime == 0  # the others are left alone


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (cut_short, "bytes where"),
        (os.unlink, "no such file"),
        (into_a_folder, r"cannot be read \(Is a directory\)"),
    ],
)
def test_a_damaged_shard_is_named_when_the_set_is_opened(folder, damage, says):
    damage(folder / "00002.bin")
    with pytest.raises(DataError, match=f"00002.bin: .*{says}") as caught:
        opened(folder)
    assert "\n" not in str(caught.value)


def test_a_wrong_checksum_is_found_where_it_is_read(folder):
    flip(folder / "00001.bin")
    source, read = opened(folder), 0
    with pytest.raises(DataError, match=r"00001.bin: the checksum of sub-image 48 is wrong: repe"):
        for _ in source.batches(0, 0, 16):
            read += 1
    assert 0 < read < source.steps(16)


@pytest.mark.parametrize("where", ["input", "label", "crc32"])
def test_every_byte_is_covered_by_the_checksum(folder, where):
    offset = record(1, 17).fields[where][1]
    data = bytearray((folder / "00000.bin").read_bytes())
    data[offset] ^= 1
    (folder / "00000.bin").write_bytes(data)
    with pytest.raises(DataError, match="the checksum of sub-image 0 is wrong"):
        list(opened(folder).batches(0, 0, 1))


def test_a_shard_cut_short_while_it_is_read(folder):
    batches = opened(folder).batches(0, 0, 4)
    next(batches)
    os.truncate(folder / "00003.bin", 1)
    with pytest.raises(DataError, match=r"00003.bin: has been cut short: repeat"):
        list(batches)


def test_a_disk_that_fails_while_it_is_read(folder):
    class Failing:
        name = "00000.bin"

        def seek(self, place):
            raise OSError(5, "Input/output error")

    with pytest.raises(DataError, match=r"00000.bin: cannot be read \(Input/output error\)"):
        opened(folder)._read([(0, Failing(), 0)])


def test_a_set_removed_while_it_is_read_lasts_to_the_end_of_the_epoch(folder):
    source = opened(folder)
    expected = list(source.batches(0, 0, 16))
    batches = source.batches(0, 0, 16)
    first = next(batches)
    shutil.rmtree(folder)
    assert_same([first, *batches], expected)
    with pytest.raises(DataError, match=r"00000.bin: no such file"):
        next(source.batches(0, 1, 16))


@pytest.mark.parametrize(
    "spoil",
    [
        lambda text: text[: len(text) // 2],
        lambda text: text.replace("version 1", "version 2"),
        lambda text: text.replace('"count"', '"counted"'),
        lambda text: text.replace('"scale": 3', '"scale": 0'),
        lambda text: "[]",
    ],
)
def test_a_damaged_index_is_one_line(folder, spoil):
    text = (folder / INDEX).read_text()
    (folder / INDEX).write_text(spoil(text))
    with pytest.raises(UserError, match=r"shards.json: damaged, or .* prepare the set") as caught:
        opened(folder)
    assert "\n" not in str(caught.value)


def test_another_set_and_other_files_are_left_alone(pictures, folder, tmp_path, monkeypatch):
    before = contents(folder)
    with pytest.raises(UserError, match="another set, at x3, stride 8"):
        write_shards(pictures, folder, 2, 17, 8, shard_bytes=SMALL)
    with pytest.raises(UserError, match="of other images"):
        write_shards(pictures[1:], folder, **CUT, shard_bytes=SMALL)
    assert contents(folder) == before
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.txt").write_text("precious")
    with pytest.raises(UserError, match="holds other files"):
        write_shards(pictures, tmp_path / "other", **CUT)
    assert list(contents(tmp_path / "other")) == ["thesis.txt"]
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=2e6))
    with pytest.raises(UserError, match=r"3 MB are to be written, and 2 MB are free"):
        write_shards(pictures, tmp_path / "full", 3, 17, 2)


def test_bad_images_are_named_and_left_out(files, tmp_path, caplog):
    data = files[2].read_bytes()
    files[2].write_bytes(data[: len(data) // 2])
    (tmp_path / "images" / "text.png").write_text("no image")
    caplog.set_level(logging.WARNING)
    images = [*files, tmp_path / "images" / "text.png"]
    shards = write_shards(images, tmp_path / "s", **CUT, shard_bytes=SMALL)
    assert [shard["count"] for shard in shards] == [2 * EACH, EACH, 2 * EACH, EACH]
    assert [list(shard["skipped"]) for shard in shards] == [[], ["2.bmp"], [], []]
    text = " ".join(entry.getMessage() for entry in caplog.records)
    assert "text.png: not an image" in text and "2.bmp: damaged or truncated" in text
    memory = sub_images(images, 3, 17, 5, 8)
    for (_, y), (_, v) in zip(
        opened(tmp_path / "s").batches(1, 0, 16), memory.batches(1, 0, 16), strict=True
    ):
        np.testing.assert_array_equal(y, v)


def test_none_usable_is_an_error(files, tmp_path):
    for path in files:
        data = path.read_bytes()
        path.write_bytes(data[: len(data) // 2])
    with pytest.raises(UserError, match="none of the 7 images can be used"):
        write_shards(files, tmp_path / "s", **CUT)


def test_the_command(files, tmp_path, capsys, refusal):
    out = tmp_path / "a set"
    argv = ["prepare", files[0].parent, "-o", out, "--scale", 3, "--size", 17, "--stride", 8]
    for _ in range(2):  # made, and verified
        assert command.main([str(a) for a in [*argv, "--rescale", "0.8"]]) == 0
        first, second = capsys.readouterr().out.splitlines()
        assert first.startswith(f"{out}: {len(opened(out))} sub-images of 7 images, ")
        assert first.endswith(" in 1 shard, complete")
        assert second == f"train on it: npsrcnn train --data '{out}' --scale 3"
    assert opened(out).cut.rescale == (1.0, 0.8)
    assert "holds another set" in refusal(command.main, argv, 1)
