"""The super-resolvers by patches: their equations, their figures, what is kept of them."""

from __future__ import annotations

import json

import numpy as np
import pytest

from npsrcnn import datasets
from npsrcnn.commands import evaluate
from npsrcnn.datasets.paths import paths_of
from npsrcnn.errors import UserError
from npsrcnn.evaluation.protocol import EvaluationImage
from npsrcnn.sparse_coding import dictionaries, methods, super_resolvers
from npsrcnn.sparse_coding.super_resolvers import Describer, Lasso, Nearest, Pursuit

SMALL = {"ATOMS": 128, "LASSO_PATCHES": 3000, "OMP_PATCHES": 6000, "OMP_ITERATIONS": 3}
TRAINED_ON = {"sparse-coding": 4000, "zeyde": 6000, "a+": 20000}


@pytest.fixture
def small(monkeypatch):
    """A tenth of the atoms and of the patches."""
    for name, value in SMALL.items():
        monkeypatch.setattr(methods, name, value)
    trainers = {k: (TRAINED_ON[k], train) for k, (_, train) in methods.TRAINERS.items()}
    monkeypatch.setattr(methods, "TRAINERS", trainers)


def sharp(pictures: list[EvaluationImage]) -> list[np.ndarray]:
    return [picture.truth / np.float32(255) for picture in pictures]


@pytest.fixture(scope="module")
def leaves() -> list[EvaluationImage]:
    made = datasets.dead_leaves(6, (150, 141), seed=8)
    return [EvaluationImage.from_array(image, 3) for image in made]


def test_ridge_regression_is_that_of_the_paper(rng):
    low, high = dictionaries.unit(rng.standard_normal((8, 50))), rng.standard_normal((9, 50))
    gram = low.T @ low + 0.01 * np.eye(50)
    expected = high @ np.linalg.inv(gram) @ low.T  # Timofte et al. 2013, equation 5
    assert np.allclose(super_resolvers.ridge_regression(low, high, 0.01), expected, atol=1e-4)
    (everywhere,) = super_resolvers.global_regression(low, high)
    assert np.allclose(everywhere, expected, atol=1e-4)
    anchored = super_resolvers.anchored_regression(low, high, 50)  # all are neighbours: GR again
    assert np.allclose(anchored, expected, atol=1e-4)
    near = super_resolvers.anchored_regression(low, high, 5)
    chosen = np.argsort(-np.abs(low[:, 7] @ low))[:5]
    expected = super_resolvers.ridge_regression(low[:, chosen], high[:, chosen], 0.01)
    assert np.allclose(near[7], expected, atol=1e-5)


def test_a_plus_recovers_a_linear_map(rng):
    features, matrix = rng.standard_normal((400, 6)), rng.standard_normal((9, 6))
    features[5] = 0  # a flat patch has no direction
    anchors = dictionaries.unit(rng.standard_normal((6, 4)))
    found = super_resolvers.adjusted_anchored_regression(
        anchors, features, features @ matrix.T, neighbours=100, lam=1e-6
    )
    assert np.allclose(found, matrix, atol=1e-4)


def test_training_pairs_are_features_and_missing_details(leaves):
    pictures = sharp(leaves)
    low, high = super_resolvers.training_pairs(pictures, 3)
    assert low.shape == (len(high), 4 * 81) and high.shape[1] == 81
    blurred = leaves[0].bicubic
    some = super_resolvers.raw_features(blurred, 3)
    assert np.allclose(low[: len(some)], some, atol=1e-5)
    describer = Describer(3, np.eye(324, dtype=np.float32))
    back = describer.assemble(high[: len(some)], blurred)
    assert np.allclose(back, pictures[0], atol=1e-5)
    few, _ = super_resolvers.training_pairs(pictures, 3, 100, seed=3)
    assert few.shape == (100, 324)
    assert all((low == row).all(axis=1).any() for row in few[::20])


@pytest.mark.parametrize("scale", [2, 3])
def test_every_method_beats_bicubic_on_other_leaves(small, tmp_path, scale):
    made = datasets.dead_leaves(8, (150, 144), seed=8)
    pictures = [EvaluationImage.from_array(image, scale) for image in made]
    training, test = sharp(pictures[:6]), pictures[6:]
    bicubic = np.mean([picture.psnr_bicubic for picture in test])
    for name in methods.TITLES:
        made = methods.super_resolver(name, training, scale, cache=tmp_path)
        gain = np.mean([picture.psnr(made.forward(picture.bicubic)) for picture in test]) - bicubic
        assert gain > 0.3, name


