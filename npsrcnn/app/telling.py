"""Say what went wrong in one line, as a note on the page; never a traceback."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import ParamSpec, TypeVar

import gradio as gr

from npsrcnn.errors import UserError, describe

P = ParamSpec("P")
T = TypeVar("T")
FOR_PEOPLE = (UserError, OSError, MemoryError)


def told(handler: Callable[P, T]) -> Callable[P, T]:
    """Let errors that a person can fix become notes on the page."""

    @functools.wraps(handler)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return handler(*args, **kwargs)
        except FOR_PEOPLE as error:
            raise note_of(error) from error

    return wrapped


def told_on_the_way(handler: Callable[P, Iterator[T]]) -> Callable[P, Iterator[T]]:
    """Do as :func:`told` for a handler that shows how far it is."""

    @functools.wraps(handler)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> Iterator[T]:
        try:
            yield from handler(*args, **kwargs)
        except FOR_PEOPLE as error:
            raise note_of(error) from error

    return wrapped


def note_of(error: BaseException) -> gr.Error:
    """Return a note that a page shows, and the log does not."""
    return gr.Error(describe(error), title="That did not work", print_exception=False)
