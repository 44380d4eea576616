"""What the bar at the top of every page leads to. A page of its own is added with one line in ENTRIES."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from django.urls import reverse
from django.utils.translation import gettext_lazy as _

from ollaproject.wire.roles import calls_models, enters_admin, sees_fleet, signed_in

if TYPE_CHECKING:
    from ollaproject.wire.roles import Person, Rule


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
    Entry(_("Fleet"), "dashboard", shown_to=sees_fleet, below=("/endpoints/",)),
    Entry(_("Models"), "models", shown_to=sees_fleet),
    Entry(_("Playground"), "playground", shown_to=calls_models),
    Entry(_("Requests"), "requests"),
    Entry(_("Incidents"), "incidents", shown_to=sees_fleet),
    Entry(_("Admin"), "admin:index", shown_to=enters_admin),
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
