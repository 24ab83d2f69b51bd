"""Clips in training data: what is filmed and how, and on what the drawing depends."""

from __future__ import annotations

import json

import numpy as np
import pytest
from drawn import assert_same_everywhere
from PIL import Image

from npsrcnn.commands import datasets as command
from npsrcnn.datasets import Shards, Stream, sub_images, write_shards
from npsrcnn.datasets.cutting import Cut
from npsrcnn.datasets.filming import MOST_SPEED, Filming, middle_crf
from npsrcnn.datasets.shards import INDEX
from npsrcnn.errors import UserError
from npsrcnn.pixels.color import luma
from npsrcnn.pixels.filming import FRAMES, film
from npsrcnn.pixels.resize import imresize

CUT = {"scale": 2, "size": 17, "stride": 8}
COPIES = (1.0, 0.8)


@pytest.fixture(scope="module")
def pictures():
    """Three soft pictures in colour, and a grey one, large enough for x265."""
    pytest.importorskip("av", reason="needs the extra video")
    rng = np.random.default_rng(8)
    soft = [imresize(rng.uniform(0, 255, (54, 56, 3)), 3).clip(0, 255) for _ in range(4)]
    made = [picture.astype(np.uint8) for picture in soft]
    return [*made[:3], made[3][..., 0]]


@pytest.mark.parametrize("number", [1, 3])
def test_an_image_and_a_copy_are_filmed_in_y(pictures, number):
    filming = Filming(20, 32, seed=4)
    pairs = list(Cut(2, 17, 17, rescale=COPIES, film=filming).pairs(pictures[number], number))
    for copy, (factor, (blurred, sharp)) in enumerate(zip(COPIES, pairs, strict=True)):
        y = (luma(pictures[number]) / 255).astype(np.float32)
        if factor != 1:
            y = imresize(y, factor).clip(0, 1)
        y = y[: y.shape[0] // 2 * 2, : y.shape[1] // 2 * 2]
        np.testing.assert_allclose(sharp, y[None], rtol=0, atol=1e-6)
        frame = film(sharp[0], 2, filming.draw(number, copy))
        np.testing.assert_allclose(blurred[0], imresize(frame / 255, 2), rtol=0, atol=1e-6)
        assert abs(blurred - sharp).max() > 0.01


def test_all_of_a_shot_is_drawn():
    filming = Filming(20, 23)
    drawn = [filming.draw(number, copy) for number in range(60) for copy in range(5)]
    assert {shot.crf for shot in drawn} == {20, 21, 22, 23}
    assert {shot.encoder for shot in drawn} == {"libx264", "libx265"}
    assert {shot.kept for shot in drawn} == set(range(1, FRAMES))
    for axis in (0, 1):
        speeds = {shot.velocity[axis] for shot in drawn}
        assert speeds == set(range(-MOST_SPEED, MOST_SPEED + 1))
    assert drawn == [filming.draw(number, copy) for number in range(60) for copy in range(5)]
    assert len({filming.draw(0, copy) for copy in range(20)}) > 10, "copies are filmed alike"
    other = Filming(20, 23, seed=1)
    assert drawn != [other.draw(number, copy) for number in range(60) for copy in range(5)]


def test_memory_stream_and_any_threads_give_the_same(pictures, tmp_path, monkeypatch):
    monkeypatch.setattr(Stream, "MIN_IMAGES_PER_GROUP", 1)
    options = {**CUT, "crf": (20, 32), "seed": 5}
    assert_same_everywhere(pictures, tmp_path, options, 700_000, [{"seed": 6}, {"crf": None}])


def test_the_index_of_a_set_says_how_it_was_filmed(pictures, tmp_path):
    write_shards(pictures[:2], tmp_path / "s", **CUT, crf=(20, 32), seed=2)
    index = json.loads((tmp_path / "s" / INDEX).read_text())
    assert (index["recipe"]["crf"], index["recipe"]["seed"]) == ([20, 32], 2)
    assert Shards(tmp_path / "s").cut.film == Filming(20, 32, 2)
    with pytest.raises(UserError, match="another set, at x2, stride 8, in y, CRF 20-32, seed 2"):
        write_shards(pictures[:2], tmp_path / "s", **CUT, crf=27, seed=2)


@pytest.mark.parametrize("crf", [-1, 52, (32, 20), (20, 60)])
def test_crfs_that_there_are_not_are_refused_in_one_line(crf):
    with pytest.raises(UserError, match="from 0 to 51, a range begins with the lower") as caught:
        sub_images([np.zeros((60, 60), np.uint8)], **CUT, label_size=5, crf=crf)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("other", [{"jpeg": 75}, {"color": "rgb"}, {"color": "ycbcr"}])
def test_it_is_for_y_and_without_jpeg(other):
    with pytest.raises(UserError, match="filmed in Y alone, without JPEG"):
        sub_images([np.zeros((60, 60), np.uint8)], **CUT, label_size=5, crf=27, **other)


def test_the_middle_of_a_range():
    assert [middle_crf(crfs) for crfs in ((27, 27), (20, 32), (20, 25), (0, 51))] == [
        27,
        26,
        23,
        26,
    ]


def test_prepare_takes_crfs(pictures, tmp_path, capsys):
    (tmp_path / "in").mkdir()
    for i, picture in enumerate(pictures[:2]):
        Image.fromarray(picture).save(tmp_path / "in" / f"{i}.png")
    argv = ["prepare", tmp_path / "in", "-o", tmp_path / "s", "--scale", 2, "--size", 17]

    def run(*more):
        code = command.main([str(word) for word in (*argv, *more)])
        captured = capsys.readouterr()
        assert "\n" not in captured.err.strip()
        return code, captured.out + captured.err

    for bad in ("52", "32-20", "20-", "good"):
        code, text = run("--crf", bad)
        assert code == 2 and "--crf" in text and "from 0 to 51" in text
    code, text = run("--crf", "20-32", "--seed", 3)
    assert code == 0 and text.endswith(f"train --data {tmp_path / 's'} --scale 2 --crf 20-32\n")
    assert Shards(tmp_path / "s").cut.film == Filming(20, 32, 3)
