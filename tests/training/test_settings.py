"""Settings of a run: from options, through a checkpoint, to the command that repeats it."""

from __future__ import annotations

import json
import shlex

import pytest

from npsrcnn.commands.train import make_parser
from npsrcnn.errors import UsageError
from npsrcnn.training.settings import Length, RunSettings, given_settings

OPTIONS = {
    "a network": ["--network", "9-5-5", "--scale", "2", "--channels", "rgb", "--seed", "3"],
    "data": ["--data", "t91", "here/a*.png", "--eval", "set5", "--hold-out", "2"],
    "a recipe": ["--recipe", "paper", "--lr", "0.5", "--clip", "2", "--no-orientations"],
    "numbers": ["--rescale", "0.9,0.5", "--lr-factors", "1,1,0.5", "--average", "0"],
    "compressed": ["--scale", "1", "--jpeg", "60-80", "--maps", "32,16"],
    "filmed": ["--scale", "2", "--crf", "20-32"],
    "one quality": ["--jpeg", "75"],
    "a start": ["--init", "9-1-5-x3", "--revive-dead", "--orientations"],
}


def settings_of(words):
    return RunSettings(**given_settings(vars(make_parser().parse_args(words))))


@pytest.mark.parametrize("words", OPTIONS.values(), ids=list(OPTIONS))
def test_a_checkpoint_keeps_them(words):
    settings = settings_of(words)
    assert RunSettings.from_json(json.loads(json.dumps(settings.to_json()))) == settings
    assert settings != RunSettings()


@pytest.mark.parametrize("words", [words for name, words in OPTIONS.items() if name != "data"])
def test_the_command_repeats_the_run(words):
    settings = settings_of(words)
    command = shlex.split(settings.command(Length(epochs=2)))
    assert command[:3] == ["python", "-m", "npsrcnn.train"] and command[-2:] == ["--epochs", "2"]
    assert settings_of(command[3:]) == settings


def test_the_command_names_data_without_its_place():
    assert [str(Length(minutes=m)) for m in (1, 2.5)] == ["1 minute", "2.5 minutes"]
    command = settings_of(OPTIONS["data"]).command(Length(minutes=2.5))
    assert command == (
        "python -m npsrcnn.train --data t91 'here/a*.png' --eval set5 --hold-out 2 --minutes 2.5"
    )


def test_what_differs_is_named_as_it_was_typed():
    words = ["--lr", "2", "--no-orientations", "--hold-out", "3", "--revive-dead", "--seed", "0"]
    given = given_settings(vars(make_parser().parse_args(words)))
    found = RunSettings(orientations=True).differences(given, {})
    assert sorted(found) == ["--hold-out", "--lr", "--no-orientations", "--revive-dead"]


def test_checkpoints_of_earlier_versions_are_read():
    old = {
        "data": ["dead-leaves"], "scale": 2, "network": "9-1-5", "renew": True, "eval": None,
        "rescale": [0.5], "lr_factors": [1.0, 1.0, 0.5], "init": "9-1-5-x3",
    }  # fmt: skip
    assert RunSettings.from_json(old) == RunSettings(
        scale=2, revive_dead=True, rescale=(0.5,), lr_factors=(1.0, 1.0, 0.5), init="9-1-5-x3"
    )


def test_a_run_at_scale_1_needs_compressed_pictures():
    with pytest.raises(UsageError, match="--scale 1 enlarges nothing: give --jpeg"):
        RunSettings(scale=1)
    assert settings_of(["--scale", "1", "--jpeg", "60-80"]).jpeg == (60, 80)
    for other in (["--jpeg", "75"], ["--channels", "rgb"]):
        with pytest.raises(UsageError, match="--crf films in Y"):
            settings_of(["--crf", "27", *other])
    assert settings_of(["--jpeg", "75"]).command(Length(1)).endswith("--jpeg 75 --epochs 1")


def test_differences_are_named_as_options():
    settings = settings_of(OPTIONS["a recipe"])
    given = given_settings(vars(make_parser().parse_args(["--lr", "0.5", "--clip", "2"])))
    assert settings.differences(given, {}) == []
    given = given_settings(vars(make_parser().parse_args(["--lr", "1", "--hold-out", "1"])))
    assert settings.differences(given, {}) == ["--hold-out", "--lr"]
