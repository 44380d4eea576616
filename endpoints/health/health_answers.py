"""What a health answer says of an endpoint: its status, its JSON in the profile's words, its Retry-After."""

from __future__ import annotations

import json
from datetime import UTC
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from endpoints.choices import Status
from endpoints.known_models.model_lists import value_at
from ollaproject.wire.unreadable import UNREADABLE

if TYPE_CHECKING:
    from datetime import datetime

    from endpoints.profiles import HealthBody

MAX_DIGITS = 9
REFUSED_CREDENTIAL = frozenset({HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN})


def read_status(status: int, *, has_credential: bool) -> tuple[Status, str]:
    """What a status code alone says."""
    if HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
        return Status.HEALTHY, ""
    if status in REFUSED_CREDENTIAL:
        what = (
            "the endpoint refused our credential" if has_credential else "the endpoint asks for a credential"
        )
        return Status.CONFIG_ERROR, f"{what} ({status})"
    if status == HTTPStatus.LOOP_DETECTED:
        return Status.CONFIG_ERROR, "it leads back to this gateway (508)"
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        return Status.RATE_LIMITED, "the endpoint limits our requests (429)"
    if HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST:
        return Status.UNHEALTHY, f"it redirects elsewhere ({status}), and checks follow no redirects"
    return Status.UNHEALTHY, f"it answered {_phrase(status)}"


def read_retry_after(text: str, *, now: datetime) -> float | None:
    """The seconds that a Retry-After header asks for, as a number or as a date (RFC 9110, 10.2.3)."""
    if text.isascii() and text.isdigit():
        return float(text[:MAX_DIGITS])
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return None
    return max(0.0, (moment.replace(tzinfo=moment.tzinfo or UTC) - now).total_seconds())


def read_health_body(raw: bytes, body: HealthBody) -> tuple[Status, str]:
    """What the JSON of a 2xx health answer says, by the profile's words. Anything else says nothing more."""
    try:
        document = json.loads(raw)
    except UNREADABLE:
        document = None
    if not isinstance(document, dict):
        return Status.HEALTHY, ""
    word, residency = _word(document, body.status_key), _word(document, body.residency_key)
    if word in body.warming or residency in body.residency_warming:
        return Status.WARMING, "its model is loading"
    if word and word not in body.healthy:
        return Status.UNHEALTHY, f"it says of itself: {word}"
    if residency in body.residency_asleep:
        return Status.HEALTHY, "asleep: the next request loads its model"
    if value_at(document, body.loaded_key) is False:
        return Status.UNHEALTHY, "it runs, but no model is loaded"
    return Status.HEALTHY, ""


def is_loading(raw: bytes, body: HealthBody) -> bool:
    """Whether an answer whose status says failure only means that the model is not there yet."""
    try:
        document = json.loads(raw)
    except UNREADABLE:
        return False
    return _word(document, body.loading_key) in body.loading


def _word(document: Any, key: str) -> str:
    value = value_at(document, key)
    return value.strip().lower()[:40] if isinstance(value, str) else ""


def _phrase(status: int) -> str:
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return str(status)
