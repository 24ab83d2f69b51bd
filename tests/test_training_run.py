"""Ten steps of training from a fixed seed, recorded: no later change moves the training unseen.

Whoever changes what a training does on purpose (initial weights, order of sub-images, gradients,
an optimizer) writes down the new losses, which ``python tests/test_training_run.py`` prints.
"""

from __future__ import annotations

import functools

import numpy as np
import pytest

from npsrcnn import SRCNN
from npsrcnn.datasets import sub_images
from npsrcnn.optimizers import parameters, rate_at
from npsrcnn.recipes import RECIPES, Recipe
from npsrcnn.train import optimizer_of
from npsrcnn.trainer import Trainer

STEPS = 10
RECORDED = {
    "paper": [57.70433, 56.27211, 57.56797, 57.19396, 54.61727, 52.79083, 50.44629, 47.96746,
              46.21973, 44.67129],
    "sgd": [57.50997, 58.65073, 58.38005, 56.92785, 53.61706, 53.52754, 51.22554, 47.96401,
            46.78282, 45.1449],
    "adam": [57.50997, 58.79036, 58.17765, 51.72909, 36.83304, 27.20191, 18.45178, 11.31781,
             6.538806, 3.646368],
    "deep": [272.8216, 279.4186, 275.568, 247.4939, 233.5244, 237.0349, 213.135, 205.005,
             193.2115, 176.1937],
}  # fmt: skip

RECIPE = Recipe(
    init="he", optimizer="sgd", rate=2e-3, momentum=0.9, warmup=4, decay="cosine", clip=20.0,
    average=0.9, orientations=True, rescale=(0.8,),
)  # fmt: skip
ADAM = Recipe(
    init="he", optimizer="adam", rate=3e-3, momentum=0.9, warmup=4, decay="none", clip=None,
    average=0.9, orientations=True, rescale=(0.8,),
)  # fmt: skip
RUNS = {  # network, channels, recipe
    "paper": ("9-1-5", "y", RECIPES["paper"]),
    "sgd": ("9-1-5", "y", RECIPE),
    "adam": ("9-1-5", "y", ADAM),
    "deep": ("5-3-1-3", "rgb", RECIPE),
}


def images():
    """Two pictures from a formula: waves, with hard edges between them."""
    y, x = np.mgrid[:90, :120]
    for phase in (0.0, 1.3):
        waves = [np.sin(x / a + y / b + phase) for a, b in ((3.1, 9.7), (7.3, -4.1), (5.9, 2.3))]
        picture = np.stack(waves, axis=2)
        picture[(x + 2 * y) % 37 < 12] *= -0.8
        yield np.round(127.5 + 100 * picture).astype(np.uint8)


@functools.cache
def ten_steps(name, device):
    """The losses, and what the weights and their average have become."""
    network, color, recipe = RUNS[name]
    widths = [16, 8, 8][: network.count("-")]
    channels = 1 if color == "y" else 3
    net = SRCNN(network, channels, n=widths, init=recipe.init, seed=11, device=device)
    source = sub_images(
        images(), 3, 33, 33 - net.margin, color=color, orientations=recipe.orientations,
        rescale=(1.0, *recipe.rescale),
    )  # fmt: skip
    trainer = Trainer(
        net, source, optimizer_of(net, recipe, None),
        functools.partial(rate_at, peak=recipe.rate, warmup=recipe.warmup, decay=recipe.decay),
        batch=16, seed=5, clip=recipe.clip, average=recipe.average,
    )  # fmt: skip
    losses = []
    while trainer.step < STEPS:
        for loss in trainer.run_epoch(lambda step: step / STEPS):
            losses.append(loss)
            if trainer.step == STEPS:
                break
    return losses, parameters(net.layers), parameters(trainer.averaged().layers)


@pytest.mark.parametrize("device", ["reference", "cpu"])
@pytest.mark.parametrize("name", list(RUNS))
def test_ten_losses_are_those_recorded(name, device):
    losses, _, _ = ten_steps(name, device)
    # Float32 sums in another order: the two kernels end 1.4e-7 apart, a rate 0.1% larger 3e-4.
    np.testing.assert_allclose(losses, RECORDED[name], rtol=5e-6)


@pytest.mark.parametrize("name", list(RUNS))
def test_both_kernels_train_the_same_network(name):
    _, *reference = ten_steps(name, "reference")
    _, *cpu = ten_steps(name, "cpu")
    for mine, theirs in zip(reference, cpu, strict=True):
        for a, b in zip(mine, theirs, strict=True):
            np.testing.assert_allclose(a, b, rtol=0, atol=1e-5 * np.abs(a).max() + 1e-9)


def main():
    """Print the losses as they are now."""
    for name in RUNS:
        numbers = ", ".join(f"{loss:.7g}" for loss in ten_steps(name, "reference")[0])
        print(f'    "{name}": [{numbers}],')


if __name__ == "__main__":
    main()
