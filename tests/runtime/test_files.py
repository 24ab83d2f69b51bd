"""Files: whole or not there, errors that name them, and what killed processes leave."""

from __future__ import annotations

import errno
import glob
import os
import shlex
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from processes import run_python

from npsrcnn.errors import UserError
from npsrcnn.runtime import files
from npsrcnn.runtime.files import (
    PAUSES,
    beside,
    check_writable,
    expand_pattern,
    identity,
    leftovers,
    quoted,
    write_atomically,
)

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


@pytest.fixture
def held(monkeypatch):
    """Windows, where another program has a file open for so many tries; seconds that were slept."""
    slept, tries, replace = [], [0], os.replace

    def refuse(source, target):
        if tries[0] == 0:
            return replace(source, target)
        tries[0] -= 1
        error = PermissionError(errno.EACCES, "Access is denied", str(source))
        error.winerror = 5
        raise error

    monkeypatch.setattr(files.os, "replace", refuse)
    monkeypatch.setattr(files.time, "sleep", slept.append)
    return tries, slept


def test_a_file_that_another_program_has_open_is_tried_again(held, tmp_path):
    path, (tries, slept) = tmp_path / "log.csv", held
    path.write_text("old")
    tries[0] = 3
    with write_atomically(path) as temporary:
        temporary.write_text("new")
    assert path.read_text() == "new"
    assert slept == list(PAUSES[:3])
    assert 2 < sum(PAUSES) < 5


def test_a_file_that_stays_open_is_named_and_kept(held, tmp_path):
    path, (tries, slept) = tmp_path / "log.csv", held
    path.write_text("old")
    tries[0] = 100
    with (
        pytest.raises(UserError, match=r"log\.csv: another program has it open: close it"),
        write_atomically(path) as temporary,
    ):
        temporary.write_text("new")
    assert slept == list(PAUSES)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_may_not_be_written_is_said_at_once(monkeypatch, tmp_path):
    def refuse(source, target):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(files.os, "replace", refuse)
    monkeypatch.setattr(files.time, "sleep", None)
    with pytest.raises(PermissionError), write_atomically(tmp_path / "a") as temporary:
        temporary.write_text("new")


@pytest.mark.parametrize("name", ["a.png", "a b.png", "it's.png", "$(x).png", 'a "b".png', "*"])
def test_a_quoted_name_is_one_word_of_a_shell(name):
    assert shlex.split(quoted(Path(name))) == [name]
    if os.name != "nt":
        assert subprocess.check_output(["sh", "-c", f"printf %s {quoted(name)}"]) == name.encode()


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
@pytest.mark.skipif(WINDOWS, reason="has no such names")
@pytest.mark.parametrize("name", ["a\nb.png", "\x1b[2J's \\1.png", "\x85\u2028é.png"])
def test_a_quoted_name_stays_one_line(name):
    typed = quoted(Path(name))
    assert typed.isprintable()
    assert subprocess.check_output(["bash", "-c", f"printf %s {typed}"]) == name.encode()


def test_windows_has_quotes_of_its_own(monkeypatch):
    monkeypatch.setattr(files.os, "name", "nt")
    assert quoted(r"C:\My Pictures\a.png") == r'"C:\My Pictures\a.png"'
    assert quoted(r"C:\a.png") == r"C:\a.png"


def test_patterns_are_expanded_where_no_shell_does(tmp_path):
    names = ["a.png", "b.png", "c.jpg", "[x].png"]
    for name in names:
        (tmp_path / name).touch()
    assert expand_pattern(tmp_path / "?.png") == [tmp_path / "a.png", tmp_path / "b.png"]
    assert expand_pattern(f"{tmp_path}/*.jpg") == [tmp_path / "c.jpg"]
    for name in ("[x].png", "*.gif", "d.png"):  # a file's own name; nothing; no pattern
        assert expand_pattern(tmp_path / name) == [tmp_path / name]


def test_a_pattern_goes_down_folders_but_no_links(tmp_path):
    """Two links that lead up would be 2 ** 40 paths."""
    inner = tmp_path / "[a]" / "b"
    inner.mkdir(parents=True)
    (tmp_path / ".hidden").mkdir()
    found = [inner / "1.png", tmp_path / "2.png"]
    for path in (*found, tmp_path / ".hidden" / "3.png", inner / "4.jpg"):
        path.touch()
    for name in ("self", "up"):
        (inner / name).symlink_to(tmp_path, target_is_directory=True)
    assert expand_pattern(tmp_path / "**" / "*.png") == sorted(found)
    assert expand_pattern(tmp_path / "**" / "b" / "**" / "?.png") == found[:1]
    named = Path(glob.escape(str(inner)), "up", "**", "1.*")  # a link that is named is followed
    assert expand_pattern(named) == [inner / "up" / "[a]" / "b" / "1.png"]


def ignore_case(monkeypatch):
    """A file system that knows files by names in either case, as macOS's and Windows's do."""
    stat = os.stat

    def found(path, **options):
        folder, name = os.path.split(path)
        if not os.path.lexists(path) and os.path.isdir(folder):
            same = [other for other in os.listdir(folder) if other.lower() == name.lower()]
            path = os.path.join(folder, *same[:1]) if same else path
        return stat(path, **options)

    monkeypatch.setattr(os, "stat", found)


def test_two_names_of_one_file_are_known(tmp_path, monkeypatch):
    (tmp_path / "photo.png").touch()
    (tmp_path / "other.png").touch()
    known = identity(tmp_path / "photo.png")
    assert identity(tmp_path / ".." / tmp_path.name / "photo.png") == known
    assert identity(tmp_path / "other.png") != known
    new = identity(tmp_path / "new.png")
    assert identity(tmp_path / ".." / tmp_path.name / "new.png") == new
    assert new not in (known, identity(tmp_path / "newer.png"))
    os.link(tmp_path / "photo.png", tmp_path / "link.png")
    assert identity(tmp_path / "link.png") == known
    if identity(tmp_path / "NEW.png") != new:  # Linux
        assert identity(tmp_path / "Photo.png") != known
        folder = tmp_path / "Folder"
        folder.mkdir()
        ignore_case(monkeypatch)
        assert identity(tmp_path / "Photo.PNG") == known
        assert identity(folder / "NEW.png") == identity(folder / "new.png")


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


def test_a_link_is_followed(tmp_path):
    (tmp_path / "far").mkdir()
    target, link = tmp_path / "far" / "a.png", tmp_path / "a.png"
    link.symlink_to(target)
    for content in (b"one", b"two"):
        with write_atomically(link) as temporary:
            temporary.write_bytes(content)
        assert link.is_symlink() and target.read_bytes() == content
    check_writable(link)
    assert [path.name for path in (tmp_path / "far").iterdir()] == ["a.png"]


def test_names_of_files_beside_others_are_short_enough_and_their_own(tmp_path):
    assert beside(tmp_path / "a.tif", ".journal") == tmp_path / "a.tif.journal"
    long = [tmp_path / f"{'a' * 250}{end}.tif" for end in "bc"]
    names = {beside(path, ending) for path in long for ending in (".part", ".journal")}
    assert len(names) == 4
    for path in (*long, *names):
        path.touch()


@pytest.mark.parametrize("letter", ["a", "\u00e4"])
def test_the_longest_names_can_be_written(letter, tmp_path):
    path = tmp_path / (letter * (251 // len(letter.encode())) + ".png")
    with write_atomically(path) as temporary:
        temporary.write_bytes(b"x")
        left = temporary.with_name(temporary.name)
    left.write_bytes(b"of a killed process")
    assert path.read_bytes() == b"x" and list(leftovers([path])) == [left]
