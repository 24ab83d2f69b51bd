"""Private folders, and work that ends."""

from __future__ import annotations

import threading

import pytest

from npsrcnn.app.sessions import Cancelled, Sessions
from npsrcnn.errors import UserError


@pytest.fixture
def sessions():
    made = Sessions(sweep_seconds=1000)
    yield made
    made.close_all()


def test_each_tab_has_a_folder_that_nobody_else_reads(sessions):
    one, other = sessions.of("a"), sessions.of("b")
    assert one is sessions.of("a") and one.folder != other.folder
    for folder in (sessions.root, one.folder, other.folder):
        assert folder.stat().st_mode & 0o077 == 0


def test_a_key_is_no_path(sessions):
    folder = sessions.of("../../etc").folder
    assert folder.parent == sessions.root and "etc" not in folder.name


def test_one_piece_of_work_at_a_time(sessions):
    session = sessions.of("a")
    with session.work("first") as folder:
        assert session.busy and folder.parent == session.folder
        with pytest.raises(UserError, match="still at work"), session.work("second"):
            pass
    with session.work("third") as other:
        assert other != folder


def test_work_that_fails_leaves_the_session_free(sessions):
    session = sessions.of("a")
    with pytest.raises(ZeroDivisionError), session.work("x"):
        raise ZeroDivisionError
    assert not session.busy


def test_a_cancel_is_for_the_work_that_goes_on(sessions):
    session = sessions.of("a")
    with session.work("first"):
        session.cancel()
        assert session.cancelled
    with session.work("second"):
        assert not session.cancelled


def test_work_in_a_thread_is_told_of_and_its_error_raised(sessions):
    session = sessions.of("a")

    def work(report):
        report(1)
        report(2)
        raise ZeroDivisionError

    reports = session.reports(work)
    assert [one for one in (next(reports), next(reports)) if one] == [1, 2]
    with pytest.raises(ZeroDivisionError):
        list(reports)


@pytest.mark.parametrize("end", ["cancel", "close", "drop"])
def test_work_in_a_thread_ends_when_it_is_no_longer_wanted(end, sessions):
    session, ended = sessions.of("a"), threading.Event()

    def work(report):
        report("begun")
        try:
            while True:
                session.check()
                (session.folder / "file").write_bytes(b"1")
        finally:
            ended.set()

    reports = session.reports(work)
    assert next(reports) == "begun"
    assert next(reports) is None  # after a while
    if end == "drop":
        reports.close()
    elif end == "close":
        sessions.close("a")
        assert not session.folder.exists()
    else:
        session.cancel()
        with pytest.raises(Cancelled):
            list(reports)
    assert ended.is_set()


def test_a_closed_tab_leaves_nothing(sessions):
    session, ended = sessions.of("a"), []
    session.at_end(lambda: ended.append(True))
    with session.work("x") as folder:
        (folder / "picture.png").write_bytes(b"1")
        sessions.close("a")
        assert session.cancelled and ended == [True] and not session.folder.exists()
    with pytest.raises(UserError, match="load it anew"), session.work("y"):
        pass
    sessions.close("a")  # twice, and of one that was never there
    sessions.close("never")


def test_at_the_end_all_is_gone():
    sessions = Sessions()
    session = sessions.of("a")
    sessions.close_all()
    assert session.cancelled and not sessions.root.exists()
    with pytest.raises(UserError, match="has ended"):
        sessions.of("b")


def test_after_an_hour_what_is_unused_goes():
    swept = threading.Event()
    sessions = Sessions(kept_seconds=0, sweep_seconds=0.02)
    try:
        sessions.of("idle").at_end(swept.set)
        assert swept.wait(30)
    finally:
        sessions.close_all()


def test_what_is_at_work_is_not_swept():
    swept = threading.Event()
    sessions = Sessions(kept_seconds=0, sweep_seconds=0.02)
    try:
        with sessions.of("busy").work("x") as folder:
            sessions.of("idle").at_end(swept.set)
            assert swept.wait(30) and folder.exists()
    finally:
        sessions.close_all()
