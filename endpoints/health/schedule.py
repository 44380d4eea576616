"""When each endpoint is checked: `next_check_at` is the plan, and a check belongs to whoever moves it on.

Beat ticks every second. A tick claims what falls due before the next one, with its exact time, so that an
interval of one second means one second although ticks come as they please. The plan is anchored to the due
time and not to the moment of the check, so intervals do not drift. A check that is lost in a crash is simply
due again one interval later. What stays down is put off by endpoints.health.health.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from django.db import transaction
from django.db.models import Q

from endpoints.choices import Mode, Status
from endpoints.models import Endpoint, EndpointHealth
from ollaproject.wire import clock

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from django.db.models import QuerySet

CHECKED_MODES = (Mode.ACTIVE, Mode.DRAINING)
# One tick, and some more for a tick that is late or takes its time through the broker.
LOOKAHEAD_SECONDS = 1.5
SET_BACK = timedelta(minutes=1)
"""A check that was made so much later than now was made before the clock was set back: clocks of hosts differ
by less. What it has planned would not come for as long, and what is found meanwhile would count as older."""
WAITING_FOR_FIRST_CHECK = "waiting for its first check"


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to check `endpoint` (its health row comes with it) at `due`, which may lie a moment ahead."""

    endpoint: Endpoint
    due: datetime


def claim_due(at: datetime, *, only: Iterable[int] | None = None) -> list[Claim]:
    """Claim every check that falls due before the next tick, or of those the endpoints `only`."""
    before = at + timedelta(seconds=LOOKAHEAD_SECONDS)
    due = _due(before, at=at)
    if only is not None:
        due = due.filter(pk__in=list(only))
    # Looked at first: on SQLite a transaction takes the write lock, and that every second for nothing.
    if not due.exists():
        return []
    with transaction.atomic():
        # Another worker that claims at the same moment waits here, then sees that nothing is due any more.
        rows = list(due.select_related("endpoint").select_for_update(of=("self",)).order_by("pk"))
        _forget_the_future(rows, at=at)
        claims = [claim for row in rows for claim in _claims(row, at=at, before=before)]
        EndpointHealth.objects.bulk_update(rows, ["next_check_at"])
    return claims


def following(due: datetime, *, interval: float, at: datetime, asked: bool = False) -> datetime:
    """When the check after the one at `due` is due.

    One interval later, unless that has passed already, or somebody `asked` for this one: then the plan starts
    anew somewhere within the interval that begins `at`. So a long pause is not made up for by a storm of
    checks, nor are all endpoints, which are due together then, checked together ever after.
    """
    anchored = due + timedelta(seconds=interval)
    if anchored > at and not asked:
        return anchored
    return at + timedelta(seconds=random.uniform(min(LOOKAHEAD_SECONDS, interval), interval))  # noqa: S311


def check_anew(endpoint: Endpoint) -> None:
    """Make a check and a look at the models due now, because the endpoint is new or was edited."""
    now = clock.now()
    EndpointHealth.objects.update_or_create(
        endpoint=endpoint,
        defaults={"next_check_at": now, "asked_at": now, "models_synced_at": None},
        create_defaults={
            "status": Status.UNKNOWN,
            "reason": WAITING_FOR_FIRST_CHECK,
            "since": now,
            "next_check_at": now,
        },
    )


def bring_forward(endpoint_ids: Iterable[int], *, asked: bool = True) -> int:
    """Make a check of these endpoints due now, unless they are paused. Returns how many will be checked.
    Those that are asleep are left alone.

    If an operator `asked`, what was down and checked ever more seldom is checked at full pace again.
    """
    now = clock.now()
    rows = EndpointHealth.objects.filter(pk__in=list(endpoint_ids), endpoint__mode__in=CHECKED_MODES)
    rows = rows.exclude(status=Status.ASLEEP)
    return rows.update(next_check_at=now, **({"asked_at": now} if asked else {}))


def _claims(row: EndpointHealth, *, at: datetime, before: datetime) -> Iterator[Claim]:
    """Every check in the plan of `row` that falls due before `before`. Moves the plan on."""
    while row.next_check_at < before:
        due = row.next_check_at
        yield Claim(endpoint=row.endpoint, due=max(due, at))
        interval = row.endpoint.check_interval_seconds
        row.next_check_at = following(due, interval=interval, at=at, asked=due == row.asked_at)


def _forget_the_future(rows: list[EndpointHealth], *, at: datetime) -> None:
    """Make what was planned before the clock was set back due now."""
    ahead = [row for row in rows if row.checked_at is not None and row.checked_at > at + SET_BACK]
    for row in ahead:
        row.next_check_at = at
    if ahead:
        rows_ahead = EndpointHealth.objects.filter(pk__in=[row.pk for row in ahead])
        rows_ahead.update(checked_at=None, models_synced_at=None, deep_checked_at=None)


def _due(before: datetime, *, at: datetime) -> QuerySet[EndpointHealth]:
    is_due = Q(next_check_at__lt=before) | Q(checked_at__gt=at + SET_BACK)
    due = EndpointHealth.objects.filter(is_due, endpoint__mode__in=CHECKED_MODES)
    return due.exclude(status=Status.ASLEEP)
