"""The status JSON (contract, section 6): the fleet as the database has it, the traffic as we counted it.

Figures of traffic are of all web processes, since counting began, which `counting_since` says.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.db import DatabaseError, InterfaceError
from django.db.models import Count

from endpoints.choices import ROUTABLE, SET_ASIDE, Mode, Status
from endpoints.models import Endpoint
from endpoints.profiles import profile
from endpoints.routing.snapshot import snapshot
from ollaproject.wire import clock
from ollaproject.wire.release import VERSION
from proxy.status import figures
from proxy.status.version import COMMIT

if TYPE_CHECKING:
    from endpoints.routing.snapshot import Target
    from proxy.limits.limiter import Limiter
    from proxy.records.counts import EndpointCounts
    from proxy.records.shared_counts import Traffic
    from proxy.routing.admission import Admission

# Olla's rules for what is worth a word.
MANY_FAILURES = 3
LOW_SUCCESS_RATE = 0.9
FEW_REQUESTS = 10
HIGH_LATENCY_SECONDS = 5.0
DEGRADED_SUCCESS_RATE = 0.95
CRITICAL_SHARE_UP = 0.5
DEGRADED_SHARE_UP = 0.8
ELEVATED_VIOLATIONS = 100


@dataclass(frozen=True, slots=True)
class EndpointState:
    """An endpoint as the database has it."""

    id: int
    name: str
    url: str
    type: str
    priority: int
    mode: str
    status: str
    checked_at: datetime | None
    next_check_at: datetime | None
    latency_seconds: float | None
    consecutive_failures: int
    models_synced_at: datetime | None
    model_count: int

    @property
    def routable(self) -> bool:
        return self.mode == Mode.ACTIVE and self.status in ROUTABLE


def fleet() -> list[EndpointState]:
    """Every endpoint by one query: highest priority first, the healthy before the others, then by name.

    While the database is away, it is as requests are routed, without what only the checks know.
    """
    rows = Endpoint.objects.select_related("health").annotate(model_count=Count("models"))
    try:
        states = [_state(row) for row in rows]
    except (DatabaseError, InterfaceError):
        states = [_routed(target) for target in snapshot().targets]
    return sorted(states, key=lambda each: (-each.priority, each.status not in ROUTABLE, each.name, each.id))


def _state(row: Any) -> EndpointState:
    health = getattr(row, "health", None)  # its row is written just after the endpoint's
    return EndpointState(
        id=row.pk,
        name=row.name,
        url=row.url,
        type=row.type,
        priority=profile(row.type).default_priority if row.priority is None else row.priority,
        mode=row.mode,
        status=health.status if health else Status.UNKNOWN.value,
        checked_at=health.checked_at if health else None,
        next_check_at=health.next_check_at if health and row.mode not in SET_ASIDE else None,
        latency_seconds=health.latency_seconds if health else None,
        consecutive_failures=health.consecutive_failures if health else 0,
        models_synced_at=health.models_synced_at if health else None,
        model_count=row.model_count,
    )


def _routed(target: Target) -> EndpointState:
    return EndpointState(
        id=target.id,
        name=target.name,
        url=target.url,
        type=target.type,
        priority=target.priority,
        mode=target.mode,
        status=target.status,
        checked_at=None,
        next_check_at=None,
        latency_seconds=None,
        consecutive_failures=0,
        models_synced_at=None,
        model_count=len(target.models),
    )


def overview(
    states: list[EndpointState], traffic: Traffic, admission: Admission, limiter: Limiter
) -> dict[str, Any]:
    """`/internal/status`."""
    now = clock.now()
    return {
        "timestamp": stamp(now),
        "proxy": {"engine": "ollaproject", "profile": "streaming", "balancer": settings.OLLA_LOAD_BALANCER},
        "endpoints": [_in_overview(state, traffic, now) for state in states],
        "security": _security(traffic, limiter),
        "queue": _queue(traffic, admission.max_waiting),
        "system": _system(states, traffic, now),
    }


def _security(traffic: Traffic, limiter: Limiter) -> dict[str, Any]:
    """`limits_counted_by` says whether limits hold for all processes together or for each by itself."""
    violations = _violations(traffic)
    return {
        "status": "elevated" if sum(violations.values()) > ELEVATED_VIOLATIONS else "normal",
        "blocked_ips": traffic.blocked,
        "violations": violations,
        "limits_counted_by": limiter.counted_by,
    }


def _violations(traffic: Traffic) -> dict[str, int]:
    errors = traffic.counts.errors
    return {
        "rate_limits": errors.get("rate_limit_exceeded", 0) + errors.get("insufficient_quota", 0),
        "size_limits": errors.get("request_too_large", 0),
    }


def _queue(traffic: Traffic, max_waiting: int) -> dict[str, Any]:
    """Requests that had to wait because every endpoint that could serve them was full."""
    waits = traffic.counts.queue_wait
    admitted = sum(waits.counts)
    return {
        "waiting": traffic.waiting,
        "max_waiting": max_waiting,
        "admitted": admitted,
        "refused": traffic.counts.errors.get("overloaded", 0),
        "avg_wait_ms": figures.milliseconds(waits.total / admitted if admitted else None),
        "max_wait_ms": figures.milliseconds(traffic.counts.queue_wait_max) if admitted else None,
    }


def _in_overview(state: EndpointState, traffic: Traffic, now: datetime) -> dict[str, Any]:
    tally = traffic.of(state.id)
    return {
        "id": str(state.id),
        "name": state.name,
        "url": state.url,
        "status": state.status,
        "priority": state.priority,
        "success_rate": figures.percent(tally.success_rate),
        "avg_latency": figures.latency(tally.latency_average),
        **_latencies(tally),
        "traffic": figures.size(tally.bytes_out),
        "connections": traffic.in_flight_at(state.id),
        "requests": tally.requests,
        "last_check": figures.ago(state.checked_at, now),
        "health_check_at": stamp(state.checked_at),
        "next_check": figures.until(state.next_check_at, now),
        "next_check_at": stamp(state.next_check_at),
        "issues": issues(state, tally),
        "models": {"count": state.model_count, "last_updated": stamp(state.models_synced_at)},
    }


def endpoint_list(states: list[EndpointState], traffic: Traffic) -> dict[str, Any]:
    """`/internal/status/endpoints`."""
    now = clock.now()
    return {
        "timestamp": stamp(now),
        "total_count": len(states),
        "healthy_count": sum(state.status in ROUTABLE for state in states),
        "routable_count": sum(state.routable for state in states),
        "endpoints": [_in_list(state, traffic, now) for state in states],
    }


def _in_list(state: EndpointState, traffic: Traffic, now: datetime) -> dict[str, Any]:
    tally = traffic.of(state.id)
    return {
        "id": str(state.id),
        "name": state.name,
        "type": state.type,
        "url": state.url,
        "status": state.status,
        "priority": state.priority,
        "model_count": state.model_count,
        "request_count": tally.requests,
        "success_rate": figures.percent(tally.success_rate),
        **_latencies(tally),
        "active_connections": traffic.in_flight_at(state.id),
        "health_check": figures.ago(state.checked_at, now),
        "health_check_at": stamp(state.checked_at),
        "next_check_at": stamp(state.next_check_at),
        "response_time": figures.latency(state.latency_seconds),
        "last_model_sync": figures.ago(state.models_synced_at, now),
        "last_model_sync_at": stamp(state.models_synced_at),
        "issues": issues(state, tally),
    }


def _latencies(tally: EndpointCounts) -> dict[str, int | None]:
    """In milliseconds, None before the first answer."""
    answered = tally.answered > 0
    return {
        "avg_latency_ms": figures.milliseconds(tally.latency_average),
        "min_latency_ms": figures.milliseconds(tally.latency_min) if answered else None,
        "max_latency_ms": figures.milliseconds(tally.latency_max) if answered else None,
    }


def issues(state: EndpointState, tally: EndpointCounts) -> str:
    """What is wrong with an endpoint, in Olla's words, empty when nothing is."""
    rate, average = tally.success_rate, tally.latency_average
    found = {
        "consecutive failures": state.consecutive_failures > MANY_FAILURES,
        "low success rate": rate is not None and rate < LOW_SUCCESS_RATE and tally.requests > FEW_REQUESTS,
        "high latency": average is not None and average > HIGH_LATENCY_SECONDS,
        "unavailable": not state.routable,
    }
    return ", ".join(words for words, applies in found.items() if applies)


