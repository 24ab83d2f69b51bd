"""The command that lists the weights that ship."""

from __future__ import annotations

import json

from npsrcnn.commands.models import main as models_main


def test_models_command(weights, capsys):
    assert models_main([]) == 0
    assert "9-1-5-x3-rgb" in capsys.readouterr().out
    assert models_main(["9-5-5-x3"]) == 0
    assert json.loads(capsys.readouterr().out)["psnr_validation"] == 28.6
    assert models_main(["9-9-9"]) == 1
    assert "no model '9-9-9'" in capsys.readouterr().err
