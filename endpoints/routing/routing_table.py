"""Builds the routing table from the database: three queries, the defaults of the profiles filled in."""

from __future__ import annotations

import logging
import time
from collections import defaultdict
from typing import TYPE_CHECKING

from django.conf import settings

from endpoints import profiles, secrets
from endpoints.choices import Mode, Retry, Status
from endpoints.errors import FleetError
from endpoints.known_models import concurrency
from endpoints.known_models.abilities import abilities_of
from endpoints.known_models.model_details import details_of
from endpoints.models import AliasedModel, Endpoint, EndpointModel
from endpoints.routing.snapshot import Alias, Ramp, ServedModel, Snapshot, Target
from ollaproject.wire import clock

if TYPE_CHECKING:
    from endpoints.profiles import Profile

logger = logging.getLogger(__name__)

HEALTH = "/health"


def build(revision: int) -> Snapshot:
    """Every endpoint as it is stored now. One that cannot be used is in the table too, not routable, with the
    reason.

    Only a type that no profile describes leaves an endpoint out: nothing could be said of it.
    """
    served = _served_models()
    targets = [
        _target(row, served.get(row.pk, []))
        for row in Endpoint.objects.filter(health__isnull=False).select_related("health")
        if _has_profile(row)
    ]
    targets.sort(key=lambda target: (-target.priority, target.name))
    return Snapshot(revision=revision, targets=tuple(targets), aliases=_aliases())


def _aliases() -> dict[str, Alias]:
    found: dict[str, Alias] = {}
    of_alias = ("name", "strategy", "defaults", "overrides")
    for model, name, *more in AliasedModel.objects.values_list(
        "model", *(f"alias__{each}" for each in of_alias)
    ):
        before = found[name].models if name in found else ()
        found[name] = Alias((*before, model), *more)
    return found


def _served_models() -> dict[int, list[EndpointModel]]:
    served: defaultdict[int, list[EndpointModel]] = defaultdict(list)
    for row in EndpointModel.objects.order_by("name"):
        served[row.endpoint_id].append(row)
    return served


def _served(row: EndpointModel, backend_type: str) -> ServedModel:
    details = details_of(row, backend_type=backend_type)
    return ServedModel(
        name=row.name,
        created=row.created,
        max_model_len=row.max_model_len,
        details=details,
        abilities=abilities_of(details.capabilities, told=bool(row.capabilities)),
    )


def _has_profile(endpoint: Endpoint) -> bool:
    try:
        profiles.profile(endpoint.type)
    except FleetError as error:
        logger.error("Endpoint %s cannot be routed to: %s", endpoint.name, error)
        return False
    return True


def _target(endpoint: Endpoint, models: list[EndpointModel]) -> Target:
    profile = profiles.profile(endpoint.type)
    status, reason = Status(endpoint.health.status), endpoint.health.reason
    headers: tuple[tuple[str, str], ...] = ()
    try:
        headers = secrets.request_headers(endpoint)
    except FleetError as error:
        status, reason = Status.CONFIG_ERROR, str(error)
    return Target(
        id=endpoint.pk,
        name=endpoint.name,
        type=endpoint.type,
        url=endpoint.url,
        priority=profile.default_priority if endpoint.priority is None else endpoint.priority,
        status=status,
        reason=reason,
        mode=Mode(endpoint.mode),
        models=tuple(_served(row, endpoint.type) for row in models),
        preserve_path=endpoint.preserve_path,
        connect_timeout_seconds=endpoint.connect_timeout_seconds or profile.connect_timeout_seconds,
        first_byte_timeout_seconds=endpoint.first_byte_timeout_seconds or profile.first_byte_timeout_seconds,
        idle_timeout_seconds=endpoint.idle_timeout_seconds or profile.idle_timeout_seconds,
        max_concurrent=endpoint.max_concurrent or concurrency.default_of(profile, models),
        retry=Retry(endpoint.retry),
        rewrites=_rewrites(endpoint, profile),
        weight=endpoint.weight,
        was_rung=endpoint.health.wake_asked_at is not None,
        wakes_in_seconds=endpoint.health.wakes_in_seconds,
        next_check_at=endpoint.health.next_check_at,
        ramp=_ramp(endpoint),
        headers=headers,
    )


def _ramp(endpoint: Endpoint) -> Ramp | None:
    """The slow start that it is in, None when it is in none."""
    seconds, recovered_at = settings.OLLA_SLOW_START, endpoint.health.recovered_at
    if not seconds or recovered_at is None:
        return None
    left = seconds - (clock.now() - recovered_at).total_seconds()
    # More is left than there was when the clock has been set back.
    return Ramp(time.monotonic() + left, seconds) if 0 < left <= seconds else None


def _rewrites(endpoint: Endpoint, profile: Profile) -> tuple[tuple[bytes, bytes], ...]:
    """The paths that stand elsewhere. `/health` is what clients ask of any type, wherever its own is."""
    health = endpoint.health_check_url if endpoint.health_check_url.startswith("/") else profile.health_path
    found = {HEALTH: health, **profile.rewrites}
    return tuple(
        (path.encode(), found[path].encode())
        for path in sorted(found, key=len, reverse=True)
        if path != found[path]
    )
