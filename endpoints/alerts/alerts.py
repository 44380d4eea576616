"""Tells channels what has happened. Whoever has news calls `tell`; what is told goes out by Celery.

An alert is a row first (AlertDelivery), in the transaction of what it tells of: none is lost in a crash, and
none tells of what was rolled back.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from django.db import transaction
from kombu.exceptions import OperationalError

from endpoints.alerts.alert_models import (
    MAX_SUBJECT_LENGTH,
    MAX_TEXT_LENGTH,
    AlertChannel,
    AlertDelivery,
    AlertKind,
)
from endpoints.alerts.alert_rules import Event, QuietHours, due_at
from endpoints.choices import ROUTABLE
from endpoints.health import rules
from ollaproject.wire import clock

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from endpoints.health.rules import HealthState
    from endpoints.models import Endpoint

logger = logging.getLogger(__name__)

TASK_EXPIRES_SECONDS = 60
# Not by reverse(): a worker need not load all views to say that a Mac is down.
PAGE_OF_ENDPOINT = "/endpoints/{}/"
OF_ENDPOINTS = (AlertKind.DOWN, AlertKind.BACK, AlertKind.FLAPPING)


def tell(kind: AlertKind, subject: str, text: str, *, path: str = "", at: datetime | None = None) -> int:
    """Tell every channel that wants to know. Returns how many are told.

    `text` is a sentence without its stop, `path` that of a page of ours. An alert that cannot be stored is
    logged, and what it tells of stands.
    """
    event = Event(at or clock.now(), kind, subject[:MAX_SUBJECT_LENGTH], text[:MAX_TEXT_LENGTH], path)
    wanting = [channel for channel in AlertChannel.objects.all() if channel.wants(kind)]
    if not wanting:
        return 0
    try:
        with transaction.atomic():  # a savepoint: the caller's transaction must not break with it
            _store(event, wanting)
    except Exception:
        logger.exception("An alert could not be stored and is lost: %s.", event.text)
        return 0
    return len(wanting)


def send_test(channel: AlertChannel) -> AlertDelivery:
    """Send a message that only says that it arrives. At once, also in quiet hours."""
    text = f"This is a test of the alert channel {channel.name}"
    (row,) = _store(Event(clock.now(), AlertKind.TEST, channel.name, text, "/"), [channel])
    transaction.on_commit(_send_now)
    return row


def flipped(endpoint: Endpoint, old: HealthState, new: HealthState, *, at: datetime) -> None:
    """Tell what a check has changed, if it is worth it. Of one that flaps only that, until it is calm."""
    name = endpoint.name
    kind, text = _news(name, old, new)
    returns = new.status in ROUTABLE and old.status not in ROUTABLE and not new.flapping
    if kind is None and returns and _told_of_trouble(name):
        kind, text = AlertKind.BACK, _back(name, new)  # an operator has edited or paused it meanwhile
    if kind is not None:
        tell(kind, name, text, path=PAGE_OF_ENDPOINT.format(endpoint.pk), at=at)


def _told_of_trouble(name: str) -> bool:
    """Whether the last that was told of an endpoint was bad."""
    told = AlertDelivery.objects.filter(subject=name, kind__in=OF_ENDPOINTS)
    last = told.order_by("-at", "-id").values_list("kind", flat=True).first()
    return last is not None and last != AlertKind.BACK


def _back(name: str, new: HealthState) -> str:
    return f"{name} is back: it is {new.status.label.lower()}"


def _news(name: str, old: HealthState, new: HealthState) -> tuple[AlertKind | None, str]:
    """The kind is None when nothing is to be told."""
    why = f": {new.reason}" if new.reason else ""
    if new.flapping and not old.flapping:
        return AlertKind.FLAPPING, f"{name} keeps going up and down{why}"
    if new.flapping:
        return None, ""
    if rules.goes_down(old, new):
        return AlertKind.DOWN, f"{name} is {new.status.label.lower()}{why}"
    if rules.comes_back(old, new) or (old.flapping and new.status in ROUTABLE):
        return AlertKind.BACK, _back(name, new)
    return None, ""


def _store(event: Event, channels: Iterable[AlertChannel]) -> list[AlertDelivery]:
    rows = [
        AlertDelivery(
            channel=channel,
            at=event.at,
            kind=event.kind,
            subject=event.subject,
            text=event.text,
            path=event.path,
            due_at=due_at(event, group_seconds=channel.group_seconds, quiet=quiet_hours(channel)),
        )
        for channel in channels
    ]
    return AlertDelivery.objects.bulk_create(rows)


def quiet_hours(channel: AlertChannel) -> QuietHours | None:
    if channel.quiet_from is None or channel.quiet_until is None:
        return None
    return QuietHours(channel.quiet_from, channel.quiet_until, channel.zone)


def _send_now() -> None:
    """Do not wait for the next tick, which sends it in any case."""
    from endpoints import tasks  # noqa: PLC0415  # tasks are an interface to this module

    try:
        tasks.send_alerts.apply_async(retry=False, expires=TASK_EXPIRES_SECONDS)
    except (OperationalError, OSError) as error:
        logger.warning("The broker does not answer (%s). The alert waits for the next tick.", error)
