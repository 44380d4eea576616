"""The one writer of health: it stores what the rules (endpoints.health.rules) make of what a check has found.

A status flips with a compare-and-swap, and only who wins it writes the transition: two workers, or a worker
and an operator who pauses, never write two stories of the same moment.
"""

from __future__ import annotations

import logging
import random
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.db import transaction

from endpoints.alerts import alerts
from endpoints.choices import ROUTABLE, SET_ASIDE, Status
from endpoints.health import deep_checks, discovery, rules
from endpoints.health.rules import FAILURES, MAX_REASON_LENGTH, HealthState, Pace, Thresholds
from endpoints.known_models.model_details import details_of
from endpoints.models import Endpoint, EndpointHealth, HealthCheck, Transition
from endpoints.profiles import profile
from endpoints.routing import revision
from ollaproject.wire import clock

if TYPE_CHECKING:
    from datetime import datetime

    from endpoints.health.findings import Finding

logger = logging.getLogger(__name__)

# A transition names no more models than these. It is kept for good.
MAX_LOST_MODELS = 50


def record(*, endpoint: Endpoint, finding: Finding, at: datetime) -> HealthState | None:
    """Store what a check of `endpoint`, begun at `at`, found. Returns how the endpoint is now.

    None when nothing was stored, because it says nothing of the endpoint as it is now: deleted, paused or
    edited since, or overtaken by a later check.
    """
    with transaction.atomic():
        row = EndpointHealth.objects.select_related("endpoint").filter(pk=endpoint.pk).first()
        if row is None or _is_outdated(row, endpoint=endpoint, at=at):
            return None
        old, new = _state_of(row), _judge(row, finding, at=at)
        seen: dict[str, Any] = {"checked_at": at, "latency_seconds": finding.result.latency_seconds}
        if finding.models is not None:
            seen["memory_bytes"] = finding.memory_bytes
        if rules.comes_back(old, new):
            seen["recovered_at"] = at
        if not _swap(endpoint, old=old, new=new, at=at, **seen):
            return None
        alerts.flipped(endpoint, old, new, at=at)
        _slow_down(row, new, finding, at=at)
        _keep(endpoint, finding, at=at)
        models_changed = finding.models is not None and discovery.store(
            row, found=finding.models, at=clock.now()
        )
        revision.bump(routing=models_changed or (new.status, new.reason) != (old.status, old.reason))
    return new


def forget(*, endpoint: Endpoint, reason: str) -> None:
    """Make the status unknown: what was known is out of date, or will be before the next check."""
    with transaction.atomic():
        now = clock.now()
        old = _state_of(EndpointHealth.objects.get(pk=endpoint.pk))
        since = old.since if old.status == Status.UNKNOWN else now
        new = HealthState(status=Status.UNKNOWN, reason=reason[:MAX_REASON_LENGTH], since=since)
        _swap(endpoint, old=old, new=new, at=now, latency_seconds=None)
        revision.bump(routing=True)


def put_to_sleep(*, endpoint: Endpoint, wakes_in_seconds: float | None, wakes_anyway: bool = False) -> None:
    """Write down that `endpoint` has no server now and is woken by the first request for it.

    With `wakes_anyway` its next server is on its way already, whether anybody asks or not.
    """
    with transaction.atomic():
        now = clock.now()
        row = EndpointHealth.objects.get(pk=endpoint.pk)
        new = HealthState(status=Status.ASLEEP, reason="", since=now)
        seen: dict[str, Any] = {"wake_asked_at": now if wakes_anyway else None}
        seen |= {"wakes_in_seconds": wakes_in_seconds, "latency_seconds": None, "memory_bytes": None}
        # One that sleeps already may have been rung for in this very moment: that is not forgotten.
        if row.status != Status.ASLEEP or row.reason:
            _swap(endpoint, old=_state_of(row), new=new, at=now, **seen)
        revision.bump(routing=True)


def keep_asleep(endpoint_id: int, *, reason: str, until: datetime) -> None:
    """One that sleeps cannot be woken `until` then: whoever waits for it is told so, and `reason`."""
    asleep = EndpointHealth.objects.filter(pk=endpoint_id, status=Status.ASLEEP)
    if asleep.update(reason=reason[:MAX_REASON_LENGTH], next_check_at=until):
        revision.bump(routing=True)


def let_wake(endpoint_id: int) -> None:
    """It can be woken again: requests wait for it as before."""
    held = EndpointHealth.objects.filter(pk=endpoint_id, status=Status.ASLEEP).exclude(reason="")
    if held.update(reason=""):
        revision.bump(routing=True)


