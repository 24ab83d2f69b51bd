"""Sub-images: cut as the authors cut them, drawn in a seeded order, turned all eight ways."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from npsrcnn.datasets import RESCALED, SubImages, sub_images
from npsrcnn.datasets.cutting import Cut
from npsrcnn.errors import UserError
from npsrcnn.images import list_images, read_array
from npsrcnn.pixels.color import luma, rgb2ycbcr
from npsrcnn.pixels.resize import degrade, imresize, modcrop


def random_images(rng, *shapes, dtype=np.uint8):
    return [rng.integers(0, np.iinfo(dtype).max, shape, dtype, endpoint=True) for shape in shapes]


def naive(sharp, scale, size, label_size, stride, offset):
    """The authors' generate_train.m for one image (H, W, C) in 0..1, in loops."""
    sharp = modcrop(sharp, scale)
    blurred = degrade(sharp, scale)
    inputs, labels = [], []
    for x in range(0, sharp.shape[0] - size + 1, stride):
        for y in range(0, sharp.shape[1] - size + 1, stride):
            inputs.append(blurred[x : x + size, y : y + size])
            x0, y0 = x + offset, y + offset
            labels.append(sharp[x0 : x0 + label_size, y0 : y0 + label_size])
    return [np.array(part).transpose(0, 3, 1, 2) for part in (inputs, labels)]


def in_order(source: SubImages, turn: int = 0):
    """All sub-images as one batch, not shuffled."""
    batch = source.empty(len(source))
    source.gather(np.arange(len(source)), np.full(len(source), turn, np.uint8), *batch)
    return batch


def rows(batch):
    """What a batch holds, in an order that does not depend on the drawing."""
    flat = np.hstack([part.reshape(len(part), -1) for part in batch])
    return flat[np.lexsort(flat.T)]


@pytest.mark.parametrize(("scale", "count"), [(2, 21910), (3, 21884)])
def test_t91_gives_as_many_as_the_public_files_do(data_folder, scale, count):
    source = sub_images(map(read_array, list_images(data_folder / "T91")), scale)
    assert len(source) == count
    inputs, labels = next(source.batches(0, 0, 128))
    assert inputs.shape == (128, 1, 33, 33)
    assert labels.shape == (128, 1, 21, 21)
    assert inputs.dtype == labels.dtype == np.float32
    assert inputs.flags.c_contiguous and labels.flags.c_contiguous


@pytest.mark.parametrize("color", ["y", "rgb", "ycbcr"])
@pytest.mark.parametrize(
    ("scale", "cut"), [(3, (33, 21, 14, 6)), (2, (33, 17, 9, 8)), (4, (20, 13, 5, 3))]
)
def test_same_as_the_authors_loops(rng, scale, cut, color):
    images = random_images(rng, (50, 71, 3), (36, 38, 3), (90, 41, 3))
    convert = {"y": lambda x: luma(x)[:, :, None], "rgb": lambda x: x, "ycbcr": rgb2ycbcr}[color]
    expected = [naive(convert(x) / np.float32(255), scale, *cut) for x in images]
    source = sub_images(images, scale, *cut[:3], color=color, label_offset=cut[3])
    for got, parts in zip(in_order(source), zip(*expected, strict=True), strict=True):
        np.testing.assert_array_equal(got, np.concatenate(parts))


def test_rescaled_copies_are_cut_as_images_of_their_own(rng):
    (image,) = random_images(rng, (70, 53))
    image = image / np.float32(255)
    copies = [image, *(imresize(image, factor).clip(0, 1) for factor in RESCALED[1:])]
    expected = in_order(sub_images(copies, 3, 20, 8, 7))
    got = in_order(sub_images([image], 3, 20, 8, 7, rescale=RESCALED))
    np.testing.assert_array_equal(got[0], expected[0])
    np.testing.assert_array_equal(got[1], expected[1])


@pytest.mark.parametrize(("scale", "rescale"), [(2, (1.0,)), (3, RESCALED), (4, (0.6, 1.0))])
def test_count_foretells_the_number(rng, scale, rescale):
    cut = Cut(scale, 17, 5, 6, rescale=rescale)
    for shape in [(31, 40), (29, 30), (64, 22), (30, 101)]:
        (image,) = random_images(rng, shape)
        made = len(sub_images([image], scale, 17, 5, 6, rescale=rescale))
        assert cut.count(*shape) == made


@pytest.mark.parametrize("offset", [0, 4, 6])
def test_eight_orientations_and_the_label_turns_along(rng, offset):
    pixels = rng.standard_normal((3, 25, 31)).astype(np.float32)
    source = SubImages(
        [(pixels, pixels)], Cut(3, 11, 5, 4, "rgb", label_offset=offset), True, 2 * pixels.nbytes
    )
    plain, _ = in_order(source)
    expected = {}
    for turns, mirror in itertools.product(range(4), (False, True)):
        turned = np.rot90(plain, turns, axes=(2, 3))
        turned = turned[:, :, ::-1] if mirror else turned
        expected[turned.tobytes()] = (turns, mirror)
    found = set()
    for turn in range(8):
        inputs, labels = in_order(source, turn)
        np.testing.assert_array_equal(
            labels, inputs[:, :, offset : offset + 5, offset : offset + 5]
        )
        found.add(expected[inputs.tobytes()])
    assert len(found) == 8


