"""What the bar at the top of every page leads to. A page of its own is added with one line in ENTRIES."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from django.urls import reverse
from django.utils.translation import gettext_lazy as _

from ollaproject.wire.roles import calls_models, enters_admin, sees_fleet, sees_local_models, signed_in

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
    Entry(_("Local models"), "local-models", shown_to=sees_local_models),
    Entry(_("Playground"), "playground", shown_to=calls_models),
    Entry(_("Requests"), "requests"),
    Entry(_("Usage"), "usage"),
    Entry(_("Incidents"), "incidents", shown_to=sees_fleet),
    Entry(_("Admin"), "admin:index", shown_to=enters_admin),
)


def links(user: Person, path: str) -> list[Link]:
    """What this person may go to from the page at `path`."""
    shown = [entry for entry in ENTRIES if entry.shown_to(user)]
    fits = {entry: closeness(entry, path) for entry in ENTRIES}
    closest = max(fits.values())
    return [
        Link(str(entry.label), reverse(entry.url_name), closest > 0 and fits[entry] == closest)
        for entry in shown
    ]


def closeness(entry: Entry, path: str) -> int:
    """How much of `path` leads to the entry; 0 when it is none of its pages. Of two, the longer one has it.

    Everything is below `/`, which says nothing.
    """
    url = reverse(entry.url_name)
    prefixes = (*entry.below, url) if url != "/" or path == "/" else entry.below
    return max((len(prefix) for prefix in prefixes if path.startswith(prefix)), default=0)
