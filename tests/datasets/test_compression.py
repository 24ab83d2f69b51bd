"""JPEG in training data: what is compressed and how, and on what the drawing depends."""

from __future__ import annotations

import io
import json

import numpy as np
import pytest
from drawn import assert_same_everywhere, batch_of
from PIL import Image

from npsrcnn.commands import datasets as command
from npsrcnn.datasets import Shards, Stream, sub_images, write_shards
from npsrcnn.datasets.compression import Compression, middle_quality
from npsrcnn.datasets.cutting import Cut
from npsrcnn.datasets.drawing import in_words
from npsrcnn.datasets.shards import INDEX
from npsrcnn.errors import UserError
from npsrcnn.pixels.color import rgb2ycbcr
from npsrcnn.pixels.jpeg import strength_of_quality
from npsrcnn.pixels.resize import imresize

CUT = {"scale": 3, "size": 17, "stride": 8}
COPIES = (1.0, 0.8)


@pytest.fixture(scope="module")
def pictures():
    """Eight soft pictures in colour, and a grey one."""
    rng = np.random.default_rng(8)
    small = rng.uniform(0, 255, (9, 21, 26, 3))
    colour = [imresize(picture, 3).clip(0, 255).astype(np.uint8) for picture in small]
    return [*colour[:8], colour[8][..., 0]]


def through_jpeg(image, quality, subsampling):
    file = io.BytesIO()
    options = {} if image.ndim == 2 else {"subsampling": subsampling}
    Image.fromarray(image).save(file, "JPEG", quality=quality, **options)
    return np.array(Image.open(file))


def y_of(image):
    """Compute Y of MATLAB's rgb2ycbcr in plain NumPy, in the range of ``image``."""
    if image.ndim == 2:
        return image
    peak = 255 if image.dtype == np.uint8 else 1
    y = image.astype(float) @ [65.481 / 255, 128.553 / 255, 24.966 / 255] + 16 / 255 * peak
    return np.floor(y + 0.5) if peak == 255 else y


