"""From an array to a larger one, and what is wrong with some."""

from __future__ import annotations

import numpy as np
import pytest
from random_inputs import random_net, restored_but_flat

import npsrcnn
from npsrcnn import SRCNN, images
from npsrcnn.errors import UserError
from npsrcnn.model import shipped
from npsrcnn.pixels.color import luma
from npsrcnn.pixels.metrics import psnr
from npsrcnn.pixels.resize import imresize, modcrop
from npsrcnn.pixels.transparency import fill
from npsrcnn.runtime.threads import set_num_threads
from npsrcnn.upscaling import strips
from npsrcnn.upscaling.arrays import upscale

FORWARD = np.array(
    [[65.481, 128.553, 24.966], [-37.797, -74.203, 112.0], [112.0, -93.786, -18.214]]
)
ZERO = np.array([16.0, 128.0, 128.0])


def copying_net(channels=1, color="y"):
    """Gives back what it gets, where that is positive."""
    layers = []
    for size in (3, 1, 3):
        w = np.zeros((channels, channels, size, size), np.float32)
        w[np.arange(channels), np.arange(channels), size // 2, size // 2] = 1
        layers.append((w, np.zeros(channels, np.float32)))
    return SRCNN.from_layers(layers, metadata={"color": color})


def averaging_net(name):
    """Spreads a pixel as far as its filters reach, and stays within the range of the image."""
    net = SRCNN(name, n=(3, 2))
    for w, _ in net.layers:
        w[:] = 1 / w[0].size
    return net


def white(dtype):
    return np.iinfo(dtype).max if np.dtype(dtype).kind == "u" else 1


def soft_image(rng, shape, dtype):
    """Noise, soft enough that nothing overshoots."""
    image = rng.uniform(0.3, 0.7, shape) * white(dtype)
    return image.astype(dtype)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float16, np.float32, np.float64])
@pytest.mark.parametrize("channels", [(), (1,), (2,), (3,), (4,)])
def test_shape_and_type_are_kept(rng, dtype, channels):
    image = soft_image(rng, (9, 11, *channels), dtype)
    result = upscale(image, 3, copying_net())
    assert result.shape == (27, 33, *channels) and result.dtype == dtype
    expected = imresize(image.astype(np.float64), 3)  # linear, so in RGB as in YCbCr
    if channels in ((2,), (4,)):
        np.testing.assert_array_equal(result[..., -1], imresize(image[..., -1], 3))
        result, expected = result[..., :-1], expected[..., :-1]
    # a rounding to integers; or float16's, float32's rounding of sums of some ten terms
    tolerance = {"u": 0.501, "f": 2e-3 if dtype == np.float16 else 2e-6}[np.dtype(dtype).kind]
    np.testing.assert_allclose(result, expected, rtol=0, atol=tolerance + 1e-5 * white(dtype))


def test_y_is_restored_and_cb_cr_are_bicubic(rng):
    image = rng.integers(0, 256, (14, 17, 3), np.uint8)
    net = random_net(scale=None)
    ycbcr = (image @ FORWARD.T / 255 + ZERO) / 255
    large = imresize(ycbcr, 2)
    large[..., 0] = restored_but_flat(net, large[None, ..., 0].astype(np.float32))[0]
    expected = (large * 255 - ZERO) @ np.linalg.inv(FORWARD / 255).T
    expected = np.floor(expected + 0.5).clip(0, 255)
    difference = np.abs(upscale(image, 2, net) - expected)
    assert difference.max() <= 1 and (difference > 0).mean() < 1e-3  # ties, seen in float32


def test_a_grey_image_is_restored_in_the_range_of_y(rng):
    image = rng.integers(0, 256, (14, 17), np.uint8)
    net = random_net(scale=None)
    large = imresize(((16 + 219 / 255 * image) / 255).astype(np.float32), 2)
    restored = (restored_but_flat(net, large[None])[0] * 255 - 16) * (255 / 219)
    expected = np.floor(restored + 0.5).clip(0, 255)
    difference = np.abs(upscale(image, 2, net) - expected)
    assert difference.max() <= 1 and (difference > 0).mean() < 0.01


