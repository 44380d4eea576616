"""Who is acting: the person, key or command behind what a thread or task does, for the history of changes."""

from __future__ import annotations

import getpass
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class Actor(NamedTuple):
    """`name` is a person's, `via` where they acted: `admin`, `page`, `REST API` or `command line`."""

    name: str
    via: str


_acting: ContextVar[Callable[[], Actor] | None] = ContextVar("acting", default=None)


def actor() -> Actor:
    """Whoever is acting now. Where nobody has signed in, it is who runs this program."""
    named = _acting.get()
    return named() if named is not None else Actor(_login_name(), "command line")


@contextmanager
def acting(named: Callable[[], Actor]) -> Iterator[None]:
    """While this lasts, `named` says who is acting. It is called only when somebody wants to know."""
    token = _acting.set(named)
    try:
        yield
    finally:
        _acting.reset(token)


def _login_name() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container may run as a user without a name
        return "system"
