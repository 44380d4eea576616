"""What an endpoint's flips say of its past: how much of a time it was up, and its incidents.

Pure: rows in, values out. Up is one that serves. Down is one that fails, or warms up after it failed. What
was paused, not checked yet, or loading a model without having failed before, was neither.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise
from typing import TYPE_CHECKING, Final

from django.utils.translation import gettext

from endpoints.choices import ROUTABLE, Status
from endpoints.health.rules import FAILURES
from ollaproject.wire import numbers

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime, timedelta

PERCENT: Final = 100.0
# From here on a second decimal tells an hour of downtime in three months from none.
FINE_PERCENT: Final = 99.0


class Kind(StrEnum):
    UP = "up"
    DOWN = "down"
    NEITHER = "neither"


class Shade(StrEnum):
    """What a segment of a bar shows: `partly` holds some downtime, but less than half of what is known."""

    UP = "up"
    PARTLY = "partly"
    DOWN = "down"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Flip:
    """A status that changed at `at`; it then stayed `new` until the next flip.

    `lost_models` are those that went with an endpoint when it failed.
    """

    at: datetime
    old: Status
    new: Status
    reason: str = ""
    lost_models: tuple[str, ...] = ()

    @property
    def kind(self) -> Kind:
        if self.new in ROUTABLE:
            return Kind.UP
        after_failure = self.new == Status.WARMING and self.old in FAILURES
        return Kind.DOWN if self.new in FAILURES or after_failure else Kind.NEITHER


@dataclass(frozen=True, slots=True)
class Stretch:
    """From `start` until `end`, which is later, an endpoint was all the time of one kind."""

    start: datetime
    end: datetime
    kind: Kind


@dataclass(frozen=True, slots=True)
class Uptime:
    up_seconds: float
    down_seconds: float

    @property
    def share(self) -> float | None:
        """Between 0 and 1; None when nothing is known of the time."""
        known = self.up_seconds + self.down_seconds
        return self.up_seconds / known if known else None

    @property
    def words(self) -> str:
        """Such as `99.98 %`: rounded down, so that 100 % means that it was never down."""
        if self.share is None:
            return gettext("no data")
        percent = self.share * PERCENT
        if percent == PERCENT:
            return "100 %"
        parts = 100 if percent >= FINE_PERCENT else 10
        return f"{numbers.shortened(int(percent * parts) / parts, 2)} %"


@dataclass(frozen=True, slots=True)
class Incident:
    """A time of failing. `status` and `reason` are what began it.

    `end` is None while it lasts; otherwise `ended_as` is what the endpoint became: healthy, or unknown when
    an operator paused or edited it. `models` are those that it could not serve meanwhile.
    """

    start: datetime
    end: datetime | None
    status: Status
    reason: str
    ended_as: Status | None
    models: tuple[str, ...] = ()

    def length(self, now: datetime) -> timedelta:
        return (self.end or now) - self.start

    @property
    def set_aside(self) -> bool:
        return self.ended_as is not None and self.ended_as not in ROUTABLE


def stretches(flips: Sequence[Flip], *, start: datetime, end: datetime) -> list[Stretch]:
    """What the time from `start` to `end` was made of, without gaps. `flips` are in the order of time.

    To know how the time began, they hold the last flip before `start`, if there was one.
    """
    edges = [(start, Kind.NEITHER)]
    edges += [(min(max(flip.at, start), end), flip.kind) for flip in flips]
    found: list[Stretch] = []
    for (since, kind), (until, _) in pairwise([*edges, (end, Kind.NEITHER)]):
        if since >= until:
            continue
        if found and found[-1].kind == kind:
            found[-1] = Stretch(found[-1].start, until, kind)
        else:
            found.append(Stretch(since, until, kind))
    return found


def uptime(past: Iterable[Stretch], *, start: datetime, end: datetime) -> Uptime:
    """How long of `start` to `end` was up and down."""
    seconds = dict.fromkeys(Kind, 0.0)
    for stretch in past:
        both = min(stretch.end, end) - max(stretch.start, start)
        seconds[stretch.kind] += max(0.0, both.total_seconds())
    return Uptime(up_seconds=seconds[Kind.UP], down_seconds=seconds[Kind.DOWN])


def shades(past: Sequence[Stretch], *, start: datetime, end: datetime, count: int) -> list[Shade]:
    """The segments of a bar: the time from `start` to `end` in `count` equal parts, the oldest first."""
    step = (end - start) / count
    edges = [start + step * number for number in range(count)] + [end]
    found = []
    first = 0
    for since, until in pairwise(edges):
        while first < len(past) and past[first].end <= since:
            first += 1
        last = first
        while last < len(past) and past[last].start < until:
            last += 1
        found.append(shade_of(uptime(past[first:last], start=since, end=until)))
    return found


def shade_of(part: Uptime) -> Shade:
    if part.share is None:
        return Shade.NONE
    if not part.down_seconds:
        return Shade.UP
    return Shade.DOWN if part.down_seconds >= part.up_seconds else Shade.PARTLY


def incidents(flips: Iterable[Flip]) -> list[Incident]:
    """Every time of failing, the newest first. `flips` are those of one endpoint, in the order of time."""
    found: list[Incident] = []
    began: Flip | None = None
    for flip in flips:
        if flip.kind == Kind.DOWN:
            began = began or flip
        elif began:
            found.append(Incident(began.at, flip.at, began.new, began.reason, flip.new, began.lost_models))
            began = None
    if began:
        found.append(Incident(began.at, None, began.new, began.reason, None, began.lost_models))
    return found[::-1]
