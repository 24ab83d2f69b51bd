"""The training loop on a GPU: the same steps as :class:`npsrcnn.trainer.Trainer`, done there."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import numpy as np

from npsrcnn import optimizers
from npsrcnn.datasets import SubImages
from npsrcnn.errors import UserError
from npsrcnn.kernels.cuda import training
from npsrcnn.kernels.cuda.steps import ADAM, SGD, Step
from npsrcnn.network import SRCNN
from npsrcnn.optimizers import Adam, Optimizer, parameters
from npsrcnn.trainer import Source, Trainer, divergence

BETWEEN = 32
"""Steps between two looks at the losses: looking waits for the GPU."""


def trainer_for(net: SRCNN, source: Source, optimizer: Optimizer, *rest, **options) -> Trainer:
    """The training loop for a network on the GPU.

    Steps of SGD and Adam are the GPU's own. For any other optimizer it computes the gradients, and
    weights and batches come from main memory at every step.
    """
    kind = DeviceTrainer if isinstance(optimizer, (optimizers.SGD, Adam)) else Trainer
    return kind(net, source, optimizer, *rest, **options)


class DeviceTrainer(Trainer):
    """A network in training whose weights, averages and images stay on the GPU.

    Parameters are those of :class:`npsrcnn.trainer.Trainer`. Sub-images that are held in memory
    are copied to the GPU once and drawn there, in the same order; others batch by batch. The
    arrays of ``net``, ``optimizer`` and ``average`` are up to date after :meth:`state` and
    :meth:`averaged`.
    """

    def __init__(
        self,
        net: SRCNN,
        source: Source,
        optimizer: optimizers.SGD | Adam,
        rate: Callable[[int, float], float],
        **options,
    ) -> None:
        super().__init__(net, source, optimizer, rate, **options)
        if self.l1:
            raise UserError("a penalty on the codes (--l1) is for the CPU: GPU kernels have none")
        if self.renewal.until:
            raise UserError("maps are renewed (--renew) between steps on the CPU, as SOAP's are")
        self._adam = isinstance(optimizer, Adam)
        factors = optimizer.factors
        self._session = training.Session(
            net.layers,
            list(zip(factors[::2], factors[1::2], strict=True)),
            ADAM if self._adam else SGD,
            self.batch,
            source.size,
            source.label_size,
        )
        if isinstance(source, SubImages):
            self._session.hold(*source.pixels())

    def run_epoch(self, progress: Callable[[int], float]) -> Iterator[float]:
        """Do what is left of the epoch, some steps at a time; then yield the loss of each.

        Raises
        ------
        UserError
            The loss is not finite: training has diverged. The weights are then those of the
            step before.
        """
        draws = isinstance(self.source, SubImages)
        if draws:
            order = self.source.shuffled(np.random.default_rng((self.seed, self.epoch)))
            self._session.order(*order, self.source.cut.label_offset)
        with contextlib.closing(self._batches(self.position)) as ready:
            while steps := min(BETWEEN, self.source.steps(self.batch) - self.position):
                first = self.position * self.batch
                self._session.begin(self._plan(steps, progress), first)
                for _ in range(steps):
                    if draws:
                        self._session.draw()
                    else:
                        self._session.put(*next(ready))
                    self._session.step()
                yield from self._losses(progress)
        self.epoch += 1
        self.position = 0

    def _plan(self, steps: int, progress: Callable[[int], float]) -> list[Step]:
        """The numbers of the next ``steps`` steps, which are counted as done."""
        plan = []
        for _ in range(steps):
            numbers = {
                "rate": self.rate(self.step, progress(self.step)),
                "clip": self.clip or 0.0,
                "forget_average": 1 - self.average.advance(),
            }
            if self._adam:
                adam = self.optimizer
                adam.steps += 1
                numbers |= {
                    "forget_mean": 1 - adam.beta1,
                    "forget_square": 1 - adam.beta2,
                    "correct_mean": 1 / (1 - adam.beta1**adam.steps),
                    "correct_square": 1 / (1 - adam.beta2**adam.steps),
                    "epsilon": float(adam.epsilon),
                }
            else:
                numbers["momentum"] = float(self.optimizer.momentum)
            plan.append(Step(**numbers))
            self.step += 1
            self.position += 1
        return plan

    def _losses(self, progress: Callable[[int], float]) -> list[float]:
        losses, diverged = self._session.losses()
        if diverged:  # the steps from the first bad one on changed nothing
            self._count_back(int(np.isnan(losses).sum()))
            raise divergence(self.step, self.rate(self.step, progress(self.step)))
        return losses.tolist()

    def _count_back(self, steps: int) -> None:
        for counter in (self.average, *([self.optimizer] if self._adam else [])):
            counter.steps -= steps
        self.step -= steps
        self.position -= steps

    def averaged(self) -> SRCNN:
        """A copy of the network with the average of its weights."""
        self._download()
        return super().averaged()

    def state(self) -> dict[str, np.ndarray]:
        """All that :meth:`restore` needs to go on to the same bits as if never stopped."""
        self._download()
        return super().state()

    def restore(self, state: dict[str, np.ndarray]) -> None:
        """Go back to where :meth:`state` was taken, with the same network and source."""
        super().restore(state)
        for part, arrays in self._kept().items():
            self._session.upload(part, list(zip(arrays[::2], arrays[1::2], strict=True)))

    def _download(self) -> None:
        for part, arrays in self._kept().items():
            for ours, theirs in zip(arrays, parameters(self._session.download(part)), strict=True):
                ours[...] = theirs

    def _kept(self) -> dict[str, list[np.ndarray]]:
        """This side's copies of what the session keeps."""
        optimizer = self.optimizer
        moments = (
            {"first": optimizer.mean, "second": optimizer.square}
            if self._adam
            else {"first": optimizer.velocity}
        )
        return {
            "weights": parameters(self.net.layers),
            "average": parameters(self.average.layers),
            **moments,
        }
