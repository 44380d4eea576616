"""What the dashboard says: one card per endpoint, worst first, and a sentence that sums them up.

Pure: rows in, frozen values out. The words of a status are here and nowhere else in the pages.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from endpoints.choices import ROUTABLE, SET_ASIDE, Mode, Status
from ollaproject.wire.socket_urls import server_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from endpoints.models import Endpoint
    from endpoints.pages.drawings import Drawings

MODELS_SHOWN = 3
NAMES_SHOWN = 2

DOWN: Final = frozenset({Status.OFFLINE, Status.UNHEALTHY, Status.CONFIG_ERROR, Status.RATE_LIMITED})

# How a sentence goes on after the endpoint's name; `{time}` is how long that has been so.
PREDICATES: Final = {
    Status.OFFLINE: _("{name} has been down for {time}"),
    Status.UNHEALTHY: _("{name} has been unhealthy for {time}"),
    Status.CONFIG_ERROR: _("{name} has had a configuration error for {time}"),
    Status.RATE_LIMITED: _("{name} has been rate limited for {time}"),
    Status.WARMING: _("{name} has been warming up for {time}"),
}
TIME: Final = "\0"  # stands where the time will be

MODE_WORDS: Final = {
    Mode.ACTIVE: _("In service"),
    Mode.DRAINING: _("Draining"),
    Mode.PAUSED: _("Paused"),
    Mode.MAINTENANCE: _("In maintenance"),
}
SET_ASIDE_WORDS: Final = {
    Mode.DRAINING: (_("{who} is draining"), _("{who} are draining")),
    Mode.PAUSED: (_("{who} is paused"), _("{who} are paused")),
    Mode.MAINTENANCE: (_("{who} is in maintenance"), _("{who} are in maintenance")),
}

# First come those that a person should look at.
ATTENTION: Final = {
    Status.OFFLINE: 0,
    Status.UNHEALTHY: 0,
    Status.CONFIG_ERROR: 0,
    Status.RATE_LIMITED: 1,
    Status.WARMING: 2,
    Status.UNKNOWN: 3,
    Status.BUSY: 3,
    Status.HEALTHY: 4,
    Status.ASLEEP: 5,
}
ATTENTION_DRAINING: Final = 6
ATTENTION_PAUSED: Final = 7


@dataclass(frozen=True, slots=True)
class Card:
    """One endpoint as the dashboard shows it. Times are aware; `latency_ms` is of the last check."""

    id: int
    name: str
    host: str
    type: str
    priority: int
    status: Status
    mode: Mode
    reason: str
    since: datetime | None
    checked_at: datetime | None
    next_check_at: datetime | None
    latency_ms: int | None
    models: tuple[str, ...]
    tags: tuple[str, ...] = ()
    memory_bytes: int | None = None
    flapping: bool = False
    maintenance_until: datetime | None = None
    drawn: Drawings | None = None
    max_concurrent: int = 0

    @property
    def status_word(self) -> str:
        return str(self.status.label)

    @property
    def down(self) -> bool:
        return needs_attention(self.mode, self.status)

    @property
    def set_aside(self) -> bool:
        """Whether an operator has taken it out altogether: it gets neither requests nor checks."""
        return self.mode in SET_ASIDE

    @property
    def serves(self) -> bool:
        return self.mode == Mode.ACTIVE and self.status in ROUTABLE

    @property
    def models_shown(self) -> tuple[str, ...]:
        return self.models[:MODELS_SHOWN]

    @property
    def models_folded(self) -> tuple[str, ...]:
        return self.models[MODELS_SHOWN:]


@dataclass(frozen=True, slots=True)
class Phrase:
    """A piece of the summary. When `since` is set, the time gone by since then stands between `text` and
    `after`.
    """

    text: str
    since: datetime | None = None
    after: str = ""


def needs_attention(mode: Mode | str, status: Status | str) -> bool:
    """Whether an endpoint ought to serve and does not. One that is warming up is given its time."""
    return mode == Mode.ACTIVE and status in DOWN


def card_of(
    endpoint: Endpoint, *, default_priority: int, default_concurrent: int = 0, drawn: Drawings | None = None
) -> Card:
    """The card of a row that was read with its `health` and its `models`."""
    health = getattr(endpoint, "health", None)
    priority = default_priority if endpoint.priority is None else endpoint.priority
    mode = Mode(endpoint.mode)
    return Card(
        id=endpoint.pk,
        name=endpoint.name,
        host=server_of(endpoint.url) or endpoint.url,
        type=endpoint.type,
        priority=priority,
        status=Status(health.status) if health else Status.UNKNOWN,
        mode=mode,
        reason=health.reason if health else "",
        since=health.since if health else None,
        checked_at=health.checked_at if health else None,
        next_check_at=health.next_check_at if health and mode not in SET_ASIDE else None,
        latency_ms=latency_ms(health.latency_seconds)
        if health and health.latency_seconds is not None
        else None,
        models=tuple(model.name for model in endpoint.models.all()),
        tags=tuple(endpoint.tags),
        memory_bytes=health.memory_bytes if health else None,
        flapping=bool(health and health.flapping),
        maintenance_until=endpoint.maintenance_until,
        drawn=drawn,
        max_concurrent=endpoint.max_concurrent or default_concurrent,
    )


def latency_ms(seconds: float) -> int:
    """Whole milliseconds, at least one: 0 ms would look like a fault of the clock."""
    return max(1, round(seconds * 1000))


def by_attention(cards: Iterable[Card]) -> list[Card]:
    """What needs attention first, then highest priority, then name."""
    return sorted(cards, key=lambda card: (attention(card), -card.priority, card.name.casefold()))


def attention(card: Card) -> int:
    if card.mode in SET_ASIDE:
        return ATTENTION_PAUSED
    if card.mode == Mode.DRAINING:
        return ATTENTION_DRAINING
    return ATTENTION[card.status]


def summary(cards: Sequence[Card]) -> list[Phrase]:
    """How the fleet is, in one sentence: “2 of 3 endpoints serve; mini-2 has been down for 4 min.”"""
    clauses = [*trouble(cards), *set_aside(cards)]
    phrases = [Phrase(counted(cards))]
    for number, clause in enumerate(clauses):
        phrases += [Phrase(", " if number else "; "), clause]
    return [*phrases, Phrase(".")]


def counted(cards: Sequence[Card]) -> str:
    total = len(cards)
    serving = sum(card.serves for card in cards)
    if total == 1:
        text = gettext("{name} serves") if serving else gettext("{name} does not serve")
        return text.format(name=cards[0].name)
    if serving == total:
        both = total == 2  # noqa: PLR2004
        text = gettext("Both endpoints serve") if both else gettext("All {total} endpoints serve")
    elif not serving:
        text = gettext("None of {total} endpoints serves")
    else:
        text = ngettext(
            "{serving} of {total} endpoints serves", "{serving} of {total} endpoints serve", serving
        )
    return text.format(serving=serving, total=total)


def trouble(cards: Sequence[Card]) -> list[Phrase]:
    """Who does not serve though it ought to, the worst first, each with how long."""
    waiting = [card for card in by_attention(cards) if card.mode == Mode.ACTIVE and not card.serves]
    clauses = []
    for card in waiting[:NAMES_SHOWN]:
        name = gettext("it") if len(cards) == 1 else card.name
        if card.status in PREDICATES and card.since:
            text, _time, after = PREDICATES[card.status].format(name=name, time=TIME).partition(TIME)
            clauses.append(Phrase(text, card.since, after))
        else:
            clauses.append(Phrase(gettext("{name} has not been checked yet").format(name=name)))
    folded = len(waiting) - NAMES_SHOWN
    if folded > 0:
        text = ngettext("{number} more does not serve", "{number} more do not serve", folded)
        clauses.append(Phrase(text.format(number=folded)))
    return clauses


def set_aside(cards: Sequence[Card]) -> list[Phrase]:
    """Who was taken out of service by an operator."""
    clauses = []
    for mode, (one, several) in SET_ASIDE_WORDS.items():
        names = [gettext("it") if len(cards) == 1 else card.name for card in cards if card.mode == mode]
        if names:
            few = len(names) <= NAMES_SHOWN
            number = len(names)
            who = gettext(" and ").join(names) if few else gettext("{number} endpoints").format(number=number)
            clauses.append(Phrase((one if number == 1 else several).format(who=who)))
    return clauses
