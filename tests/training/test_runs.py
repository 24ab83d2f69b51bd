"""Ten steps of training from a fixed seed, recorded: no later change moves the training unseen.

Whoever changes what a training does on purpose (initial weights, order of sub-images, gradients,
an optimizer) writes down the new losses, which ``python tests/training/test_runs.py`` prints.
"""

from __future__ import annotations

import functools
from dataclasses import replace

import numpy as np
import pytest

from npsrcnn import SRCNN
from npsrcnn.datasets import sub_images
from npsrcnn.training.build import optimizer_of
from npsrcnn.training.optimizers import parameters
from npsrcnn.training.recipes import RECIPES, Recipe
from npsrcnn.training.trainer import Trainer

STEPS = 10
RECORDED = {
    "paper": [57.74651, 57.19822, 53.76517, 55.82703, 55.43308, 52.37941, 51.81571, 49.6702,
              46.67533, 43.81594],
    "sgd": [44.27581, 40.37674, 25.29744, 9.317261, 13.03008, 31.96372, 40.82069, 40.56677,
            37.0041, 33.20264],
    "adam": [44.27581, 34.826, 17.86179, 7.253658, 15.07733, 21.62169, 16.43056, 11.00976,
             8.443016, 6.485815],
    "soap": [44.27581, 21.25519, 29.18792, 3.509749, 14.18508, 13.26998, 5.548213, 10.53077,
             4.13799, 4.623244],  # before its axes turn: those of gradients' noise are chance
    "deep": [196.6281, 190.7952, 188.9121, 164.6396, 144.1614, 132.5504, 130.3664, 123.9642,
             113.0121, 102.1201],
}  # fmt: skip

RECIPE = Recipe(
    init="he", optimizer="sgd", rate=2e-3, momentum=0.9, warmup=4, decay="cosine", clip=20.0,
    average=0.9, orientations=True, rescale=(0.8,),
)  # fmt: skip
ADAM = Recipe(
    init="he", optimizer="adam", rate=3e-3, momentum=0.9, warmup=4, decay="none", clip=None,
    average=0.9, orientations=True, rescale=(0.8,),
)  # fmt: skip
SOAP = replace(ADAM, optimizer="soap", rate=3e-2)
RUNS = {  # network, channels, recipe
    "paper": ("9-1-5", "y", RECIPES["paper"]),
    "sgd": ("9-1-5", "y", RECIPE),
    "adam": ("9-1-5", "y", ADAM),
    "soap": ("9-1-5", "y", SOAP),
    "deep": ("5-3-1-3", "rgb", RECIPE),
}


def images():
    """Yield two pictures from a formula: waves, with hard edges between them."""
    y, x = np.mgrid[:90, :120]
    for phase in (0.0, 1.3):
        waves = [np.sin(x / a + y / b + phase) for a, b in ((3.1, 9.7), (7.3, -4.1), (5.9, 2.3))]
        picture = np.stack(waves, axis=2)
        picture[(x + 2 * y) % 37 < 12] *= -0.8
        yield np.round(127.5 + 100 * picture).astype(np.uint8)


@functools.cache
def ten_steps(name, device):
    """Return the losses, and what the weights and their average have become."""
    network, color, recipe = RUNS[name]
    widths = [8, 6, 4][: network.count("-")]
    channels = 1 if color == "y" else 3
    net = SRCNN(network, channels, n=widths, init=recipe.init, seed=11, device=device)
    source = sub_images(
        images(), 3, 33, 33 - net.margin, color=color, orientations=recipe.orientations,
        rescale=(1.0, *recipe.rescale),
    )  # fmt: skip
    trainer = Trainer(
        net, source, optimizer_of(net, recipe, None),
        recipe.rate_at,
        batch=8, seed=5, clip=recipe.clip, average=recipe.average,
    )  # fmt: skip
    losses = list(trainer.train(STEPS))
    return losses, parameters(net.layers), parameters(trainer.averaged().layers)


@pytest.mark.parametrize("device", ["reference", "cpu"])
@pytest.mark.parametrize("name", list(RUNS))
def test_ten_losses_are_those_recorded(name, device):
    losses, _, _ = ten_steps(name, device)
    # Float32 sums in another order: the two kernels end 7e-7 apart; a rate 0.1% larger, 3e-4.
    np.testing.assert_allclose(losses, RECORDED[name], rtol=2e-5)


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
