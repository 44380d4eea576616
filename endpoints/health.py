"""The health rules, pure, and the one writer that stores what they say.

A status flips with a compare-and-swap, and only who wins it writes the transition: two workers, or a worker
and an operator who pauses, never write two stories of the same moment.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django.db import transaction

from endpoints import discovery, revision
from endpoints.choices import Mode, Status
from endpoints.models import Endpoint, EndpointHealth, HealthCheck, Transition
from ollaproject.wire import clock

if TYPE_CHECKING:
    from datetime import datetime

    from endpoints.findings import Finding, ProbeResult

logger = logging.getLogger(__name__)

# A warming endpoint is on its way up, and an unknown one was not asked.
FAILURES = frozenset(Status) - {Status.HEALTHY, Status.WARMING, Status.UNKNOWN}
MAX_REASON_LENGTH = 300


@dataclass(frozen=True, slots=True)
class HealthState:
    """How an endpoint is: `since` is when its status became what it is."""

    status: Status
    reason: str
    since: datetime
    consecutive_failures: int = 0


def judge(state: HealthState, result: ProbeResult, at: datetime) -> HealthState:
    """The state after `result`. One failed check takes an endpoint down, one good one brings it back."""
    return HealthState(
        status=result.status,
        reason=result.reason[:MAX_REASON_LENGTH],
        since=state.since if result.status == state.status else at,
        consecutive_failures=state.consecutive_failures + 1 if result.status in FAILURES else 0,
    )


def record(*, endpoint: Endpoint, finding: Finding, at: datetime) -> bool:
    """Store what a check of `endpoint`, begun at `at`, found. Returns whether it was stored.

    It is not when it says nothing of the endpoint as it is now: deleted, paused or edited since, or overtaken
    by a later check.
    """
    with transaction.atomic():
        row = EndpointHealth.objects.select_related("endpoint").filter(pk=endpoint.pk).first()
        if row is None or _is_outdated(row, endpoint=endpoint, at=at):
            return False
        old, new = _state_of(row), judge(_state_of(row), finding.result, at)
        seen = {"checked_at": at, "latency_seconds": finding.result.latency_seconds}
        if not _swap(endpoint, old=old, new=new, at=at, **seen):
            return False
        HealthCheck.objects.create(
            endpoint_id=endpoint.pk,
            at=at,
            status=new.status,
            reason=new.reason,
            http_status=finding.result.http_status,
            latency_seconds=finding.result.latency_seconds,
        )
        models_changed = finding.models is not None and discovery.store(
            row, found=finding.models, at=clock.now()
        )
        revision.bump(routing=models_changed or (new.status, new.reason) != (old.status, old.reason))
    return True


def forget(*, endpoint: Endpoint, reason: str) -> None:
    """Make the status unknown: what was known is out of date, or will be before the next check."""
    with transaction.atomic():
        now = clock.now()
        old = _state_of(EndpointHealth.objects.get(pk=endpoint.pk))
        since = old.since if old.status == Status.UNKNOWN else now
        new = HealthState(status=Status.UNKNOWN, reason=reason[:MAX_REASON_LENGTH], since=since)
        _swap(endpoint, old=old, new=new, at=now, latency_seconds=None)
        revision.bump(routing=True)


def _is_outdated(row: EndpointHealth, *, endpoint: Endpoint, at: datetime) -> bool:
    return (
        row.endpoint.mode == Mode.PAUSED
        or row.endpoint.edited_at != endpoint.edited_at
        or (row.checked_at is not None and row.checked_at >= at)
    )


def _state_of(row: EndpointHealth) -> HealthState:
    return HealthState(
        status=Status(row.status),
        reason=row.reason,
        since=row.since,
        consecutive_failures=row.consecutive_failures,
    )


def _swap(endpoint: Endpoint, *, old: HealthState, new: HealthState, at: datetime, **seen: Any) -> bool:
    """Write `new` if the status is still that of `old`, with a transition if it flips. False if it is not."""
    swapped = EndpointHealth.objects.filter(pk=endpoint.pk, status=old.status).update(
        status=new.status,
        reason=new.reason,
        since=new.since,
        consecutive_failures=new.consecutive_failures,
        **seen,
    )
    if swapped and new.status != old.status:
        Transition.objects.create(
            endpoint=endpoint,
            at=at,
            old_status=old.status,
            new_status=new.status,
            reason=new.reason,
        )
        logger.info(
            "Endpoint %s: %s -> %s (%s)", endpoint.name, old.status, new.status, new.reason or "all is well"
        )
    return swapped == 1