def _system(states: list[EndpointState], traffic: Traffic, now: datetime) -> dict[str, Any]:
    total = traffic.counts.attempts
    up = sum(state.status in ROUTABLE for state in states)
    return {
        "status": system_status(up, len(states), total.success_rate),
        "endpoints_up": f"{up}/{len(states)}",
        "success_rate": figures.percent(total.success_rate),
        "avg_latency": figures.latency(total.latency_average),
        "total_traffic": figures.size(total.bytes_out),
        "uptime": figures.span(now, traffic.started_at),
        "start_time": stamp(traffic.started_at),
        "counting_since": stamp(_counting_since(traffic)),
        "version": VERSION,
        "commit": COMMIT,
        "active_connections": sum(traffic.in_flight.values()),
        "security_violations": sum(_violations(traffic).values()),
        "total_requests": total.requests,
        "total_failures": total.failures,
        "has_traffic": total.requests > 0,
    }


def _counting_since(traffic: Traffic) -> datetime:
    since = traffic.counts.since
    return datetime.fromtimestamp(since, UTC) if since else traffic.started_at


def system_status(up: int, count: int, success_rate: float | None) -> str:
    """`healthy`, `degraded` or `critical`, from the shares of endpoints up and of requests that succeed."""
    share = up / count if count else 0.0
    rate = 1.0 if success_rate is None else success_rate
    if share < CRITICAL_SHARE_UP or rate < LOW_SUCCESS_RATE:
        return "critical"
    if share < DEGRADED_SHARE_UP or rate < DEGRADED_SUCCESS_RATE:
        return "degraded"
    return "healthy"


def stamp(moment: datetime | None) -> str | None:
    """RFC 3339 in UTC."""
    return None if moment is None else moment.isoformat().replace("+00:00", "Z")
