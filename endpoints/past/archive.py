"""Reads the past from the database, for one endpoint or for all of a fleet in the same few queries."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from django.db.models import OuterRef, Q, Subquery

from endpoints.choices import Status
from endpoints.models import Endpoint, Transition
from endpoints.past.history import Flip

if TYPE_CHECKING:
    from collections.abc import Collection
    from datetime import datetime


def flips(endpoint_ids: Collection[int], *, since: datetime) -> dict[int, list[Flip]]:
    """The flips of each endpoint since `since` and the last one before, in the order of time. Two queries."""
    before = Transition.objects.filter(endpoint=OuterRef("pk"), at__lt=since).order_by("-at", "-pk")
    last_before = (
        Endpoint.objects.filter(pk__in=endpoint_ids)
        .annotate(last=Subquery(before.values("pk")[:1]))
        .exclude(last=None)
        .values_list("last", flat=True)
    )
    wanted = Q(endpoint__in=endpoint_ids, at__gte=since)
    rows = Transition.objects.filter(Q(pk__in=list(last_before)) | wanted).order_by("at", "pk")
    found: dict[int, list[Flip]] = defaultdict(list)
    for endpoint_id, at, old, new, reason, models in rows.values_list(
        "endpoint_id", "at", "old_status", "new_status", "reason", "lost_models"
    ):
        found[endpoint_id].append(Flip(at, Status(old), Status(new), reason, tuple(models)))
    return found
