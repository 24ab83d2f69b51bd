"""Folders of pictures: side by side, as memory allows, and what goes wrong with some."""

from __future__ import annotations

import errno
import functools
import io
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from npsrcnn import SRCNN, images, load, upscale
from npsrcnn.commands.progress import Progress
from npsrcnn.commands.upscale import main
from npsrcnn.errors import UserError
from npsrcnn.runtime import memory
from npsrcnn.runtime.files import write_atomically
from npsrcnn.runtime.threads import get_num_threads, set_num_threads, wait_for_any
from npsrcnn.upscaling import folder as folder_module
from npsrcnn.upscaling.choice import Chosen
from npsrcnn.upscaling.files import EnlargeOptions, Job, Need, enlarge_file
from npsrcnn.upscaling.folder import enlarge_files
from npsrcnn.upscaling.streaming import BASE

JOB = Job(Path("in.png"), Path("out.png"))


@pytest.fixture
def threads():
    """Two threads, whatever the machine has: three pictures at a time."""
    set_num_threads(2)
    return 2


@pytest.fixture
def model(tmp_path):
    """A file of weights for scale 2."""
    path = tmp_path / "model" / "model.npz"
    path.parent.mkdir()
    SRCNN("5-1-3", n=[8, 4], seed=1, metadata={"scale": 2}).save(path)
    return str(path)


@pytest.fixture
def folder(tmp_path, rng):
    """Twelve pictures of several kinds and sizes."""
    path = tmp_path / "in"
    path.mkdir()
    for i in range(12):
        shape = (20 + 3 * i, 30 + i, *((), (3,), (4,))[i % 3])
        images.write(path / f"{i:02}.png", rng.integers(0, 256, shape, np.uint8))
    return path


def jobs_of(number, folder):
    return [Job(folder / f"{i}.png", folder / f"{i}_x2.png") for i in range(number)]


def test_each_picture_is_as_alone(folder, model, threads, capsys):
    assert main([str(folder), "--model", model]) == 0
    out = capsys.readouterr().out
    assert re.search(
        r"\d\.\d s, \d+\.\d\d images a second: 12 enlarged, 0 skipped, 0 failed\n$", out
    )
    for path in images.list_images(folder):
        alone = folder / "alone.png"
        enlarge_file(Job(path, alone), EnlargeOptions(Chosen([load(model)]), 2))
        result = folder.with_name("in_x2") / f"{path.stem}_x2.png"
        assert result.read_bytes() == alone.read_bytes()
        alone.unlink()
    picture = images.read(folder / "00.png").pixels
    result = images.read(folder.with_name("in_x2") / "00_x2.png").pixels
    np.testing.assert_array_equal(result, upscale(picture, 2, model))


def test_as_many_at_a_time_as_cores_and_one_more(tmp_path, threads, monkeypatch):
    """All of them meet, or the barrier breaks; none sees more threads than its share."""
    monkeypatch.setattr(folder_module, "need_of", lambda job, options: Need(1, False))
    together, shares = threading.Barrier(threads + 1), []

    def meet(job, options):
        shares.append(get_num_threads())
        together.wait(timeout=20)
        return {}

    done = list(
        enlarge_files(jobs_of(3 * (threads + 1), tmp_path), EnlargeOptions(Chosen([]), 2), meet)
    )
    assert len(done) == 9 and all(outcome == {} for _, outcome in done)
    assert max(shares[:6]) == 1
    assert shares[-1] == threads  # the last one takes what the others leave


def test_pictures_of_which_memory_holds_one_at_a_time_take_all_cores(
    tmp_path, threads, monkeypatch
):
    monkeypatch.setattr(folder_module, "need_of", lambda job, options: Need(10**9, False))
    shares = []

    def enlarge(job, options):
        shares.append(get_num_threads())
        return {}

    options = EnlargeOptions(Chosen([]), 2, memory=BASE + 15 * 10**8)
    list(enlarge_files(jobs_of(8, tmp_path), options, enlarge))
    assert shares == [threads] * 8


def test_memory_limits_how_many_are_in_work(tmp_path, threads, monkeypatch):
    need = {"0.png": 500, "1.png": 300, "2.png": 300, "3.png": 5000, "4.png": 100}
    monkeypatch.setattr(
        folder_module, "need_of", lambda job, options: Need(10**6 * need[job.source.name], False)
    )
    in_work = []

    def look_and_wait(running):
        in_work.append(sum(need[job.source.name] for job, _ in running.values()))
        return wait_for_any(running)

    monkeypatch.setattr(folder_module, "wait_for_any", look_and_wait)
    options = EnlargeOptions(Chosen([]), 2, memory=BASE + 850 * 10**6)
    assert len(list(enlarge_files(jobs_of(5, tmp_path), options, lambda job, options: {}))) == 5
    assert in_work[0] == 800 and max(size for size in in_work if size != 5000) <= 850
    assert 5000 in in_work  # what needs more than there is goes alone


