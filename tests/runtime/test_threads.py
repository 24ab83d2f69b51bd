"""Threads: every piece once, limits that hold for one caller, forks, and errors."""

from __future__ import annotations

import os
import threading
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import pytest
from processes import run_python

from npsrcnn.kernels import cpu
from npsrcnn.kernels.cpu import training
from npsrcnn.model.network import SRCNN
from npsrcnn.runtime import threads


@pytest.fixture(autouse=True)
def three_threads():
    threads.set_num_threads(3)


def threads_that_work(n):
    """How many threads take one of n pieces each; fails if they do not all work at once."""
    seen, barrier = set(), threading.Barrier(n, timeout=60)

    def piece(i):
        seen.add(threading.get_ident())
        barrier.wait()

    threads.parallel(piece, n)
    return len(seen)


@pytest.mark.parametrize("n", [0, 1, 2, 100])
def test_every_piece_is_computed_once(n):
    done = []
    threads.parallel(lambda i, offset: done.append(i + offset), n, 5)
    assert sorted(done) == list(range(5, 5 + n))


def test_a_limit_holds_for_the_python_thread_that_asked_for_it():
    with threads.limited(2):
        assert threads.get_num_threads() == 2 == threads_that_work(2)
        with threads.limited(1), ThreadPoolExecutor(1) as other:
            assert threads.get_num_threads() == 1 == threads_that_work(1)
            assert other.submit(threads.get_num_threads).result() == 3
        with threads.limited(5):
            assert threads.get_num_threads() == 2
    assert threads.get_num_threads() == 3 == threads_that_work(3)


def test_an_error_in_a_piece_is_raised_and_leaves_no_piece_to_others():
    done = []

    def piece(i):
        if i == 3:
            raise ZeroDivisionError
        done.append(i)

    with threads.limited(1), pytest.raises(ZeroDivisionError):
        threads.parallel(piece, 100)
    assert done == [0, 1, 2]
    with pytest.raises(ZeroDivisionError):
        threads.parallel(piece, 100)
    threads.parallel(done.append, 2)
    assert done[-2:] in ([0, 1], [1, 0])


class Stopped(Exception):
    pass


def stop():
    raise Stopped


def test_a_check_that_raises_ends_the_work_before_its_next_piece():
    done = []

    def check():
        if len(done) == 3:
            raise Stopped

    with threads.limited(1), threads.checked(check):
        with pytest.raises(Stopped):
            threads.parallel(done.append, 100)
        assert done == [0, 1, 2]
    with threads.checked(stop), pytest.raises(Stopped):
        threads.parallel(done.append, 100)  # on all threads
    threads.parallel(done.append, 2)
    assert len(done) == 5


def test_a_check_is_for_its_python_thread_and_those_that_it_is_handed_to():
    def work(n):
        threads.parallel(lambda i: None, n)
        return n

    with threads.checked(stop), ThreadPoolExecutor(1) as other:
        assert other.submit(work, 5).result() == 5
        with pytest.raises(Stopped):
            other.submit(threads.with_check(work), 5).result()
        assert other.submit(work, 5).result() == 5
    assert threads.with_check(work) is work


def test_an_index_error_of_a_kernel_is_no_end_of_the_work():
    def piece(i):
        raise IndexError("out of bounds")

    with pytest.raises(IndexError, match="out of bounds"):
        threads.parallel(piece, 5)


def test_a_wait_for_work_looks_up_every_while(monkeypatch):
    """On Windows a wait without limit is deaf to Ctrl-C."""
    limits, futures = [], [Future(), Future()]

    def wait(some, timeout, return_when):
        limits.append(timeout)
        if len(limits) == 3:
            futures[1].set_result("done")
        return {future for future in some if future.done()}, set()

    monkeypatch.setattr(threads, "wait", wait)
    assert threads.wait_for_any(futures) == {futures[1]}
    assert len(limits) == 3 and max(limits) <= 1


@pytest.mark.parametrize("wrong", [0, -1, 1.5, "2", None])
def test_numbers_of_threads_that_are_none_are_refused(wrong):
    with pytest.raises(ValueError, match="whole number of at least 1"):
        threads.set_num_threads(wrong)
    assert threads.get_num_threads() == 3


@pytest.mark.parametrize(("text", "expected"), [("5", "5"), ("0", None), ("two", None)])
def test_the_environment_sets_the_number_of_threads_if_it_is_one(text, expected):
    code = "from npsrcnn.runtime import threads; print(threads.get_num_threads())"
    usable = run_python(code, NPSRCNN_NUM_THREADS="")
    assert run_python(code, NPSRCNN_NUM_THREADS=text).strip() == (expected or usable.strip())


def test_work_space_begins_at_a_cache_line_and_belongs_to_one_thread():
    space = threads.work_space(1000)
    assert space.dtype == np.float32 and space.shape == (1000,)
    assert space.ctypes.data % (4 * threads.CACHE_LINE_FLOATS) == 0
    assert np.shares_memory(space, threads.work_space(10))
    with ThreadPoolExecutor(1) as other:
        assert not np.shares_memory(space, other.submit(threads.work_space, 1000).result())


def test_kernels_run_in_several_python_threads_at_once():
    net = SRCNN("3-1", n=(5,))
    rng = np.random.default_rng(0)
    inputs = rng.standard_normal((8, 12, 1, 11, 9)).astype(np.float32)
    labels = rng.standard_normal((8, 12, 1, 9, 7)).astype(np.float32)

    def work(i):
        loss, grads = training.loss_and_grads(net.layers, inputs[i], labels[i])
        y = cpu.conv2d(inputs[i], *net.layers[0])
        return loss, y.tobytes(), [a.tobytes() for pair in grads for a in pair]

    one_by_one = [work(i) for i in range(8)]
    with ThreadPoolExecutor(8) as pool:
        for _ in range(5):
            assert list(pool.map(work, range(8))) == one_by_one


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_computes_the_same():
    code = """
import os
from npsrcnn.runtime import threads
from small_work import *
assert threads.get_num_threads() == 3
parts = plain, fused_inference, fused_training
result = digests(*parts)
child = os.fork()
if child == 0:
    os._exit(0 if digests(*parts) == result else 3)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), digests(*parts) == result)
"""
    # Python 3.12 warns of forks of processes with threads: that is what is tried here.
    environment = {"NPSRCNN_NUM_THREADS": "3", "PYTHONWARNINGS": "ignore::DeprecationWarning"}
    assert run_python(code, beside=__file__, **environment).split() == ["0", "True"]
