"""Pictures that names and folders stand for, and what is left out."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from npsrcnn import images
from npsrcnn.errors import UsageError
from npsrcnn.runtime.files import expand_pattern
from npsrcnn.upscaling import sources
from npsrcnn.upscaling.jobs import chosen_format, plan_jobs
from npsrcnn.upscaling.sources import find_pictures


@pytest.fixture
def holidays(tmp_path):
    """A folder as a phone and a browser leave it."""
    names = ["a.jpg", "b.jfif", "c.qoi", "e.psd", ".hidden.jpg", "day2/d.jpg", "day2/in/f.png"]
    for name in names:
        path = tmp_path / "holidays" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    return tmp_path / "holidays"


def targets(jobs, folder):
    return {str(job.source.relative_to(folder)): str(job.target) for job in jobs}


def test_a_folder_without_r_says_what_it_leaves_out(holidays):
    found = find_pictures([holidays], None, "_x2")
    folder = holidays.with_name("holidays_x2")
    assert found.pictures == [(holidays / name, folder) for name in ("a.jpg", "b.jfif")]
    assert list(found.lines()) == [
        "2 left out by their suffix: c.qoi, e.psd",
        "1 left out, folders within, which -r takes: day2",
    ]


def test_pictures_that_take_a_package_are_left_out_with_its_name(holidays, monkeypatch):
    monkeypatch.setattr(sources, "IN_EXTRA", {".heic"})
    monkeypatch.setattr(images, "SUFFIXES", images.SUFFIXES - {".heic"})
    (holidays / "phone.HEIC").write_bytes(b"x")
    first, *others = find_pictures([holidays], None, "_x2").lines()
    assert first.startswith("1 left out, which takes a package more: pip install ")
    assert first.endswith('[formats]": phone.HEIC') and len(others) == 2


@pytest.mark.parametrize("output", [None, "out"])
def test_a_folder_with_r_keeps_its_tree(holidays, output):
    output = output and holidays / output  # within it, and not entered when it is there
    for _ in range(2):
        jobs, found = plan_jobs([holidays], output, suffix="_x2", recursive=True)
        folder = output or holidays.with_name("holidays_x2")
        assert targets(jobs, holidays) == {
            "a.jpg": str(folder / "a_x2.jpg"),
            "b.jfif": str(folder / "b_x2.jfif"),
            "day2/d.jpg": str(folder / "day2" / "d_x2.jpg"),
            "day2/in/f.png": str(folder / "day2" / "in" / "f_x2.png"),
        }
        assert not found.failures and not found.subfolders
        for job in jobs:
            assert job.target.parent.is_dir()
            job.target.write_bytes(b"y")


def test_links_to_folders_are_no_endless_trees(holidays):
    (holidays / "day2" / "again").symlink_to(holidays, target_is_directory=True)
    (holidays / "day2" / "broken.png").symlink_to("nowhere.png")
    found = find_pictures([holidays], None, "_x2", recursive=True)
    assert len(found.pictures) == 4
    assert list(found.lines())[1:] == [
        "1 left out, links that lead nowhere: broken.png",
        "1 left out, links to folders: again",
    ]


def test_patterns_of_several_folders(holidays, monkeypatch):
    monkeypatch.chdir(holidays)
    jobs, _ = plan_jobs(expand_pattern(Path("**/*.jpg")), suffix="_x2")
    assert [str(job.source) for job in jobs] == ["a.jpg", "day2/d.jpg"]
    assert [str(job.target) for job in jobs] == ["a_x2.jpg", "day2/d_x2.jpg"]


def test_results_are_no_sources_when_a_pattern_is_used_again(holidays):
    again = [holidays / "a.jpg", holidays / "a_x2.jpg", holidays / "new.jpg"]
    with pytest.raises(UsageError, match="would be overwritten"):
        plan_jobs(again, suffix="_x2")
    jobs, _ = plan_jobs(again, suffix="_x2", skip_existing=True)
    assert [job.source.name for job in jobs] == ["a.jpg", "new.jpg"]
    grey = [holidays / "b.pgm", holidays / "b_pgm_x2.png"]  # what 16 bits become
    jobs, _ = plan_jobs(grey, suffix="_x2", skip_existing=True)
    assert [job.source.name for job in jobs] == ["b.pgm"] and jobs[0].fallback == grey[1]


@pytest.mark.parametrize("suffix", [".qoi", ".PSD"])
def test_a_picture_that_cannot_be_written_is_no_folder(suffix, holidays):
    with pytest.raises(UsageError, match=f"cannot write {suffix.lower()}"):
        chosen_format(holidays / f"result{suffix}", None)


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written_is_said_before_the_work(holidays):
    holidays.chmod(0o500)
    jobs, found = plan_jobs([holidays / "a.jpg"], suffix="_x2")
    assert not jobs and "Permission denied" in found.failures[0].message


@pytest.mark.skipif(os.name == "nt", reason="Windows counts the whole path")
@pytest.mark.parametrize("also_bicubic", [False, True])
def test_results_of_too_long_names_are_said_before_the_work_and_others_go_on(
    holidays, also_bicubic
):
    path = holidays / ("a" * (243 if also_bicubic else 249) + ".jpg")
    (holidays / "a.jpg").rename(path)
    jobs, found = plan_jobs([holidays], suffix="_x2", also_bicubic=also_bicubic)
    assert [job.source.name for job in jobs] == ["b.jfif"]
    (failure,) = found.failures
    assert failure.source == path and failure.message.endswith("too long; choose a shorter one")
    jobs, found = plan_jobs([path], holidays / "short.jpg", suffix="")
    assert [job.source for job in jobs] == [path] and not found.failures


def test_a_folder_that_is_a_file_is_said_before_the_work(holidays):
    (holidays.parent / "holidays_x2").write_text("in the way")
    jobs, found = plan_jobs([holidays, holidays / "day2" / "d.jpg"], suffix="_x2")
    assert [job.source.name for job in jobs] == ["d.jpg"]
    assert "holidays_x2" in found.failures[0].message
