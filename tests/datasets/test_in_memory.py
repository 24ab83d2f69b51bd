"""Sub-images: cut as the authors cut them, in a seeded order, in all eight orientations."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from npsrcnn.datasets import RESCALED, SubImages, sub_images
from npsrcnn.datasets.cutting import Cut
from npsrcnn.errors import UserError
from npsrcnn.images import list_images, read_array
from npsrcnn.pixels.color import luma, rgb2ycbcr
from npsrcnn.pixels.resize import degrade, imresize, modcrop


def random_images(rng, *shapes, dtype=np.uint8):
    return [rng.integers(0, np.iinfo(dtype).max, shape, dtype, endpoint=True) for shape in shapes]


def naive(sharp, scale, size, label_size, stride):
    """The authors' generate_train.m for one image (H, W, C) in 0..1, in loops."""
    sharp = modcrop(sharp, scale)
    blurred = degrade(sharp, scale)
    inputs, labels, border = [], [], (size - label_size) // 2
    for x in range(0, sharp.shape[0] - size + 1, stride):
        for y in range(0, sharp.shape[1] - size + 1, stride):
            inputs.append(blurred[x : x + size, y : y + size])
            x0, y0 = x + border, y + border
            labels.append(sharp[x0 : x0 + label_size, y0 : y0 + label_size])
    return [np.array(part).transpose(0, 3, 1, 2) for part in (inputs, labels)]


def in_order(source: SubImages, orientation: int = 0):
    """All sub-images as one batch, not shuffled."""
    batch = source.cut.empty_batch(len(source))
    source.gather(np.arange(len(source)), np.full(len(source), orientation, np.uint8), batch)
    return batch


def rows(batch):
    """Sort the sub-images of a batch, so that their order does not depend on the drawing."""
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
@pytest.mark.parametrize(("scale", "cut"), [(3, (33, 21, 14)), (2, (33, 17, 9)), (4, (20, 14, 5))])
def test_sub_images_are_those_of_the_authors_loops(rng, scale, cut, color):
    images = random_images(rng, (50, 71, 3), (36, 38, 3), (90, 41, 3))
    convert = {"y": lambda x: luma(x)[:, :, None], "rgb": lambda x: x, "ycbcr": rgb2ycbcr}[color]
    expected = [naive(convert(x) / np.float32(255), scale, *cut) for x in images]
    source = sub_images(images, scale, *cut, color=color)
    for got, parts in zip(in_order(source), zip(*expected, strict=True), strict=True):
        np.testing.assert_array_equal(got, np.concatenate(parts))


def test_the_other_byte_order_changes_nothing(rng):
    image = rng.integers(0, 65536, (50, 71, 3), np.uint16)
    swapped = image.astype(image.dtype.newbyteorder())
    for got, expected in zip(*map(in_order, (sub_images([a], 3) for a in (swapped, image))),
                             strict=True):  # fmt: skip
        np.testing.assert_array_equal(got, expected)


def test_rescaled_copies_are_cut_as_images_of_their_own(rng):
    (image,) = random_images(rng, (70, 53))
    image = image / np.float32(255)
    copies = [image, *(imresize(image, factor).clip(0, 1) for factor in RESCALED[1:])]
    expected = in_order(sub_images(copies, 3, 20, 8, 7))
    got = in_order(sub_images([image], 3, 20, 8, 7, rescale=RESCALED))
    np.testing.assert_array_equal(got[0], expected[0])
    np.testing.assert_array_equal(got[1], expected[1])


@pytest.mark.parametrize("label_size", [5, 11])
def test_all_eight_orientations_have_the_label_of_the_same_orientation(rng, label_size):
    pixels = rng.standard_normal((3, 25, 31)).astype(np.float32)
    cut = Cut(3, 11, label_size, 4, "rgb")
    source = SubImages([(pixels, pixels)], cut, True, 2 * pixels.nbytes)
    plain, _ = in_order(source)
    expected = {}
    for turns, mirror in itertools.product(range(4), (False, True)):
        turned = np.rot90(plain, turns, axes=(2, 3))
        turned = turned[:, :, ::-1] if mirror else turned
        expected[turned.tobytes()] = (turns, mirror)
    found = set()
    for orientation in range(8):
        inputs, labels = in_order(source, orientation)
        centre = slice((11 - label_size) // 2, (11 + label_size) // 2)
        np.testing.assert_array_equal(labels, inputs[:, :, centre, centre])
        found.add(expected[inputs.tobytes()])
    assert len(found) == 8


@settings(max_examples=50, deadline=None)
@given(
    shapes=st.lists(st.tuples(st.integers(1, 40), st.integers(1, 40)), min_size=1, max_size=3),
    size=st.integers(1, 20),
    border=st.integers(0, 9),
    stride=st.integers(1, 9),
    orientation=st.integers(0, 7),
)
def test_labels_are_the_centres_of_sub_images_of_any_size(
    shapes, size, border, stride, orientation
):
    assume(2 * border < size and any(min(shape) >= size for shape in shapes))
    rng = np.random.default_rng(0)
    images = [rng.random((1, *shape), np.float32) for shape in shapes]
    cut = Cut(2, size, size - 2 * border, stride)
    nbytes = sum(2 * image.nbytes for image in images)
    source = SubImages([(image, image) for image in images], cut, False, nbytes)
    inputs, labels = in_order(source, orientation)
    centre = slice(border, size - border)
    np.testing.assert_array_equal(labels, inputs[:, :, centre, centre])


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


def test_orientations_are_drawn_only_where_wanted(rng):
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


@pytest.mark.parametrize("batch_size", [0, 5])
def test_a_batch_that_cannot_be_filled(rng, batch_size):
    source = sub_images(random_images(rng, (47, 47)), 2)
    assert len(source) == 1
    with pytest.raises(UserError, match="cannot be drawn from 1 sub-image;"):
        next(source.batches(0, 0, batch_size))