def test_failures_are_listed_in_the_end(folder, model, threads, capsys, tmp_path):
    (folder / "05.png").write_bytes(b"no picture")
    (folder / "07.png").write_bytes((folder / "06.png").read_bytes()[:200])
    report = tmp_path / "report.json"
    assert main([str(folder), "--model", model, "--json", str(report)]) == 1
    captured = capsys.readouterr()
    errors = captured.err.splitlines()
    assert len(errors) == 2
    assert f"{folder / '05.png'}: not an image" in errors[0]
    assert f"{folder / '07.png'}: damaged or truncated" in errors[1]
    assert captured.out.endswith("10 enlarged, 0 skipped, 2 failed\n")
    rows = json.loads(report.read_text())["pictures"]
    assert [Path(row["source"]).name for row in rows] == [f"{i:02}.png" for i in range(12)]
    assert [i for i, row in enumerate(rows) if "error" in row] == [5, 7]
    assert len(list(folder.with_name("in_x2").iterdir())) == 10


def test_a_full_disk_ends_the_run_and_nothing_is_lost(folder, model, threads, capsys, monkeypatch):
    write_bytes, left = Path.write_bytes, [4]

    def fill_up(self, data):
        if not left or "_x2" not in self.name:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        left[0] -= 1
        if left[0] == 0:
            left.clear()
        return write_bytes(self, data)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", fill_up)
        assert main([str(folder), "--model", model]) == 1
    captured = capsys.readouterr()
    errors = captured.err.splitlines()
    assert 1 <= len(errors) <= threads + 1  # those that were in work
    assert all("No space left on device; free some space" in line for line in errors)
    rest = 12 - 4 - len(errors)
    assert f"{rest} not begun: run it again with --skip-existing" in captured.out
    made = {path: path.read_bytes() for path in folder.with_name("in_x2").iterdir()}
    assert len(made) == 4
    assert main([str(folder), "--model", model, "--skip-existing"]) == 0
    assert "8 enlarged, 4 skipped, 0 failed" in capsys.readouterr().out
    assert all(path.read_bytes() == data for path, data in made.items())


def test_a_removed_folder_ends_the_run(folder, model, threads, capsys, monkeypatch):
    target, write, written = folder.with_name("in_x2"), images.write, []

    def remove(path, *args):
        written.append(path)
        if len(written) == 3:
            target.rename(target.with_name("gone"))  # at once, while other threads write into it
        write(path, *args)

    monkeypatch.setattr(images, "write", remove)
    assert main([str(folder), "--model", model]) == 1
    captured = capsys.readouterr()
    assert "in_x2/" in captured.err and "No such file or directory" in captured.err
    assert "not begun" in captured.out and len(written) <= 3 + threads + 1


def test_an_error_of_the_program_is_not_hidden(tmp_path, threads, monkeypatch):
    monkeypatch.setattr(folder_module, "need_of", lambda job, options: Need(1, False))

    def fail(job, options):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        list(enlarge_files(jobs_of(9, tmp_path), EnlargeOptions(Chosen([]), 2), fail))


@pytest.mark.skipif(os.name != "posix", reason="sends a signal")
def test_ctrl_c_leaves_whole_files(tmp_path, model, rng):
    source, target = tmp_path / "many", tmp_path / "many_x2"
    source.mkdir()
    images.write(source / "000.png", rng.integers(0, 256, (120, 120, 3), np.uint8))
    for i in range(1, 400):
        os.link(source / "000.png", source / f"{i:03}.png")
    command = [sys.executable, "-m", "npsrcnn", "upscale", str(source), "--model", model]
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        # A shell makes what it runs in the background, these tests perhaps, deaf to Ctrl-C.
        preexec_fn=functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and not (target.exists() and len(os.listdir(target)) > 5):
        time.sleep(0.005)
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=60)
    assert process.returncode == 130 and error == "npsrcnn upscale: interrupted\n"
    made = sorted(os.listdir(target))
    assert 5 < len(made) < 400
    expected = images.read(target / made[0]).pixels
    for name in made:  # no temporary files either: they begin with a dot
        assert re.fullmatch(r"\d+_x2\.png", name)
        np.testing.assert_array_equal(images.read(target / name).pixels, expected)


def test_a_terminal_sees_the_rate_and_the_time_left(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    clock = [1000.0]
    monkeypatch.setattr("tqdm.std.time", lambda: clock[0])
    monkeypatch.setattr(sys, "stderr", Terminal())
    lines = io.StringIO()
    with Progress(8, lines) as progress:
        for i in range(4):
            clock[0] += 0.5
            progress.picture(JOB, failed=i == 1)
        progress.write("a line")
        shown = sys.stderr.getvalue()
    assert re.search(r"4/8 \[00:02<00:02, +2\.00image/s, 1 failed\]", shown)
    assert lines.getvalue() == "a line\n"


def test_a_log_sees_no_bar(monkeypatch):
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    with Progress(4, io.StringIO()) as progress:
        progress.picture(JOB, failed=False)
        progress.part(JOB, 1, 9)
        assert sys.stderr.getvalue() == ""


@pytest.mark.skipif(os.name != "posix", reason="Windows has no umask to speak of")
def test_the_umask_survives_threads(tmp_path, monkeypatch):
    umask = os.umask

    def slow(mask):
        before = umask(mask)
        time.sleep(0.002)  # others get their turn
        return before

    before = umask(0o027)
    try:
        monkeypatch.setattr(os, "umask", slow)

        def write(i):
            with write_atomically(tmp_path / str(i)) as path:
                path.write_text("x")

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(write, range(40)))
        assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o640}
    finally:
        assert umask(before) == 0o027


