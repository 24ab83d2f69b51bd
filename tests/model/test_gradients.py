"""The gradients of whole networks in float64, checked in three ways."""

from __future__ import annotations

import numpy as np
import pytest

from npsrcnn.model import gradients

NETWORKS = [  # name, channels, filters, (N, H, W) of the labels
    ("9-1-5", 1, (4, 3), (2, 3, 5)),
    ("3-5-5", 3, (3, 2), (2, 4, 2)),
    ("3-3-1-5", 1, (3, 2, 5), (3, 1, 3)),
]


@pytest.fixture(params=NETWORKS, ids=lambda case: case[0])
def rows(request):
    name, channels, n, shape = request.param
    return gradients.check(*gradients.random_problem(name, channels, n, shape, seed=7))


def test_every_gradient_is_right(rows):
    assert [row for row in rows if not row.right] == []


def test_no_check_is_left_out(rows):
    for row in rows:
        expected = {gradients.IDENTITY, gradients.KERNELS}
        if row.gradient != "dx":
            expected |= {gradients.DIFFERENCES, gradients.FUSED}
        assert set(row.errors) == expected
    assert [(row.layer, row.gradient) for row in rows] == [
        (layer, gradient)
        for layer in range(1, rows[-1].layer + 1)
        for gradient in ("dx", "dw", "db")
    ]


def test_relus_are_on_and_off_in_what_is_checked():
    layers, inputs, labels = gradients.random_problem("9-1-5", 1, (4, 3), (2, 3, 5), seed=7)
    _, switches = gradients.loss_and_switches(layers, inputs, labels)
    for switch in switches:
        assert 0.1 < switch.mean() < 0.9


def test_differences_restore_what_they_move():
    layers, inputs, labels = gradients.random_problem("3-1", 1, (2,), (2, 3, 4), seed=3)
    before = [array.copy() for layer in layers for array in layer]
    gradients.differences(layers, layers[0][0], inputs, labels)
    for array, old in zip((a for layer in layers for a in layer), before, strict=True):
        np.testing.assert_array_equal(array, old)