def test_an_epoch_draws_each_sub_image_once(rng):
    source = sub_images(random_images(rng, (60, 75), (41, 50)), 3, 17, 5, 8)
    batches = list(source.batches(5, 2, 3))
    assert len(batches) == source.steps(3) == len(source) // 3
    assert len(source) % 3 == 0  # so that nothing is left over
    drawn = [np.concatenate(parts) for parts in zip(*batches, strict=True)]
    np.testing.assert_array_equal(rows(drawn), rows(in_order(source)))
    assert not np.array_equal(drawn[0], in_order(source)[0])


def test_the_last_incomplete_batch_is_dropped(rng):
    source = sub_images(random_images(rng, (60, 75)), 3, 17, 5, 8)
    assert len(source) % 5
    assert [len(x) for x, _ in source.batches(0, 0, 5)] == [5] * (len(source) // 5)


def test_all_turns_are_drawn_only_where_wanted(rng):
    pixels = rng.standard_normal((1, 100, 100)).astype(np.float32)
    cut = Cut(3, 11, 5, 4)
    turned = SubImages([(pixels, pixels)], cut, True, 2 * pixels.nbytes)
    plain = SubImages([(pixels, pixels)], cut, False, 2 * pixels.nbytes)
    numbers = np.random.default_rng((0, 0))
    assert set(turned.shuffled(numbers)[1]) == set(range(8))
    assert set(plain.shuffled(numbers)[1]) == {0}


def test_batches_depend_on_seed_and_epoch_alone(rng):
    images = random_images(rng, (60, 75))
    source, again = (sub_images(images, 3, 17, 5, 8, orientations=True) for _ in range(2))
    batches = list(source.batches(7, 3, 4))
    for start in (0, 2, len(batches) - 1, len(batches), len(batches) + 1):
        rest = list(again.batches(7, 3, 4, start=start))
        assert len(rest) == max(0, len(batches) - start)
        for batch, same in zip(batches[start:], rest, strict=True):
            np.testing.assert_array_equal(batch[0], same[0])
            np.testing.assert_array_equal(batch[1], same[1])
    for seed, epoch in [(7, 4), (8, 3), (3, 7)]:
        assert not np.array_equal(next(source.batches(seed, epoch, 4))[0], batches[0][0])


def test_integers_of_any_depth_and_floats_mean_the_same(rng):
    (image,) = random_images(rng, (40, 45))
    eight = in_order(sub_images([image], 3))
    sixteen = in_order(sub_images([image.astype(np.uint16) * 257], 3))
    real = in_order(sub_images([image / 255], 3))  # float64
    for other in (sixteen, real):
        np.testing.assert_allclose(eight[0], other[0], atol=1e-6)  # float32 rounds to 6e-8 of 1
        np.testing.assert_allclose(eight[1], other[1], atol=1e-7)


def test_a_grey_image_among_colours(rng):
    (grey,) = random_images(rng, (40, 45))
    _, y = in_order(sub_images([grey], 3))
    _, rgb = in_order(sub_images([grey], 3, color="rgb"))
    _, ycbcr = in_order(sub_images([grey], 3, color="ycbcr"))
    np.testing.assert_array_equal(rgb, np.repeat(y, 3, axis=1))
    np.testing.assert_array_equal(ycbcr[:, :1], y)
    assert (ycbcr[:, 1:] == np.float32(128 / 255)).all()


def test_small_images_give_none_and_none_at_all_is_an_error(rng):
    small, large = random_images(rng, (32, 200), (34, 35))
    assert len(sub_images([small, large], 2)) == 1
    with pytest.raises(
        UserError, match="none of the 2 images can be used for sub-images of 33 x 33"
    ):
        sub_images([small, small[:1, :1]], 2, rescale=RESCALED)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"label_size": 34}, "label of 34 pixels"),
        ({"label_offset": 13}, "label of 21 pixels at 13"),
        ({"stride": 0}, "stride"),
        ({"color": "hsv"}, "no colours 'hsv'"),
    ],
)
def test_options_that_do_not_fit(rng, options, message):
    with pytest.raises(UserError, match=message):
        sub_images(random_images(rng, (40, 40, 3)), 3, **options)


@pytest.mark.parametrize("batch_size", [0, 5])
def test_a_batch_that_cannot_be_filled(rng, batch_size):
    source = sub_images(random_images(rng, (47, 47)), 2)
    assert len(source) == 1
    with pytest.raises(UserError, match="cannot be drawn from 1 sub-images"):
        next(source.batches(0, 0, batch_size))
