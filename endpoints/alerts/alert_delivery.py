"""Takes the alerts that are due, sends each channel its own as one message, and records what came of it.

A row is claimed by whoever moves it on, so that two workers never send the same; what a worker held when it
died is taken up again.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from datetime import timedelta
from typing import TYPE_CHECKING

from endpoints.alerts.alert_models import AlertChannel, AlertDelivery, AlertKind, DeliveryState
from endpoints.alerts.alert_rules import Event, retry_in
from endpoints.alerts.alert_sender import send
from ollaproject.wire import clock

if TYPE_CHECKING:
    from collections.abc import Sequence

    from endpoints.alerts.alert_sender import NotSent

logger = logging.getLogger(__name__)

MAX_REASON_LENGTH = 300
# Whoever took it longer ago than this died with it: an attempt takes seconds.
ABANDONED = timedelta(minutes=2)
MAX_PER_MESSAGE = 200


def send_due() -> int:
    """Send what is due. Returns how many messages were taken. Nothing due costs one query."""
    now = clock.now()
    waiting = AlertDelivery.objects.filter(state=DeliveryState.WAITING, due_at__lte=now)
    left = AlertDelivery.objects.filter(state=DeliveryState.SENDING, claimed_at__lt=now - ABANDONED)
    ids = list((waiting | left).values_list("channel_id", flat=True).distinct())
    if not ids:
        return 0
    left.update(state=DeliveryState.WAITING)
    return sum(_send_to(channel) for channel in AlertChannel.objects.filter(pk__in=ids))


def _send_to(channel: AlertChannel) -> bool:
    if not channel.enabled:
        waiting = AlertDelivery.objects.filter(channel=channel, state=DeliveryState.WAITING)
        waiting.exclude(kind=AlertKind.TEST).update(state=DeliveryState.FAILED, error="it was switched off")
    rows = _claimed(channel)
    if not rows:
        return False
    failure = send(
        channel, [Event(row.at, AlertKind(row.kind), row.subject, row.text, row.path) for row in rows]
    )
    if failure is None:
        _settle(rows, state=DeliveryState.SENT, sent_at=clock.now(), error="")
        return True
    logger.warning("The alert channel %s could not be told: %s.", channel.name, failure.reason)
    _try_again(rows, failure)
    return False


def _claimed(channel: AlertChannel) -> list[AlertDelivery]:
    now = clock.now()
    due = AlertDelivery.objects.filter(channel=channel, state=DeliveryState.WAITING, due_at__lte=now)
    found = []
    for row in due.order_by("at", "id")[:MAX_PER_MESSAGE]:
        mine = AlertDelivery.objects.filter(pk=row.pk, state=DeliveryState.WAITING)
        if mine.update(state=DeliveryState.SENDING, claimed_at=now, attempts=row.attempts + 1):
            row.attempts += 1
            found.append(row)
    return found


def _try_again(rows: Sequence[AlertDelivery], failure: NotSent) -> None:
    """Each row by its own number of attempts: an older one that came along is given up earlier."""
    by_attempts: defaultdict[int, list[AlertDelivery]] = defaultdict(list)
    for row in rows:
        by_attempts[row.attempts].append(row)
    error = failure.reason[:MAX_REASON_LENGTH]
    for attempts, those in by_attempts.items():
        seconds = None if failure.final else retry_in(attempts, asked=failure.retry_after_seconds)
        if seconds is None:
            _settle(those, state=DeliveryState.FAILED, error=error)
        else:
            due = clock.now() + timedelta(seconds=seconds)
            _settle(those, state=DeliveryState.WAITING, due_at=due, error=error)


def _settle(rows: Sequence[AlertDelivery], **fields: object) -> None:
    AlertDelivery.objects.filter(pk__in=[row.pk for row in rows]).update(**fields)
