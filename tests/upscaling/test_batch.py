"""All pictures that a command was given: how far they are, and an end halfway."""

from __future__ import annotations

import functools

import numpy as np
import pytest
from networks import near_identity
from PIL import Image

from npsrcnn import images
from npsrcnn.runtime.threads import checked
from npsrcnn.upscaling import batch, compiling, strips
from npsrcnn.upscaling.batch import enlarge_all
from npsrcnn.upscaling.choice import Chosen
from npsrcnn.upscaling.files import EnlargeOptions
from npsrcnn.upscaling.jobs import plan_jobs
from npsrcnn.upscaling.outcomes import Enlarged


class Stopped(Exception):
    pass


@pytest.fixture
def options(rng, monkeypatch):
    """Networks for x2, and strips of 64 rows."""
    monkeypatch.setattr(strips, "STRIP", 64)
    return EnlargeOptions(Chosen([near_identity(rng, scale=2)]), 2)


@pytest.fixture
def jobs(tmp_path, rng):
    """Pictures whose results are 200 rows high."""
    (tmp_path / "in").mkdir()
    for i in range(4):
        pixels = rng.integers(0, 256, (100, 40 + i, 3), np.uint8)
        Image.fromarray(pixels).save(tmp_path / "in" / f"{i}.png")
    return plan_jobs([tmp_path / "in"], tmp_path / "out", suffix="")[0]


def run(jobs, options, progress=lambda job, done, parts: None):
    return list(enlarge_all(jobs, options, progress=progress, say=lambda line: None))


def test_parts_of_each_picture_are_told_as_they_are_done(jobs, options):
    told = {job: [] for job in jobs}
    outcomes = run(jobs, options, lambda job, *parts: told[job].append(parts))
    assert all(isinstance(outcome, Enlarged) for _, outcome in outcomes) and len(outcomes) == 4
    assert list(told.values()) == [[(1, 4), (2, 4), (3, 4), (4, 4)]] * 4


def test_of_a_picture_of_several_pages_pages_are_told(jobs, options, tmp_path):
    pages = [images.read(job.source) for job in jobs[:3]]
    (tmp_path / "pages").mkdir()
    images.write_pages(tmp_path / "pages" / "a.tif", iter(pages))
    (job,), _ = plan_jobs([tmp_path / "pages"], tmp_path / "out", suffix="")
    told = []
    run([job], options, lambda _, *parts: told.append(parts))
    assert told == [(1, 3), (2, 3), (3, 3)]


@pytest.mark.parametrize("count", [1, 4])
def test_a_check_ends_pictures_halfway_and_leaves_no_file(count, jobs, options):
    told = set()

    def stop(job):
        if job in told:
            raise Stopped

    jobs = jobs[-count:]
    with checked(functools.partial(stop, jobs[-1])), pytest.raises(Stopped):
        run(jobs, options, lambda job, done, parts: told.add(job))
    left = set(jobs[0].target.parent.iterdir())
    assert left <= {job.target for job in jobs[:-1]}  # whole, and nothing that was begun


def test_what_is_missing_is_said_before_anything_is_compiled(jobs, options, monkeypatch):
    compiled = []

    def compile_kernels(nets):
        compiled.append(nets)
        return compiling.Compiled(0, ())

    monkeypatch.setattr(batch, "compile_kernels", compile_kernels)
    for job in jobs[:2]:
        job.source.unlink()
    outcomes = enlarge_all(jobs, options, progress=lambda *_: None, say=lambda _: None)
    for job in jobs[:2]:
        found, outcome = next(outcomes)
        assert found == job and "No such file" in outcome.message and not compiled
    assert [isinstance(outcome, Enlarged) for _, outcome in outcomes] == [True, True]
    assert len(compiled) == 1
