"""The protocol, step by step."""

from __future__ import annotations

import math

import numpy as np
import pytest
from networks import (
    waves,
)

from npsrcnn.errors import UserError
from npsrcnn.evaluation.protocol import EvaluationImage
from npsrcnn.evaluation.scores import score
from npsrcnn.pixels.color import luma, rgb2ycbcr
from npsrcnn.pixels.metrics import psnr, shave, ssim
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
    for same in (picture.astype(np.uint16) * 257, picture / 255, (picture / 255).astype("f4")):
        np.testing.assert_array_equal(EvaluationImage.from_array(same, 3).picture, image.picture)


@pytest.mark.parametrize(("shape", "least"), [((16, 40), 18), ((40, 17), 18), ((1, 1), 18)])
def test_images_too_small_are_refused(shape, least):
    with pytest.raises(UserError, match=f"x3; it takes {least} on each side"):
        EvaluationImage.from_array(np.zeros(shape, np.uint8), 3, name="small.png")
    image = EvaluationImage.from_array(np.zeros((least, least), np.uint8), 3)
    assert math.isinf(score(image, image.bicubic)["psnr"])
