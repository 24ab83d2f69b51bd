"""A whole training on the device: sub-images are drawn, used and learnt from there.

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
from npsrcnn.kernels.cuda.device import cuda, errors_for_people, floats, numbers
from npsrcnn.kernels.cuda.launches import Repeated
from npsrcnn.kernels.cuda.planes import floats_of, within
from npsrcnn.kernels.cuda.weights import Layers, Weights, pack, unpack

REPORT = 256
"""Most steps between two looks at their losses."""
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

    @errors_for_people()
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
        self.inputs = within(self._batch[:middle], *x)
        self.labels = within(self._batch[middle:], *t)
        self._backpropagation = Backpropagation(self.weights, self.inputs, self.labels)
        rates = [
            (np.full(w.shape, f), np.full(b.shape, g))
            for (w, b), (f, g) in zip(layers, factors, strict=True)
        ]
        count = self.weights.count
        self._state = cuda.to_device(np.zeros(4 * count, np.float32))
        self._parts = {
            name: self._state[i * count : (i + 1) * count]
            for i, name in enumerate(("first", "second", "average", "factors"))
        }
        self._parts["weights"] = self.weights.flat
        self.upload("average", layers)
        self.upload("factors", rates)
        self._soap = soap.SOAP(self.weights.shapes, count) if rule == steps.SOAP else None
        self._verdict = floats(2)
        self._report = cuda.to_device(np.zeros(1 + REPORT, np.float32))
        self._plan = floats(REPORT * steps.NUMBERS)
        self._planned: Sequence[steps.Step] = ()
        self._done = 0  # steps since begin()
        self._images: tuple = ()  # what hold() keeps, as steps.gather wants it
        self._steps = Repeated(), Repeated()  # without and with new axes

    @errors_for_people()
    def upload(self, part: str, layers: Layers) -> None:
        """Set a part of what is kept: "weights", "first" (the velocity or the mean of
        gradients), "second" (their mean square) or "average" (of the weights). SOAP's moments are
        along its axes."""
        self._parts[part].copy_to_device(pack(layers))

    @errors_for_people()
    def download(self, part: str) -> Layers:
        """A part of what is kept as it is now."""
        return unpack(self._parts[part].copy_to_host(), self.weights.shapes)

    @errors_for_people()
    def upload_axes(self, axes: Axes) -> None:
        """Set SOAP's axes: covariance and eigenvectors (in rows) of each."""
        covariances, vectors = zip(*axes, strict=True)
        self._soap.covariances.copy_to_device(self._soap.pack(covariances))
        self._soap.vectors.copy_to_device(self._soap.pack(vectors))

    @errors_for_people()
    def download_axes(self) -> Axes:
        """SOAP's axes as they are now."""
        arrays = self._soap.covariances, self._soap.vectors
        return list(zip(*(self._soap.unpack(a.copy_to_host()) for a in arrays), strict=True))

    @errors_for_people()
    def hold(self, blurred: np.ndarray, sharp: np.ndarray, places: np.ndarray, offset: int) -> None:
        """Keep on the device the images that steps are to draw their batches from, before the
        first step: all pixels, and for each sub-image its first pixel, pixels a row and pixels a
        channel; in each of them the label lies at ``offset``."""
        pixels = cuda.device_array(len(blurred) + len(sharp), np.float32)
        pixels[: len(blurred)].copy_to_device(blurred)
        pixels[len(blurred) :].copy_to_device(sharp)
        self._order = cuda.device_array(len(places), np.int32)
        self._turns = cuda.device_array(len(places), np.uint8)
        geometry = numbers(
            *self.inputs.extent, *self.labels.extent, self.inputs.channels, offset, len(blurred),
            self.inputs.data.size,
        )  # fmt: skip
        places = cuda.to_device(np.ascontiguousarray(places, np.int64).reshape(-1))
        self._images = (
            pixels, places, self._order, self._turns, self._batch, geometry,
            self._backpropagation.place,
        )  # fmt: skip

    @errors_for_people()
    def order(self, order: np.ndarray, turns: np.ndarray) -> None:
        """The numbers of all sub-images in the order of an epoch, and how to turn each."""
        self._order.copy_to_device(order.astype(np.int32))
        self._turns.copy_to_device(np.ascontiguousarray(turns, np.uint8))

    @errors_for_people()
    def begin(self, plan: Sequence[steps.Step], first: int = 0) -> None:
        """Plan the next steps, REPORT at most; batches are drawn from ``first`` in the order."""
        if not 0 < len(plan) <= REPORT:
            raise ValueError(f"{len(plan)} steps planned, but it must be 1 to {REPORT}")
        self._plan[: len(plan) * steps.NUMBERS].copy_to_device(np.array(plan, np.float32).ravel())
        self._backpropagation.place.copy_to_device(np.array([0, first], np.int64))
        self._done, self._planned = 0, plan

    def put(self, inputs: np.ndarray, labels: np.ndarray) -> None:
        """Take a batch from main memory, where none are held."""
        for planes, array in ((self.inputs, inputs), (self.labels, labels)):
            shape = (planes.n, planes.channels, planes.extent.height, planes.extent.pitch)
            padded = np.zeros(shape, np.float32)
            padded[:, :, : planes.rows, : planes.columns] = array
            planes.data.copy_to_device(padded.reshape(-1))

    @errors_for_people()
    def step(self) -> None:
        """The next step of the plan, on the batch that is there, or the next of those held."""
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
        losses = batch.squares, batch.losses, self._report, self._plan, batch.place
        if self._soap is None:
            steps.update(self.rule, self.weights.flat, self._state, batch.grads, *losses)
        else:
            steps.judge(*losses, self._verdict)
            self._soap.step(
                self.weights.flat, self._parts, batch.grads, self._plan, batch.place,
                self._verdict, improve,
            )  # fmt: skip

    @errors_for_people()
    def losses(self) -> tuple[np.ndarray, bool]:
        """The loss of each step since :meth:`begin`, and whether training has diverged.

        A step with a loss or a gradient that is not finite, and all steps since, changed nothing:
        their losses are NaN.
        """
        report = self._report.copy_to_host()
        return report[1 : 1 + self._done] / np.float32(2 * self.batch), bool(report[0] > 0)
