"""The training loop: it learns, goes on to the same bits, stops cleanly, and names divergence."""

from __future__ import annotations

import queue
import signal
import threading
import time

import numpy as np
import pytest

from npsrcnn import SRCNN
from npsrcnn.datasets.cutting import ALL
from npsrcnn.errors import UserError
from npsrcnn.training.optimizers import SGD, paper_factors, parameters
from npsrcnn.training.trainer import (
    Trainer,
    load_checkpoint,
    prefetch,
    save_checkpoint,
    stop_on_signals,
)


class Noise:
    """Give sub-images to sharpen: the label is the centre of the input, the input has noise."""

    def __init__(self, batches=6, size=9, margin=6):
        self.count, self.size, self.half = batches, size, margin // 2

    def batches(self, seed, epoch, batch_size, start=0, rows=ALL):
        for i in range(start, self.count):
            rng = np.random.default_rng((seed, epoch, i))
            x = rng.standard_normal((batch_size, 1, self.size, self.size)).astype(np.float32)
            inner = x[:, :, self.half : -self.half, self.half : -self.half]
            yield x[rows], np.ascontiguousarray(inner[rows])


def trainer(*, rate=3e-3, clip=1.0, seed=1):
    net = SRCNN("5-3", n=[4], seed=seed, device="reference")
    return Trainer(
        net, Noise(), SGD(net.layers, paper_factors(2)), lambda step, progress: rate,
        batch=8, seed=7, clip=clip, average=0.9,
    )  # fmt: skip


def no_progress(step):
    return 0.0


def test_it_learns():
    subject = trainer()
    losses = [loss for _ in range(30) for loss in subject.run_epoch(no_progress)]
    assert subject.epoch == 30 and subject.step == 180 and subject.position == 0
    assert subject.sub_images == 180 * 8
    assert np.mean(losses[-20:]) < 0.2 * np.mean(losses[:20])


def test_training_ends_after_so_many_steps_within_an_epoch_and_goes_on():
    subject = trainer()
    assert len(list(subject.train(9))) == 9 == subject.step
    assert (subject.epoch, subject.position) == (1, 3)
    assert len(list(subject.train(12))) == 3 and not list(subject.train(12))
    assert len(list(subject.train(13))) == 1 and subject.epoch == 2


@pytest.mark.parametrize("after", [4, 6, 8])  # in an epoch, at its end, in the next
def test_a_resumed_training_ends_in_the_same_bits(tmp_path, after):
    straight = trainer()
    for _ in range(3):
        list(straight.run_epoch(no_progress))

    stopped = trainer()
    while stopped.step < after:
        for _ in stopped.run_epoch(no_progress):
            if stopped.step == after:
                break
    save_checkpoint(tmp_path / "c.npz", stopped, {"note": "half way"})
    resumed = trainer(seed=99)  # other initial weights: the checkpoint replaces them
    state, facts = load_checkpoint(tmp_path / "c.npz")
    resumed.restore(state)
    assert facts == {"note": "half way"} and resumed.step == after
    while resumed.epoch < 3:
        list(resumed.run_epoch(no_progress))

    for a, b in zip(
        parameters(straight.net.layers) + parameters(straight.average.layers),
        parameters(resumed.net.layers) + parameters(resumed.average.layers),
        strict=True,
    ):
        assert np.array_equal(a, b)


def test_divergence_is_named_and_leaves_the_last_finite_weights():
    subject = trainer(rate=1e4, clip=None)
    with pytest.raises(UserError, match=r"not finite after \d+ steps .* smaller --lr"):
        for _ in range(50):
            with np.errstate(all="ignore"):
                list(subject.run_epoch(no_progress))
    assert all(np.isfinite(p).all() for p in parameters(subject.net.layers))


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 and no more", b"weights", None], ids=str)
def test_a_checkpoint_that_is_none(tmp_path, content):
    path = tmp_path / "checkpoint.npz"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match=r"checkpoint"):
        load_checkpoint(path)


def test_prefetch_gives_every_item_in_order_and_ends_its_thread():
    before = threading.active_count()
    for burst in (1, 3, 20, 21):
        assert list(prefetch(range(20), burst)) == list(range(20))
    early = prefetch(range(10**9), 2)
    assert [next(early), next(early)] == [0, 1]
    early.close()
    assert threading.active_count() == before


def test_prefetch_works_ahead_in_bursts():
    """Three items are the caller's, three are ready, three wait for their place."""
    asked, last_made, made, asked_when_made = 0, -1, queue.Queue(), []

    def items():
        for i in range(21):
            asked_when_made.append(asked)
            made.put(i)
            yield i

    ready = prefetch(items(), 3)
    for burst in range(7):
        for i in range(3 * burst, 3 * burst + 3):
            asked += 1
            assert next(ready) == i
        while last_made < min(3 * burst + 8, 20):  # it works while the caller asks for nothing
            last_made = made.get(timeout=60)
    assert next(ready, None) is None
    # A burst is begun once the caller has asked for the first item of the burst before the last.
    for i, count in enumerate(asked_when_made):
        assert count >= 3 * (i // 3 - 2) + 1 or i < 6


def test_prefetch_hands_on_the_error():
    def broken():
        yield 1
        raise OSError("the disk is gone")

    for burst in (1, 2):
        ready = prefetch(broken(), burst)
        assert next(ready) == 1
        with pytest.raises(OSError, match="the disk is gone"):
            next(ready)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_asks_and_the_second_interrupts(number):
    before = signal.getsignal(number)
    with stop_on_signals() as stop:
        assert not stop.is_set()
        signal.raise_signal(number)  # on Windows os.kill would end the process
        assert stop.wait(5)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
            time.sleep(5)
    assert signal.getsignal(number) is before