@pytest.mark.parametrize("color", ["rgb", "ycbcr"])
def test_a_network_of_three_channels_restores_all_of_them(rng, color):
    image = rng.integers(0, 256, (12, 10, 3), np.uint8)
    net = random_net(channels=3, scale=None, color=color)
    planes = image / 255 if color == "rgb" else (image @ FORWARD.T / 255 + ZERO) / 255
    large = imresize(planes, 2).astype(np.float32).transpose(2, 0, 1)
    restored = restored_but_flat(net, large).transpose(1, 2, 0).astype(np.float64) * 255
    if color == "ycbcr":
        restored = (restored - ZERO) @ np.linalg.inv(FORWARD / 255).T
    difference = np.abs(upscale(image, 2, net) - np.floor(restored + 0.5).clip(0, 255))
    assert difference.max() <= 1 and (difference > 0).mean() < 0.01
    grey = soft_image(rng, (12, 10), np.uint8)
    result = upscale(grey, 2, copying_net(3, color))
    difference = np.abs(result - np.floor(imresize(grey.astype(np.float64), 2) + 0.5))
    assert difference.max() <= 1 and (difference > 0).mean() < 0.01


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (5, 1), (2, 3), (4, 4)])
@pytest.mark.parametrize("scale", [2, 3, 4, 2.5])
def test_images_smaller_than_the_filters(rng, size, scale):
    image = rng.integers(0, 256, (*size, 3), np.uint8)
    result = upscale(image, scale, random_net(scale=None))
    assert result.shape == (int(np.ceil(size[0] * scale)), int(np.ceil(size[1] * scale)), 3)
    flat = upscale(np.full(size, 77, np.uint8), scale, copying_net())
    np.testing.assert_array_equal(flat, 77)


@pytest.mark.parametrize("name", ["9-1-5", "9-3-5", "7-3-5"])
@pytest.mark.parametrize("shape", [(90, 70), (90, 70, 3), (90, 70, 4)])
def test_strips_do_not_show(rng, monkeypatch, name, shape):
    image = rng.uniform(0, 1, shape).astype(np.float32)
    net = random_net(name, scale=None)
    whole = upscale(image, 3, net)
    monkeypatch.setattr(strips, "STRIP", 1)  # 64 rows, the least
    np.testing.assert_allclose(upscale(image, 3, net), whole, rtol=0, atol=1e-5)


def test_threads_change_no_bit(rng):
    image = rng.integers(0, 256, (80, 90, 4), np.uint8)
    image[:20, :30, 3] = 0
    results = []
    for threads in (1, 2, 3):
        set_num_threads(threads)
        results.append(upscale(image, 2, random_net(scale=None)))
    np.testing.assert_array_equal(results[0], results[1])
    np.testing.assert_array_equal(results[0], results[2])


def test_integers_do_not_wrap_around_and_floats_are_not_limited():
    image = np.zeros((12, 12), np.uint8)
    image[:, 6:] = 255
    result = upscale(image, 3, copying_net())
    assert (result[:, :15] < 20).all() and (result[:, -15:] > 235).all()
    result = upscale((image / 255).astype(np.float32), 3, copying_net())
    assert result.max() > 1.01


def test_the_image_is_left_alone(rng):
    image = rng.integers(0, 256, (12, 13, 4), np.uint8)
    image[3:6, :, 3] = 0
    before = image.copy()
    upscale(image, 2, random_net(scale=None))
    np.testing.assert_array_equal(image, before)


def test_any_memory_layout(rng):
    image = rng.integers(0, 256, (12, 14, 3), np.uint8)
    expected = upscale(image, 2, random_net(scale=None))
    for same in (np.asfortranarray(image), image[::-1][::-1], np.repeat(image, 2, 1)[:, ::2]):
        np.testing.assert_array_equal(upscale(same, 2, random_net(scale=None)), expected)


