"""Turn gradients into steps: SGD with momentum, Adam, learning rates, averages of weights.

Everything here works in place on the arrays of ``layers = [(w, b), ...]`` and is elementwise, so
it gives the same bits whatever the number of threads.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Protocol

import numpy as np

from npsrcnn.layers import Layers

# The paper trains the last layer ten times more slowly, and says that this matters for it to
# converge (TPAMI section 3.3); the authors' Caffe files give every bias the slow rate.
PAPER_FACTORS = ((1.0, 0.1), (1.0, 0.1), (0.1, 0.1))

Factors = Sequence[tuple[float, float]]
"""Learning rates of each layer's (weights, biases) relative to that of the step."""
State = dict[str, np.ndarray]
"""Arrays by name, as a checkpoint holds them."""
Axes = list[tuple[np.ndarray, np.ndarray]]
"""(covariance, eigenvectors) of each axis of each parameter; see :mod:`npsrcnn.training.soap`."""


def paper_factors(depth: int) -> list[tuple[float, float]]:
    """Return the rate factors (weights, biases) of each layer: 1 and 0.1, the last 0.1 and 0.1."""
    return [PAPER_FACTORS[0]] * (depth - 1) + [PAPER_FACTORS[-1]]


class Optimizer(Protocol):
    """Turn gradients into steps, on the CPU; or say what a device needs to take the same steps."""

    name: str
    """One of the names of :data:`npsrcnn.training.recipes.OPTIMIZERS`."""
    factors: list[float]
    """Rate factors of w1, b1, w2, b2, ..."""

    def step(self, layers: Layers, grads: Layers, rate: float) -> None:
        """Move the weights of ``layers``, in place, by one step."""

    def advance(self) -> dict[str, float]:
        """Count one more step, and return its numbers but for the rate.

        Keys are fields of :class:`npsrcnn.kernels.cuda.steps.Step`: a device takes the step.
        """

    def rewind(self, steps: int) -> None:
        """Discount the last ``steps`` steps, which a device has not taken, where they count."""
        return

    def moments(self) -> dict[str, list[np.ndarray]]:
        """Return the arrays that a device keeps a copy of, "first" and perhaps "second"."""

    def axes_of_all(self) -> Axes:
        """Return the axes that a device keeps a copy of; most optimizers have none."""
        return []

    def take_axes(self, axes: Axes) -> None:
        """Replace what :meth:`axes_of_all` returns."""
        return

    def state(self) -> State:
        """Return arrays from which :meth:`restore` goes on as if never stopped."""

    def restore(self, state: State) -> None:
        """Take back what :meth:`state` has returned."""


class SGD(Optimizer):
    """Descend with momentum as Caffe's SGD does: v <- m v - rate g; w <- w + v.

    TPAMI eq. 6. ``factors`` are the rates of each layer's (weights, biases) relative to ``rate``.
    """

    name = "sgd"

    def __init__(self, layers: Layers, factors: Factors, momentum: float = 0.9) -> None:
        self.momentum = np.float32(momentum)
        self.factors = [f for pair in factors for f in pair]
        self.velocity = [np.zeros_like(p) for p in parameters(layers)]

    def step(self, layers: Layers, grads: Layers, rate: float) -> None:
        """Move the weights of ``layers``, in place, by one step."""
        for p, g, v, f in zip(
            parameters(layers), parameters(grads), self.velocity, self.factors, strict=True
        ):
            v *= self.momentum
            v -= np.float32(rate * f) * g
            p += v

    def advance(self) -> dict[str, float]:
        """Return the numbers of a step; there is nothing to count."""
        return {"momentum": float(self.momentum)}

    def moments(self) -> dict[str, list[np.ndarray]]:
        """Return the velocity."""
        return {"first": self.velocity}

    def state(self) -> State:
        """Return arrays from which :meth:`restore` goes on as if never stopped."""
        return {f"velocity{i}": v for i, v in enumerate(self.velocity)}

    def restore(self, state: State) -> None:
        """Take back what :meth:`state` has returned."""
        for i, v in enumerate(self.velocity):
            v[...] = state[f"velocity{i}"]


