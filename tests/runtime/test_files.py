"""Files: whole or not there, errors that name them, and what killed processes leave."""

from __future__ import annotations

import errno
import os
import stat
import sys

import pytest
from processes import run_python

from npsrcnn.errors import UserError
from npsrcnn.runtime.files import check_writable, leftovers, write_atomically

WINDOWS = sys.platform == "win32"


def test_a_file_appears_whole_or_not_at_all(tmp_path):
    path = tmp_path / "model.npz"
    with write_atomically(path) as temporary:
        temporary.write_bytes(b"new")
        assert temporary.parent == tmp_path and temporary.suffix == ".npz"
        assert not path.exists()
    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("error", [UserError("x"), KeyboardInterrupt(), OSError("no number")])
def test_an_error_leaves_the_old_file_and_nothing_else(tmp_path, error):
    path = tmp_path / "log.csv"
    path.write_text("old")
    with pytest.raises(type(error)) as caught, write_atomically(path) as temporary:
        temporary.write_text("a part")
        raise error
    assert caught.value is error
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_is_reported_for_the_file_itself(tmp_path):
    path = tmp_path / "big.png"
    with pytest.raises(OSError) as caught, write_atomically(path) as temporary:
        raise OSError(errno.ENOSPC, "full", str(temporary))
    assert caught.value.errno == errno.ENOSPC and caught.value.filename == str(path)
    assert list(tmp_path.iterdir()) == []


def test_a_missing_folder_is_reported_for_the_file_itself(tmp_path):
    path = tmp_path / "nowhere" / "a.npz"
    with pytest.raises(FileNotFoundError) as caught, write_atomically(path):
        raise AssertionError("there is nothing to write to")
    assert caught.value.filename == str(path)


def test_a_folder_in_the_way_is_reported_and_kept(tmp_path):
    path = tmp_path / "a.npz"
    path.mkdir()
    with pytest.raises(OSError) as caught, write_atomically(path) as temporary:
        temporary.write_bytes(b"new")
    assert caught.value.filename == str(path)
    assert list(tmp_path.iterdir()) == [path] and path.is_dir()


@pytest.mark.skipif(WINDOWS, reason="permissions of POSIX")
@pytest.mark.parametrize("mask", [0o022, 0o077])
def test_the_file_is_for_whom_the_umask_says(tmp_path, mask):
    before = os.umask(mask)
    try:
        with write_atomically(tmp_path / "a") as temporary:
            temporary.write_text("x")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o666 & ~mask


def test_check_writable_leaves_nothing_and_keeps_a_file_that_is_there(tmp_path):
    check_writable(tmp_path / "new.npz")
    (tmp_path / "old.npz").write_text("old")
    check_writable(tmp_path / "old.npz")
    assert [path.name for path in tmp_path.iterdir()] == ["old.npz"]
    assert (tmp_path / "old.npz").read_text() == "old"


@pytest.mark.parametrize(
    ("name", "number"), [("nowhere/a.npz", errno.ENOENT), ("folder", errno.EISDIR)]
)
def test_check_writable_names_the_file_that_could_not_be_written(tmp_path, name, number):
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError) as caught:
        check_writable(tmp_path / name)
    assert caught.value.errno == number and caught.value.filename == str(tmp_path / name)


def test_leftovers_are_what_killed_processes_left_of_these_files_and_no_others(tmp_path):
    path, other = tmp_path / "a.b.npz", tmp_path / "log.csv"
    for file in (path, other):
        code = f"""
import os
from npsrcnn.runtime.files import write_atomically
with write_atomically({str(file)!r}) as temporary:
    temporary.write_text("a part")
    print(temporary, flush=True)
    os._exit(0)
"""
        left = run_python(code).strip()
    path.write_text("whole")
    for name in ("a.b-abcdefgh.npz", ".a.b.npz", ".a.b-short.npz", ".a.b-abcdefgh.csv"):
        (tmp_path / name).touch()
    assert [str(p) for p in leftovers([other, tmp_path / "nowhere" / "log.csv"])] == [left]
    (found,) = leftovers([path])
    assert found.read_text() == "a part" and found.suffix == ".npz"