def test_figures_near_the_published_ones_on_set5(small, data_folder):
    """A tenth of the training: GR does not suffer; the others do, but keep most of their gain.

    With all of it: Zeyde 31.96, GR 31.41, ANR 31.88, where Timofte et al. print 31.90, 31.41 and
    31.92.
    """
    training = [EvaluationImage.from_file(path, 3) for path in paths_of(data_folder / "T91")]
    test = [EvaluationImage.from_file(path, 3) for path in paths_of(data_folder / "Set5")]
    raw, details = super_resolvers.training_pairs(sharp(training), 3, 6000)
    basis = dictionaries.pca(raw, energy=methods.ENERGY)
    arrays = methods.TRAINERS["zeyde"][1](raw @ basis, details, 0)
    low, high, describer = arrays["low"], arrays["high"], Describer(3, basis)
    for made, least, most in (
        (Pursuit(describer, low, high), 31.4, 32.0),
        (Nearest(describer, low[:, :1], super_resolvers.global_regression(low, high)), 31.3, 31.5),
        (Nearest(describer, low, super_resolvers.anchored_regression(low, high)), 31.4, 32.0),
    ):
        psnr = np.mean([picture.psnr(made.forward(picture.bicubic)) for picture in test])
        assert least < psnr < most


def test_trained_methods_are_kept(small, leaves, tmp_path, monkeypatch, capsys):
    first = methods.super_resolver("zeyde", sharp(leaves), 3, cache=tmp_path)
    assert "once" in capsys.readouterr().err
    (file,) = tmp_path.iterdir()

    def fail(*_: object) -> None:
        raise AssertionError("trained again")

    with monkeypatch.context() as patch:
        patch.setattr(methods, "training_pairs", fail)
        again = methods.super_resolver("zeyde", sharp(leaves), 3, cache=tmp_path)
        methods.super_resolver("anr", sharp(leaves), 3, cache=tmp_path)  # from the same file
        with pytest.raises(AssertionError, match="again"):  # other images, another dictionary
            methods.super_resolver("zeyde", sharp(leaves)[1:], 3, cache=tmp_path)
    x = leaves[0].bicubic
    assert np.array_equal(first.forward(x), again.forward(x))
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    mended = methods.super_resolver("zeyde", sharp(leaves), 3, cache=tmp_path)
    assert np.array_equal(first.forward(x), mended.forward(x))  # the same seed, the same bits


def test_the_command(small, monkeypatch, tmp_path, capsys, leaves):
    from PIL import Image

    monkeypatch.setattr(methods, "default_cache", lambda: tmp_path / "cache")
    folder = tmp_path / "images"
    folder.mkdir()
    for i, picture in enumerate(leaves):
        Image.fromarray(picture.picture).save(folder / f"{i}.png")
    arguments = ["--method", "gr", "--data", str(folder), "--train-data", str(folder)]
    assert evaluate.main([*arguments, "--scale", "3", "--json", "-"]) == 0
    output = capsys.readouterr()
    mean = json.loads(output.out)["mean"]
    assert mean["psnr"] > mean["psnr_bicubic"] + 0.3
    assert "global regression (Timofte et al. 2013), trained on" in output.err
    assert evaluate.main(arguments) == 2
    assert evaluate.main([*arguments, "--scale", "3", "--model", "x.npz"]) == 2
    assert "--model is for --method srcnn" in capsys.readouterr().err
    assert evaluate.main([*arguments, "--scale", "3", "--cuda"]) == 2
    assert "--device is for --method srcnn" in capsys.readouterr().err


def test_arguments_that_do_not_fit_are_refused(leaves):
    with pytest.raises(UserError, match="no method 'yang'"):
        methods.super_resolver("yang", sharp(leaves), 3)
    with pytest.raises(UserError, match="room for a patch"):
        super_resolvers.training_pairs([np.zeros((6, 6), np.float32)], 3)
    describer = Describer(3, np.eye(324, 10, dtype=np.float32))
    low, high = np.eye(10, dtype=np.float32), np.zeros((81, 10), np.float32)
    made = Lasso(describer, low, high, 0.1)
    with pytest.raises(UserError, match="9 x 9 do not fit"):
        made.forward(np.zeros((8, 30)))
    with pytest.raises(UserError, match="not finite"):
        made.forward(np.full((30, 30), np.inf))
    assert np.array_equal(made.forward(np.full((30, 30), 0.5)), np.full((30, 30), 0.5))
