"""How to train: the authors' recipe to the letter, and one that converges in minutes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

from npsrcnn.training.optimizers import rate_at


@dataclass(frozen=True)
class Recipe:
    """Hold what makes a training, besides data, network and time.

    Rates belong to the loss of :func:`npsrcnn.kernels.reference.mse`, a sum over pixels: with
    a mean over pixels the same steps need rates (pixels of a label) / 2 times as large.
    """

    init: str  # initial weights: "bicubic", "he", "paper", or a model file
    optimizer: str  # "sgd", "adam" or "soap"
    rate: float  # learning rate
    momentum: float  # of SGD
    warmup: int  # steps in which the rate rises to its value
    decay: str  # then: "none", or "cosine" down to 0
    clip: float | None  # largest norm of the gradient
    average: float  # decay of the exponential average of the weights, 0: none
    orientations: bool  # flips and transposes of the sub-images, drawn anew each epoch
    rescale: tuple[float, ...]  # copies of the images at these sizes, besides the images
    l1: float = 0.0  # weight of the sum of all maps between the layers: sparser codes

    def rate_at(self, step: int, progress: float) -> float:
        """Return the learning rate; see :func:`npsrcnn.training.optimizers.rate_at`."""
        return rate_at(step, progress, peak=self.rate, warmup=self.warmup, decay=self.decay)

    def with_optimizer(self, name: str) -> Recipe:
        """Return the recipe with another optimizer, and the rate and the limit that suit it."""
        return replace(self, optimizer=name, **OPTIMIZERS[name]._asdict())


RECIPES = {
    # The authors' Caffe release: fixed rates, nothing else (TPAMI section 3.3).
    "paper": Recipe(
        init="paper",
        optimizer="sgd",
        rate=1e-4,
        momentum=0.9,
        warmup=0,
        decay="none",
        clip=None,
        average=0.0,
        orientations=False,
        rescale=(),
    ),
    "default": Recipe(
        init="bicubic",
        optimizer="soap",
        rate=3e-2,
        momentum=0.9,
        warmup=500,
        decay="cosine",
        clip=None,
        average=0.999,
        orientations=True,
        rescale=(0.9, 0.8, 0.7, 0.6),
    ),
}


class OptimizerDefaults(NamedTuple):
    """Hold what an optimizer changes in a recipe."""

    rate: float
    clip: float | None


# Steps of SOAP and Adam do not depend on the gradient's size, so there is nothing to clip; SGD from
# He's weights diverges where the first, huge gradients are not clipped.
OPTIMIZERS = {
    "soap": OptimizerDefaults(rate=3e-2, clip=None),
    "adam": OptimizerDefaults(rate=3e-3, clip=None),
    "sgd": OptimizerDefaults(rate=2e-3, clip=20.0),
}
