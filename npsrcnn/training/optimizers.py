"""How gradients change weights: SGD with momentum, Adam, rates over time, averages of weights.

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


def paper_factors(depth: int) -> list[tuple[float, float]]:
    """Rate factors (weights, biases) of each layer: 1 and 0.1, the last 0.1 and 0.1."""
    return [PAPER_FACTORS[0]] * (depth - 1) + [PAPER_FACTORS[-1]]


class Optimizer(Protocol):
    """What turns gradients into steps."""

    def step(self, layers: Layers, grads: Layers, rate: float) -> None:
        """Move the weights of ``layers``, in place, by one step."""

    def state(self) -> dict[str, np.ndarray]:
        """Arrays from which :meth:`restore` goes on as if never stopped."""

    def restore(self, state: dict[str, np.ndarray]) -> None:
        """Take back what :meth:`state` gave."""


class SGD:
    """Stochastic gradient descent with momentum, as Caffe's: v <- m v - rate g; w <- w + v.

    TPAMI eq. 6. ``factors`` are the rates of each layer's (weights, biases) relative to ``rate``.
    """

    def __init__(
        self, layers: Layers, factors: Sequence[tuple[float, float]], momentum: float = 0.9
    ) -> None:
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

    def state(self) -> dict[str, np.ndarray]:
        """Arrays from which :meth:`restore` goes on as if never stopped."""
        return {f"velocity{i}": v for i, v in enumerate(self.velocity)}

    def restore(self, state: dict[str, np.ndarray]) -> None:
        """Take back what :meth:`state` gave."""
        for i, v in enumerate(self.velocity):
            v[...] = state[f"velocity{i}"]


class Adam:
    """Adam (Kingma and Ba, 2015, algorithm 1), with rate factors like :class:`SGD`."""

    def __init__(
        self,
        layers: Layers,
        factors: Sequence[tuple[float, float]],
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
        self.steps += 1
        correct1 = np.float32(1 / (1 - self.beta1**self.steps))
        correct2 = np.float32(1 / (1 - self.beta2**self.steps))
        for p, g, m, s, f in zip(
            parameters(layers),
            parameters(grads),
            self.mean,
            self.square,
            self.factors,
            strict=True,
        ):
            m += np.float32(1 - self.beta1) * (g - m)
            s += np.float32(1 - self.beta2) * (g * g - s)
            p -= np.float32(rate * f) * (m * correct1) / (np.sqrt(s * correct2) + self.epsilon)

    def state(self) -> dict[str, np.ndarray]:
        """Arrays from which :meth:`restore` goes on as if never stopped."""
        return {
            "steps": np.array(self.steps),
            **{f"mean{i}": m for i, m in enumerate(self.mean)},
            **{f"square{i}": s for i, s in enumerate(self.square)},
        }

    def restore(self, state: dict[str, np.ndarray]) -> None:
        """Take back what :meth:`state` gave."""
        self.steps = int(state["steps"])
        for i, (m, s) in enumerate(zip(self.mean, self.square, strict=True)):
            m[...], s[...] = state[f"mean{i}"], state[f"square{i}"]


class WeightAverage:
    """An exponential average of the weights: what is evaluated and saved, never trained.

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
        """Take in the weights after one more step."""
        keep = self.advance()
        for a, p in zip(parameters(self.layers), parameters(layers), strict=True):
            a += np.float32(1 - keep) * (p - a)

    def state(self) -> dict[str, np.ndarray]:
        """Arrays from which :meth:`restore` goes on as if never stopped."""
        arrays = {f"average{i}": a for i, a in enumerate(parameters(self.layers))}
        return {"steps": np.array(self.steps), **arrays}

    def restore(self, state: dict[str, np.ndarray]) -> None:
        """Take back what :meth:`state` gave."""
        self.steps = int(state["steps"])
        for i, a in enumerate(parameters(self.layers)):
            a[...] = state[f"average{i}"]


def parameters(layers: Layers) -> list[np.ndarray]:
    """[(w1, b1), (w2, b2), ...] -> [w1, b1, w2, b2, ...]."""
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
    """The learning rate at ``step``: a linear warm-up, then constant or a half cosine to 0.

    Parameters
    ----------
    step
        Steps done so far; the warm-up takes ``warmup`` of them.
    progress
        How much of the training is over, 0..1.
    decay
        "none" or "cosine" (Loshchilov and Hutter 2017, without restarts).
    """
    rate = peak * min(1.0, (step + 1) / max(1, warmup))
    return rate * 0.5 * (1 + math.cos(math.pi * min(1.0, progress))) if decay == "cosine" else rate
