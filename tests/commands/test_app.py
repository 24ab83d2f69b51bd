"""`npsrcnn app`: who can reach it."""

from __future__ import annotations

import sys

import pytest

from npsrcnn.commands import app


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.0.7", "my.machine"])
def test_others_need_a_password(host, capsys):
    assert app.main(["--host", host, "--no-browser"]) == 2
    err = capsys.readouterr().err
    assert f"--host {host}: " in err and "give them a --password" in err and err.count("\n") == 1


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2", "::1", "localhost"])
def test_this_machine_needs_none(host):
    assert app._reached_by(host) == ""


def test_who_can_reach_it():
    assert app._reached_by("0.0.0.0") == "every machine that reaches this one"
    assert app._reached_by("10.1.2.3") == "every machine that reaches 10.1.2.3"


@pytest.mark.parametrize("port", ["0", "65536", "x"])
def test_a_port(port, capsys):
    assert app.main(["--port", port]) == 2
    assert "--port" in capsys.readouterr().err


def test_without_gradio(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "npsrcnn.app.server", None)
    for name in [name for name in sys.modules if name.split(".")[0] == "gradio"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delitem(sys.modules, "npsrcnn.app.server")
    monkeypatch.setitem(sys.modules, "gradio", None)
    assert app.main(["--no-browser"]) == 1
    assert 'pip install "npsrcnn[app]"' in capsys.readouterr().err
