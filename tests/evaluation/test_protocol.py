"""The protocol, step by step."""

from __future__ import annotations

import math

import numpy as np
import pytest
from networks import (
    waves,
)

from npsrcnn.errors import UserError
from npsrcnn.evaluation.protocol import VELOCITY, EvaluationImage, rounded
from npsrcnn.evaluation.scores import score
from npsrcnn.pixels.color import luma, rgb2ycbcr
from npsrcnn.pixels.filming import Shot, film
from npsrcnn.pixels.jpeg import compress
from npsrcnn.pixels.metrics import psnr, psnr_b, shave, ssim
from npsrcnn.pixels.resize import degrade, imresize, modcrop


@pytest.fixture
def picture(rng):
    return waves(rng)


@pytest.mark.parametrize("scale", [2, 3, 5])
def test_an_image_is_made_by_the_protocol_step_by_step(scale, picture):
    image = EvaluationImage.from_array(picture, scale, name="a.png")
    truth = modcrop(luma(picture), scale)
    blurred = degrade(truth / 255, scale)
    np.testing.assert_array_equal(image.truth, truth)
    np.testing.assert_array_equal(image.low, imresize(truth / 255, 1 / scale))
    np.testing.assert_array_equal(image.bicubic, blurred)
    np.testing.assert_array_equal(image.bicubic_ycbcr[..., 0], blurred)
    np.testing.assert_allclose(
        image.bicubic_ycbcr, degrade(modcrop(rgb2ycbcr(picture), scale) / 255, scale), atol=1e-12
    )
    np.testing.assert_array_equal(image.bicubic_rgb, degrade(modcrop(picture, scale) / 255, scale))
    eight_bits = np.floor(blurred * 255 + 0.5).clip(0, 255)
    a, b = shave(eight_bits, scale), shave(truth, scale).astype(float)
    row = score(image, image.bicubic)
    assert row["psnr"] == row["psnr_bicubic"] == pytest.approx(psnr(a, b, 255), abs=1e-12)
    assert row["ssim"] == row["ssim_bicubic"] == pytest.approx(ssim(a, b, 255), abs=1e-12)


def test_images_of_8_16_and_32_bits_are_alike(picture):
    image = EvaluationImage.from_array(picture, 3)
    deep = picture.astype(np.uint16) * 257
    swapped = deep.astype(deep.dtype.newbyteorder())
    for same in (deep, swapped, picture / 255, (picture / 255).astype("f4")):
        np.testing.assert_array_equal(EvaluationImage.from_array(same, 3).picture, image.picture)


@pytest.mark.parametrize(("shape", "least"), [((16, 40), 18), ((40, 17), 18), ((1, 1), 18)])
def test_images_too_small_are_refused(shape, least):
    with pytest.raises(UserError, match=f"x3; it takes {least} on each side"):
        EvaluationImage.from_array(np.zeros(shape, np.uint8), 3, name="small.png")
    image = EvaluationImage.from_array(np.zeros((least, least), np.uint8), 3)
    assert math.isinf(score(image, image.bicubic)["psnr"])


@pytest.mark.parametrize("grey", [False, True])
@pytest.mark.parametrize("scale", [1, 2, 3])
def test_the_small_image_goes_through_jpeg(scale, grey, picture):
    picture = picture[..., 0] if grey else picture
    image = EvaluationImage.from_array(picture, scale, jpeg=30)
    small = modcrop(picture, scale)
    if scale > 1:
        small = np.floor(imresize(small / 255, 1 / scale) * 255 + 0.5).clip(0, 255).astype(np.uint8)
    decoded = compress(small, 30) / 255
    low = luma(decoded)
    np.testing.assert_array_equal(image.low, low)
    np.testing.assert_array_equal(image.truth, luma(modcrop(picture, scale)))
    color = np.stack([decoded] * 3, axis=2) if grey else decoded
    chroma = rgb2ycbcr(color)[..., 1:]
    for mine, expected in (
        (image.bicubic, low),
        (image.bicubic_ycbcr[..., 0], low),
        (image.bicubic_ycbcr[..., 1:], chroma),
        (image.bicubic_rgb, color),
    ):
        expected = expected if scale == 1 else imresize(expected, scale)
        np.testing.assert_allclose(mine, expected, atol=1e-12)
    row = score(image, image.bicubic)
    assert row["jpeg"] == 30
    assert row["psnr"] == row["psnr_jpeg" if scale == 1 else "psnr_bicubic"]


def test_at_scale_1_the_whole_picture_is_measured(picture):
    """Of any size, and its corner counts."""
    image = EvaluationImage.from_array(picture, 1, jpeg=50)
    y = image.bicubic.copy()
    y[0, 0] += 0.5
    row, truth = score(image, y), luma(picture)
    before, after = rounded(image.bicubic), rounded(y)
    np.testing.assert_array_equal(before, luma(compress(picture, 50)))
    for metric in (psnr, ssim, psnr_b):
        name = metric.__name__
        assert row[f"{name}_jpeg"] == metric(before, truth, 255)
        assert row[name] == metric(after, truth, 255) < row[f"{name}_jpeg"]
    assert EvaluationImage.from_array(picture[:11, :11], 1, jpeg=50).low.shape == (11, 11)


def test_the_small_image_is_filmed(picture):
    pytest.importorskip("av", reason="needs the extra video")
    losses = []
    for crf in (18, 34):
        image = EvaluationImage.from_array(picture, 2, crf=crf)
        frame = film(luma(modcrop(picture, 2)) / 255, 2, Shot("libx264", crf, VELOCITY, 3))
        np.testing.assert_array_equal(image.low, frame / 255)
        np.testing.assert_allclose(image.bicubic, imresize(frame / 255, 2), atol=1e-12)
        row = score(image, image.bicubic)
        assert row["crf"] == crf and row["psnr"] == row["psnr_bicubic"]
        losses.append(row["psnr"])
        clean = EvaluationImage.from_array(picture, 2)
        np.testing.assert_array_equal(image.bicubic_ycbcr[..., 1:], clean.bicubic_ycbcr[..., 1:])
    assert clean.psnr_bicubic > losses[0] > losses[1] + 0.5
    for wrong, how in (({"crf": 52}, "CRF 52"), ({"crf": 27, "jpeg": 50}, "--jpeg or --crf")):
        with pytest.raises(UserError, match=how):
            EvaluationImage.from_array(picture, 2, **wrong)


@pytest.mark.parametrize("jpeg", [0, -1, 101])
def test_a_quality_out_of_range_is_refused(jpeg, picture):
    with pytest.raises(UserError, match=f"JPEG quality {jpeg}: expected a whole number from 1"):
        EvaluationImage.from_array(picture, 2, jpeg=jpeg)


def test_scale_1_without_jpeg_is_refused(picture):
    with pytest.raises(UserError, match="scale 1 needs --jpeg"):
        EvaluationImage.from_array(picture, 1)