def test_it_beats_bicubic_with_the_authors_weights(data_folder):
    net = npsrcnn.load(data_folder / "authors" / "9-1-5_91-images_x3.mat")
    truth = modcrop(images.read_array(data_folder / "Set5" / "butterfly_GT.bmp"), 3)
    small = imresize(truth, 1 / 3)
    gain = psnr(luma(upscale(small, 3, net)), luma(truth), 255)
    gain -= psnr(luma(imresize(small, 3)), luma(truth), 255)
    assert gain > 3  # 27.6 dB and 24.0: the paper's Figure 1, but from 8-bit colour


# Transparency


def naive_fill(pixels, alpha, reach):
    color, weight = pixels.astype(float), alpha / white(alpha.dtype)
    for _ in range(reach):
        new_color, new_weight = color.copy(), weight.copy()
        for y, x in zip(*np.nonzero(weight == 0), strict=True):
            around = np.s_[max(0, y - 1) : y + 2, max(0, x - 1) : x + 2]
            w, c = weight[around], color[around]
            if w.any():
                new_weight[y, x] = w.sum() / 8
                new_color[y, x] = (w.reshape(*w.shape, *[1] * (c.ndim - 2)) * c).sum(
                    (0, 1)
                ) / w.sum()
        color, weight = new_color, new_weight
    return color


@pytest.mark.parametrize("channels", [(), (3,)])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_fill_continues_visible_colours(rng, channels, dtype):
    pixels = soft_image(rng, (23, 31, *channels), dtype)
    alpha = soft_image(rng, (23, 31), dtype)
    alpha[rng.random(alpha.shape) < 0.6] = 0
    alpha[:9, :12] = 0
    result = fill(pixels, alpha, 4)
    expected = naive_fill(pixels, alpha, 4)
    assert result.dtype == dtype
    tolerance = 0.51 if np.dtype(dtype).kind == "u" else 1e-5  # rounding; float32 sums
    np.testing.assert_allclose(result, expected, rtol=1e-6, atol=tolerance)
    np.testing.assert_array_equal(result[alpha > 0], pixels[alpha > 0])


def test_fill_leaves_what_nobody_can_fill(rng):
    pixels = rng.integers(0, 256, (6, 6, 3), np.uint8)
    for alpha in (np.zeros((6, 6), np.uint8), np.full((6, 6), 9, np.uint8)):
        assert fill(pixels, alpha, 3) is pixels


@pytest.mark.parametrize("name", ["9-1-5", "9-5-5"])
def test_hidden_colour_does_not_show(rng, name):
    net = averaging_net(name)
    image = np.zeros((30, 30, 4), np.uint8)
    image[..., :3] = rng.integers(100, 150, (30, 30, 3))
    image[8:20, 5:21, 3] = 255
    image[12:15, 20:24, 3] = 100
    hidden = image[..., 3] == 0
    other = image.copy()
    other[hidden] = (0, 255, 0, 0)
    first, second = upscale(image, 3, net), upscale(other, 3, net)
    np.testing.assert_array_equal(first[..., 3], second[..., 3])
    visible = first[..., 3] > 0
    np.testing.assert_array_equal(first[visible], second[visible])
    assert visible.sum() > 9 * 12 * 16


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_alpha_stays_in_its_range(rng, dtype):
    image = np.zeros((20, 20, 2), dtype)
    image[..., 1] = white(dtype)
    np.testing.assert_allclose(upscale(image, 2, copying_net())[..., 1], white(dtype), rtol=1e-6)
    image[5:, :, 1] = 0
    alpha = upscale(image, 2, copying_net())[..., 1]
    assert alpha.min() == 0 and alpha.max() == white(dtype)


# What is refused


def test_a_scale_that_the_model_was_not_trained_for(rng):
    image = np.zeros((4, 4), np.uint8)
    net = random_net(scale=2)
    assert upscale(image, None, net).shape == (8, 8)
    with pytest.raises(
        UserError, match="trained for scale 2, not 3: use scale 2, or a model for 3"
    ):
        upscale(image, 3, net)
    with pytest.raises(UserError, match="does not say for which scale"):
        upscale(image, None, random_net(scale=None))
    with pytest.raises(UserError, match="neither a scale nor a model"):
        upscale(image)
    for scale in (0.5, -2, float("inf"), float("nan")):
        with pytest.raises(UserError, match="at least 1"):
            upscale(image, scale, random_net(scale=None))


