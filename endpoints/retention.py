"""How long history is kept: single checks for OLLA_CHECK_HISTORY_HOURS, transitions for good."""

from __future__ import annotations

import logging
from datetime import datetime, timedelta

from django.conf import settings

from endpoints.models import HealthCheck

logger = logging.getLogger(__name__)

# Each batch is a transaction of its own, so that on SQLite nobody waits long for the write lock.
BATCH_ROWS = 2000


def prune(at: datetime) -> int:
    """Delete the checks that are too old at `at`. Returns how many there were."""
    before = at - timedelta(hours=settings.OLLA_CHECK_HISTORY_HOURS)
    total = 0
    while batch := list(
        HealthCheck.objects.filter(at__lt=before).order_by("at").values_list("pk", flat=True)[:BATCH_ROWS]
    ):
        total += HealthCheck.objects.filter(pk__in=batch).delete()[0]
    if total:
        logger.info("Deleted %s checks from before %s.", total, before.isoformat(timespec="seconds"))
    return total
