"""How long history is kept: checks and summaries for as long as the settings say, transitions for good."""

from __future__ import annotations

import logging
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from django.conf import settings

from endpoints.choices import Span
from endpoints.models import AlertDelivery, CheckSummary, HealthCheck

if TYPE_CHECKING:
    from django.db.models import QuerySet

logger = logging.getLogger(__name__)

# Each batch is a transaction of its own, so that on SQLite nobody waits long for the write lock.
BATCH_ROWS = 2000
REPLIES_KEPT = timedelta(hours=1)
ALERTS_KEPT = timedelta(days=90)


def prune(at: datetime) -> int:
    """Delete the checks and summaries that are too old at `at`. Returns how many there were."""
    checks = HealthCheck.objects.filter(at__lt=at - timedelta(hours=settings.OLLA_CHECK_HISTORY_HOURS))
    total = delete_in_batches(checks.order_by("at"))
    forget_replies(at)
    days = {
        Span.MINUTE: settings.OLLA_MINUTE_HISTORY_DAYS,
        Span.HOUR: settings.OLLA_HOUR_HISTORY_DAYS,
        Span.DAY: settings.OLLA_DAY_HISTORY_DAYS,
    }
    for span, kept in days.items():
        old = CheckSummary.objects.filter(span=span, begins_at__lt=at - timedelta(days=kept))
        total += delete_in_batches(old.order_by("begins_at"))
    total += delete_in_batches(AlertDelivery.objects.filter(at__lt=at - ALERTS_KEPT).order_by("at"))
    if total:
        logger.info("Deleted %s checks and summaries that were too old to keep.", total)
    return total


def forget_replies(at: datetime) -> None:
    """Keep of older checks what came of them, and not what was answered, which takes ten times the room."""
    since = at - timedelta(hours=settings.OLLA_CHECK_HISTORY_HOURS)
    old = HealthCheck.objects.filter(at__lt=at - REPLIES_KEPT, at__gte=since).exclude(reply="")
    while batch := list(old.order_by("at").values_list("pk", flat=True)[:BATCH_ROWS]):
        HealthCheck.objects.filter(pk__in=batch).update(reply="")


def delete_in_batches(rows: QuerySet[Any]) -> int:
    """Delete these rows, the first ones first. Returns how many there were, with what went with them."""
    total = 0
    while batch := list(rows.values_list("pk", flat=True)[:BATCH_ROWS]):
        total += rows.model._default_manager.filter(pk__in=batch).delete()[0]
    return total
