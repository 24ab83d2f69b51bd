"""The training loop on a GPU: the steps of :class:`~npsrcnn.training.trainer.Trainer`, there."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator
from typing import TypeVar

import numpy as np

from npsrcnn.datasets import SubImages
from npsrcnn.datasets.protocols import Source
from npsrcnn.errors import UserError
from npsrcnn.kernels.cuda import steps, training
from npsrcnn.model.network import SRCNN
from npsrcnn.training.optimizers import Optimizer, State, parameters
from npsrcnn.training.ranks import ALONE, Ranks
from npsrcnn.training.trainer import Rate, Trainer, divergence_error

T = TypeVar("T")
STEPS_PER_REPORT = 32
"""Steps between two looks at the losses: looking waits for the GPU."""
RULES = {"sgd": steps.SGD, "adam": steps.ADAM, "soap": steps.SOAP}


class DeviceTrainer(Trainer):
    """Train a network whose weights, averages and images stay on the GPU.

    Parameters are those of :class:`npsrcnn.training.trainer.Trainer`. Sub-images that are held in
    memory are copied to the GPU once and drawn there, in the same order; others batch by batch. The
    arrays of ``net``, ``optimizer`` and ``average`` are up to date after :meth:`state` and
    :meth:`averaged`.
    """

    def __init__(
        self,
        net: SRCNN,
        source: Source,
        optimizer: Optimizer,
        rate: Rate,
        *,
        batch: int = 128,
        seed: int = 0,
        clip: float | None = None,
        average: float = 0.0,
        l1: float = 0.0,
        ranks: Ranks = ALONE,
    ) -> None:
        super().__init__(
            net, source, optimizer, rate,
            batch=batch, seed=seed, clip=clip, average=average, l1=l1, ranks=ranks,
        )  # fmt: skip
        if l1:
            raise UserError("a penalty on the codes (--l1) is for the CPU: GPU kernels have none")
        self._session = training.Session(
            net.layers,
            _paired(optimizer.factors),
            RULES[optimizer.name],
            batch,
            source.size,
            source.label_size,
        )
        self._held = source if isinstance(source, SubImages) else None
        if self._held:
            self._session.hold(*self._held.pixels())

    def run_epoch(self, progress: Callable[[int], float]) -> Generator[float, None, None]:
        """Do what is left of the epoch, some steps at a time; then yield the loss of each.

        Raises
        ------
        UserError
            The loss is not finite: training has diverged. The weights are then those of the
            step before.
        """
        if self._held:
            order = self._held.shuffled(np.random.default_rng((self.seed, self.epoch)))
            self._session.order(*order)
        with contextlib.closing(self._batches(self.position)) as ready:
            while count := min(STEPS_PER_REPORT, self.source.steps(self.batch) - self.position):
                first = self.position * self.batch
                self._session.begin(self._plan(count, progress), first)
                for _ in range(count):
                    if not self._held:
                        self._session.put(*next(ready))
                    self._session.step()
                yield from self._losses(progress)
        self.epoch += 1
        self.position = 0

    def _plan(self, count: int, progress: Callable[[int], float]) -> list[steps.Step]:
        """Return the numbers of the next ``count`` steps, which are counted as done."""
        plan = []
        for _ in range(count):
            step = steps.Step(
                rate=self.rate(self.step, progress(self.step)),
                clip=self.clip or 0.0,
                forget_average=1 - self.average.advance(),
            )
            plan.append(step._replace(**self.optimizer.advance()))
            self.step += 1
            self.position += 1
        return plan

    def _losses(self, progress: Callable[[int], float]) -> list[float]:
        losses, diverged = self._session.losses()
        if diverged:  # the steps from the first bad one on changed nothing
            count = int(np.isnan(losses).sum())
            self.average.rewind(count)
            self.optimizer.rewind(count)
            self.step -= count
            self.position -= count
            raise divergence_error(self.step, self.rate(self.step, progress(self.step)))
        return [float(loss) for loss in losses]

    def averaged(self) -> SRCNN:
        """Return a copy of the network with the average of its weights."""
        self._download()
        return super().averaged()

    def state(self) -> State:
        """Return all that :meth:`restore` needs to go on to the same bits as if never stopped."""
        self._download()
        return super().state()

    def restore(self, state: State) -> None:
        """Go back to where :meth:`state` was taken, with the same network and source."""
        super().restore(state)
        for part, arrays in self._copies().items():
            self._session.upload(part, _paired(arrays))
        if axes := self.optimizer.axes_of_all():
            self._session.upload_axes(axes)

    def _download(self) -> None:
        for part, arrays in self._copies().items():
            for ours, theirs in zip(arrays, parameters(self._session.download(part)), strict=True):
                ours[...] = theirs
        if self.optimizer.axes_of_all():
            self.optimizer.take_axes(self._session.download_axes())

    def _copies(self) -> dict[str, list[np.ndarray]]:
        """Return the arrays on this side of all that the session keeps."""
        return {
            "weights": parameters(self.net.layers),
            "average": parameters(self.average.layers),
            **self.optimizer.moments(),
        }


def _paired(items: list[T]) -> list[tuple[T, T]]:
    """Pair what belongs to weights with what belongs to biases."""
    return list(zip(items[::2], items[1::2], strict=True))
