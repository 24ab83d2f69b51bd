"""Steps of a pipeline in threads: order, errors, an early end, and how far ahead they go."""

from __future__ import annotations

import threading

import pytest

from npsrcnn.runtime.threads import get_num_threads, limited
from npsrcnn.video.overlap import AHEAD, run_ahead


def test_items_come_in_order_through_two_steps():
    doubled = run_ahead(2 * item for item in run_ahead(iter_of(100)))
    assert list(doubled) == [2 * i for i in range(100)]


def iter_of(n):
    yield from range(n)


def test_an_error_comes_out_after_what_was_before_it():
    def broken():
        yield 1
        raise OSError("no more")

    items = run_ahead(broken())
    assert next(items) == 1
    with pytest.raises(OSError, match="no more"):
        next(items)


def test_closing_early_closes_the_source_and_ends_the_thread():
    closed = threading.Event()

    def endless():
        try:
            while True:
                yield 0
        finally:
            closed.set()

    before = threading.active_count()
    items = run_ahead(endless())
    next(items)
    items.close()
    assert closed.is_set()
    assert threading.active_count() == before


def test_it_goes_a_few_items_ahead_and_no_more():
    made, ahead = [], threading.Event()

    def counted():
        for i in range(1000):
            made.append(i)
            if i == AHEAD + 1:
                ahead.set()
            yield i

    items = run_ahead(counted())
    assert next(items) == 0
    assert ahead.wait(60)
    assert len(made) == AHEAD + 2  # one taken, AHEAD that wait, one that nobody has room for
    items.close()


def test_the_thread_uses_as_many_threads_as_its_caller_may():
    def threads():
        yield get_num_threads()

    with limited(1):
        assert list(run_ahead(threads())) == [1]