class Adam(Optimizer):
    """Take Adam's steps (Kingma and Ba, 2015, algorithm 1), with factors like :class:`SGD`."""

    name = "adam"

    def __init__(
        self,
        layers: Layers,
        factors: Factors,
        beta1: float = 0.9,
        beta2: float = 0.999,
        epsilon: float = 1e-8,
    ) -> None:
        self.beta1, self.beta2, self.epsilon = beta1, beta2, np.float32(epsilon)
        self.factors = [f for pair in factors for f in pair]
        self.mean = [np.zeros_like(p) for p in parameters(layers)]
        self.square = [np.zeros_like(p) for p in parameters(layers)]
        self.steps = 0

    def step(self, layers: Layers, grads: Layers, rate: float) -> None:
        """Move the weights of ``layers``, in place, by one step."""
        now = {name: np.float32(number) for name, number in self.advance().items()}
        for p, g, m, s, f in zip(
            parameters(layers),
            parameters(grads),
            self.mean,
            self.square,
            self.factors,
            strict=True,
        ):
            m += now["forget_mean"] * (g - m)
            s += now["forget_square"] * (g * g - s)
            root = np.sqrt(s * now["correct_square"])
            p -= np.float32(rate * f) * (m * now["correct_mean"]) / (root + self.epsilon)

    def advance(self) -> dict[str, float]:
        """Count one more step, and return its numbers.

        They say how much of the moments is forgotten, and correct them for their start at zero.
        """
        self.steps += 1
        return {
            "forget_mean": 1 - self.beta1,
            "forget_square": 1 - self.beta2,
            "correct_mean": 1 / (1 - self.beta1**self.steps),
            "correct_square": 1 / (1 - self.beta2**self.steps),
            "epsilon": float(self.epsilon),
        }

    def rewind(self, steps: int) -> None:
        """Discount the last ``steps`` steps."""
        self.steps -= steps

    def moments(self) -> dict[str, list[np.ndarray]]:
        """Return the means of the gradients, and of their squares."""
        return {"first": self.mean, "second": self.square}

    def state(self) -> State:
        """Return arrays from which :meth:`restore` goes on as if never stopped."""
        return {
            "steps": np.array(self.steps),
            **{f"mean{i}": m for i, m in enumerate(self.mean)},
            **{f"square{i}": s for i, s in enumerate(self.square)},
        }

    def restore(self, state: State) -> None:
        """Take back what :meth:`state` has returned."""
        self.steps = int(state["steps"])
        for i, (m, s) in enumerate(zip(self.mean, self.square, strict=True)):
            m[...], s[...] = state[f"mean{i}"], state[f"square{i}"]


class WeightAverage:
    """Average weights exponentially: the average is evaluated and saved, never trained.

    ``average <- d average + (1 - d) weights`` with d = min(decay, (1 + t) / (10 + t)) at step t,
    so that the first, bad weights are soon forgotten. The average is worth as much as a lower
    rate and does not slow learning down. ``decay`` 0: the weights themselves.
    """

    def __init__(self, layers: Layers, decay: float) -> None:
        self.decay = decay
        self.steps = 0
        self.layers = [(w.copy(), b.copy()) for w, b in layers]

    def advance(self) -> float:
        """Count one more step; return d, how much of the average stays in it."""
        self.steps += 1
        return min(self.decay, (1 + self.steps) / (10 + self.steps))

    def update(self, layers: Layers) -> None:
        """Add the weights after one more step."""
        keep = self.advance()
        for a, p in zip(parameters(self.layers), parameters(layers), strict=True):
            a += np.float32(1 - keep) * (p - a)

    def rewind(self, steps: int) -> None:
        """Discount the last ``steps`` steps, which a device has not taken."""
        self.steps -= steps

    def state(self) -> State:
        """Return arrays from which :meth:`restore` goes on as if never stopped."""
        arrays = {f"average{i}": a for i, a in enumerate(parameters(self.layers))}
        return {"steps": np.array(self.steps), **arrays}

    def restore(self, state: State) -> None:
        """Take back what :meth:`state` has returned."""
        self.steps = int(state["steps"])
        for i, a in enumerate(parameters(self.layers)):
            a[...] = state[f"average{i}"]


def parameters(layers: Layers) -> list[np.ndarray]:
    """Flatten [(w1, b1), (w2, b2), ...] to [w1, b1, w2, b2, ...]."""
    return [p for layer in layers for p in layer]


def clip_norm(grads: Layers, limit: float) -> float:
    """Scale ``grads`` down, in place, so that their joint norm is at most ``limit``.

    Returns the norm they had. Pascanu, Mikolov, Bengio 2013, algorithm 1.
    """
    norm = math.sqrt(sum(float(np.vdot(g, g)) for g in parameters(grads)))
    if norm > limit:
        for g in parameters(grads):
            g *= np.float32(limit / norm)
    return norm


def rate_at(step: int, progress: float, *, peak: float, warmup: int, decay: str) -> float:
    """Return the learning rate at ``step``: a linear warm-up, then constant or a half cosine to 0.

    Parameters
    ----------
    step
        Steps done so far; the warm-up takes ``warmup`` of them.
    progress
        The part of the training that is done, 0..1.
    decay
        "none" or "cosine" (Loshchilov and Hutter 2017, without restarts).
    """
    rate = peak * min(1.0, (step + 1) / max(1, warmup))
    return rate * 0.5 * (1 + math.cos(math.pi * min(1.0, progress))) if decay == "cosine" else rate
