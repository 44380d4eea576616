"""Endpoints for the pages' tests, with the rows that the checks would have written."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from endpoints.choices import Status
from endpoints.models import Endpoint, EndpointHealth, EndpointModel
from endpoints.routing import revision
from ollaproject.wire.clock import now

PASSWORD = "a-long-enough-password"
SECRET = "sk-never-to-be-seen-again"


def add_endpoint(
    name: str,
    *,
    status: Status = Status.HEALTHY,
    reason: str = "",
    models: tuple[str, ...] = (),
    since_seconds: float = 60,
    **fields: Any,
) -> Endpoint:
    """A stored endpoint that was last checked two seconds ago, and its models.

    Web processes are told last: what is stored behind that they would not learn of.
    """
    endpoint = Endpoint.objects.create(name=name, url=fields.pop("url", f"http://{name}.test:8000"), **fields)
    at = now()
    for model in models:
        EndpointModel.objects.create(
            endpoint=endpoint, name=model, created=0, first_seen_at=at, last_seen_at=at
        )
    set_health(
        endpoint,
        status=status,
        reason=reason,
        since=at - timedelta(seconds=since_seconds),
        checked_at=at - timedelta(seconds=2),
        next_check_at=at + timedelta(hours=1),
        latency_seconds=0.012,
    )
    return endpoint


def set_health(endpoint: Endpoint, **fields: Any) -> None:
    """Write what a check found, and tell the web processes, as endpoints.health.health does."""
    EndpointHealth.objects.filter(endpoint=endpoint).update(**fields)
    revision.bump(routing=True)
