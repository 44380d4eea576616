"""The fleet as one kind of reader sees it, drawn once for all who see the same.

A drawing depends on a `Reader`, a filter and what is stored, and on nothing else of a request: it is drawn
without one, so that what one person may see cannot get into what another is sent.
"""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections import OrderedDict
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from django.template.loader import render_to_string
from django.utils.translation import gettext, override

from endpoints.choices import SET_ASIDE
from endpoints.errors import ProfileError
from endpoints.models import Endpoint, EndpointHealth, Revision
from endpoints.pages import first_steps, parts
from endpoints.pages.drawings import DAY, drawings
from endpoints.pages.filters import states
from endpoints.pages.overview import by_attention, card_of, counted, summary
from endpoints.past import archive, latency
from endpoints.profiles import profile
from ollaproject.wire import roles
from ollaproject.wire.clock import now

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from endpoints.pages.filters import Filter
    from endpoints.pages.overview import Card
    from ollaproject.wire.roles import Person

# Beat ticks every second and each check has its time-out: one that is this late is not coming.
CHECKS_STOPPED_AFTER = timedelta(seconds=15)
# The bar of the last day moves on even where nothing happens.
KEPT_SECONDS: Final = 10.0
MOST_KEPT: Final = 64


@dataclass(frozen=True, slots=True)
class Reader:
    """All that a drawing may know of who looks. `parts` says which parts (`pages.parts`) they may see."""

    may_act: bool
    may_add: bool
    parts: tuple[bool, ...]
    language: str


@dataclass(frozen=True, slots=True)
class State:
    """What is stored now, as far as it tells whether a drawing is still the newest."""

    routing: int
    activity: int
    checks_stopped_at: datetime | None


@dataclass(frozen=True, slots=True)
class Drawing:
    """`etag` is weak, and changes exactly when the drawing would show something else."""

    etag: str
    html: str


def reader_of(user: Person, language: str) -> Reader:
    return Reader(may_act(user), may_add(user), tuple(parts.seen_by(user)), language)


def may_act(user: Person) -> bool:
    """Whether this person may press the buttons."""
    return user.has_perm(roles.CHANGE_ENDPOINTS)


def may_add(user: Person) -> bool:
    return roles.enters_admin(user) and user.has_perm("endpoints.add_endpoint")


def state() -> State:
    """Two queries."""
    rows = Revision.objects.filter(pk=Revision.SINGLETON).values_list("routing", "activity")
    return State(*(rows.first() or (0, 0)), checks_stopped_at())


def version(reader: Reader, seen: State) -> str:
    told = [seen.routing, seen.activity, seen.checks_stopped_at is not None, asdict(reader)]
    return f'W/"{hashlib.sha256(json.dumps(told).encode()).hexdigest()[:20]}"'


# --- Drawings that are kept ---

_kept: OrderedDict[tuple[Reader, Filter], tuple[float, Drawing]] = OrderedDict()
_drawing = threading.Lock()


def current(reader: Reader, chosen: Filter, seen: State) -> Drawing:
    """The newest drawing. Of many who want the same at once, one has it drawn."""
    wanted = version(reader, seen)
    with _drawing:
        at, kept = _kept.pop((reader, chosen), (0.0, None))
        if kept is None or kept.etag != wanted or time.monotonic() - at > KEPT_SECONDS:
            at, kept = time.monotonic(), Drawing(wanted, draw(reader, chosen, seen))
        _kept[reader, chosen] = at, kept
        if len(_kept) > MOST_KEPT:
            _kept.popitem(last=False)  # which nobody has asked for the longest
        return kept


def forget() -> None:
    """Draw everything anew: to be called where the counters of `Revision` begin anew."""
    with _drawing:
        _kept.clear()


def draw(reader: Reader, chosen: Filter, seen: State) -> str:
    with override(reader.language):
        return render_to_string("endpoints/_fleet.html", content(reader, chosen, seen))


def content(reader: Reader, chosen: Filter, seen: State) -> dict[str, Any]:
    """What the template shows."""
    rows = Endpoint.objects.select_related("health").prefetch_related("models")
    cards = by_attention(cards_of(rows))
    return {
        "cards": [card for card in cards if chosen.lets_through(card)],
        "total": len(cards),
        "chosen": chosen,
        "states": states(cards, chosen.status),
        "tags": sorted({tag for card in cards for tag in card.tags} | ({chosen.tag} - {""})),
        "types": sorted({card.type for card in cards} | ({chosen.type} - {""})),
        "press_as": "endpoint-action",
        "press_query": chosen.query,
        "summary": summary(cards) if cards else [],
        # For screen readers: without the times, which would be read out anew every second.
        "spoken": counted(cards) if cards else gettext("No endpoint yet"),
        "down": sum(card.down for card in cards),
        "may_act": reader.may_act,
        "may_add": reader.may_add,
        "first_steps": first_steps.left() if reader.may_add else [],
        "checks_stopped_at": seen.checks_stopped_at,
        "parts": parts.shown(reader.parts),
    }


def cards_of(rows: Iterable[Endpoint]) -> list[Card]:
    """The cards of these rows, which were read with their `health` and `models`, with their last day."""
    found = list(rows)
    at = now()
    flips = archive.flips([row.pk for row in found], since=at - DAY)
    seconds = latency.series(at)
    return [
        card_of(
            row,
            **defaults_of_type(row.type),
            drawn=drawings(flips.get(row.pk, []), seconds.get(row.pk, []), at=at),
        )
        for row in found
    ]


def defaults_of_type(name: str) -> dict[str, int]:
    """What a card takes from its backend type; 0 for a row whose type is no longer known."""
    try:
        found = profile(name)
    except ProfileError:
        return {"default_priority": 0, "default_concurrent": 0}
    return {"default_priority": found.default_priority, "default_concurrent": found.max_concurrent}


def checks_stopped_at() -> datetime | None:
    """Since when a check is overdue for so long that the worker cannot be running, or None."""
    due = EndpointHealth.objects.exclude(endpoint__mode__in=SET_ASIDE).filter(
        next_check_at__lt=now() - CHECKS_STOPPED_AFTER
    )
    return due.order_by("next_check_at").values_list("next_check_at", flat=True).first()
