"""Errors the user can fix, each told in one line: what happened and what to do."""

from __future__ import annotations

import errno
import os

from npsrcnn.words import one_line


class UserError(ValueError):
    """An error the user can fix: a bad file, a value out of range, a model that does not fit."""

    exit_code = 1


class UsageError(UserError):
    """A command line that is wrong: an unknown option, or options that exclude each other."""

    exit_code = 2


class DataError(UserError):
    """Training data that became unreadable during the run; what was trained so far is saved."""


def describe(error: BaseException) -> str:
    """Describe an error in one line: what happened, and what to do where that is known."""
    return one_line(_described(error))


def _described(error: BaseException) -> str:
    if isinstance(error, MemoryError):
        return f"out of memory ({error})" if str(error) else "out of memory"
    if isinstance(error, BrokenPipeError):
        return "the reader of this command's output went away"
    if isinstance(error, OSError) and error.errno is not None:
        place = f"{error.filename}: " if error.filename else ""
        advice = {
            errno.ENOSPC: "; free some space, or write elsewhere",
            errno.EACCES: "; choose a place you may read and write",
            errno.ENAMETOOLONG: "; choose a shorter one",
            errno.EROFS: "; choose a folder that can be written to",
        }.get(error.errno, "")
        return f"{place}{os.strerror(error.errno)}{advice}"
    text = str(error)
    return text if isinstance(error, UserError) else " ".join(text.split())