@pytest.mark.parametrize("grey", [False, True])
@pytest.mark.parametrize("scale", [1, 2, 3, 4])
def test_an_image_and_a_copy_are_degraded_step_by_step(pictures, scale, grey):
    picture = pictures[8 if grey else 0]
    jpeg = Compression(20, 90, seed=4)
    pairs = list(Cut(scale, 17, 17, rescale=COPIES, jpeg=jpeg).pairs(picture, number=6))
    for copy, (factor, (blurred, sharp)) in enumerate(zip(COPIES, pairs, strict=True)):
        light = picture / np.float32(255)
        if factor != 1:
            light = imresize(light, factor).clip(0, 1)
        rows, columns = (n // scale * scale for n in light.shape[:2])
        light = light[:rows, :columns]
        small = light if scale == 1 else imresize(light, 1 / scale)
        small = np.floor(small.clip(0, 1) * 255 + 0.5).astype(np.uint8)
        quality, subsampling = jpeg.draw(6, copy)
        decoded = through_jpeg(small, quality, subsampling)
        y = (y_of(decoded) / 255).astype(np.float32)
        expected = y if scale == 1 else imresize(y, scale)
        np.testing.assert_allclose(blurred, expected[None], rtol=0, atol=1e-6)
        truth = y_of(picture[:rows, :columns]) / 255 if factor == 1 else y_of(light)
        np.testing.assert_allclose(sharp, truth[None], rtol=0, atol=1e-6)
        assert abs(blurred - sharp).max() > 0.01


@pytest.mark.parametrize("color", ["rgb", "ycbcr"])
def test_three_channels_are_those_of_the_decoded_picture(pictures, color):
    ((blurred, sharp),) = Cut(1, 17, 17, color=color, jpeg=Compression(30, 30)).pairs(pictures[0])
    decoded = through_jpeg(pictures[0], *Compression(30, 30).draw(0, 0))
    for planes, picture in ((blurred, decoded), (sharp, pictures[0])):
        expected = picture if color == "rgb" else rgb2ycbcr(picture)
        np.testing.assert_array_equal(planes, (expected / np.float32(255)).transpose(2, 0, 1))


@pytest.mark.parametrize("dtype", [np.uint16, np.float32, np.float64])
def test_images_of_other_types_are_compressed_in_8_bits(pictures, dtype):
    other = (pictures[0] * 257.0).astype(dtype) if dtype == np.uint16 else pictures[0] / dtype(255)
    cut = Cut(2, 17, 17, color="rgb", jpeg=Compression(60, 80))
    (expected,), (found,) = list(cut.pairs(pictures[0])), list(cut.pairs(other))
    for a, b in zip(expected, found, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=2e-3 if a is expected[0] else 1e-6)


def test_labels_at_their_own_size_are_those_without_jpeg(pictures):
    for scale in (2, 3):
        (_, clean), (_, same) = (
            next(Cut(scale, 17, 17, jpeg=jpeg).pairs(pictures[1]))
            for jpeg in (None, Compression(75, 75))
        )
        np.testing.assert_array_equal(clean, same)


def test_all_qualities_and_both_subsamplings_are_drawn():
    jpeg = Compression(60, 63)
    drawn = [jpeg.draw(number, copy) for number in range(60) for copy in range(5)]
    assert {quality for quality, _ in drawn} == {60, 61, 62, 63}
    assert {subsampling for _, subsampling in drawn} == {"4:2:0", "4:4:4"}
    counts = [drawn.count(each) for each in sorted(set(drawn))]
    assert len(counts) == 8 and min(counts) > 20
    assert drawn == [jpeg.draw(number, copy) for number in range(60) for copy in range(5)]
    other = Compression(60, 63, seed=1)
    assert drawn != [other.draw(number, copy) for number in range(60) for copy in range(5)]


def test_memory_stream_and_any_threads_give_the_same(pictures, tmp_path, monkeypatch):
    monkeypatch.setattr(Stream, "MIN_IMAGES_PER_GROUP", 1)
    options = {**CUT, "rescale": COPIES, "jpeg": (40, 90), "seed": 5}
    others = [{"seed": 6}, {"jpeg": None}]
    files = assert_same_everywhere(pictures, tmp_path, options, 400_000, others, shard_bytes=60_000)
    assert len(files) > 3


def test_a_bad_file_does_not_change_what_is_drawn_for_others(pictures, tmp_path):
    paths = [tmp_path / f"{i}.png" for i in range(8)]
    for path, picture in zip(paths, pictures, strict=False):
        Image.fromarray(picture).save(path)
    options = {**CUT, "label_size": 17, "jpeg": (10, 90)}
    expected = {row.tobytes() for row in batch_of(sub_images(paths, **options))}
    data = paths[2].read_bytes()
    paths[2].write_bytes(data[: len(data) // 2])
    found = {row.tobytes() for row in batch_of(sub_images(paths, **options))}
    assert found < expected and len(found) == len(expected) * 7 // 8


def test_the_index_of_a_set_says_how_it_was_compressed(pictures, tmp_path):
    write_shards(pictures, tmp_path / "s", **CUT, jpeg=(60, 80), seed=2)
    index = json.loads((tmp_path / "s" / INDEX).read_text())
    recipe = index["recipe"]
    assert (recipe["jpeg"], recipe["seed"]) == ([60, 80], 2)
    assert Shards(tmp_path / "s").cut.jpeg == Compression(60, 80, 2)
    with pytest.raises(UserError, match="another set, at x3, stride 8, in y, JPEG 60-80, seed 2"):
        write_shards(pictures, tmp_path / "s", **CUT, jpeg=75, seed=2)
    for damaged in ([60, 800], [60], 75, "high"):
        recipe["jpeg"] = damaged
        (tmp_path / "s" / INDEX).write_text(json.dumps(index))
        with pytest.raises(UserError, match=r"shards.json: damaged, or"):
            Shards(tmp_path / "s")


@pytest.mark.parametrize("jpeg", [0, 101, (80, 60), (0, 50), (90, 101)])
def test_qualities_that_there_are_not_are_refused_in_one_line(pictures, jpeg):
    with pytest.raises(UserError, match="from 1 to 100, a range begins with the lower") as caught:
        sub_images(pictures, **CUT, jpeg=jpeg)
    assert "\n" not in str(caught.value)


def test_the_middle_of_a_range_is_that_of_its_strengths():
    assert [middle_quality((q, q)) for q in range(1, 101)] == list(range(1, 101))
    assert middle_quality((60, 80)) == 72  # strengths 80 and 40, between them 56.6
    assert middle_quality((5, 20)) == 10
    for lowest, highest in [(10, 30), (30, 90), (60, 100), (1, 100)]:
        middle = strength_of_quality(middle_quality((lowest, highest)))
        ends = strength_of_quality(lowest), max(1, strength_of_quality(highest))
        assert ends[1] < middle < ends[0]
    assert (in_words((75, 75)), in_words((60, 80))) == ("75", "60-80")


def test_prepare_takes_qualities(pictures, tmp_path, capsys):
    (tmp_path / "in").mkdir()
    for i, picture in enumerate(pictures[:2]):
        Image.fromarray(picture).save(tmp_path / "in" / f"{i}.png")
    argv = ["prepare", tmp_path / "in", "-o", tmp_path / "s", "--scale", 1, "--size", 17]

    def run(*more):
        code = command.main([str(word) for word in (*argv, *more)])
        captured = capsys.readouterr()
        assert "\n" not in captured.err.strip()
        return code, captured.out + captured.err

    code, text = run()
    assert code == 1 and "without JPEG compression there is nothing to restore" in text
    for bad in ("0", "101", "80-60", "75-", "good"):
        code, text = run("--jpeg", bad)
        assert code == 2 and "--jpeg" in text and "from 1 to 100" in text
    assert not (tmp_path / "s").exists()
    code, text = run("--jpeg", "60-80", "--seed", 3)
    assert code == 0 and text.endswith(f"train --data {tmp_path / 's'} --scale 1 --jpeg 60-80\n")
    assert Shards(tmp_path / "s").cut.jpeg == Compression(60, 80, 3)
