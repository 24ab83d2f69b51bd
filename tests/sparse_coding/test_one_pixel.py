"""One pixel by sparse coding: that of the whole image, and that of the network."""

from __future__ import annotations

import numpy as np
import pytest

from npsrcnn.errors import UserError
from npsrcnn.sparse_coding import as_srcnn, ista, super_resolve
from npsrcnn.sparse_coding.dictionaries import dct, unit
from npsrcnn.sparse_coding.one_pixel import code_pixel


@pytest.fixture
def pair(rng):
    return unit(rng.standard_normal((25, 12))), 0.1 * rng.standard_normal((9, 12))


@pytest.mark.parametrize("place", [(0, 0), (3, 29), (17, 12), (23, 31)])
def test_a_pixel_is_that_of_the_whole_image_twice(pair, rng, place):
    d_low, d_high = pair
    image = rng.uniform(0, 1, (24, 32))
    coded = code_pixel(image, d_low, d_high, 0.05, *place)
    assert coded.restored == pytest.approx(
        super_resolve(image, d_low, d_high, 0.05)[place], abs=1e-12
    )
    net = as_srcnn(d_low, d_high, 0.05, device="reference")
    assert coded.network == pytest.approx(net.forward(image)[place], abs=1e-12)
    assert coded.network == pytest.approx(coded.restored, abs=1e-9)


def test_patch_code_and_reconstruction_belong_together(pair, rng):
    d_low, d_high = pair
    image = rng.uniform(0, 1, (24, 32))
    coded = code_pixel(image, d_low, d_high, 0.02, 9, 11, steps=7)
    np.testing.assert_allclose(coded.patch + coded.mean, image[7:12, 9:14], atol=1e-12)
    assert (coded.code >= 0).all() and (coded.code > 0).any()
    code = ista(d_low, coded.patch.reshape(1, 25), 0.02, 7, signed=False)[0]
    np.testing.assert_allclose(coded.code, code, atol=1e-12)
    np.testing.assert_allclose(coded.reconstruction.ravel(), d_low @ code, atol=1e-12)
    np.testing.assert_allclose(coded.detail.ravel(), d_high @ code, atol=1e-12)


def test_a_larger_lambda_leaves_fewer_atoms(rng):
    image = rng.uniform(0, 1, (24, 32))
    d = dct(5)[:, 1:]
    d = np.concatenate([d, -d], axis=1)
    used = [
        (code_pixel(image, d, np.zeros((9, 48)), lam, 9, 11, steps=20).code > 0).sum()
        for lam in (0.0, 0.1, 0.4, 9.0)
    ]
    assert used[0] > used[1] > used[2] > used[3] == 0


def test_no_such_pixel(pair):
    with pytest.raises(UserError, match="no pixel"):
        code_pixel(np.zeros((24, 32)), *pair, 0.1, 24, 0)
