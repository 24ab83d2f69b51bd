"""Segments on workers of Dask: the same frames, and a worker that is killed costs time only."""

from __future__ import annotations

import dataclasses
import os
import signal
import sys

import numpy as np
import pytest
from moving import frames_of, make_clip, planes_of, times_of
from networks import identity

from npsrcnn.errors import UserError
from npsrcnn.upscaling.cluster import connect
from npsrcnn.video import cluster
from npsrcnn.video.clips import look_through
from npsrcnn.video.cluster import make_on_cluster
from npsrcnn.video.making import make_clip as make_from
from npsrcnn.video.plan import Wishes, make_plan

distributed = pytest.importorskip("distributed", reason="needs the extra dask")
ADDRESS = "local:2"


@pytest.fixture(scope="module")
def plan(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clip")
    options = {"g": "9", "bf": "2", "preset": "medium"}
    source = make_clip(folder / "a.mkv", 40, sound=1, options=options)
    wishes = Wishes(codec="ffv1", segment_frames=6)
    return make_plan(look_through(source), folder / "here.mkv", [identity(scale=2)], 2, wishes)


@pytest.fixture(scope="module")
def expected(plan):
    make_from(plan)
    return frames_of(plan.target)


def assert_same(target, expected, plan):
    found = frames_of(target)
    assert times_of(target) == times_of(plan.clip.path)
    for a, b in zip(found, expected, strict=True):
        for x, y in zip(planes_of(a), planes_of(b), strict=True):
            np.testing.assert_array_equal(x, y)


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL")
def test_the_same_with_a_worker_that_is_killed(plan, expected, monkeypatch):
    killed = []

    class Killing:
        """A cluster of which one worker dies when the first segment is done."""

        def __init__(self, inner):
            self.inner = inner

        def unordered(self, function, pieces):
            for piece, result in self.inner.unordered(function, pieces):
                if not killed:
                    pids = self.inner._client.run(os.getpid)
                    killed.append(sorted(pids.values())[0])
                    os.kill(killed[0], signal.SIGKILL)
                yield piece, result

    class Connected:
        def __init__(self, address):
            self.inner = connect(address)

        def __enter__(self):
            return Killing(self.inner.__enter__())

        def __exit__(self, *error):
            return self.inner.__exit__(*error)

    monkeypatch.setattr(cluster, "connect", Connected)
    there = dataclasses.replace(plan, target=plan.target.with_name("there.mkv"))
    counts = []
    made = make_on_cluster(there, ADDRESS, report=counts.append)
    assert killed and made.frames == sum(counts) == 40
    assert_same(there.target, expected, plan)
    assert not there.parts.exists()


def test_workers_that_do_not_see_the_files_are_one_line(plan, monkeypatch):
    class Blind:
        def __init__(self, address):
            pass

        def __enter__(self):
            return self

        def __exit__(self, *error):
            pass

        def unordered(self, function, pieces):
            def missing():
                raise FileNotFoundError(2, "No such file", "/there/a.mkv")

            yield pieces[0], missing

    monkeypatch.setattr(cluster, "connect", Blind)
    there = dataclasses.replace(plan, target=plan.target.with_name("blind.mkv"))
    with pytest.raises(UserError, match=r"/there/a\.mkv: not there for a worker: workers need"):
        make_on_cluster(there, ADDRESS)
    monkeypatch.setattr(Blind, "unordered", lambda self, f, p: iter([(p[0], lambda: None)]))
    with pytest.raises(UserError, match=r"written by a worker, but not there: workers need"):
        make_on_cluster(there, ADDRESS)
