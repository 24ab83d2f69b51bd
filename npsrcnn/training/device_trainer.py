"""The training loop on a GPU: the same steps as :class:`npsrcnn.training.trainer.Trainer`, done there."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import numpy as np

from npsrcnn.datasets import SubImages
from npsrcnn.errors import UserError
from npsrcnn.kernels.cuda import steps, training
from npsrcnn.model.network import SRCNN
from npsrcnn.training.optimizers import SGD, Adam, parameters
from npsrcnn.training.soap import SOAP
from npsrcnn.training.trainer import Source, Trainer, divergence

BETWEEN = 32
"""Steps between two looks at the losses: looking waits for the GPU."""
RULES = {SGD: steps.SGD, Adam: steps.ADAM, SOAP: steps.SOAP}


class DeviceTrainer(Trainer):
    """A network in training whose weights, averages and images stay on the GPU.

    Parameters are those of :class:`npsrcnn.training.trainer.Trainer`. Sub-images that are held in memory
    are copied to the GPU once and drawn there, in the same order; others batch by batch. The
    arrays of ``net``, ``optimizer`` and ``average`` are up to date after :meth:`state` and
    :meth:`averaged`.
    """

    def __init__(
        self,
        net: SRCNN,
        source: Source,
        optimizer: SGD | Adam | SOAP,
        rate: Callable[[int, float], float],
        **options,
    ) -> None:
        super().__init__(net, source, optimizer, rate, **options)
        if self.l1:
            raise UserError("a penalty on the codes (--l1) is for the CPU: GPU kernels have none")
        self._counts = isinstance(optimizer, (Adam, SOAP))  # its steps
        factors = optimizer.factors
        self._session = training.Session(
            net.layers,
            list(zip(factors[::2], factors[1::2], strict=True)),
            RULES[type(optimizer)],
            self.batch,
            source.size,
            source.label_size,
        )
        if isinstance(source, SubImages):
            self._session.hold(*source.pixels(), source.cut.border)

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
            self._session.order(*order)
        with contextlib.closing(self._batches(self.position)) as ready:
            while count := min(BETWEEN, self.source.steps(self.batch) - self.position):
                first = self.position * self.batch
                self._session.begin(self._plan(count, progress), first)
                for _ in range(count):
                    if not draws:
                        self._session.put(*next(ready))
                    self._session.step()
                yield from self._losses(progress)
        self.epoch += 1
        self.position = 0

    def _plan(self, count: int, progress: Callable[[int], float]) -> list[steps.Step]:
        """The numbers of the next ``count`` steps, which are counted as done."""
        plan = []
        for _ in range(count):
            numbers = {
                "rate": self.rate(self.step, progress(self.step)),
                "clip": self.clip or 0.0,
                "forget_average": 1 - self.average.advance(),
            }
            if self._counts:
                rule = self.optimizer
                rule.steps += 1
                numbers |= {
                    "forget_mean": 1 - rule.beta1,
                    "forget_square": 1 - rule.beta2,
                    "correct_mean": 1 / (1 - rule.beta1**rule.steps),
                    "correct_square": 1 / (1 - rule.beta2**rule.steps),
                    "epsilon": float(rule.epsilon),
                }
                if isinstance(rule, SOAP):
                    numbers["improve"] = float(rule.steps % rule.every == 0)
            else:
                numbers["momentum"] = float(self.optimizer.momentum)
            plan.append(steps.Step(**numbers))
            self.step += 1
            self.position += 1
        return plan

    def _losses(self, progress: Callable[[int], float]) -> list[float]:
        losses, diverged = self._session.losses()
        if diverged:  # the steps from the first bad one on changed nothing
            self._count_back(int(np.isnan(losses).sum()))
            raise divergence(self.step, self.rate(self.step, progress(self.step)))
        return losses.tolist()

    def _count_back(self, count: int) -> None:
        for counter in (self.average, *([self.optimizer] if self._counts else [])):
            counter.steps -= count
        self.step -= count
        self.position -= count

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
        if isinstance(self.optimizer, SOAP):
            axes = self.optimizer.all_axes()
            self._session.upload_axes([(axis.covariance, axis.vectors) for *_, axis in axes])

    def _download(self) -> None:
        for part, arrays in self._kept().items():
            for ours, theirs in zip(arrays, parameters(self._session.download(part)), strict=True):
                ours[...] = theirs
        if isinstance(self.optimizer, SOAP):
            axes = self._session.download_axes()
            for (*_, axis), (covariance, vectors) in zip(
                self.optimizer.all_axes(), axes, strict=True
            ):
                axis.covariance[...] = covariance
                axis.take(vectors.astype(np.float64))

    def _kept(self) -> dict[str, list[np.ndarray]]:
        """This side's copies of what the session keeps."""
        optimizer = self.optimizer
        moments = (
            {"first": optimizer.mean, "second": optimizer.square}
            if self._counts
            else {"first": optimizer.velocity}
        )
        return {
            "weights": parameters(self.net.layers),
            "average": parameters(self.average.layers),
            **moments,
        }