def _judge(row: EndpointHealth, finding: Finding, *, at: datetime) -> HealthState:
    old = _state_of(row)
    thresholds = Thresholds(
        failures_to_go_down=settings.OLLA_FAILURES_TO_GO_DOWN,
        successes_to_come_back=settings.OLLA_SUCCESSES_TO_COME_BACK,
    )
    result = deep_checks.overruled(row, finding.result, failures_to_go_down=thresholds.failures_to_go_down)
    patience = load_seconds(row.endpoint) if Status.WARMING in {old.status, result.status} else 0.0
    new = rules.judge(old, result, at=at, thresholds=thresholds, load_seconds=patience)
    falls = rules.goes_down(old, new)
    if not (falls or old.flapping):
        return new
    times_down = Transition.objects.filter(
        endpoint_id=row.pk, at__gt=at - rules.FLAP_WINDOW, old_status__in=ROUTABLE, new_status__in=FAILURES
    ).count()
    return replace(new, flapping=rules.is_flapping(times_down + falls))


def _slow_down(row: EndpointHealth, state: HealthState, finding: Finding, *, at: datetime) -> None:
    """Put the next check off while the endpoint stays down, unless it has become due meanwhile."""
    endpoint = row.endpoint
    pace = Pace(
        interval=endpoint.check_interval_seconds,
        asked_at=row.asked_at,
        retry_after=finding.result.retry_after_seconds,
        backs_off=not endpoint.is_local,  # our own model: asking costs nothing, and somebody waits for it
    )
    seconds = rules.next_check_in(state, pace, at=at, jitter=random.random())  # noqa: S311
    if seconds > pace.interval:
        planned = EndpointHealth.objects.filter(pk=row.pk, next_check_at__gt=clock.now())
        planned.update(next_check_at=at + timedelta(seconds=seconds))


def _keep(endpoint: Endpoint, finding: Finding, *, at: datetime) -> None:
    HealthCheck.objects.create(
        endpoint_id=endpoint.pk,
        at=at,
        status=finding.result.status,
        reason=finding.result.reason[:MAX_REASON_LENGTH],
        http_status=finding.result.http_status,
        latency_seconds=finding.result.latency_seconds,
        reply=finding.result.reply,
    )


def _is_outdated(row: EndpointHealth, *, endpoint: Endpoint, at: datetime) -> bool:
    return (
        row.endpoint.mode in SET_ASIDE
        or row.status == Status.ASLEEP
        or row.endpoint.edited_at != endpoint.edited_at
        or (row.checked_at is not None and row.checked_at >= at)
    )


def _state_of(row: EndpointHealth) -> HealthState:
    return HealthState(
        status=Status(row.status),
        reason=row.reason,
        since=row.since,
        consecutive_failures=row.consecutive_failures,
        consecutive_successes=row.consecutive_successes,
        flapping=row.flapping,
        loading_since=row.loading_since,
    )


def load_seconds(endpoint: Endpoint) -> float:
    """How long the largest of its models may take to load, by its profile; 0 when that does not say."""
    sizes = [details_of(row, backend_type=endpoint.type).billions for row in endpoint.models.all()]
    known = [size for size in sizes if size is not None]
    return profile(endpoint.type).load_seconds_of(max(known, default=None))


def _served(endpoint: Endpoint) -> list[str]:
    return list(endpoint.models.order_by("name").values_list("name", flat=True)[:MAX_LOST_MODELS])


def _swap(endpoint: Endpoint, *, old: HealthState, new: HealthState, at: datetime, **seen: Any) -> bool:
    """Write `new` if the status is still that of `old`, with a transition if it flips. False if it is not."""
    swapped = EndpointHealth.objects.filter(pk=endpoint.pk, status=old.status).update(
        status=new.status,
        reason=new.reason,
        since=new.since,
        consecutive_failures=new.consecutive_failures,
        consecutive_successes=new.consecutive_successes,
        flapping=new.flapping,
        loading_since=new.loading_since,
        **seen,
    )
    if swapped and new.status != old.status:
        Transition.objects.create(
            endpoint=endpoint,
            at=at,
            old_status=old.status,
            new_status=new.status,
            reason=new.reason,
            lost_models=_served(endpoint) if new.status in FAILURES and old.status not in FAILURES else [],
        )
        logger.info(
            "Endpoint %s: %s -> %s (%s)", endpoint.name, old.status, new.status, new.reason or "all is well"
        )
    return swapped == 1
