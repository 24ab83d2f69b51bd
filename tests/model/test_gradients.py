"""The gradients of whole networks in float64, checked in three ways."""

from __future__ import annotations

import numpy as np
import pytest

from npsrcnn.commands import gradcheck
from npsrcnn.kernels import cpu, reference
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


def _break(monkeypatch, module, change):
    right = module.conv2d_grads
    monkeypatch.setattr(module, "conv2d_grads", lambda x, w, dy: change(*right(x, w, dy)))


FAULTS = {
    "filters not flipped": lambda dx, dw, db: (dx[:, :, ::-1, ::-1].copy(), dw, db),
    "gradient of the weights flipped": lambda dx, dw, db: (dx, dw[..., ::-1].copy(), db),
    "rows and columns exchanged": lambda dx, dw, db: (dx, dw.swapaxes(2, 3).copy(), db),
    "bias forgotten": lambda dx, dw, db: (dx, dw, np.zeros_like(db)),
    "one part in a thousand": lambda dx, dw, db: (dx, dw * 1.001, db),
}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("both", [False, True], ids=["cpu", "both"])
def test_a_wrong_gradient_is_found_even_if_both_kernel_sets_have_it(monkeypatch, fault, both):
    _break(monkeypatch, cpu, FAULTS[fault])
    if both:
        _break(monkeypatch, reference, FAULTS[fault])
    rows = gradients.check(*gradients.random_problem("3-3", 1, (2,), (2, 3, 4), seed=7))
    lines = []
    assert not gradcheck.report(rows, lines.append)
    assert lines[-1].startswith("WRONG: ")


def test_the_command_prints_a_table_and_its_verdict(capsys, monkeypatch):
    assert gradcheck.main(["--network", "3-1-3", "--filters", "2"]) == 0
    out = capsys.readouterr().out
    assert "All 9 gradients are right." in out
    assert len([line for line in out.splitlines() if line.endswith("right")]) == 9
    _break(monkeypatch, cpu, FAULTS["filters not flipped"])
    assert gradcheck.main(["--network", "3-1-3", "--filters", "2"]) == 1
    assert "WRONG: dx of layer 1" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("argv", "code", "message"),
    [
        (["--network", "9x1"], 1, "no network '9x1'"),
        (["--seed", "-1"], 2, "--seed"),
        (["--filters", "0"], 2, "at least 1"),
    ],
)
def test_bad_options_get_one_line(capsys, argv, code, message):
    assert gradcheck.main(argv) == code
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
