"""What a check is told of an endpoint that stands nowhere."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from endpoints.health.checking import check_target
from endpoints.models import Endpoint

if TYPE_CHECKING:
    from endpoints.health.findings import CheckTarget


def target_of(url: str, **changes: Any) -> CheckTarget:
    return replace(check_target(Endpoint(name="mini-1", url=url, check_timeout_seconds=2)), **changes)
