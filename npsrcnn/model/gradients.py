"""Check every gradient of a network, as `npsrcnn gradcheck` does.

In float64, on random signed numbers, in three ways:

- **identity**: a convolution is bilinear, so its gradients satisfy <conv(x, w), u> = <x, dx> =
  <w, dw> for every u, with no step size and no truncation;
- **differences**: each weight and bias of the whole network is moved a little up and down, and
  the loss compared. As long as no ReLU switches, the loss is a quadratic function of one layer's
  parameters, for which centred differences are exact: the step is halved until none switches;
- **kernels**: the Numba kernels against NumPy's, and the fused float32 step against both.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from npsrcnn.kernels import cpu, reference
from npsrcnn.kernels.contract import Kernels
from npsrcnn.layers import Layers
from npsrcnn.model.network import SRCNN

STEP = 1e-2  # the first tried; parameters are of the order of 0.1 to 1
SMALLEST_STEP = 1e-9


class Check(NamedTuple):
    """One comparison: the largest relative error that rounding explains is ``allowed``."""

    name: str
    allowed: float
    why: str


IDENTITY = Check("identity", 1e-13, "sums of some thousand products, rounded at 1.1e-16 each")
DIFFERENCES = Check("differences", 1e-9, "1.1e-16 of the loss, divided by the step")
KERNELS = Check("kernels", 1e-13, "the same sums in another order")
FUSED = Check("float32", 1e-5, "rounded at 6.0e-8, some thousand terms")
CHECKS = (IDENTITY, DIFFERENCES, KERNELS, FUSED)


class Row(NamedTuple):
    """The errors of one gradient; those of checks that do not apply are missing."""

    layer: int
    gradient: str
    errors: dict[Check, float]

    @property
    def right(self) -> bool:
        """Whether all errors are as small as allowed (and none is NaN)."""
        return all(error <= check.allowed for check, error in self.errors.items())


def relative_error(a: np.ndarray, b: np.ndarray) -> float:
    """Compute ``|a - b| / |b|``, Euclidean norms; 0 when both are 0."""
    size = np.linalg.norm(b)
    difference = np.linalg.norm(np.subtract(a, b, dtype=np.float64))
    return float(difference / size) if size > 0 else float(difference)


def identity_errors(
    kernels: Kernels, x: np.ndarray, w: np.ndarray, b: np.ndarray, u: np.ndarray
) -> dict[str, float]:
    """Measure how far <conv(x, w), u> is from <x, dx> and <w, dw>, and <b, u> from <b, db>.

    Relative to ``|conv(x, w)| |u|``, the largest value that the inner product could have, and to
    ``|b| |u|`` for the bias.
    """
    y = kernels.conv2d(x, w, np.zeros_like(b))
    shift = kernels.conv2d(x, w, b) - y
    dx, dw, db = kernels.conv2d_grads(x, w, u)
    product, length = np.vdot(y, u), np.linalg.norm(u)
    size = np.linalg.norm(y) * length or 1.0  # all zeros where all ReLUs before are off
    return {
        "dx": abs(np.vdot(x, dx) - product) / size,
        "dw": abs(np.vdot(w, dw) - product) / size,
        "db": abs(np.vdot(b, db) - np.vdot(shift, u)) / (np.linalg.norm(shift) * length),
    }


def loss_and_switches(
    layers: Layers, inputs: np.ndarray, labels: np.ndarray
) -> tuple[float, list[np.ndarray]]:
    """Compute the loss in NumPy, and which units every ReLU lets through."""
    x, switches = inputs, []
    for w, b in layers[:-1]:
        z = reference.conv2d(x, w, b)
        switches.append(z > 0)
        x = reference.relu(z)
    return reference.mse(reference.conv2d(x, *layers[-1]), labels), switches


def differences(
    layers: Layers, parameter: np.ndarray, inputs: np.ndarray, labels: np.ndarray
) -> np.ndarray:
    """Compute the gradient of the loss to one array of ``layers``, by centred differences.

    The array is moved element by element, and restored.
    """
    _, switches = loss_and_switches(layers, inputs, labels)
    gradient = np.empty_like(parameter)
    for place in np.ndindex(*parameter.shape):
        value, step = parameter[place], STEP
        while step > SMALLEST_STEP:
            parameter[place] = value + step
            above, switches_above = loss_and_switches(layers, inputs, labels)
            parameter[place] = value - step
            below, switches_below = loss_and_switches(layers, inputs, labels)
            parameter[place] = value
            if _same(switches, switches_above) and _same(switches, switches_below):
                break
            step /= 2
        gradient[place] = (above - below) / (2 * step)
    return gradient


def _same(a: list[np.ndarray], b: list[np.ndarray]) -> bool:
    return all(np.array_equal(one, other) for one, other in zip(a, b, strict=True))


def random_problem(
    name: str,
    channels: int,
    n: Sequence[int],
    shape: tuple[int, int, int] = (3, 5, 4),
    seed: int = 0,
) -> tuple[Layers, np.ndarray, np.ndarray]:
    """Make a network with random biases too, inputs and labels: signed, float64.

    ``shape`` is (N, H, W) of the labels; inputs are larger by what the filters take.
    """
    net = SRCNN(name, channels, n=n, seed=seed)
    rng = np.random.default_rng(seed)
    layers = [(w.astype(np.float64), rng.standard_normal(b.shape) / 4) for w, b in net.layers]
    count, height, width = shape
    larger = (count, channels, height + net.margin, width + net.margin)
    labels = rng.standard_normal((count, channels, height, width))
    return layers, rng.standard_normal(larger), labels


def check(layers: Layers, inputs: np.ndarray, labels: np.ndarray, seed: int = 0) -> list[Row]:
    """Check a float64 network in all ways; returns a row for each gradient."""
    rng = np.random.default_rng(seed)
    _, exact = reference.loss_and_grads(layers, inputs, labels)
    _, grads = cpu.loss_and_grads(layers, inputs, labels)
    small = [(w.astype(np.float32), b.astype(np.float32)) for w, b in layers]
    _, fused = cpu.loss_and_grads(small, inputs.astype(np.float32), labels.astype(np.float32))
    rows, x = [], inputs
    for depth, (w, b) in enumerate(layers):
        y = reference.conv2d(x, w, b)
        u = rng.standard_normal(y.shape)
        identities = [identity_errors(kernels, x, w, b, u) for kernels in (reference, cpu)]
        errors = {g: {IDENTITY: max(i[g] for i in identities)} for g in ("dx", "dw", "db")}
        theirs, ours = reference.conv2d_grads(x, w, u), cpu.conv2d_grads(x, w, u)
        for i, gradient in enumerate(("dx", "dw", "db")):
            errors[gradient][KERNELS] = relative_error(ours[i], theirs[i])
        for i, gradient in enumerate(("dw", "db")):
            mine = errors[gradient]
            moved = differences(layers, layers[depth][i], inputs, labels)
            mine[DIFFERENCES] = relative_error(grads[depth][i], moved)
            whole = relative_error(grads[depth][i], exact[depth][i])
            mine[KERNELS] = max(mine[KERNELS], whole)
            mine[FUSED] = relative_error(fused[depth][i], exact[depth][i])
        rows += [Row(depth + 1, gradient, errors[gradient]) for gradient in errors]
        x = reference.relu(y)
    return rows