def test_without_weights_it_says_how_to_get_them(tmp_path, monkeypatch):
    monkeypatch.setattr(shipped, "FOLDER", tmp_path)
    with pytest.raises(UserError, match=r"no weights for x3 ship.*npsrcnn train"):
        upscale(np.zeros((4, 4), np.uint8), 3)


@pytest.mark.parametrize("shape", [(4,), (4, 4, 5), (0, 4), (2, 4, 4, 3), (4, 4, 0)])
def test_what_is_no_image_is_refused(shape):
    with pytest.raises(ValueError, match="expected an image"):
        upscale(np.zeros(shape, np.uint8), 2, random_net(scale=None))


@pytest.mark.parametrize("dtype", [bool, np.int32, np.int64, complex, object])
def test_what_is_no_image_type_is_refused(dtype):
    with pytest.raises(TypeError, match="use uint8, uint16 or a float type"):
        upscale(np.zeros((4, 4), dtype), 2, random_net(scale=None))


@pytest.mark.parametrize(
    ("image", "way"),
    [
        (np.zeros((4, 4), bool), r"such as image \* np.uint8\(255\)"),
        (np.zeros((4, 4), ">i4"), r"such as image.astype\(np.uint8\) where white is 255"),
        ([[1, 2], [3, 4]], r"such as image.astype\(np.uint8\) where white is 255"),
        (np.zeros((4, 4), "U1"), "0..1$"),
    ],
)
def test_what_to_do_with_another_type(image, way):
    with pytest.raises(TypeError, match=way):
        upscale(image, 2, random_net(scale=None))


@pytest.mark.parametrize("shape", [(9, 11), (9, 11, 2), (9, 11, 3), (9, 11, 4)])
@pytest.mark.parametrize("dtype", [np.uint16, np.float16, np.float32, np.float64])
def test_the_other_byte_order_changes_nothing(rng, dtype, shape):
    image = soft_image(rng, shape, dtype)
    swapped = image.astype(image.dtype.newbyteorder())
    net = random_net(scale=2)
    result = upscale(swapped, 2, net)
    assert result.dtype == dtype
    np.testing.assert_array_equal(result, upscale(image, 2, net))


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_a_mask_is_not_lost_without_a_word(rng, dtype):
    image = np.ma.masked_array(soft_image(rng, (9, 11), dtype), mask=np.zeros((9, 11), bool))
    image[2:4, 5:7] = np.ma.masked
    net = random_net(scale=2)
    with pytest.raises(TypeError, match=r"lose its mask: .*\(image / 255\)\.filled\(np\.nan\)"):
        upscale(image, 2, net)
    result = upscale((image / white(dtype)).filled(np.nan), 2, net)
    np.testing.assert_array_equal(np.isnan(result), image.mask.repeat(2, 0).repeat(2, 1))


@pytest.mark.parametrize(("alpha", "named"), [(255, "255"), (-2, "-2"), (1.6, "1.6")])
def test_alpha_of_another_range_is_refused(rng, alpha, named):
    image = soft_image(rng, (9, 11, 4), np.float32)
    image[4, 4, 3] = alpha
    with pytest.raises(UserError, match=rf"alpha of {named}, and of floats 0 is transparent"):
        upscale(image, 2, random_net(scale=2))


def test_alpha_that_resampling_made_is_limited(rng):
    image = soft_image(rng, (9, 11, 2), np.float32)
    image[..., 1] = 1.05
    image[4:, :, 1] = np.nan
    result = upscale(image, 2, random_net(scale=2))
    assert result[..., 1].min() == 0 and result[..., 1].max() == 1


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_not_finite_is_refused(value):
    image = np.full((4, 4), value, np.float32)
    with pytest.raises(UserError, match="not finite"):
        upscale(image, 2, random_net(scale=None))


@pytest.mark.parametrize("scale", ["2", True, b"2"])
def test_a_scale_that_is_no_number(scale):
    with pytest.raises(TypeError, match="expected a number, as in 3"):
        upscale(np.zeros((4, 4), np.uint8), scale)
