"""Train on the device: sub-images are drawn there, and all steps taken.

Weights, their average and the optimizer's state stay on the device between steps, and so do the
images. The host plans some steps at a time (their learning rates, where in the order of
sub-images to read), starts the same kernels for each of them, recorded at the first, and then
fetches their losses.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from npsrcnn.kernels.cuda import soap, steps
from npsrcnn.kernels.cuda.backpropagation import Backpropagation
from npsrcnn.kernels.cuda.device import (
    DeviceArray,
    floats,
    integers,
    one_line_errors,
    to_device,
)
from npsrcnn.kernels.cuda.launches import Repeated
from npsrcnn.kernels.cuda.planes import floats_of, padded, planes_in
from npsrcnn.kernels.cuda.weights import Weights, pack, unpack
from npsrcnn.layers import Layers

MOST_STEPS = 256
"""Most steps of a plan: between two downloads of their losses."""
Axes = list[tuple[np.ndarray, np.ndarray]]


class Session:
    """A network in training on the device.

    Parameters
    ----------
    layers : list of (w, b)
        Initial weights: copied.
    factors : sequence of (float, float)
        Rate factors of each layer's weights and biases.
    rule : steps.SGD, steps.ADAM or steps.SOAP
    batch, size, label_size : int
        Sub-images in a step; pixels of a side of an input and of a label.
    """

    @one_line_errors()
    def __init__(
        self,
        layers: Layers,
        factors: Sequence[tuple[float, float]],
        rule: int,
        batch: int,
        size: int,
        label_size: int,
    ) -> None:
        self.rule, self.batch = rule, batch
        self.weights = Weights(layers)
        channels = self.weights.shapes[0].channels
        x, t = ((batch, channels, side, side) for side in (size, label_size))
        middle = floats_of(*x)
        self._batch = floats(middle + floats_of(*t))
        self.inputs = planes_in(self._batch[:middle], *x)
        self.labels = planes_in(self._batch[middle:], *t)
        self._backpropagation = Backpropagation(self.weights, self.inputs, self.labels)
        rates = [
            (np.full(w.shape, f), np.full(b.shape, g))
            for (w, b), (f, g) in zip(layers, factors, strict=True)
        ]
        count = self.weights.count
        self._state = to_device(np.zeros(4 * count, np.float32))
        self._parts = {
            name: self._state[i * count : (i + 1) * count]
            for i, name in enumerate(("first", "second", "average", "factors"))
        }
        self._parts["weights"] = self.weights.flat
        self.upload("average", layers)
        self.upload("factors", rates)
        self._soap = soap.SOAP(self.weights.shapes, count) if rule == steps.SOAP else None
        self._step_ok = floats(2)
        self._report = to_device(np.zeros(1 + MOST_STEPS, np.float32))
        self._plan = floats(MOST_STEPS * steps.NUMBERS)
        self._planned: Sequence[steps.Step] = ()
        self._done = 0  # steps since begin()
        self._images: tuple[DeviceArray, ...] = ()  # what hold() keeps, as steps.gather wants it
        self._steps = Repeated(), Repeated()  # without and with new axes

    @one_line_errors()
    def upload(self, part: str, layers: Layers) -> None:
        """Set a part of what is kept.

        "weights", "first" (the velocity or the mean of gradients), "second" (their mean square) or
        "average" (of the weights). SOAP's moments are along its axes.
        """
        self._parts[part].copy_to_device(pack(layers))

    @one_line_errors()
    def download(self, part: str) -> Layers:
        """Return a part of what is kept as it is now."""
        return unpack(self._parts[part].copy_to_host(), self.weights.shapes)

    @one_line_errors()
    def upload_axes(self, axes: Axes) -> None:
        """Set SOAP's axes: covariance and eigenvectors (in rows) of each."""
        covariances, vectors = zip(*axes, strict=True)
        kept = self._require_soap()
        kept.covariances.copy_to_device(kept.pack(covariances))
        kept.vectors.copy_to_device(kept.pack(vectors))

    @one_line_errors()
    def download_axes(self) -> Axes:
        """Return SOAP's axes as they are now."""
        kept = self._require_soap()
        arrays = kept.covariances, kept.vectors
        return list(zip(*(kept.unpack(a.copy_to_host()) for a in arrays), strict=True))

    def _require_soap(self) -> soap.SOAP:
        if self._soap is None:
            raise ValueError("axes are kept for SOAP alone")
        return self._soap

    @one_line_errors()
    def hold(self, blurred: np.ndarray, sharp: np.ndarray, places: np.ndarray) -> None:
        """Keep on the device the images that steps are to draw their batches from.

        To be called before the first step. ``blurred`` and ``sharp`` are all pixels; ``places``,
        (sub-images, 3), are the first pixel of each, pixels a row and pixels a channel.
        """
        pixels = floats(len(blurred) + len(sharp))
        pixels[: len(blurred)].copy_to_device(blurred)
        pixels[len(blurred) :].copy_to_device(sharp)
        self._order = to_device(np.zeros(len(places), np.int32))
        self._turns = to_device(np.zeros(len(places), np.uint8))
        geometry = integers(
            *self.inputs.extent, *self.labels.extent, self.inputs.channels, len(blurred),
            self.inputs.data.size,
        )  # fmt: skip
        corners = to_device(np.asarray(places, np.int64))
        self._images = (
            pixels, corners, self._order, self._turns, self._batch, geometry,
            self._backpropagation.counter,
        )  # fmt: skip

    @one_line_errors()
    def order(self, order: np.ndarray, turns: np.ndarray) -> None:
        """Set the order of an epoch: the numbers of all sub-images, and how to turn each."""
        self._order.copy_to_device(order.astype(np.int32))
        self._turns.copy_to_device(np.ascontiguousarray(turns, np.uint8))

    @one_line_errors()
    def begin(self, plan: Sequence[steps.Step], first: int = 0) -> None:
        """Plan the next steps, MOST_STEPS at most; batches are drawn from ``first`` on."""
        if not 0 < len(plan) <= MOST_STEPS:
            raise ValueError(f"{len(plan)} steps planned, but it must be 1 to {MOST_STEPS}")
        self._plan[: len(plan) * steps.NUMBERS].copy_to_device(np.array(plan, np.float32).ravel())
        self._backpropagation.counter.copy_to_device(np.array([0, first], np.int64))
        self._done, self._planned = 0, plan

    def put(self, inputs: np.ndarray, labels: np.ndarray) -> None:
        """Take a batch from main memory, where none are held."""
        for planes, array in ((self.inputs, inputs), (self.labels, labels)):
            planes.data.copy_to_device(padded(array, planes.extent))

    @one_line_errors()
    def step(self) -> None:
        """Take the next step of the plan, on the batch of :meth:`put` or the next one held.

        Raises
        ------
        ValueError
            No step is planned.
        """
        if self._done == len(self._planned):
            raise ValueError("no step is planned")
        improve = self._soap is not None and self._planned[self._done].improve > 0
        self._steps[improve].run(lambda: self._step(improve))
        self._done += 1

    def _step(self, improve: bool) -> None:
        if self._images:
            steps.gather(self.batch, *self._images)
        batch = self._backpropagation
        batch.run()
        losses = batch.squares, batch.losses, self._report, self._plan, batch.counter
        if self._soap is None:
            steps.update(self.rule, self.weights.flat, self._state, batch.grads, *losses)
        else:
            steps.check(*losses, self._step_ok)
            self._soap.step(
                self.weights.flat, self._parts, batch.grads, self._plan, batch.counter,
                self._step_ok, improve,
            )  # fmt: skip

    @one_line_errors()
    def losses(self) -> tuple[np.ndarray, bool]:
        """Return the loss of each step since :meth:`begin`, and whether training has diverged.

        A step with a loss or a gradient that is not finite, and all steps since, changed nothing:
        their losses are NaN.
        """
        report = self._report.copy_to_host()
        return report[1 : 1 + self._done] / np.float32(2 * self.batch), bool(report[0] > 0)
