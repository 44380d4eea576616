"""What the bar at the top of every page leads to. A page of its own is added with one line in ENTRIES."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from django.urls import reverse
from django.utils.translation import gettext_lazy as _

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.contrib.auth.models import AnonymousUser, User

    Person = User | AnonymousUser
    Rule = Callable[[Person], bool]


def signed_in(user: Person) -> bool:
    return bool(user.is_authenticated)


def staff(user: Person) -> bool:
    return user.is_staff


def holding(permission: str) -> Rule:
    """For whoever has a permission such as `proxy.view_requestrecord`."""
    return lambda user: user.has_perm(permission)


@dataclass(frozen=True, slots=True)
class Entry:
    """`url_name` is where it leads, `below` are more paths under which it is the current one."""

    label: Any
    url_name: str
    shown_to: Rule = signed_in
    below: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Link:
    """An entry as the bar shows it to one person on one page."""

    label: str
    url: str
    current: bool


ENTRIES: Final = (
    Entry(_("Fleet"), "dashboard", below=("/endpoints/",)),
    Entry(_("Models"), "models"),
    Entry(_("Playground"), "playground"),
    Entry(_("Requests"), "requests"),
    Entry(_("Incidents"), "incidents"),
    Entry(_("Admin"), "admin:index", shown_to=staff),
)


def links(user: Person, path: str) -> list[Link]:
    """What this person may go to from the page at `path`."""
    shown = [entry for entry in ENTRIES if entry.shown_to(user)]
    return [Link(str(entry.label), reverse(entry.url_name), is_current(entry, path)) for entry in shown]


def is_current(entry: Entry, path: str) -> bool:
    """Whether `path` is the entry's page or one below it. Everything is below `/`, which says nothing."""
    url = reverse(entry.url_name)
    prefixes = (*entry.below, url) if url != "/" else entry.below
    return path == url or path.startswith(prefixes)