def test_what_goes_where_when_formats_do_not_fit(tmp_path, model, rng):
    """Two pictures that would both become one PNG become two."""
    (tmp_path / "in").mkdir()
    for name in ("a.pgm", "a.ppm"):
        samples = rng.integers(0, 65536, (6, 7), np.uint16)
        Image.fromarray(samples).save(tmp_path / "in" / name)
    assert main([str(tmp_path / "in"), "--model", model]) == 0
    made = {path.name for path in (tmp_path / "in_x2").iterdir()}
    assert made == {"a_pgm_x2.png", "a_ppm_x2.png"}


def test_a_folder_that_cannot_be_enlarged_stops_nothing_else(folder, tmp_path, model, capsys):
    """One holds no pictures, one has a file where its results should go, one picture is nowhere."""
    empty, shut = tmp_path / "empty", tmp_path / "shut"
    for path in (empty, shut):
        path.mkdir()
    images.write(shut / "a.png", np.zeros((4, 4), np.uint8))
    (tmp_path / "shut_x2").write_text("a file")
    sources = [empty, tmp_path / "nowhere" / "a.png", shut, folder / "00.png"]
    report = tmp_path / "report.json"
    assert main([*map(str, sources), "--model", model, "--json", str(report)]) == 1
    captured = capsys.readouterr()
    assert captured.out.endswith("1 enlarged, 0 skipped, 3 failed\n")
    errors = captured.err.splitlines()
    assert len(errors) == 3 and "empty: no image files" in errors[0]
    assert "shut_x2: File exists" in errors[1] and "a.png: No such file" in errors[2]
    result = json.loads(report.read_text())
    assert result["failed"] == 3
    assert [Path(row["source"]).name for row in result["pictures"]] == [
        "empty", "shut", "a.png", "00.png"
    ]  # fmt: skip
    assert (folder / "00_x2.png").exists() and not (tmp_path / "empty_x2").exists()
    assert main([str(empty), "--model", model, "-o", str(tmp_path / "out")]) == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.skipif(sys.version_info < (3, 11), reason="pathlib has an os.stat of its own")
@pytest.mark.parametrize("options", [[], ["--skip-existing"], ["-o", "out"]])
def test_a_picture_in_a_folder_for_others_stops_nothing_else(
    folder, tmp_path, model, capsys, monkeypatch, options
):
    def as_for_all_but_root(function):
        def ask(path, *args, **kwargs):
            if "secret/" in str(path):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
            return function(path, *args, **kwargs)

        return ask

    monkeypatch.chdir(tmp_path)
    for module, name in ((os, "stat"), (os, "lstat"), (os, "open"), (io, "open")):
        monkeypatch.setattr(module, name, as_for_all_but_root(getattr(module, name)))
    monkeypatch.setattr("builtins.open", as_for_all_but_root(open))
    sources = ["secret/deep/a.jpg", "secret/photo.jpg", "in/00.png"]
    assert main([*sources, "--model", model, *options]) == 1
    captured = capsys.readouterr()
    assert captured.out.endswith("1 enlarged, 0 skipped, 2 failed\n")
    errors = captured.err.splitlines()
    assert len(errors) == 2
    for line, source in zip(errors, sources, strict=False):
        assert f"{source}: Permission denied; choose a place" in line


def test_a_decoded_format_says_what_memory_it_takes(folder, model, capsys, monkeypatch):
    options = ["--model", model, "--memory", "1M"]
    assert main([str(folder / "00.png"), *options]) == 0
    said = capsys.readouterr().out.splitlines()
    assert re.fullmatch(r".*00\.png: in memory as a whole, which takes about 0\.\d GB", said[0])
    assert "-> " in said[1]
    monkeypatch.setattr(memory, "physical_bytes", lambda: 1000)
    assert main([str(folder / "01.png"), *options]) == 1
    assert "this machine has 0.0" in capsys.readouterr().err


def test_enlarge_file_raises_errors_the_user_can_fix(tmp_path):
    with pytest.raises(FileNotFoundError):
        enlarge_file(Job(tmp_path / "a.png", tmp_path / "b.png"), EnlargeOptions(Chosen([]), 2))
    (tmp_path / "a.tif").write_bytes(b"II*\0")
    with pytest.raises(UserError):
        enlarge_file(Job(tmp_path / "a.tif", tmp_path / "b.tif"), EnlargeOptions(Chosen([]), 2))
