"""What rounding to float32 may change of a loss and its gradients, number by number.

The first order of an error analysis, beside the float64 reference that it is an error of:

- A sum is rounded in proportion to the magnitudes of what was added, never to its result: where
  terms cancel (a bias's gradient) the relative error is large and nothing is wrong. In units of
  2^-24 of ``sum |a b|``, sums of random signs are off by a half.
- Errors of the operands are those of different sums, so that their squares add up.
- Where a preactivation lies within its error of zero, ReLU may take either side: the gradient
  that passes there or does not is an error as a whole.

So one factor, ``UNITS``, holds for any seed, any number of lanes, with and without fused
multiply-add. It is small enough to see one product among those of a gradient missing.
"""

from __future__ import annotations

import numpy as np

from npsrcnn.kernels import reference

UNIT = 2.0**-24
UNITS, WINOGRAD_UNITS = 8, 128
"""Errors allowed in that unit, of each number; and of layers by Winograd's method, whose transforms
spread errors over their tiles, of the largest of an array. Found, of 12 seeds: up to 6 and 81."""


def _root_of_squares(*errors):
    return np.sqrt(sum(np.square(error) for error in errors))


def _conv2d_error(x, w, b, x_error):
    """The error of ``reference.conv2d``: of its operand, and of its own sum."""
    nothing = np.zeros(len(b))
    inherited = np.sqrt(reference.conv2d(x_error**2, w**2, nothing))
    return _root_of_squares(inherited, UNIT * reference.conv2d(abs(x), abs(w), abs(b)))


def _conv2d_grads_error(x, w, dy, x_error, dy_error):
    """The errors of ``reference.conv2d_grads``."""
    from_dy = reference.conv2d_grads(x**2, w**2, dy_error**2)
    from_x = reference.conv2d_grads(x_error**2, w, dy**2)[1]
    own = reference.conv2d_grads(abs(x), abs(w), abs(dy))
    dx, dw, db = (
        _root_of_squares(np.sqrt(inherited), UNIT * magnitudes)
        for inherited, magnitudes in zip(from_dy, own, strict=True)
    )
    return dx, _root_of_squares(dw, np.sqrt(from_x)), db


def loss_and_grads_error(layers, inputs, labels, l1, units):
    """The errors of ``reference.loss_and_grads``, in its shapes; ``units`` of them flip a ReLU."""
    layers = [(w.astype(np.float64), b.astype(np.float64)) for w, b in layers]
    labels = labels.astype(np.float64)
    maps, errors, uncertain = [inputs.astype(np.float64)], [np.zeros(inputs.shape)], []
    for depth, (w, b) in enumerate(layers):
        z = reference.conv2d(maps[-1], w, b)
        error = _conv2d_error(maps[-1], w, b, errors[-1])
        if depth < len(layers) - 1:
            uncertain.append(abs(z) <= units * error)
            z, error = np.maximum(z, 0), error * (z > -units * error)
        maps.append(z)
        errors.append(error)
    difference = maps[-1] - labels
    difference_error = _root_of_squares(errors[-1], UNIT * (abs(maps[-1]) + abs(labels)))
    squares = difference**2
    penalty = l1 * sum(float(x.sum()) for x in maps[1:-1])
    loss_error = np.sqrt(np.sum((2 * difference * difference_error) ** 2)) / 2
    loss_error += UNIT * (np.sum(squares) / 2 + penalty)
    slope, slope_error = difference / len(inputs), difference_error / len(inputs)
    grads = []
    for depth in reversed(range(len(layers))):
        w, _ = layers[depth]
        x, x_error = maps[depth], errors[depth]
        dx_error, dw_error, db_error = _conv2d_grads_error(x, w, slope, x_error, slope_error)
        grads.insert(0, (dw_error, db_error))
        if depth > 0:
            dx = reference.conv2d_grads(x, w, slope)[0] + l1 / len(inputs)
            flips = uncertain[depth - 1]
            slope = dx * (x > 0)
            slope_error = np.where(flips, abs(dx) / units, 0) + dx_error * ((x > 0) | flips)
    return loss_error / len(inputs), grads


def units_off(result, layers, inputs, labels, l1=0.0, *, winograd=False):
    """The largest errors of a float32 loss and gradients, by name, as parts of what is allowed."""
    wide = [(w.astype(np.float64), b.astype(np.float64)) for w, b in layers]
    problem = inputs.astype(np.float64), labels.astype(np.float64)
    loss, grads = reference.loss_and_grads(wide, *problem, l1)
    units = WINOGRAD_UNITS if winograd else UNITS
    loss_error, errors = loss_and_grads_error(layers, inputs, labels, l1, units)
    worst = {"loss": abs(result[0] - loss) / (units * loss_error)}
    for depth, pairs in enumerate(zip(result[1], grads, errors, strict=True)):
        for name, got, expected, error in zip(("dw", "db"), *pairs, strict=True):
            assert got.shape == expected.shape
            assert got.dtype == np.float32
            allowed = units * (error.max() if winograd else error)
            off = abs(got - expected) / np.maximum(allowed, np.finfo(float).tiny)  # 0 is exact
            worst[f"{name} of layer {depth + 1}"] = off.max()
    return worst


def assert_right(result, *problem, **options):
    """Assert that a loss and gradients are the reference's, but for rounding."""
    assert isinstance(result[0], float)
    off = units_off(result, *problem, **options)
    assert max(off.values()) <= 1, off
