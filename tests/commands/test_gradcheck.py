"""The command that checks gradients: its table, and what it finds."""

from __future__ import annotations

import numpy as np
import pytest

from npsrcnn.commands import gradcheck
from npsrcnn.kernels import cpu, reference
from npsrcnn.model import gradients


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


def test_the_command_prints_a_table_and_says_what_is_wrong(capsys, monkeypatch):
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
