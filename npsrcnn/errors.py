"""Errors that are the user's to mend: one clear line that says what happened and what to do."""

from __future__ import annotations


class UserError(ValueError):
    """Something the user can mend: a bad file, a value out of range, a model that does not fit."""

    exit_code = 1


class UsageError(UserError):
    """A command called wrongly: an unknown option, or options that exclude each other."""

    exit_code = 2


class DataError(UserError):
    """Training data that was fine and is so no more: what was trained so far is worth saving."""
