"""PSNR, PSNR-B and SSIM by hand, by loops, and as published."""

from __future__ import annotations

import math

import numpy as np
import pytest

from npsrcnn.images import list_images, read_array
from npsrcnn.pixels.color import luma
from npsrcnn.pixels.metrics import psnr, psnr_b, shave, ssim
from npsrcnn.pixels.resize import degrade, modcrop

# Mean PSNR and SSIM of bicubic interpolation, as in the tables of the paper and of its successors
PUBLISHED = [
    ("Set5", 2, 33.662, 0.9299),
    ("Set5", 3, 30.394, 0.8682),
    ("Set5", 4, 28.422, 0.8104),
    ("Set14", 2, 30.233, 0.8687),
    ("Set14", 3, 27.543, 0.7736),
    ("Set14", 4, 26.003, 0.7019),
]


@pytest.mark.parametrize(("folder", "scale", "decibels", "similarity"), PUBLISHED)
def test_bicubic_interpolation_scores_as_published(
    data_folder, folder, scale, decibels, similarity
):
    scores = []
    for path in list_images(data_folder / folder):
        truth = modcrop(luma(read_array(path)), scale)
        blurred = np.floor(degrade(truth / 255, scale) * 255 + 0.5).clip(0, 255)
        a, b = shave(truth, scale), shave(blurred, scale)
        scores.append((psnr(a, b, 255), ssim(a, b, 255)))
    mean = np.mean(scores, axis=0)
    assert mean[0] == pytest.approx(decibels, abs=0.005)
    assert mean[1] == pytest.approx(similarity, abs=0.0002)


def test_psnr_by_hand():
    a = np.array([[10, 20], [30, 40]], np.uint8)
    b = np.array([[13, 20], [26, 40]], np.uint8)  # squared errors 9, 0, 16, 0
    assert psnr(a, b, 255) == pytest.approx(10 * math.log10(255**2 / 6.25))
    assert psnr(b, a, 255) == psnr(a, b, 255)  # unsigned integers do not wrap around
    assert psnr(a / 255, b / 255, 1) == pytest.approx(psnr(a, b, 255))
    assert psnr(a, a, 255) == math.inf


def test_psnr_b_by_hand():
    truth = np.full((8, 16), 100, np.uint8)
    image = truth.copy()
    image[:, 8:] = 106  # eight pairs with a difference of 6 are all that an edge of blocks parts
    image[0, 0] = 102  # two pairs inside with a difference of 2
    pairs_inside = 8 * 14 + 7 * 16
    error = (64 * 36 + 4) / 128
    blocking = math.log2(8) / math.log2(8) * (36 - 2 * 4 / pairs_inside)
    assert psnr_b(image, truth, 255) == pytest.approx(10 * math.log10(255**2 / (error + blocking)))
    assert psnr_b(image / 255, truth / 255, 1) == pytest.approx(psnr_b(image, truth, 255))
    tall = np.ascontiguousarray(image.T), truth.T
    assert psnr_b(*tall, 255) == pytest.approx(psnr_b(image, truth, 255))
    assert psnr_b(truth, image, 255) == pytest.approx(psnr(truth, image, 255))  # no blocks to see


def test_psnr_b_weighs_blocks_by_the_shorter_side():
    truth = np.zeros((16, 32))
    image = np.repeat(np.repeat([[0.0, 3, 0, 3], [3, 0, 3, 0]], 8, axis=0), 8, axis=1)
    expected = 9 / 2 + math.log2(8) / math.log2(16) * 9
    assert psnr_b(image, truth, 255) == pytest.approx(10 * math.log10(255**2 / expected))


def test_psnr_b_is_psnr_where_no_blocks_are_to_be_seen(rng):
    ramp = np.add.outer(3.0 * np.arange(24), 2.0 * np.arange(40))
    noisy = rng.uniform(0, 255, (24, 40))
    shifted = np.full((24, 40), 7.0)
    shifted[:, 12:] = 20  # an edge, but inside of blocks
    for image in (ramp, shifted, noisy[:7, :8]):
        truth = rng.uniform(0, 255, image.shape)
        assert psnr_b(image, truth, 255) == psnr(image, truth, 255)
    assert psnr_b(ramp, ramp, 255) == math.inf


@pytest.mark.parametrize("shape", [(1, 12), (12, 12, 3)])
def test_psnr_b_needs_neighbours_and_one_channel(shape):
    with pytest.raises(ValueError, match="at least 2 x 2"):
        psnr_b(np.zeros(shape), np.zeros(shape), 1)


def naive_ssim(a, b, peak):
    """Equation 13 of Wang et al. 2004, window by window."""
    y, x = np.mgrid[-5:6, -5:6]
    w = np.exp(-(x**2 + y**2) / (2 * 1.5**2))
    w /= w.sum()
    c1, c2 = (0.01 * peak) ** 2, (0.03 * peak) ** 2
    values = []
    for i in range(a.shape[0] - 10):
        for j in range(a.shape[1] - 10):
            p, q = a[i : i + 11, j : j + 11], b[i : i + 11, j : j + 11]
            mp, mq = (w * p).sum(), (w * q).sum()
            vp, vq = (w * (p - mp) ** 2).sum(), (w * (q - mq) ** 2).sum()
            cov = (w * (p - mp) * (q - mq)).sum()
            values.append(
                (2 * mp * mq + c1) * (2 * cov + c2) / ((mp**2 + mq**2 + c1) * (vp + vq + c2))
            )
    return np.mean(values)


@pytest.mark.parametrize("shape", [(11, 11), (14, 23), (31, 12)])
def test_ssim_window_by_window(rng, shape):
    a = rng.uniform(0, 255, shape)
    b = (a + 30 * rng.standard_normal(shape)).clip(0, 255)
    expected = naive_ssim(a, b, 255)
    # variances come as differences of squares up to 255^2: ten digits are left of sixteen
    assert ssim(a, b, 255) == pytest.approx(expected, abs=1e-10)
    assert ssim(a / 255, b / 255, 1) == pytest.approx(expected, abs=1e-10)
    assert ssim(a, a, 255) == pytest.approx(1, abs=1e-12)
    assert -1 <= ssim(a, 255 - a, 255) < 0


def test_ssim_takes_integers(rng):
    a, b = rng.integers(0, 256, (2, 20, 20), np.uint8)
    assert ssim(a, b, 255) == ssim(a.astype(float), b.astype(float), 255)


def test_shave(rng):
    image = rng.standard_normal((9, 8, 3))
    np.testing.assert_array_equal(shave(image, 2), image[2:7, 2:6])
    assert shave(image, 0).shape == image.shape
    for border in (4, -1):
        with pytest.raises(ValueError, match="cannot shave"):
            shave(image, border)


@pytest.mark.parametrize("metric", [psnr, psnr_b, ssim])
def test_what_cannot_be_compared_is_refused(metric):
    a = np.zeros((12, 12))
    with pytest.raises(ValueError, match="cannot compare"):
        metric(a, np.zeros((12, 13)), 1)
    for peak in (0, -1, math.inf, math.nan):
        with pytest.raises(ValueError, match="data_range"):
            metric(a, a, peak)


@pytest.mark.parametrize("shape", [(10, 12), (12, 12, 3)])
def test_ssim_needs_a_window_and_one_channel(shape):
    with pytest.raises(ValueError, match="at least 11 x 11"):
        ssim(np.zeros(shape), np.zeros(shape), 1)
