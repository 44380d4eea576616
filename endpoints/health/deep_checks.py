"""Deep checks: now and then an endpoint that answers its health check must also generate one token.

Servers that answer /health and are dead inside are common. A deep check has an interval of its own and may
take long, so it runs beside the others; what it found is kept on the health row, and ordinary checks of an
endpoint that could not generate count as failures until it can. Database side; endpoints.health.prober asks.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from endpoints.choices import ROUTABLE, Status
from endpoints.errors import FleetError
from endpoints.health.checking import check_target, whole_url
from endpoints.health.findings import ProbeResult, Trial
from endpoints.known_models.abilities import CHAT, EMBEDDINGS, Fit, abilities_of
from endpoints.known_models.model_details import details_of
from endpoints.models import Endpoint, EndpointHealth

if TYPE_CHECKING:
    from datetime import datetime

    from endpoints.health.findings import CheckTarget
    from endpoints.models import EndpointModel

MAX_REASON_LENGTH = 300
# A server with a queue takes its time, and that is no fault. One whose model must be loaded is left alone.
TRIAL_SECONDS = 30.0
TRIAL_TEXT = "Hi"


@dataclass(frozen=True, slots=True)
class DeepCheck:
    """One that was claimed, with what it needs. `target` and `trial` say whom to ask for what."""

    endpoint_id: int
    target: CheckTarget
    trial: Trial


def claim(endpoint: Endpoint, *, at: datetime) -> DeepCheck | None:
    """The right to deep-check `endpoint` now, for one worker. None when it is not due, or has no model.

    After a failure it is due again at once.
    """
    interval = endpoint.deep_check_interval_seconds
    row = EndpointHealth.objects.filter(pk=endpoint.pk).first() if interval else None
    if row is None or interval is None:
        return None
    last = row.deep_checked_at
    if last is not None and not row.deep_failures and (at - last).total_seconds() < interval:
        return None
    model = _model_of(endpoint)
    if model is None:
        return None
    try:
        target = check_target(endpoint)
    except FleetError:
        return None
    if not EndpointHealth.objects.filter(pk=endpoint.pk, deep_checked_at=last).update(deep_checked_at=at):
        return None
    return DeepCheck(endpoint.pk, target, _trial(endpoint, model))


def record(endpoint_id: int, reason: str) -> None:
    """Store what came of it: `reason` says why nothing was generated, and is empty when something was."""
    row = EndpointHealth.objects.filter(pk=endpoint_id).first()
    if row is not None:
        failures = row.deep_failures + 1 if reason else 0
        EndpointHealth.objects.filter(pk=endpoint_id).update(
            deep_failures=failures, deep_reason=reason[:MAX_REASON_LENGTH]
        )


def overruled(row: EndpointHealth, result: ProbeResult, *, failures_to_go_down: int) -> ProbeResult:
    """What a good check is worth while the endpoint generates nothing."""
    if result.status not in ROUTABLE or row.deep_failures < failures_to_go_down:
        return result
    reason = f"it answers its health check but generates nothing: {row.deep_reason}"
    return replace(result, status=Status.UNHEALTHY, reason=reason)


def _model_of(endpoint: Endpoint) -> tuple[EndpointModel, str] | None:
    """A model to try, and for what. One that is known not to be in memory is not loaded for this."""
    for row in endpoint.models.exclude(is_loaded=False):
        able = abilities_of(details_of(row, backend_type=endpoint.type).capabilities, told=False)
        for purpose in (CHAT, EMBEDDINGS):
            if able.fit(frozenset({purpose})) > Fit.CANNOT:
                return row, purpose
    return None


def _trial(endpoint: Endpoint, found: tuple[EndpointModel, str]) -> Trial:
    model, purpose = found
    if purpose == CHAT:
        path = "/v1/chat/completions"
        asked = {"messages": [{"role": "user", "content": TRIAL_TEXT}], "max_tokens": 1, "stream": False}
    else:
        path, asked = "/v1/embeddings", {"input": TRIAL_TEXT}
    body = json.dumps({"model": model.name, **asked}).encode()
    return Trial(whole_url(endpoint, path), body, TRIAL_SECONDS)
